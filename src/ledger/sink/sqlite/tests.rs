//! Rows in, the same rows out.

use super::*;
use crate::ledger::record::flag;
use crate::ledger::testing;
use crate::price::PriceVersion;
use proptest::prelude::*;

const NODE: [u8; 16] = [7; 16];

fn open() -> (tempfile::TempDir, PathBuf, Sqlite) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ledger.db");
    let sqlite = Sqlite::open(&path).unwrap();
    (place, path, sqlite)
}

fn deliver(sqlite: &mut Sqlite, rows: &[Record], offset: u64) -> Receipt {
    let version = testing::price();
    let to = Position { epoch: 1, segment: 2, offset, rows: offset };
    let cursor = testing::advance(sqlite, NODE, to);
    sqlite.deliver(&Batch { rows, prices: &[(*version).clone()], cursor }).unwrap()
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
    let stored = |row: &Record| Reader::open(&path).unwrap().generation(&row.intent.generation_id);
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
    for sql in [MIGRATIONS[1], include_str!("../postgres/schema_2.sql")] {
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
            sqlite.connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).unwrap()
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
