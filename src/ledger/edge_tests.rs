//! A backlog of which files are gone or damaged (F65): what it lost is counted to the row, wherever in it.

use super::directory::{self, Directory};
use super::losses::Loss;
use super::reading::{Lost, Opened, Reading};
use super::redeliver::respool;
use super::review::Books;
use super::segments::Segments;
use super::shared::{Shared, Stop};
use super::sink::sqlite::Sqlite;
use super::sink::{Advance, Batch, Position, Sink};
use super::testing::{self, complete, options, until};
use super::{Base, Claim, Depth, Found, Ledger, Options, Target, flush, losses, recover, saved};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Rows of each start.
const ROWS: u64 = 70;
const STARTS: u64 = 3;
const ALL: u64 = STARTS * ROWS;

/// A ledger without sinks, its segments small.
struct Unsunk {
    shared: Arc<Shared>,
    flusher: JoinHandle<()>,
}

impl Unsunk {
    fn start(place: &Path) -> Self {
        let options = options(place);
        let directory = Directory::lock(&options.directory).unwrap();
        let (shared, mut spool) = recover::start(directory, options).unwrap();
        spool.shrink(2_000);
        let shared = Arc::new(shared);
        let saver = saved::Saver::open(shared.directory.path(), shared.writer).unwrap();
        let flusher = flush::Flusher::new(shared.clone(), spool, saver);
        Self { shared, flusher: std::thread::spawn(move || flusher.run()) }
    }

    /// Makes some attempts, a few at a time, so that segments turn between them.
    fn attempts(&self, count: u64) {
        for number in 0..count {
            let intent = testing::intent(&format!("gen-{number}"), 1);
            Claim::new(&self.shared, &intent, &testing::terms(), testing::ESTIMATOR)
                .unwrap()
                .dispatched();
            if number % 10 == 9 {
                self.flusher.thread().unpark();
                until("all is synced", || self.shared.depth().slots_used == 0);
            }
        }
    }

    fn end(self) {
        self.shared.stop(Stop::Drain);
        self.flusher.join().unwrap();
    }
}

/// What some starts leave while no sink takes anything: several segments each.
fn backlog() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for _ in 0..STARTS {
        let ledger = Unsunk::start(place.path());
        ledger.attempts(ROWS);
        ledger.end();
    }
    assert!(segments(place.path()).len() >= 3 * STARTS as usize);
    place
}

/// Files of the spool, oldest first.
fn segments(place: &Path) -> Vec<PathBuf> {
    let all = Segments::list(&place.join("state")).unwrap().all();
    let sizes = all.iter().map(|(_, segment)| (segment.path.clone(), segment.extent().0));
    sizes.filter(|(_, bytes)| *bytes > 100).map(|(path, _)| path).collect()
}

/// Puts the first rows of the spool, and the cursor behind them, into the database.
fn deliver(place: &Path, mut rows: usize) {
    let state = place.join("state");
    let node = directory::writer(&state).unwrap().unwrap().node;
    let mut sqlite = Sqlite::open(&options(place).sqlite).unwrap();
    for (id, segment) in Segments::list(&state).unwrap().all() {
        let Opened::Ready(mut reading) = Reading::open(id, segment, node).unwrap() else {
            panic!()
        };
        reading.fill().unwrap();
        while rows > 0 && !reading.at_end() {
            let step = reading.step(rows.min(7));
            let cursor = testing::advance(&mut sqlite, node, reading.position());
            sqlite.deliver(&Batch { rows: &step.rows, prices: &step.prices, cursor }).unwrap();
            rows -= step.rows.len();
        }
    }
}

/// Starts and ends a ledger on it: how many rows the database then has, and how it all counted.
fn recovered(place: &Path) -> (u64, Depth) {
    let options = options(place);
    let ledger = Ledger::open(options.clone()).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)), "{:?}", ledger.depth());
    (testing::count(&options.sqlite), ledger.depth())
}

/// How many rows are noted as lost, now and before.
fn noted(place: &Path) -> u64 {
    let losses = losses::read(&place.join("state")).unwrap().losses;
    losses.iter().map(|loss| loss.rows).sum()
}

/// Starts on a copy of a backlog, of which so many rows were delivered before some segments were removed.
fn without(
    backlog: &Path,
    delivered: usize,
    gone: impl Fn(&[PathBuf]) -> Vec<PathBuf>,
) -> (u64, u64) {
    let place = testing::crash(backlog);
    deliver(place.path(), delivered);
    for path in gone(&segments(place.path())) {
        fs::remove_file(path).unwrap();
    }
    let (rows, depth) = recovered(place.path());
    assert_eq!(recovered(place.path()).1.rows_lost, 0, "it is not counted again");
    assert_eq!(noted(place.path()), depth.rows_lost);
    (rows, depth.rows_lost)
}

