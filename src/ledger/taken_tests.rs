//! A spool whose files somebody takes or cuts while Weir runs (F65): what can be read is delivered, what is
//! gone is counted to the row, and delivery goes on.

use super::segments::Segments;
use super::testing::{self, complete, options, until};
use super::{Gate, Ledger, Options, losses};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A running ledger of small segments, and a hand on its database.
struct Running {
    place: tempfile::TempDir,
    ledger: Arc<Ledger>,
    other: rusqlite::Connection,
    made: u64,
}

impl Running {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(Self::options(place.path())).unwrap();
        let other = rusqlite::Connection::open(place.path().join("ledger.db")).unwrap();
        other.busy_timeout(Duration::from_secs(10)).unwrap();
        Self { place, ledger, other, made: 0 }
    }

    fn options(place: &Path) -> Options {
        Options { spool_bytes: 64 << 10, ..options(place) }
    }

    /// From here on the sink takes nothing.
    fn hold(&self) {
        self.other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    }

    fn let_go(&self) {
        self.other.execute_batch("COMMIT").unwrap();
    }

    /// Completes attempts until their records are synced.
    fn attempts(&mut self, count: u64) {
        for _ in 0..count {
            until("a slot is free", || self.ledger.depth().slots_used < 60);
            complete(&self.ledger, &format!("gen-{}", self.made), 1);
            self.made += 1;
        }
        until("all is synced", || self.ledger.depth().slots_used == 0);
    }

    fn rows(&self) -> u64 {
        testing::count(&self.place.path().join("ledger.db"))
    }

    fn segments(&self) -> Vec<PathBuf> {
        let all = Segments::list(&self.place.path().join("state")).unwrap().all();
        let sizes = all.into_iter().map(|(_, segment)| (segment.path.clone(), segment.extent().0));
        sizes.filter(|(_, bytes)| *bytes > 100).map(|(path, _)| path).collect()
    }

    /// Waits until nothing waits: how many rows are lost. Then ends.
    fn end(self, what: &str) -> u64 {
        let depth = || self.ledger.depth();
        until(what, || depth().rows_pending == 0);
        let lost = depth().rows_lost;
        let noted = losses::read(&self.place.path().join("state")).unwrap().losses;
        assert_eq!(self.rows() + lost, self.made, "{what}: {:?}, {noted:?}", depth());
        assert!(self.ledger.shutdown(Duration::from_secs(10)), "{what}");
        let state = self.place.path().join("state");
        let noted = losses::read(&state).unwrap().losses.iter().map(|loss| loss.rows).sum::<u64>();
        assert_eq!((depth().rows_lost, noted, depth().gate), (lost, lost, Gate::Open), "{what}");
        lost
    }
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn half(path: &Path) {
    let bytes = fs::metadata(path).unwrap().len();
    shorten(path, bytes / 2);
}

fn shorten(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn f65_segments_taken_while_weir_runs_are_counted_and_delivery_goes_on() {
    type Deed = fn(&[PathBuf]);
    let deeds: [(&str, Deed, bool); 8] = [
        ("nothing", |_| (), false),
        ("first removed", |all| remove(&all[0]), true),
        ("second removed", |all| remove(&all[1]), true),
        ("second emptied", |all| shorten(&all[1], 0), true),
        ("second cut to its header", |all| shorten(&all[1], 64), true),
        ("second halved", |all| half(&all[1]), true),
        ("newest halved", |all| half(&all[all.len() - 1]), true),
        ("newest removed", |all| remove(&all[all.len() - 1]), false),
    ];
    for (name, deed, loses) in deeds {
        let mut running = Running::new();
        running.attempts(20);
        until("these are delivered", || running.rows() == 20);
        running.hold();
        running.attempts(380);
        assert!(running.segments().len() >= 3);
        until("no file is open", || running.ledger.depth().sinks_refusing == 1);
        deed(&running.segments());
        running.attempts(30);
        running.let_go();
        running.attempts(20);
        assert_eq!(running.end(name) > 0, loses, "{name}");
    }
}

/// What was delivered is not lost with its file.
#[test]
fn f65_a_delivered_segment_that_is_cut_while_it_is_written_loses_nothing() {
    for bytes in [0, 64, 1_000] {
        let mut running = Running::new();
        running.attempts(30);
        until("these are delivered", || running.rows() == 30);
        shorten(&running.segments()[0], bytes);
        running.attempts(30);
        assert_eq!(running.end("cut"), 0);
    }
}

/// Any deeds at any time.
#[test]
fn f65_whatever_becomes_of_files_meanwhile_rows_and_losses_are_all_there_was() {
    let given = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    let first = given("WEIR_SEED").unwrap_or(1);
    let mut lost = 0;
    // The last: an end is cut off, and then the start of the next segment, which would have told of it.
    for seed in (first..first + given("WEIR_BACKLOGS").unwrap_or(6)).chain([7_021]) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut running = Running::new();
        for _ in 0..5 {
            let held = random.random();
            if held {
                running.hold();
            }
            running.attempts(random.random_range(1..120));
            if let Some(path) = running.segments().into_iter().choose(&mut random) {
                let bytes = fs::metadata(&path).map_or(0, |it| it.len());
                // It may have been delivered since it was listed.
                let cut = |bytes| {
                    let file = File::options().write(true).open(&path);
                    file.and_then(|file| file.set_len(bytes))
                };
                let _ = match random.random_range(0..3) {
                    0 => fs::remove_file(&path),
                    1 => cut(random.random_range(0..=bytes)),
                    _ => cut(bytes.saturating_sub(random.random_range(0..40))),
                };
            }
            running.attempts(random.random_range(0..40));
            if held {
                running.let_go();
            }
        }
        lost += running.end(&format!("seed {seed}"));
    }
    println!("seeds from {first} on: {lost} rows lost, each of them counted");
}
