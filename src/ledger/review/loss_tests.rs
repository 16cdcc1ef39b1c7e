//! What is gone of a spool or a database, counted to the row while Weir may go on.

use super::tests::{Left, books};
use super::*;
use crate::ledger::directory::Writer;
use crate::ledger::losses::{self, Loss};
use crate::ledger::map::Map;
use crate::ledger::reading::Lost;
use crate::ledger::report::{self, By};
use crate::ledger::segment::{HEADER_BYTES, VERSION};
use crate::ledger::segments::Segments;
use crate::ledger::sink::{Batch, Position, Sink, dead_letter, sqlite::Sqlite};
use crate::ledger::{Durability, Ledger, Options, Record, testing};
use crate::outcome::Outcome;
use std::fs::{self, File};
use std::time::Duration;

impl Left {
    /// With a slot file that says how many rows are spooled and how many of these every sink has.
    fn told(spooled: u64, delivered: u64) -> Self {
        let left = Self::new();
        let file = File::create_new(left.options.directory.join("slots")).unwrap();
        file.set_len(Map::file_bytes(0)).unwrap();
        drop(file);
        left.tell(spooled, delivered);
        left
    }

    fn tell(&self, spooled: u64, delivered: u64) {
        let path = self.options.directory.join("slots");
        let map = Map::new(&File::options().read(true).write(true).open(path).unwrap(), 0).unwrap();
        map.header().stamp(0, Writer { node: self.rows[0].key.node, epoch: 3 }, [0; 3]);
        map.header().set_spooled(spooled);
        map.header().set_delivered(delivered);
    }

    fn segment(&self, epoch: u64) -> PathBuf {
        self.options.directory.join(format!("spool-{epoch:010}-000000.log"))
    }

    /// Delivers the first rows and moves the cursor behind them, to an end of an epoch.
    fn deliver_first(&self, rows: usize) {
        let cursor = Position {
            epoch: rows as u64 / 10,
            segment: 0,
            offset: u64::MAX >> 1,
            rows: rows as u64,
        };
        let mut sqlite = Sqlite::open(&self.options.sqlite).unwrap();
        let cursor = testing::advance(&mut sqlite, self.rows[0].key.node, cursor);
        let batch = Batch { rows: &self.rows[..rows], prices: &[], cursor };
        sqlite.deliver(&batch).unwrap();
    }

    fn spooled(&self) -> Spooled {
        Sqlite::open(&self.options.sqlite).unwrap();
        let spooled = spooled(&books(&self.options), &()).unwrap().unwrap();
        let compared = compare(&books(&self.options), &()).unwrap().spool;
        assert_eq!(format!("{compared:?}"), format!("{spooled:?}"), "both go over it the same way");
        spooled
    }
}

#[test]
fn f65_whatever_is_gone_of_the_spool_is_lost_to_the_row() {
    // Epochs whose segments are gone, rows delivered, and what is lost to a sink that has these.
    let cases: [(&[u64], usize, u64); 10] = [
        (&[], 0, 0),
        (&[1], 10, 0),
        (&[1], 0, 10),
        (&[2], 0, 10),
        (&[2], 20, 0),
        (&[3], 10, 10),
        (&[1, 2], 10, 10),
        (&[2, 3], 0, 20),
        (&[1, 2, 3], 10, 20),
        (&[1, 2, 3], 30, 0),
    ];
    for (epochs, delivered, lost) in cases {
        let left = Left::told(30, 0);
        epochs.iter().for_each(|epoch| fs::remove_file(left.segment(*epoch)).unwrap());
        if delivered > 0 {
            left.deliver_first(delivered);
        }
        let found = left.spooled();
        assert_eq!(
            (found.lost, found.wrong()),
            (lost, lost),
            "{epochs:?} gone, {delivered} delivered"
        );
        assert_eq!(found.segments, 3 - epochs.len() as u64);
    }
}

