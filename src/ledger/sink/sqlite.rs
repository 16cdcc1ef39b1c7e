//! The SQLite sink: one file, write-ahead log, every commit synced.
//!
//! `synchronous = FULL`: a commit that returned survives a power cut, so the cursor may be trusted
//! and the segment deleted. `NORMAL` may roll back (reliability 4.2, traps).

use super::columns::{self, Cell, NAMES};
use super::{Batch, Enough, Position, Receipt, Sink, SinkError, stored, works};
use crate::ledger::record::{Record, RecordKey, flag};
use rusqlite::types::ValueRef;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior,
    params,
};
use std::path::Path;
use std::time::Duration;

/// How long one statement waits for another process's lock; the deliverer retries beyond.
const BUSY: Duration = Duration::from_millis(200);

/// Bytes of a page of a new database: to split, write and move a page costs as much as some rows, and
/// of these a few hold a batch. An older database keeps its own.
const PAGE_BYTES: u32 = 16 << 10;
/// Bytes of the log after which it is moved into the database: an index page that each batch writes
/// again is moved once.
const LOG_BYTES: u32 = 16 << 20;
/// KiB of pages kept in memory, so that a batch is written once, at its commit.
const CACHE_KIB: i32 = 8 << 10;

/// Steps of SQLite's machine, or pages of an examination, between two looks at the clock.
const STEPS: i32 = 1_000;

/// Rows of one statement: to begin and end one costs as much as some rows.
const TOGETHER: usize = 16;

/// Each brings the database from the version of its index to the next; append only.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

pub(in crate::ledger) struct Sqlite {
    connection: Connection,
    /// Of [`TOGETHER`] rows, and of one.
    inserts: [String; 2],
    select: String,
}

impl Sqlite {
    /// Opens or creates the database and brings its schema up to date.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, SinkError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_BYTES / page.max(1))?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        migrate(&mut connection)?;
        settle_log(&connection)?;
        let names = NAMES.join(",");
        let marks = format!("({})", vec!["?"; NAMES.len()].join(","));
        let insert = |rows| {
            let marks = vec![&marks[..]; rows].join(",");
            // An error rolls back the transaction. To roll back just the statement, which is what OR ABORT
            // does, SQLite would first copy each page that it changes.
            format!(
                "INSERT OR FAIL INTO attempt ({names}) VALUES {marks}
                 ON CONFLICT (node, epoch, seq) DO NOTHING"
            )
        };
        Ok(Self {
            connection,
            inserts: [TOGETHER, 1].map(insert),
            select: format!(
                "SELECT {names} FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3"
            ),
        })
    }
}

/// Moves what the log holds into the database and syncs it: a commit whose sync had failed may look
/// whole in the log, and is not on disk (F63). A reader at work keeps a part for later.
fn settle_log(connection: &Connection) -> Result<(), SinkError> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn migrate(connection: &mut Connection) -> Result<(), SinkError> {
    let known = SCHEMA;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    )?;
    let found: i64 = transaction
        .query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    if found > known {
        return Err(SinkError::Newer { found, known });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('schema', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [known],
    )?;
    Ok(transaction.commit()?)
}

impl Sink for Sqlite {
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError> {
        let found = self.connection.query_row(
            "SELECT epoch, segment, offset, rows FROM cursor WHERE node = ?1",
            [&node[..]],
            |row| {
                let (epoch, segment) = (row.get(0)?, row.get(1)?);
                Ok(Position { epoch, segment, offset: row.get(2)?, rows: row.get(3)? })
            },
        );
        Ok(found.optional()?)
    }

    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let [many, one] = &self.inserts;
        // In order of their keys: each goes behind the last on the same page.
        let mut rows: Vec<&Record> = batch.rows.iter().collect();
        rows.sort_by_key(|row| row.key);
        let full = rows.chunks_exact(TOGETHER);
        let rest = full.remainder().chunks(1);
        let mut receipt = insert(&transaction, full, many, &self.select)?;
        receipt += insert(&transaction, rest, one, &self.select)?;
        for price in batch.prices {
            transaction
                .prepare_cached(
                    "INSERT INTO price (hash, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute(params![&price.hash()[..], price.text()])?;
        }
        if let Some((node, Position { epoch, segment, offset, rows })) = batch.cursor {
            transaction
                .prepare_cached(
                    "INSERT INTO cursor (node, epoch, segment, offset, rows)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (node) DO UPDATE SET
                     epoch = excluded.epoch, segment = excluded.segment, offset = excluded.offset,
                     rows = excluded.rows",
                )?
                .execute(params![&node[..], epoch, segment, offset, rows])?;
        }
        transaction.commit()?;
        Ok(receipt)
    }