#[test]
fn f65_segments_removed_at_the_edges_are_counted_to_the_row() {
    let backlog = backlog();
    let backlog = backlog.path();
    for delivered in [0, 10, ROWS as usize, ALL as usize - 1] {
        let kept = without(backlog, delivered, |_| vec![]);
        assert_eq!(kept, (ALL, 0));
        for gone in [
            |all: &[PathBuf]| all[..1].to_vec(),
            |all: &[PathBuf]| all[..2].to_vec(),
            |all: &[PathBuf]| all[1..4].to_vec(),
            |all: &[PathBuf]| all[all.len() - 1..].to_vec(),
            |all: &[PathBuf]| all[all.len() - 2..].to_vec(),
            <[PathBuf]>::to_vec,
        ] {
            let (rows, lost) = without(backlog, delivered, gone);
            assert_eq!(rows + lost, ALL, "{delivered} delivered");
            assert!(lost > 0 || delivered > 0);
        }
    }
    assert_eq!(without(backlog, ALL as usize, <[PathBuf]>::to_vec), (ALL, 0), "the sink has them");
}

/// After a kill the slots have what no sync covers; all else of the newest segment is lost with it.
#[test]
fn f65_what_slots_still_have_of_a_removed_segment_is_not_lost() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Unsunk::start(place.path());
    ledger.attempts(25);
    let killed = testing::crash(place.path());
    let synced = ledger.shared.map.header().spooled().unwrap();
    ledger.end();
    fs::remove_file(segments(killed.path()).pop().unwrap()).unwrap();
    let (rows, depth) = recovered(killed.path());
    assert_eq!(rows + depth.rows_lost, 25, "{depth:?}");
    assert!((1..=synced).contains(&depth.rows_lost));
}

/// Newest segment and slot file are gone: what another sink has come past was there.
#[test]
fn f65_what_only_another_sink_knows_of_is_counted() {
    let backlog = backlog();
    let place = testing::crash(backlog.path());
    deliver(place.path(), 50);
    let other = Target::JsonLines { directory: place.path().join("out"), rotate_bytes: 1 << 20 };
    let node = directory::writer(&place.path().join("state")).unwrap().unwrap().node;
    let all = Position { epoch: STARTS, segment: 99, offset: 64, rows: ALL };
    let batch =
        Batch { rows: &[], prices: &[], cursor: Some(Advance { node, from: None, to: all }) };
    other.open().unwrap().deliver(&batch).unwrap();
    fs::remove_file(segments(place.path()).pop().unwrap()).unwrap();
    fs::remove_file(place.path().join("state/slots")).unwrap();
    let options = Options { others: vec![other], ..options(place.path()) };
    let ledger = Ledger::open(options.clone()).unwrap();
    assert!(ledger.shutdown(Duration::from_secs(10)));
    let lost = ledger.depth().rows_lost;
    assert_eq!(testing::count(&options.sqlite) + lost, ALL);
    assert!(lost > 0);
}

/// Segments that were away while delivery went on without them: a database gets the rows that are in them,
/// and what was noted as lost with them is taken back. Files cannot be asked what they have.
#[test]
fn f65_a_segment_that_is_put_back_behind_the_cursor_is_delivered_and_lost_no_more() {
    let backlog = backlog();
    let place = testing::crash(backlog.path());
    let (state, away) = (place.path().join("state"), place.path().join("away"));
    fs::create_dir(&away).unwrap();
    let all = segments(place.path());
    let taken: Vec<_> = [1, 2, 4].map(|at| all[at].clone()).into();
    let beside = |path: &PathBuf| away.join(path.file_name().unwrap());
    taken.iter().for_each(|path| fs::rename(path, beside(path)).unwrap());
    let other = Target::JsonLines { directory: place.path().join("out"), rotate_bytes: 1 << 20 };
    let options = Options { others: vec![other], ..options(place.path()) };
    let noted = |sink: &str| {
        let all = losses::read(&state).unwrap().losses;
        all.iter().filter(|loss| loss.sink == sink).map(|loss| loss.rows).sum::<u64>()
    };
    let delivered = || {
        let ledger = Ledger::open(options.clone()).unwrap();
        assert!(ledger.shutdown(Duration::from_secs(10)));
        assert_eq!(ledger.depth().rows_pending, 0, "{:?}", ledger.depth());
        testing::count(&options.sqlite)
    };
    let lost = ALL - delivered();
    assert!(lost > 20);
    assert_eq!((noted("sqlite"), noted("jsonl")), (lost, lost));
    // One row of the first is damaged meanwhile.
    let first = beside(&taken[0]);
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    taken.iter().for_each(|path| fs::copy(beside(path), path).map(drop).unwrap());
    assert_eq!(delivered(), ALL - 1);
    assert_eq!((noted("sqlite"), noted("jsonl")), (1, lost));
    assert!(segments(place.path()).is_empty());
    // By hand the files get nothing, and what a database is known to lack is taken back.
    let rest = options.sqlite.with_extension("other");
    drop(Sqlite::open(&rest).unwrap());
    let books = Books { base: Base::Sqlite(rest), state: Some(state.clone()), dead_letters: None };
    let losses = [Loss::found("sqlite", (1, 0), Lost { rows: ALL, next: ALL, offset: 0 })];
    losses::put(&state, &losses).unwrap();
    let offered = respool(&beside(&taken[2]), &books, &()).unwrap();
    assert!(offered.taken > 0 && offered.strange == 0);
    assert_eq!(noted("sqlite"), ALL - offered.taken);
    fs::remove_file(state.join("losses.jsonl")).unwrap();
    // What the database has is read, and left.
    taken.iter().for_each(|path| fs::rename(beside(path), path).unwrap());
    assert_eq!(delivered(), ALL - 1);
    assert_eq!((noted("sqlite"), noted("jsonl")), (0, 0));
}

