use super::*;
use crate::ledger::{Durability, Ledger, Options, Target, testing};
use std::collections::BTreeMap;
use std::time::Duration;

const NODE: [u8; 16] = [7; 16];

fn to(offset: u64, rows: u64) -> Advance {
    let to = Position { epoch: 1, segment: 0, offset, rows };
    Advance { node: NODE, from: None, to }
}

fn deliver(sink: &mut JsonLines, rows: std::ops::RangeInclusive<u64>) {
    let cursor = to(*rows.end(), *rows.end());
    let rows: Vec<_> = rows.map(testing::record).collect();
    sink.deliver(&Batch { rows: &rows, prices: &[], cursor: Some(cursor) }).unwrap();
}

fn rows(directory: &Path) -> Vec<u64> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeMap<_, _> = names
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let lines = files.values().flat_map(|text| text.lines());
    let objects = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    objects.map(|object| object["seq"].as_u64().unwrap()).collect()
}

#[test]
fn each_row_is_there_once_though_a_delivery_is_cut_anywhere() {
    let place = tempfile::tempdir().unwrap();
    let open = || JsonLines::open(place.path(), 3_000).unwrap();
    let mut sink = open();
    assert_eq!(sink.cursor(NODE).unwrap(), None);
    deliver(&mut sink, 1..=3);
    let newest = path(place.path(), sink.state.file);
    File::options().append(true).open(&newest).unwrap().write_all(b"{\"half\":").unwrap();
    fs::write(path(place.path(), sink.state.file + 1), "{}").unwrap();
    drop(sink);
    let mut sink = open();
    assert_eq!(sink.cursor(NODE).unwrap().map(|cursor| cursor.offset), Some(3));
    assert_eq!(sink.cursor([0; 16]).unwrap(), None);
    deliver(&mut sink, 4..=20);
    deliver(&mut sink, 21..=22);
    assert_eq!(rows(place.path()), (1..=22).collect::<Vec<_>>());
    assert!(sink.state.file > 0, "it was rotated");
    // A later epoch recovers three of them from their slots, and one that nobody has.
    let recovered: Vec<_> = [2, 9, 22, 23].map(testing::record).into();
    let cursor = Position { epoch: 2, segment: 0, offset: 9, rows: 23 };
    let cursor = Advance { node: NODE, from: None, to: cursor };
    let batch = Batch { rows: &recovered, prices: &[], cursor: Some(cursor) };
    drop(sink);
    let receipt = open().deliver(&batch).unwrap();
    assert_eq!((receipt.inserted, receipt.duplicates), (1, 3));
    assert_eq!(rows(place.path()), (1..=23).collect::<Vec<_>>());
}

#[test]
fn a_newest_file_that_somebody_took_or_changed_is_left_and_the_next_begun() {
    type Change = fn(&Path);
    let changes: [(&str, Change, &[u64]); 5] = [
        ("removed", |newest| fs::remove_file(newest).unwrap(), &[4, 5, 6]),
        ("moved", |newest| fs::rename(newest, newest.with_extension("old.jsonl")).unwrap(), ALL),
        ("shortened", |newest| shorten(newest, 0), &[4, 5, 6]),
        (
            "replaced",
            |newest| {
                fs::copy(newest, newest.with_extension("copy")).unwrap();
                fs::rename(newest.with_extension("copy"), newest).unwrap();
            },
            ALL,
        ),
        ("nothing", |_| (), ALL),
    ];
    for (name, change, left) in changes {
        for at_start in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let open = || JsonLines::open(place.path(), 1 << 20).unwrap();
            let mut sink = open();
            deliver(&mut sink, 1..=3);
            change(&path(place.path(), 0));
            if at_start {
                drop(sink);
                sink = open();
            }
            assert_eq!(sink.cursor(NODE).unwrap().map(|cursor| cursor.rows), Some(3), "{name}");
            deliver(&mut sink, 4..=5);
            drop(sink);
            let mut sink = open();
            deliver(&mut sink, 6..=6);
            assert_eq!(sink.state.file, u64::from(name != "nothing"), "{name}");
            assert_eq!(rows(place.path()), left, "{name}, at start: {at_start}");
        }
    }
}

const ALL: &[u64] = &[1, 2, 3, 4, 5, 6];

fn shorten(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// Nothing is cut for want of a cursor, and no row of the newest files written twice.
#[test]
fn files_without_their_cursor_stay_and_are_looked_through() {
    for cursor in [None, Some("no cursor")] {
        let place = tempfile::tempdir().unwrap();
        let open = || JsonLines::open(place.path(), 1 << 20).unwrap();
        deliver(&mut open(), 1..=3);
        fs::remove_file(place.path().join("cursor")).unwrap();
        cursor.inspect(|text| fs::write(place.path().join("cursor"), text).unwrap());
        let mut sink = open();
        assert_eq!((sink.cursor(NODE).unwrap(), sink.state.file), (None, 1));
        deliver(&mut sink, 2..=5);
        assert_eq!(rows(place.path()), [1, 2, 3, 4, 5]);
    }
}

/// What a sink has, no recovery finds again, so that no file is needed to know it.
#[test]
fn f72_a_row_is_delivered_only_once_its_slot_is_free() {
    let place = tempfile::tempdir().unwrap();
    let durability = Durability::Relaxed;
    let options = |place: &Path| Options { durability, ..testing::options(place) };
    let ledger = Ledger::open(options(place.path())).unwrap();
    testing::complete(&ledger, "gen-1", 1);
    testing::until("it is appended", || ledger.depth().rows_pending == 1);
    let killed = testing::crash(place.path());
    testing::until("it is delivered", || ledger.depth().rows_flushed == 1);
    assert_eq!(ledger.depth().slots_used, 0);
    // Slot and spool both had it.
    let ledger = Ledger::open(options(killed.path())).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)));
    let depth = ledger.depth();
    assert_eq!((depth.recovered, depth.rows_flushed, depth.duplicates), (0, 1, 0));
}

/// Rows that are not acknowledged when the newest file goes are written into the next.
#[test]
fn a_file_removed_while_weir_runs_takes_no_row_that_comes_after() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("out");
    let target = Target::JsonLines { directory: directory.clone(), rotate_bytes: 1 << 20 };
    let options = Options { others: vec![target], ..testing::options(place.path()) };
    for newest in [0, 2] {
        let ledger = Ledger::open(options.clone()).unwrap();
        testing::complete(&ledger, "gen-1", 1);
        testing::until("the first is there", || ledger.depth().rows_flushed == 1);
        fs::remove_file(path(&directory, newest)).unwrap();
        for number in 2..=9 {
            testing::complete(&ledger, &format!("gen-{number}"), 1);
        }
        testing::until("all are there", || ledger.depth().rows_flushed == 9);
        assert_eq!(ledger.depth().sink_errors, 0, "to collect files is no error");
        assert!(ledger.shutdown(Duration::from_secs(10)));
        let mut found = rows(&directory);
        found.sort_unstable();
        assert_eq!(found, (2..=9).collect::<Vec<_>>());
        // The cursor names a file that is no more at the next start.
        fs::remove_file(path(&directory, newest + 1)).unwrap();
    }
}