#[test]
fn f65_a_segment_that_is_cut_lacks_its_last_rows_and_a_damaged_one_those_in_the_middle() {
    for epoch in 1..=3 {
        let left = Left::told(30, 0);
        let whole = fs::read(left.segment(epoch)).unwrap();
        fs::write(left.segment(epoch), &whole[..whole.len() / 2]).unwrap();
        let found = left.spooled();
        assert_eq!(found.lost, 30 - found.rows, "{epoch} cut");
        assert!((1..10).contains(&found.lost), "{found:?}");
        // What the sink has is no loss to it, whatever becomes of its segment.
        left.deliver_first(10 * epoch as usize);
        assert_eq!(left.spooled().lost, 0);
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(left.segment(epoch), damaged).unwrap();
        assert_eq!(left.spooled().lost, 0);
    }
}

#[test]
fn f65_a_sink_that_was_added_later_begins_where_every_other_one_was() {
    let left = Left::told(30, 10);
    fs::remove_file(left.segment(1)).unwrap();
    assert_eq!(left.spooled().wrong(), 0);
    left.tell(30, 0);
    assert_eq!(left.spooled().lost, 10);
}

#[test]
fn f65_without_a_sound_slot_file_nobody_says_that_all_is_well() {
    let left = Left::told(30, 0);
    let path = left.options.directory.join("slots");
    for text in [None, Some(vec![]), Some(vec![7; Map::file_bytes(1) as usize])] {
        fs::remove_file(&path).unwrap();
        text.iter().for_each(|text| fs::write(&path, text).unwrap());
        let found = left.spooled();
        assert!(found.endless && found.wrong() == 1 && found.lost == 0, "{found:?}");
        fs::write(&path, "").unwrap();
    }
}

#[test]
fn f65_what_a_newer_version_wrote_is_not_lost() {
    for epoch in 1..=3 {
        let left = Left::told(30, 0);
        let mut bytes = fs::read(left.segment(epoch)).unwrap();
        bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        fs::write(left.segment(epoch), bytes).unwrap();
        let found = left.spooled();
        assert_eq!((found.newer, found.newer_rows, found.lost), (1, 10, 0), "{epoch}");
        assert_eq!((found.rows, found.foreign, found.wrong()), (20, 0, 1), "{epoch}");
    }
}

/// Delivers, and removes what every sink has, at a moment of a report.
struct Meanwhile<'a> {
    left: &'a Left,
    /// When bytes were seen, and not once the spool was listed.
    late: bool,
    done: std::cell::Cell<bool>,
}

impl Meanwhile<'_> {
    fn go_on(&self) {
        if !self.done.replace(true) {
            self.left.deliver_first(20);
            (1..=2).for_each(|epoch| fs::remove_file(self.left.segment(epoch)).unwrap());
        }
    }
}

impl Watch for Meanwhile<'_> {
    fn begin(&self, what: &'static str, _: u64) {
        if what.ends_with("of the spool") && !self.late {
            self.go_on();
        }
    }

    fn seen(&self, _: u64) {
        self.go_on();
    }

    fn odd(&self, _: &str) {}
}

#[test]
fn f65_what_is_delivered_and_removed_during_a_report_is_no_loss() {
    for late in [false, true] {
        let left = Left::told(30, 0);
        let watch = Meanwhile { left: &left, late, done: false.into() };
        let found = spooled(&books(&left.options), &watch);
        assert!(found.is_err(), "there is no database yet");
        Sqlite::open(&left.options.sqlite).unwrap();
        let found = spooled(&books(&left.options), &watch).unwrap().unwrap();
        assert!(
            watch.done.get() && Segments::list(&left.options.directory).unwrap().all().len() == 1
        );
        assert_eq!((found.lost, found.missing, found.wrong()), (0, 0, 0), "late: {late}");
        assert_eq!(found.segments, if late { 2 } else { 1 });
    }
}

fn found(sink: &str, id: (u64, u64), offset: u64, rows: u64) -> Loss {
    Loss::found(sink, id, Lost { rows, next: 0, offset })
}