    fn examine(&mut self, enough: Enough) -> Result<(), SinkError> {
        self.connection.progress_handler(STEPS, Some(enough));
        let found = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        self.connection.progress_handler(0, None::<fn() -> bool>);
        match found {
            Ok(said) if said == "ok" => Ok(()),
            Ok(said) => Err(SinkError::Damaged(said)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                tracing::info!(
                    "the ledger database was not examined to its end: `weir ledger verify` does"
                );
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn works(&mut self, like: &Record) -> Result<bool, SinkError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (names, copied) = (NAMES.join(","), columns::copied("zeroblob(16)", like).join(","));
        let tried = transaction.execute(
            &format!(
                "INSERT INTO attempt ({names}) SELECT {copied} FROM attempt ORDER BY rowid DESC LIMIT 1"
            ),
            [],
        );
        works(tried.map(|rows| rows as u64).map_err(SinkError::from))
    }
}

/// Inserts rows, as many with each statement as it takes.
fn insert<'a>(
    transaction: &Transaction<'_>,
    rows: impl Iterator<Item = &'a [&'a Record]>,
    insert: &str,
    select: &str,
) -> Result<Receipt, SinkError> {
    let mut receipt = Receipt::default();
    let mut statement = transaction.prepare_cached(insert)?;
    let mut bound = Vec::new();
    for rows in rows {
        columns::bind(&mut statement, rows, &mut bound)?;
        let (count, inserted) = (rows.len() as u64, statement.raw_execute()? as u64);
        receipt.inserted += inserted;
        if inserted < count {
            let conflicts = others(transaction, rows, select)?;
            receipt.conflicts += conflicts;
            receipt.duplicates += (count - inserted).saturating_sub(conflicts);
        }
    }
    Ok(receipt)
}

