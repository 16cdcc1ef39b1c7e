//! A state directory that is an old copy, or one of two, and a sink that is put back: no row is taken for
//! delivered that the sink does not have, and what it will never get is counted.

use super::testing::{self, complete, options, until};
use super::{Ledger, Options, Target, losses};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Completes some attempts and waits until `rows` are in the database.
fn attempts(ledger: &Ledger, options: &Options, count: u64, rows: u64) {
    for number in 0..count {
        complete(ledger, &format!("gen-{rows}-{number}"), 1);
    }
    until("they are delivered", || testing::count(&options.sqlite) == rows);
}

fn ended(ledger: &Arc<Ledger>) {
    assert!(ledger.shutdown(Duration::from_secs(10)));
    let depth = ledger.depth();
    assert_eq!((depth.rows_lost, depth.conflicts, depth.duplicates), (0, 0, 0), "{depth:?}");
}

#[test]
fn f65_what_a_start_on_an_old_copy_records_is_delivered() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path());
    let kept = place.path().join("kept");
    for start in 1..=4 {
        let ledger = Ledger::open(options.clone()).unwrap();
        attempts(&ledger, &options, 5, start * 5);
        ended(&ledger);
        if start == 1 {
            copy(&options.directory, &kept);
        }
    }
    fs::remove_dir_all(&options.directory).unwrap();
    copy(&kept, &options.directory);
    let ledger = Ledger::open(options.clone()).unwrap();
    attempts(&ledger, &options, 7, 27);
    ended(&ledger);
}

#[test]
fn f65_two_that_run_on_copies_of_one_directory_both_have_their_rows() {
    let place = tempfile::tempdir().unwrap();
    let one = options(place.path());
    let first = Ledger::open(one.clone()).unwrap();
    attempts(&first, &one, 3, 3);
    assert!(first.shutdown(Duration::from_secs(10)));
    drop(first);
    let other = Options { directory: place.path().join("other"), ..one.clone() };
    copy(&one.directory, &other.directory);
    let first = Ledger::open(one.clone()).unwrap();
    let second = Ledger::open(other.clone()).unwrap();
    for round in 1..=5 {
        attempts(&first, &one, 2, round * 5);
        attempts(&second, &other, 3, round * 5 + 3);
    }
    drop((first, second));
}

/// `asked`: the sink fails meanwhile and is asked where it stands, or nothing but its rows and cursor changes.
/// `emptied`: what it had is gone a second time, which counts once.
fn put_back(asked: bool, emptied: bool) {
    let place = tempfile::tempdir().unwrap();
    let options = Options { spool_bytes: 64 << 10, ..options(place.path()) };
    let ledger = Ledger::open(options.clone()).unwrap();
    attempts(&ledger, &options, 20, 20);
    let base = rusqlite::Connection::open(&options.sqlite).unwrap();
    base.busy_timeout(Duration::from_secs(10)).unwrap();
    base.execute_batch(
        "CREATE TABLE kept AS SELECT * FROM attempt; CREATE TABLE at AS SELECT * FROM cursor",
    )
    .unwrap();
    for round in 1..=8 {
        attempts(&ledger, &options, 20, 20 + round * 20);
    }
    until("delivered segments are gone", || {
        ledger.shared.segments.all().first().is_none_or(|(id, _)| id.1 > 0)
    });
    base.execute_batch(
        "BEGIN EXCLUSIVE; DELETE FROM attempt; INSERT INTO attempt SELECT * FROM kept;
         DELETE FROM cursor; INSERT INTO cursor SELECT * FROM at",
    )
    .unwrap();
    if asked {
        complete(&ledger, "gen-between", 1);
        until("the sink is asked again", || ledger.depth().sinks_refusing == 1);
    }
    base.execute_batch("COMMIT").unwrap();
    let mut all = 180 + u64::from(asked);
    for round in 1..=8 {
        for number in 0..20 {
            until("a slot is free", || ledger.depth().slots_used < 60);
            complete(&ledger, &format!("gen-later-{round}-{number}"), 1);
            all += 1;
        }
    }
    if emptied {
        until("it is delivered", || ledger.depth().rows_pending == 0);
        base.execute_batch("DELETE FROM attempt; DELETE FROM cursor").unwrap();
        complete(&ledger, "gen-last", 1);
        all += 1;
    }
    assert!(ledger.shutdown(Duration::from_secs(10)));
    let (rows, lost) = (testing::count(&options.sqlite), ledger.depth().rows_lost);
    assert_eq!(rows + lost, all);
    assert!(lost > 0, "{rows} rows");
    let noted = losses::read(&options.directory).unwrap().losses;
    assert_eq!(noted.iter().map(|loss| loss.rows).sum::<u64>(), lost);
}

#[test]
fn f65_what_a_sink_lacks_that_was_put_back_meanwhile_is_counted() {
    put_back(true, false);
}

/// The cursor is compared in each transaction.
#[test]
fn f65_a_sink_that_is_put_back_without_an_error_is_noticed() {
    put_back(false, false);
}

#[test]
fn f65_what_a_sink_lost_before_counts_once_when_it_loses_everything() {
    put_back(false, true);
}

/// Another sink keeps the segments that this one was done with: it has every row again.
#[test]
fn f65_a_sink_that_is_put_back_has_again_what_the_spool_keeps_for_another() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    let held = fs::File::create(out.join(".lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let other = Target::JsonLines { directory: out.clone(), rotate_bytes: 1 << 20 };
    let options = Options { spool_bytes: 64 << 10, others: vec![other], ..options(place.path()) };
    let ledger = Ledger::open(options.clone()).unwrap();
    for round in 1..=8 {
        attempts(&ledger, &options, 20, round * 20);
    }
    assert!(ledger.shared.segments.all().len() > 1);
    let base = rusqlite::Connection::open(&options.sqlite).unwrap();
    base.busy_timeout(Duration::from_secs(10)).unwrap();
    base.execute_batch("BEGIN; DELETE FROM attempt; DELETE FROM cursor; COMMIT").unwrap();
    complete(&ledger, "gen-later", 1);
    until("the database has all of them again", || testing::count(&options.sqlite) == 161);
    drop(held);
    until("both have all", || ledger.depth().rows_pending == 0);
    let files = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let lines = files.filter_map(|file| fs::read_to_string(file).ok());
    assert_eq!(lines.map(|text| text.matches("\"seq\"").count()).sum::<usize>(), 161);
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!((ledger.depth().rows_lost, ledger.shared.segments.all().len()), (0, 0));
}

#[test]
fn f65_a_sink_that_lost_nothing_but_its_cursor_lacks_no_row() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { spool_bytes: 64 << 10, ..options(place.path()) };
    let ledger = Ledger::open(options.clone()).unwrap();
    for round in 1..=9 {
        attempts(&ledger, &options, 20, round * 20);
    }
    until("delivered segments are gone", || {
        ledger.shared.segments.all().first().is_none_or(|(id, _)| id.1 > 0)
    });
    let base = rusqlite::Connection::open(&options.sqlite).unwrap();
    base.busy_timeout(Duration::from_secs(10)).unwrap();
    base.execute("DELETE FROM cursor", []).unwrap();
    attempts(&ledger, &options, 20, 200);
    assert!(ledger.shutdown(Duration::from_secs(10)));
    let depth = ledger.depth();
    assert_eq!((depth.rows_lost, depth.conflicts, depth.rows_pending), (0, 0, 0), "{depth:?}");
}