#[test]
fn f65_a_loss_is_told_once_before_and_after_delivery_has_passed_it() {
    let left = Left::told(30, 0);
    fs::remove_file(left.segment(2)).unwrap();
    left.deliver_first(10);
    let noted = [
        found("sqlite", (3, 0), 70, 10),
        found("postgres", (1, 0), 70, 5),
        found(losses::SLOTS, (2, 0), 4, 1),
    ];
    losses::put(&left.options.directory, &noted).unwrap();
    let found = left.spooled();
    assert_eq!((found.lost, found.passed, found.slots, found.wrong()), (10, 0, 1, 16));
    left.deliver_first(30);
    let found = left.spooled();
    assert_eq!((found.lost, found.passed, found.slots, found.wrong()), (0, 10, 1, 16));
    assert_eq!(found.others, [("postgres".to_owned(), 5)].into());
    let path = left.options.directory.join("losses.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}no loss\n")).unwrap();
    let found = left.spooled();
    assert_eq!((found.passed, found.strange, found.wrong()), (10, 1, 17), "the rest is counted");
    assert!(report::usage(&books(&left.options), By::Day, &()).is_ok());
}

#[test]
fn f65_rows_that_were_delivered_and_are_not_in_the_database_are_gone() {
    let left = Left::told(30, 30);
    (1..=3).for_each(|epoch| fs::remove_file(left.segment(epoch)).unwrap());
    let sound = || compare(&books(&left.options), &()).unwrap().balance;
    Sqlite::open(&left.options.sqlite).unwrap();
    assert_eq!(sound(), None, "the sink has nothing of this node");
    left.deliver_first(30);
    // Once more, and one with other content: neither is one more row, nor one less.
    let other = Record { cost: 1, ..left.rows[4].clone() };
    let batch = Batch { rows: &[left.rows[3].clone(), other], prices: &[], cursor: None };
    Sqlite::open(&left.options.sqlite).unwrap().deliver(&batch).unwrap();
    let mut want = Balance { delivered: 30, stored: 30, dead: 0, lost: 0 };
    assert_eq!((sound(), want.gone()), (Some(want), 0));
    let base = rusqlite::Connection::open(&left.options.sqlite).unwrap();
    base.execute("DELETE FROM attempt WHERE seq < 4", []).unwrap();
    (want.stored, want.dead, want.lost) = (21, 1, 2);
    dead_letter::put(&left.options.directory, "sqlite", &left.rows[0], "it is odd").unwrap();
    losses::put(&left.options.directory, &[found("sqlite", (1, 0), 70, 2)]).unwrap();
    assert_eq!((sound(), want.gone()), (Some(want), 6));
}

#[test]
fn f65_a_row_whose_slot_was_not_freed_any_more_is_spooled_once() {
    let place = tempfile::tempdir().unwrap();
    // Slots are freed a second after their rows were spooled, and never where the process ends before.
    let options = Options { durability: Durability::Relaxed, ..testing::options(place.path()) };
    let ledger = Ledger::open(options.clone()).unwrap();
    (0..3).for_each(|n| testing::complete(&ledger, &format!("gen-{n}"), 1));
    testing::until("they are delivered", || ledger.depth().rows_flushed == 3);
    drop(ledger);
    let ledger = Ledger::open(options.clone()).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!((ledger.depth().duplicates, ledger.depth().recovered), (0, 0));
    let balance = compare(&books(&options), &()).unwrap().balance;
    assert_eq!(balance, Some(Balance { delivered: 3, stored: 3, dead: 0, lost: 0 }));
}

#[test]
fn f65_an_attempt_that_is_in_a_slot_alone_is_counted_once_before_and_after_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let options = testing::options(place.path());
    let ledger = Ledger::open(options.clone()).unwrap();
    testing::complete(&ledger, "gen-1", 1);
    testing::until("it is delivered", || ledger.depth().rows_flushed == 1);
    let (claim, open) =
        (testing::dispatched(&ledger, "gen-2", 1), testing::dispatched(&ledger, "gen-3", 1));
    // Nobody flushes any more: one attempt ends, the other does not.
    drop(ledger);
    claim.outcome(Outcome::Ok);
    drop(claim);
    let usage = || {
        let report::Usage { rows, beside, .. } =
            report::usage(&books(&options), By::Day, &()).unwrap();
        (rows.iter().map(|row| row.attempts).sum::<u64>(), beside)
    };
    assert_eq!(usage(), (2, Beside { sealed: 1, ..Beside::default() }));
    drop(open);
    let ledger = Ledger::open(options.clone()).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!(usage(), (3, Beside::default()));
}
