//! Ledgers looked at from outside.

use super::*;
use crate::ledger::record::Record;
use crate::ledger::report::{self, By};
use crate::ledger::segments::Segments;
use crate::ledger::sink::{Batch, Position, Sink, dead_letter, sqlite::Sqlite};
use crate::ledger::spool::Spool;
use crate::ledger::{Base, Ledger, Options, directory, testing};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn books(options: &Options) -> Books {
    let base = Base::Sqlite(options.sqlite.clone());
    Books { base, state: Some(options.directory.clone()), dead_letters: None }
}

/// A ledger of five attempts, all delivered.
fn ended() -> (tempfile::TempDir, Options) {
    let place = tempfile::tempdir().unwrap();
    let options = testing::options(place.path());
    let ledger = Ledger::open(options.clone()).unwrap();
    (0..5).for_each(|n| testing::complete(&ledger, &format!("gen-{n}"), 1));
    assert!(ledger.shutdown(Duration::from_secs(10)));
    (place, options)
}

#[test]
fn a_sound_ledger_has_nothing_wrong_and_a_changed_one_has() {
    let (_place, options) = ended();
    let books = books(&options);
    let sound = Checked { rows: 5, prices: 1, ..Checked::default() };
    assert_eq!(check(&books, &()).unwrap(), sound);
    let compared = compare(&books, &()).unwrap();
    let epoch = Epoch { stored: 5, ..Epoch::default() };
    let newest = directory::writer(&options.directory).unwrap().unwrap().epoch;
    assert_eq!((compared.newest, compared.epochs), (newest, [(newest, epoch)].into()));
    let label = |kind| ("meta/llama".to_owned(), "deepinfra".to_owned(), kind);
    assert_eq!(compared.sums[&label("input")], 50);
    assert_eq!(compared.sums[&label("cost")], 5 * (10 + 45));
    for form in [Form::Json, Form::Csv] {
        let lines = exported(&books, form).0.lines().count();
        assert_eq!(lines, 5 + usize::from(form == Form::Csv));
    }
    let database = rusqlite::Connection::open(&options.sqlite).unwrap();
    database.execute("UPDATE attempt SET output = output + 1 WHERE seq = 2", []).unwrap();
    database.execute("UPDATE attempt SET charge_pico = 0 WHERE seq = 3", []).unwrap();
    let found = check(&books, &()).unwrap().told;
    assert!(found.len() == 2 && found[0].ends_with("at its price"), "{found:?}");
    database.execute("UPDATE price SET text = text || ' '", []).unwrap();
    let found = check(&books, &()).unwrap().told;
    assert!(found.len() == 6 && found[0].ends_with("its text is changed"), "{found:?}");
}

fn exported(books: &Books, form: Form) -> (String, Vec<String>) {
    let (mut out, mut skipped) = (Vec::new(), Vec::new());
    let count = export(books, form, &mut out, |bad| skipped.push(bad.to_owned()), &()).unwrap();
    assert_eq!(count, skipped.len() as u64);
    (String::from_utf8(out).unwrap(), skipped)
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_passed_over() {
    let (_place, options) = ended();
    let books = books(&options);
    let database = rusqlite::Connection::open(&options.sqlite).unwrap();
    database.execute("UPDATE attempt SET outcome = 'enlightened' WHERE seq = 2", []).unwrap();
    let found = check(&books, &()).unwrap();
    assert_eq!((found.rows, found.wrong, found.told.len()), (5, 1, 1));
    let (lines, skipped) = exported(&books, Form::Json);
    assert_eq!(lines.lines().count(), 4);
    assert_eq!(skipped, found.told);
    assert!(skipped[0].ends_with("/2: column outcome holds what no row has there"), "{skipped:?}");
}

#[test]
fn damage_in_the_middle_ends_neither_report_before_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ledger.db");
    let rows: Vec<_> = (1..=500).map(testing::record).collect();
    let batch = Batch { rows: &rows, prices: &[testing::price().as_ref().clone()], cursor: None };
    let mut sqlite = Sqlite::open(&path).unwrap();
    sqlite.deliver(&batch).unwrap();
    drop(sqlite);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = memchr::memmem::find_iter(&bytes, b"chatcmpl-1").nth(250).unwrap() / 16_384 * 16_384;
    bytes[at..at + 200].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut books = Books { base: Base::Sqlite(path), state: None, dead_letters: None };
    let found = check(&books, &()).unwrap();
    assert!(found.rows > 0 && found.rows < 500 && found.wrong >= 1, "{found:?}");
    assert!(found.told.last().unwrap().starts_with(&format!("behind row {}: ", found.rows)));
    let mut out = Vec::new();
    let ended = export(&books, Form::Json, &mut out, |_| (), &()).unwrap_err();
    assert!(ended.to_string().contains("damaged"), "{ended}");
    assert_eq!(String::from_utf8(out).unwrap().lines().count() as u64, found.rows);
    // The index would say that all are there.
    std::fs::write(place.path().join("identity"), format!("node {}\nepoch 1\n", "07".repeat(16)))
        .unwrap();
    books.state = Some(place.path().to_owned());
    let compared = compare(&books, &()).unwrap();
    let (stored, unread) = (compared.epochs[&1].stored, compared.damaged.unwrap());
    assert!(unread > 0 && unread < 50 && stored + unread == 500, "{stored} and {unread}");
    assert!(stored > found.rows, "also those behind");
}

