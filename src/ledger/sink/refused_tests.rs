//! What an operator's own checks, triggers and faults do to rows for SQLite (F69).

use super::sqlite::Sqlite;
use super::{Batch, Position, Receipt, Sink, SinkError, poison};
use crate::ledger::record::Record;
use crate::ledger::testing;
use rusqlite::Connection;
use std::path::PathBuf;

const NODE: [u8; 16] = [7; 16];
const REFUSED: [u64; 3] = [3, 4, 12];

/// A database with one row, and a connection of the operator's.
struct Base {
    _place: tempfile::TempDir,
    path: PathBuf,
    operator: Connection,
}

impl Base {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger.db");
        drop(Sqlite::open(&path).unwrap());
        let operator = Connection::open(&path).unwrap();
        Self { _place: place, path, operator }
    }

    /// Delivers these rows around those that are refused: which were laid aside for what, and how it went.
    fn deliver(&self, rows: &[Record]) -> (Vec<(u64, String)>, Result<Receipt, SinkError>) {
        let cursor = Position { epoch: 1, segment: 0, offset: 9, rows: rows.len() as u64 };
        let batch = Batch { rows, prices: &[], cursor: Some((NODE, cursor)) };
        let mut aside = Vec::new();
        let receipt = Sqlite::open(&self.path).and_then(|mut sqlite| {
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