/// A sink that was never asked before misses nothing that was delivered, and removed, before its time.
#[test]
fn a_new_sink_misses_nothing_of_before_its_time() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(place.path())).unwrap();
    complete(&ledger, "gen-1", 1);
    assert!(ledger.shutdown(Duration::from_secs(10)));
    drop(ledger);
    let other = Target::JsonLines { directory: place.path().join("out"), rotate_bytes: 1 << 20 };
    let both = Options { others: vec![other], slots: 9, ..options(place.path()) };
    let ledger = Ledger::open(both).unwrap();
    complete(&ledger, "gen-2", 1);
    assert!(ledger.shutdown(Duration::from_secs(10)));
    assert_eq!((ledger.depth().rows_lost, ledger.depth().rows_flushed), (0, 1));
}

/// Any of it delivered, and then anything done to its files; and then some of these put back.
#[test]
fn f65_whatever_becomes_of_a_backlog_rows_and_losses_are_all_there_was() {
    let backlog = backlog();
    let given = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    let first = given("WEIR_SEED").unwrap_or(1);
    let (mut lost, mut found) = (0, 0);
    for seed in first..first + given("WEIR_BACKLOGS").unwrap_or(12) {
        let mut random = StdRng::seed_from_u64(seed);
        let place = testing::crash(backlog.path());
        deliver(place.path(), random.random_range(0..=ALL as usize));
        let harmed = segments(place.path()).into_iter().choose_multiple(&mut random, 3);
        let kept: Vec<_> = harmed.iter().map(|path| (path, fs::read(path).unwrap())).collect();
        for (path, bytes) in kept.iter().map(|(path, text)| (path, text.len() as u64)) {
            match random.random_range(0..4) {
                0 => fs::remove_file(path).unwrap(),
                1 => shorten(path, random.random_range(0..bytes)),
                2 => shorten(path, 64),
                _ => flip(path, random.random_range(0..bytes as usize)),
            }
        }
        let (rows, depth) = recovered(place.path());
        assert_eq!(rows + depth.rows_lost, ALL, "seed {seed}: {depth:?}");
        assert_eq!(noted(place.path()), depth.rows_lost, "seed {seed}");
        lost += depth.rows_lost;
        for (path, bytes) in kept {
            if random.random_bool(0.7) {
                fs::write(path, bytes).unwrap();
            }
        }
        let (after, depth) = recovered(place.path());
        assert_eq!(after + noted(place.path()), ALL, "seed {seed}: {depth:?}");
        assert!(after >= rows && depth.rows_lost == 0, "seed {seed}: {depth:?}");
        found += after - rows;
    }
    println!("seeds from {first} on: {lost} rows lost, {found} found again, all of them counted");
    assert!(lost > found && found > 0);
}

fn shorten(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A start that is ready tells of all that waits, and finds it: the newest last, which is what a slot held.
#[test]
fn f64_what_waits_is_known_before_anything_is_admitted() {
    let backlog = backlog();
    let running = Unsunk::start(backlog.path());
    let open = Claim::new(
        &running.shared,
        &testing::intent("gen-cut", 1),
        &testing::terms(),
        testing::ESTIMATOR,
    );
    let open = open.unwrap();
    open.dispatched();
    let after = testing::crash(backlog.path());
    drop(open);
    running.end();

    let options = options(after.path());
    let directory = Directory::lock(&options.directory).unwrap();
    let (shared, _spool) = recover::start(directory, options).unwrap();
    assert_eq!((shared.depth().rows_pending, shared.behind()), (ALL + 1, ALL + 1));
    let newest = shared.recent.lock().newest(shared.writer.node, ALL as usize + 1);
    assert_eq!((newest.len() as u64, &*newest[0].intent.generation_id), (ALL + 1, "gen-cut"));
    assert!(newest.is_sorted_by(|newer, older| newer.key.epoch >= older.key.epoch));
    assert!(matches!(shared.find("gen-3"), Found::Rows(rows) if rows.len() as u64 == STARTS));
}