#[test]
fn a_database_that_cannot_be_read_says_what_to_do() {
    let (place, options) = ended();
    let read = |path: &Path| {
        let books = Books { base: Base::Sqlite(path.to_owned()), state: None, dead_letters: None };
        let said = check(&books, &()).unwrap_err().to_string();
        assert_eq!(report::usage(&books, By::Day, &()).unwrap_err().to_string(), said);
        said
    };
    let other = place.path().join("other.db");
    assert!(read(&other).starts_with("there is no ledger here"));
    assert!(read(place.path()).starts_with("this is no file: name the database itself"));
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (id)").unwrap();
    assert!(read(&other).starts_with("this is no ledger of Weir's"));
    std::fs::write(&other, "id,cost\n".repeat(1_000)).unwrap();
    assert!(read(&other).starts_with("this is no database, or a damaged one"), "{}", read(&other));
    let database = rusqlite::Connection::open(&options.sqlite).unwrap();
    for (schema, said) in [(1, "start `weir run` on it once"), (99, "use the newer version")] {
        database.execute("UPDATE meta SET value = ?1", [schema]).unwrap();
        assert!(read(&options.sqlite).contains(said), "{}", read(&options.sqlite));
    }
    database.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let locked = report::usage(&books(&options), By::Day, &()).unwrap_err().to_string();
    assert!(locked.starts_with("another process keeps it locked"), "{locked}");
}

/// A spool of three epochs of ten rows, of which a database has a part.
pub(super) struct Left {
    _place: tempfile::TempDir,
    pub(super) options: Options,
    pub(super) rows: Vec<Record>,
}

impl Left {
    pub(super) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = testing::options(place.path());
        let state = &options.directory;
        let identity = directory::Directory::lock(state).unwrap();
        let segments = Arc::new(Segments::new(1));
        let mut rows = Vec::new();
        for epoch in 1..=3 {
            let writer = identity.begin(None, None, 0).unwrap();
            let before = rows.len() as u64;
            let mut spool = Spool::begin(state, writer, segments.clone(), 1 << 20, before).unwrap();
            for seq in 1..=10 {
                let mut row = testing::record(seq);
                (row.key.node, row.key.epoch) = (writer.node, epoch);
                spool.append(&[(row.clone(), testing::price())]).unwrap();
                rows.push(row);
            }
        }
        Self { _place: place, options, rows }
    }

    /// Delivers rows, and says that all are delivered up to the end of an epoch.
    fn deliver(&self, rows: &[Record], epoch: u64) {
        let cursor = Position { epoch, segment: u64::MAX >> 1, offset: 0, rows: 0 };
        let mut sqlite = Sqlite::open(&self.options.sqlite).unwrap();
        let cursor = testing::advance(&mut sqlite, self.rows[0].key.node, cursor);
        let batch = Batch { rows, prices: &[], cursor };
        sqlite.deliver(&batch).unwrap();
    }
}

