//! What an operator's own checks, triggers and faults do to rows for SQLite (F69).

use super::sqlite::Sqlite;
use super::{Batch, Position, Receipt, Sink, SinkError, dead_letter, poison};
use crate::ledger::record::Record;
use crate::ledger::redeliver::{Redelivered, redeliver};
use crate::ledger::testing;
use rusqlite::Connection;
use std::path::PathBuf;

const NODE: [u8; 16] = [7; 16];
const REFUSED: [u64; 3] = [3, 4, 12];

/// A database with one row, and a connection of the operator's.
struct Base {
    place: tempfile::TempDir,
    path: PathBuf,
    operator: Connection,
}

impl Base {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger.db");
        drop(Sqlite::open(&path).unwrap());
        let operator = Connection::open(&path).unwrap();
        Self { place, path, operator }
    }

    /// Delivers these rows around those that are refused: which were laid aside for what, and how it went.
    fn deliver(&self, rows: &[Record]) -> (Vec<(u64, String)>, Result<Receipt, SinkError>) {
        let to = Position { epoch: 1, segment: 0, offset: 9, rows: rows.len() as u64 };
        let mut aside = Vec::new();
        let receipt = Sqlite::open(&self.path).and_then(|mut sqlite| {
            let cursor = testing::advance(&mut sqlite, NODE, to);
            let batch = Batch { rows, prices: &[], cursor };
            poison::deliver(&mut sqlite, &batch, &mut |row, why| {
                aside.push((row.key.seq, why.to_owned()));
                Ok(())
            })
        });
        (aside, receipt)
    }

    fn count(&self) -> u64 {
        testing::count(&self.path)
    }
}

fn rows(seqs: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let row = |seq| {
        let mut row = testing::record(seq);
        row.intent.app = if REFUSED.contains(&seq) { "poison" } else { "sound" }.into();
        row.upstream_id = format!("id-{}", if REFUSED.contains(&seq) { 1 } else { seq });
        row
    };
    seqs.into_iter().map(row).collect()
}

#[test]
fn f69_rows_that_a_check_a_trigger_or_an_index_refuses_are_laid_aside_and_the_rest_goes_on() {
    for (operator, said) in [
        ("ALTER TABLE attempt ADD COLUMN mine INTEGER CHECK (app <> 'poison')", "CHECK"),
        ("CREATE UNIQUE INDEX mine ON attempt (upstream_id)", "UNIQUE"),
        (
            "CREATE TRIGGER mine BEFORE INSERT ON attempt WHEN new.app = 'poison'
             BEGIN SELECT RAISE(ABORT, 'not that one'); END",
            "not that one",
        ),
        (
            "CREATE TRIGGER mine AFTER INSERT ON attempt WHEN new.app = 'poison'
             BEGIN SELECT RAISE(ROLLBACK, 'not that one'); END",
            "not that one",
        ),
        (
            "CREATE TRIGGER mine BEFORE INSERT ON attempt WHEN new.app = 'poison'
             BEGIN SELECT RAISE(IGNORE); END",
            "a trigger drops it",
        ),
    ] {
        let base = Base::new();
        base.operator.execute_batch(operator).unwrap();
        let (aside, receipt) = base.deliver(&rows(1..=40));
        assert_eq!(aside.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), REFUSED, "{operator}");
        assert!(aside.iter().all(|(_, why)| why.contains(said)), "{aside:?}");
        assert_eq!((receipt.unwrap().inserted, base.count()), (37, 37), "{operator}");
        // Alone it is refused while others would be taken; unless a copy of a row shows nothing.
        let (aside, receipt) = base.deliver(&rows([3]));
        if said == "UNIQUE" {
            assert!(aside.is_empty() && receipt.is_err());
            continue;
        }
        assert_eq!((aside.len(), receipt.unwrap()), (1, Receipt::default()));
        let cursor = Sqlite::open(&base.path).unwrap().cursor(NODE).unwrap();
        assert_eq!(cursor.map(|cursor| cursor.rows), Some(1));
    }
}