/// How many of these the database has with other content.
fn others(transaction: &Transaction<'_>, rows: &[&Record], select: &str) -> Result<u64, SinkError> {
    let mut statement = transaction.prepare_cached(select)?;
    let mut count = 0;
    for record in rows {
        let key = params![&record.key.node[..], record.key.epoch as i64, record.key.seq as i64];
        count += match statement.query_row(key, stored_row) {
            Ok(stored) => u64::from(!same(&stored, record)),
            // Somebody changed the one that is there into what no record is.
            Err(rusqlite::Error::FromSqlConversionFailure(..)) => 1,
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                return Err(SinkError::Refused("a trigger drops it".to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(count)
}

/// What a column of a row holds, if any row has that.
pub(super) fn cell<'a>(row: &'a Row<'_>, at: usize) -> Option<Cell<'a>> {
    match row.get_ref(at).ok()? {
        ValueRef::Null => Some(Cell::Null),
        ValueRef::Integer(value) => Some(Cell::Int(value.into())),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Cell::Text),
        ValueRef::Blob(bytes) => Some(Cell::Blob(bytes)),
        ValueRef::Real(_) => None,
    }
}

/// Reads a row whose columns are [`NAMES`].
fn stored_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    stored::read(&|at| cell(row, at)).map_err(|unreadable| {
        let (at, of) = (unreadable.0, rusqlite::types::Type::Null);
        rusqlite::Error::FromSqlConversionFailure(at, of, unreadable.into())
    })
}

/// Whether a stored row is this record; where it had to be saturated the key decides.
fn same(stored: &Record, record: &Record) -> bool {
    stored == record || (stored.flags & flag::SATURATED != 0 && stored.key == record.key)
}

/// Reads the ledger while the sink writes it.
pub(in crate::ledger) struct Reader(Connection);

impl Reader {
    /// Opens an existing database, read only.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, SinkError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self(connection))
    }

    pub(in crate::ledger) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Whether the ledger has the row of this key.
    pub(in crate::ledger) fn has(&self, key: &RecordKey) -> Result<bool, SinkError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT 1 FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3")?;
        Ok(statement.exists(params![&key.node[..], key.epoch as i64, key.seq as i64])?)
    }

    /// All attempts of a generation, in order.
    pub(in crate::ledger) fn generation(&self, id: &str) -> Result<Vec<Record>, SinkError> {
        let names = NAMES.join(",");
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {names} FROM attempt WHERE generation_id = ?1 ORDER BY attempt, epoch, seq"
        ))?;
        let rows = statement.query_map([id], stored_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;
    use crate::price::PriceVersion;
    use proptest::prelude::*;

    const NODE: [u8; 16] = [7; 16];

    fn open() -> (tempfile::TempDir, std::path::PathBuf, Sqlite) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger.db");
        let sqlite = Sqlite::open(&path).unwrap();
        (place, path, sqlite)
    }

    fn deliver(sqlite: &mut Sqlite, rows: &[Record], offset: u64) -> Receipt {
        let version = testing::price();
        let cursor = Position { epoch: 1, segment: 2, offset, rows: offset };
        sqlite
            .deliver(&Batch { rows, prices: &[(*version).clone()], cursor: Some((NODE, cursor)) })
            .unwrap()
    }

    #[test]
    fn rows_cursor_and_prices_are_kept_once() {
        let (_place, path, mut sqlite) = open();
        let rows: Vec<_> = (1..=5).map(testing::record).collect();
        assert_eq!(sqlite.cursor(NODE).unwrap(), None);
        let first = deliver(&mut sqlite, &rows[..3], 10);
        assert_eq!(first, Receipt { inserted: 3, ..Receipt::default() });
        let again = deliver(&mut sqlite, &rows, 20);
        assert_eq!(again, Receipt { inserted: 2, duplicates: 3, conflicts: 0 });
        assert_eq!(sqlite.cursor(NODE).unwrap().map(|cursor| cursor.offset), Some(20));
        let mut other = rows[0].clone();
        other.cost += 1;
        assert_eq!(deliver(&mut sqlite, &[other], 30).conflicts, 1);
        drop(sqlite);
        let sqlite = Sqlite::open(&path).unwrap();
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            sqlite.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((count("attempt"), count("price"), count("cursor")), (5, 1, 1));
        let text: String =
            sqlite.connection.query_row("SELECT text FROM price", [], |row| row.get(0)).unwrap();
        assert_eq!(PriceVersion::parse(&text).unwrap(), *testing::price());
        assert_eq!(Reader::open(&path).unwrap().generation("gen-1").unwrap(), rows[..1]);
    }

    #[test]
    fn a_long_batch_tells_fresh_rows_from_known_and_other_ones() {
        let (_place, path, mut sqlite) = open();
        let rows: Vec<_> = (1..=3 * TOGETHER as u64 + 5).map(testing::record).collect();
        let known = [&rows[2..4], &rows[TOGETHER..2 * TOGETHER], &rows[rows.len() - 1..]].concat();
        deliver(&mut sqlite, &known, 1);
        let mut batch = rows.clone();
        batch[3].cost += 1;
        batch[TOGETHER].cost += 1;
        batch.push(batch[0].clone());
        batch.push(Record { cost: batch[0].cost + 1, ..batch[0].clone() });
        let receipt = deliver(&mut sqlite, &batch, 2);
        let inserted = (rows.len() - known.len()) as u64;
        let duplicates = (known.len() - 2 + 1) as u64;
        assert_eq!(receipt, Receipt { inserted, duplicates, conflicts: 3 });
        let stored =
            |row: &Record| Reader::open(&path).unwrap().generation(&row.intent.generation_id);
        let found: Vec<_> = rows.iter().flat_map(|row| stored(row).unwrap()).collect();
        assert_eq!(found, rows, "the first of a key stays");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_record_is_read_as_it_was_stored_or_says_that_it_was_saturated(
            mut record in testing::records(),
        ) {
            // The key and the times of a real record are far from the limit.
            record.key.epoch >>= 1;
            record.key.seq >>= 1;
            let (_place, path, mut sqlite) = open();
            deliver(&mut sqlite, std::slice::from_ref(&record), 1);
            let found = Reader::open(&path).unwrap().generation(&record.intent.generation_id).unwrap();
            prop_assert_eq!(found.len(), 1);
            if found[0] != record {
                prop_assert!(found[0].flags & flag::SATURATED != 0);
                prop_assert_eq!(found[0].intent.model.as_ref(), record.intent.model.as_ref());
            }
            prop_assert_eq!(deliver(&mut sqlite, &[record], 2).duplicates, 1);
        }
    }

    #[test]
    fn a_database_of_the_first_schema_is_brought_up_to_date() {
        let (_place, path, mut sqlite) = open();
        let mut rows: Vec<_> = (1..=2).map(testing::record).collect();
        rows[1].outcome = crate::outcome::Outcome::Shutdown;
        deliver(&mut sqlite, &rows, 1);
        let back = "DROP INDEX attempt_workspace; ALTER TABLE attempt DROP COLUMN cause;
                    ALTER TABLE cursor DROP COLUMN rows;
                    UPDATE meta SET value = 1";
        sqlite.connection.execute_batch(back).unwrap();
        drop(sqlite);
        let mut sqlite = Sqlite::open(&path).unwrap();
        assert_eq!(deliver(&mut sqlite, &rows, 2).duplicates, 2);
        let sql = "SELECT cause FROM attempt ORDER BY seq";
        let mut statement = sqlite.connection.prepare(sql).unwrap();
        let causes = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        let causes: Vec<_> = causes.map(Result::unwrap).collect();
        assert_eq!(causes, [None, Some("operator".to_owned())]);
    }

    #[test]
    fn the_migrations_blame_whom_outcomes_do() {
        use crate::outcome::{Cause, Outcome};
        for sql in [MIGRATIONS[1], include_str!("postgres_2.sql")] {
            for (outcome, label) in Outcome::ALL.iter().filter(|(it, _)| it.dispatched()) {
                let cause = outcome.cause().filter(|cause| *cause != Cause::Provider);
                let told = cause.map(|cause| format!("'{label}' THEN '{}'", cause.as_str()));
                let named = sql.contains(&format!("'{label}' THEN"));
                assert!(told.map_or(!named, |told| sql.contains(&told)), "{label}");
            }
        }
    }

    #[test]
    fn the_log_is_as_long_whatever_the_pages_of_the_database() {
        let place = tempfile::tempdir().unwrap();
        for page in [PAGE_BYTES, 4_096] {
            let path = place.path().join(page.to_string());
            let own = Connection::open(&path).unwrap();
            own.pragma_update(None, "page_size", page).unwrap();
            own.execute_batch("CREATE TABLE mine (id)").unwrap();
            let sqlite = Sqlite::open(&path).unwrap();
            let read = |name| {
                sqlite
                    .connection
                    .pragma_query_value(None, name, |row| row.get::<_, u32>(0))
                    .unwrap()
            };
            assert_eq!((read("page_size"), read("wal_autocheckpoint")), (page, LOG_BYTES / page));
        }
    }

    #[test]
    fn a_newer_schema_is_refused_by_name() {
        let (_place, path, sqlite) = open();
        sqlite.connection.execute("UPDATE meta SET value = 99", []).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(SinkError::Newer { found: 99, known: 3 })));
    }
}