#[test]
fn usage_counts_what_waits_in_the_spool_or_was_laid_aside_and_everything_once() {
    let left = Left::new();
    // The first epoch whole, and of the second, behind the cursor, what a repeated delivery began with.
    let (first, rest) = left.rows.split_at(10);
    left.deliver(&[first, &rest[..4]].concat(), 1);
    let (dead, books) = (&rest[5], books(&left.options));
    dead_letter::put(&left.options.directory, "sqlite", dead, "it is odd").unwrap();
    let strange = b"what is this";
    dead_letter::put_strange(&left.options.directory, "sqlite", strange, "it is no row").unwrap();
    for by in [By::Key, By::Day, By::Model] {
        let report::Usage { rows, beside, .. } = report::usage(&books, by, &()).unwrap();
        let cost: i128 = left.rows.iter().map(|row| row.cost).sum();
        assert_eq!((rows.len(), rows[0].attempts, rows[0].generations), (1, 30, 10));
        assert_eq!(rows[0].cost, cost);
        assert_eq!(beside, Beside { waiting: 15, dead: 1, unreadable: 1, ..Beside::default() });
    }
    let alone = Books { state: None, ..books };
    assert_eq!(report::usage(&alone, By::Key, &()).unwrap().rows[0].attempts, 14);
    let dead_letters = Some(left.options.directory.clone());
    let drained = Books { dead_letters, ..alone };
    assert_eq!(report::usage(&drained, By::Key, &()).unwrap().rows[0].attempts, 15);
}

#[test]
fn every_epoch_is_compared_and_gone_is_not_dead() {
    let left = Left::new();
    let (second, third) = (&left.rows[10..20], &left.rows[20..]);
    // Of the first two epochs, which it says it has, one row is gone, one other and one laid aside.
    let mut stored = [&left.rows[1..10], &second[..9]].concat();
    stored[3].cost += 1;
    left.deliver(&stored, 2);
    dead_letter::put(&left.options.directory, "sqlite", &second[9], "it is odd").unwrap();
    let found = compare(&books(&left.options), &()).unwrap();
    let beside = |waiting, gone, dead| Beside { waiting, gone, dead, ..Beside::default() };
    let want = [
        (1, Epoch { stored: 9, differing: 1, beside: beside(0, 1, 0) }),
        (2, Epoch { stored: 9, differing: 0, beside: beside(0, 0, 1) }),
        (3, Epoch { stored: 0, differing: 0, beside: beside(10, 0, 0) }),
    ];
    assert_eq!((found.newest, found.epochs), (3, want.into()));
    let label = ("meta/llama".to_owned(), "deepinfra".to_owned(), "cost");
    assert_eq!(found.sums[&label], third.iter().map(|row| row.cost).sum::<i128>());
}

#[test]
fn metrics_are_read_by_their_labels() {
    let text = "# HELP x y\nweir_tokens_total{kind=\"input\",model=\"m/a\",provider=\"p\"} 12\n\
                weir_tokens_total{kind=\"output\",model=\"m/a\",provider=\"p\"} 0\n\
                weir_cost_picodollars_total{model=\"m/a\",provider=\"p\"} 99\nweir_slots 4\n";
    let label = |kind| ("m/a".to_owned(), "p".to_owned(), kind);
    let sums = Sums::from([(label("input"), 12), (label("cost"), 99)]);
    let sound = Told { sums, alarms: Vec::new() };
    assert_eq!(told(text).as_ref(), Some(&sound));
    let zero = format!("{text}weir_ledger_lost_total 0\nweir_ledger_conflicts_total 0\n");
    assert_eq!(told(&zero).as_ref(), Some(&sound));
    let lost = format!("{text}weir_ledger_lost_total 7\nweir_ledger_conflicts_total 2\n");
    let alarms: Vec<_> = told(&lost).unwrap().alarms.iter().map(|(count, _)| *count).collect();
    assert_eq!(alarms, [7, 2]);
    assert_eq!(told("<html>"), None);
}