#[test]
fn f69_a_fault_of_the_whole_database_lays_nothing_aside() {
    for operator in [
        "CREATE TRIGGER frozen BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'frozen'); END",
        "ALTER TABLE attempt RENAME TO elsewhere",
        "ALTER TABLE attempt DROP COLUMN app",
        "DROP TABLE price; CREATE TABLE price (hash)",
        "BEGIN EXCLUSIVE",
    ] {
        for seqs in [1..=20, 3..=3] {
            let base = Base::new();
            assert!(base.deliver(&rows([21])).1.is_ok());
            base.operator.execute_batch(operator).unwrap();
            let mut batch = rows(seqs);
            batch.push(testing::record(21));
            let price = [(*testing::price()).clone()];
            let batch = Batch { rows: &batch, prices: &price, cursor: None };
            let done = Sqlite::open(&base.path).and_then(|mut sqlite| {
                poison::deliver(&mut sqlite, &batch, &mut |_, why| panic!("{operator}: {why}"))
            });
            let error = done.expect_err(operator);
            assert!(!error.remedy().is_empty(), "{error}");
        }
    }
}

/// What keeps every new row out though the stored ones would be taken again is no row's fault either.
#[test]
fn f69_a_check_that_only_new_rows_fail_lays_nothing_aside() {
    for column in ["started_us", "ended_us", "epoch", "seq"] {
        let base = Base::new();
        assert!(base.deliver(&rows([21])).1.is_ok());
        let newest = format!("SELECT max({column}) FROM attempt");
        let newest: i64 = base.operator.query_row(&newest, [], |row| row.get(0)).unwrap();
        let check =
            format!("ALTER TABLE attempt ADD COLUMN mine INTEGER CHECK ({column} <= {newest})");
        base.operator.execute_batch(&check).unwrap();
        let mut batch = rows(41..=60);
        for row in &mut batch {
            row.key.epoch += 1;
            (row.started_us, row.ended_us) =
                (row.started_us + 60_000_000, row.ended_us + 60_000_000);
        }
        let (aside, receipt) = base.deliver(&batch);
        assert!(aside.is_empty() && receipt.is_err(), "{column}: {aside:?}");
    }
}

/// Nothing shows that others would be taken: it waits for one.
#[test]
fn f69_a_lone_row_of_an_empty_table_waits_for_another() {
    let base = Base::new();
    let check = "ALTER TABLE attempt ADD COLUMN mine INTEGER CHECK (app <> 'poison')";
    base.operator.execute_batch(check).unwrap();
    let (aside, receipt) = base.deliver(&rows([3]));
    assert!(aside.is_empty() && matches!(receipt, Err(SinkError::Sqlite(_))));
    let (aside, receipt) = base.deliver(&rows([3, 5]));
    assert_eq!((aside.len(), receipt.unwrap().inserted), (1, 1));
}

/// A stored row that was changed into what no record is does not keep its like from being told apart.
#[test]
fn f69_a_changed_row_in_the_table_is_a_conflict() {
    let base = Base::new();
    assert!(base.deliver(&rows(1..=2)).1.is_ok());
    base.operator.execute("UPDATE attempt SET outcome = 'strange' WHERE seq = 2", []).unwrap();
    let (aside, receipt) = base.deliver(&rows(1..=3));
    let want = Receipt { inserted: 1, duplicates: 1, conflicts: 1 };
    assert_eq!((aside.len(), receipt.unwrap()), (0, want));
}

/// What was laid aside goes in once the operator has seen to the table, each row once.
#[test]
fn f69_rows_that_were_laid_aside_are_offered_again() {
    let base = Base::new();
    let state = base.place.path();
    let check = "CREATE TRIGGER mine BEFORE INSERT ON attempt WHEN new.app = 'poison'
                 BEGIN SELECT RAISE(ABORT, 'not that one'); END";
    base.operator.execute_batch(check).unwrap();
    assert!(base.deliver(&rows(5..=9)).1.is_ok());
    for row in rows(REFUSED).iter().chain(&rows([5])) {
        dead_letter::put(state, "sqlite", row, "not that one").unwrap();
    }
    dead_letter::put_strange(state, "sqlite", b"what is this", "it is no row").unwrap();
    let offer = || redeliver(state, &crate::ledger::Base::Sqlite(base.path.clone()), &()).unwrap();
    let none = Redelivered { known: 1, strange: 1, ..Redelivered::default() };
    assert_eq!(offer(), Redelivered { refused: 3, ..none });
    base.operator.execute_batch("DROP TRIGGER mine").unwrap();
    assert_eq!(offer(), Redelivered { taken: 3, ..none });
    assert_eq!(offer(), Redelivered { known: 4, ..none });
    assert_eq!(base.count(), 8);
    let nowhere = crate::ledger::Base::Sqlite(state.join("other.db"));
    assert!(redeliver(state, &nowhere, &()).is_err() && !state.join("other.db").exists());
}
