//! The SQLite sink: one file, write-ahead log, every commit synced.
//!
//! `synchronous = FULL`: a commit that returned survives a power cut, so the cursor may be trusted
//! and the segment deleted. `NORMAL` may roll back (reliability 4.2, traps).

mod reader;
#[cfg(test)]
mod tests;
mod write;

use super::columns::{self, NAMES};
use super::{Batch, Enough, Position, Receipt, Sink, SinkError, works};
use crate::ledger::record::{Record, RecordKey};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use write::{advance, insert};

pub(in crate::ledger) use reader::Reader;
pub(super) use reader::cell;

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
const MIGRATIONS: [&str; 3] = [
    include_str!("sqlite/schema_1.sql"),
    include_str!("sqlite/schema_2.sql"),
    include_str!("sqlite/schema_3.sql"),
];
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

pub(in crate::ledger) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that is open. Not a handle: to close one would end SQLite's locks.
    file: (u64, u64),
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
            path: path.to_owned(),
            file: id(path)?,
            inserts: [TOGETHER, 1].map(insert),
            select: format!(
                "SELECT {names} FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3"
            ),
        })
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
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
        // What is written to a file without a name is gone when it is closed.
        if id(&self.path).ok() != Some(self.file) {
            let gone = "the database was removed or replaced while it was open";
            return Err(io::Error::new(io::ErrorKind::NotFound, gone).into());
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(cursor) = batch.cursor {
            advance(&transaction, cursor)?;
        }
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
        transaction.commit()?;
        Ok(receipt)
    }

    fn has(&mut self, key: &RecordKey) -> Result<Option<bool>, SinkError> {
        let sql = "SELECT 1 FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3";
        let key = params![&key.node[..], key.epoch as i64, key.seq as i64];
        Ok(Some(self.connection.prepare_cached(sql)?.exists(key)?))
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
