//! A spool that a crash, a disk or a hand has damaged (F63 to F65).

use super::directory::{Directory, Writer};
use super::record::Record;
use super::segment::{self, HEADER_BYTES, Header, VERSION};
use super::segments::Segments;
use super::spool::Spool;
use super::testing::{self, ESTIMATOR, options, price, terms};
use super::{Base, Claim, Durability, Found, Gate, Ledger, Options};
use super::{flush, reading, recover, review, saved, sink};
use crate::bounds::SEGMENT_BYTES;
use crate::usage::{Kind, Usage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const WRITER: Writer = Writer { node: [7; 16], epoch: 1 };

/// A state directory whose node is [`WRITER`]'s, with one spooled segment of `count` rows.
struct Left {
    place: tempfile::TempDir,
    segment: PathBuf,
    records: Vec<Record>,
}

impl Left {
    fn new(count: u64, finished: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("identity"), format!("node {}\nepoch 1\n", hex::encode(WRITER.node)))
            .unwrap();
        let segments = Arc::new(Segments::new(1));
        let mut spool = Spool::begin(&state, WRITER, segments.clone(), SEGMENT_BYTES, 0).unwrap();
        let records: Vec<_> = (1..=count).map(testing::record).collect();
        for record in &records {
            spool.append(&[(record.clone(), price())]).unwrap();
        }
        if finished {
            spool.finish().unwrap();
        }
        let segment = segments.first(0).unwrap().1.path.clone();
        Self { place, segment, records }
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(&self.segment).unwrap();
        change(&mut bytes);
        fs::write(&self.segment, bytes).unwrap();
    }

    fn bad(&self) -> PathBuf {
        self.segment.with_extension("log.bad")
    }

    /// Starts and ends a ledger on it: the rows the sink holds then, and how it all counted.
    fn recovered(&self) -> (Vec<Record>, super::Depth) {
        let options = options(self.place.path());
        let ledger = Ledger::open(options.clone()).unwrap();
        assert!(ledger.shutdown(Duration::from_secs(10)), "{:?}", ledger.depth());
        let reader = sink::sqlite::Reader::open(&options.sqlite).unwrap();
        let ids = self.records.iter().map(|record| &record.intent.generation_id);
        let rows = ids.flat_map(|id| reader.generation(id).unwrap()).collect();
        (rows, ledger.depth())
    }
}

#[test]
fn a_sound_segment_is_delivered_and_removed() {
    for finished in [true, false] {
        let left = Left::new(20, finished);
        let (rows, depth) = left.recovered();
        assert_eq!(rows, left.records);
        assert_eq!((depth.rows_lost, depth.torn_bytes, depth.rows_pending), (0, 0, 0));
        assert!(!left.segment.exists() && !left.bad().exists());
    }
}

/// Rows across many segments arrive once each, and a segment that lost its end is noticed (F65).
#[test]
fn segments_turn_and_are_delivered_in_order() {
    for (cut_the_first, remove_the_third) in [(false, false), (true, false), (false, true)] {
        let mut left = Left::new(0, false);
        fs::remove_file(&left.segment).unwrap();
        let segments = Arc::new(Segments::new(1));
        let state = left.place.path().join("state");
        let mut spool = Spool::begin(&state, WRITER, segments.clone(), 4_000, 0).unwrap();
        left.records = (1..=200).map(testing::record).collect();
        for record in &left.records {
            spool.append(&[(record.clone(), price())]).unwrap();
            spool.turn().unwrap();
        }
        let all = segments.all();
        assert!(all.len() > 5, "{} segments", all.len());
        assert!(all.iter().rev().skip(2).all(|(_, segment)| segment.extent().1));
        if cut_the_first {
            left.edit(|bytes| bytes.truncate(bytes.len() - 20));
        }
        let mut gone = usize::from(cut_the_first);
        if remove_the_third {
            gone += read(&all[2].1.path, all[2].1.extent().0 as usize).0.len();
            fs::remove_file(&all[2].1.path).unwrap();
        }
        let sqlite = options(left.place.path()).sqlite;
        sink::sqlite::Sqlite::open(&sqlite).unwrap();
        let books =
            review::Books { base: Base::Sqlite(sqlite), state: Some(state), dead_letters: None };
        let seen = review::spooled(&books, &()).unwrap().unwrap();
        let missing = u64::from(remove_the_third);
        assert_eq!((seen.lost, seen.missing), (gone as u64, missing), "seen from outside");
        let (rows, depth) = left.recovered();
        let lost = left.records.len() - rows.len();
        assert_eq!((lost, left.bad().exists()), (gone, cut_the_first));
        assert_eq!((depth.rows_flushed, depth.rows_lost), (rows.len() as u64, lost as u64));
    }
}

/// F62, F63: what cannot be written stays in its slot, and nobody new is admitted.
#[test]
fn f63_a_failed_write_admits_nobody_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::Strict, ..options(place.path()) };
    let directory = Directory::lock(&options.directory).unwrap();
    let (shared, mut spool) = recover::start(directory, options).unwrap();
    let shared = Arc::new(shared);
    spool.sabotage(fs::File::open("/dev/null").unwrap());
    let claim = |generation: &str| {
        let intent = testing::intent(generation, 1);
        Claim::new(&shared, &intent, &terms(), ESTIMATOR)
    };
    let attempt = claim("gen-1").unwrap();
    attempt.dispatched();
    let saver = saved::Saver::open(shared.directory.path(), shared.writer).unwrap();
    let flusher = flush::Flusher::new(shared.clone(), spool, saver);
    let flushing = std::thread::spawn(move || flusher.run());
    assert!(!attempt.complete(Duration::from_secs(60)), "its record is not on disk");
    drop(attempt);
    flushing.join().unwrap();
    assert_eq!((shared.gate(), shared.depth().sealed), (Gate::Failed, 1));
    assert_eq!((shared.depth().io_errors, shared.depth().alarm()), (1, true));
    assert!(claim("gen-2").is_none());
    shared.set_gate(Gate::Open);
    assert_eq!(shared.gate(), Gate::Failed, "only a restart opens it again");

    let after = testing::crash(place.path());
    let again = Ledger::open(testing::options(after.path())).unwrap();
    assert!(matches!(again.find("gen-1"), Found::Rows(rows) if rows.len() == 1));
}

#[test]
fn f64_a_torn_tail_is_cut_and_no_damage() {
    let left = Left::new(20, false);
    left.edit(|bytes| bytes.truncate(bytes.len() - 7));
    let (rows, depth) = left.recovered();
    assert_eq!(rows, left.records[..19]);
    assert_eq!((depth.rows_lost, left.bad().exists()), (0, false));
    assert!(depth.torn_bytes > 0);
}

#[test]
fn f65_a_flipped_bit_loses_its_row_and_sets_the_file_aside() {
    let left = Left::new(20, true);
    left.edit(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
    let (rows, depth) = left.recovered();
    assert_eq!((rows.len(), depth.rows_lost), (19, 1));
    assert!(left.bad().exists() && !left.segment.exists());
}

/// A name stands for many rows, so it is repeated: damage to it takes those up to the next copy.
#[test]
fn f65_a_damaged_name_loses_the_rows_up_to_its_next_copy_exactly_counted() {
    let left = Left::new(4_000, true);
    left.edit(|bytes| {
        let at = bytes.windows(4).position(|w| w == b"acme").unwrap();
        bytes[at] ^= 1;
    });
    let (rows, depth) = left.recovered();
    assert_eq!(rows.len() as u64 + depth.rows_lost, 4_000);
    assert!((1..1_600).contains(&depth.rows_lost), "{}", depth.rows_lost);
    assert_eq!(rows, left.records[depth.rows_lost as usize..]);
}

/// The goal: a median of 200 bytes a row, texts as long as real ones are.
#[test]
fn a_row_takes_200_bytes_of_the_spool() {
    let left = Left::new(0, false);
    let state = left.place.path().join("size");
    fs::create_dir(&state).unwrap();
    let segments = Arc::new(Segments::new(1));
    let mut spool = Spool::begin(&state, WRITER, segments.clone(), SEGMENT_BYTES, 0).unwrap();
    let mut sizes = Vec::new();
    for seq in 1..=1_000 {
        let mut record = testing::record(seq);
        record.intent.generation_id = format!("gen-{}-{seq:020}", 1_763_733_600 + seq).into();
        record.intent.session = "c2b9a3f0-4a7e-4e6f-9d7e-0d3b1c5a8f21".into();
        record.upstream_id = "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012".to_owned();
        record.ended_us = record.started_us + 4_200_000;
        record.duration_us = 4_199_000;
        record.first_content_us = Some(310_000);
        record.delivered[0] = 1_900;
        record.usage = Usage::ZERO.with(Kind::Input, 2_000).with(Kind::Output, 480);
        record.cost = 123_456_789;
        record.charge = record.cost;
        let before = segments.pending_bytes();
        spool.append(&[(record, price())]).unwrap();
        spool.publish();
        sizes.push(segments.pending_bytes() - before);
    }
    sizes.sort_unstable();
    println!("bytes a row: median {}, most {}", sizes[500], sizes[999]);
    assert!(sizes[500] <= 200, "{}", sizes[500]);
}

#[test]
fn f65_a_damaged_header_loses_no_row() {
    let left = Left::new(20, true);
    left.edit(|bytes| bytes[..HEADER_BYTES].fill(0xaa));
    let (rows, depth) = left.recovered();
    assert_eq!((rows.len(), depth.rows_lost, left.bad().exists()), (20, 0, true));
}

#[test]
fn f65_a_segment_of_another_node_is_set_aside() {
    let left = Left::new(20, true);
    let foreign = Header { node: [1; 16], epoch: 1, number: 0 }.encode();
    left.edit(|bytes| bytes[..HEADER_BYTES].copy_from_slice(&foreign));
    let (rows, _) = left.recovered();
    assert_eq!((rows.len(), left.bad().exists()), (0, true));
}

/// Neither identity nor slot file: the spool still says whose it is.
#[test]
fn f65_a_spool_alone_tells_its_node() {
    let left = Left::new(20, true);
    fs::remove_file(left.place.path().join("state/identity")).unwrap();
    let (rows, depth) = left.recovered();
    assert_eq!((rows, depth.rows_lost), (left.records.clone(), 0));
    let again = Ledger::open(options(left.place.path())).unwrap();
    assert_eq!(again.shared.writer.node, WRITER.node);
}

fn set_version(bytes: &mut [u8], version: u32) {
    bytes[8] = version as u8;
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
}

#[test]
fn a_segment_of_the_version_before_is_delivered_and_removed() {
    let left = Left::new(20, true);
    left.edit(|bytes| {
        let start = bytes[HEADER_BYTES..].to_vec();
        let length = 8 + u32::from_le_bytes(start[..4].try_into().unwrap()) as usize;
        let mut before = Vec::new();
        segment::put_frame(&mut before, 0, segment::START_BEFORE, |out| out.push(0));
        bytes.splice(HEADER_BYTES..HEADER_BYTES + length, before);
        set_version(bytes, VERSION - 1);
    });
    let (rows, depth) = left.recovered();
    assert_eq!((rows, depth.rows_lost), (left.records.clone(), 0));
    assert!(!left.segment.exists() && !left.bad().exists());
}

/// Nothing in it is damaged: it is what follows it that is gone.
#[test]
fn f65_a_sound_segment_before_one_that_is_gone_is_removed() {
    let left = Left::new(20, false);
    let state = left.place.path().join("state");
    let writer = Writer { epoch: 2, ..WRITER };
    let segments = Arc::new(Segments::new(1));
    let mut later = Spool::begin(&state, writer, segments, SEGMENT_BYTES, 25).unwrap();
    later.append(&[(testing::record(26), price())]).unwrap();
    later.finish().unwrap();
    let (rows, depth) = left.recovered();
    assert_eq!((rows.len(), depth.rows_lost), (20, 5));
    assert!(!left.segment.exists() && !left.bad().exists());
}

#[test]
fn a_segment_of_a_newer_version_is_left_alone() {
    let left = Left::new(20, true);
    left.edit(|bytes| set_version(bytes, VERSION + 1));
    let (rows, _) = left.recovered();
    assert_eq!((rows.len(), left.segment.exists(), left.bad().exists()), (0, true, false));
}

/// G4, through the whole reader: sound rows only, in order, each as it was written. `WEIR_MUTATIONS` of
/// them, the first with seed `WEIR_SEED`.
#[test]
fn f65_ten_thousand_mutations_invent_no_row_and_are_counted_exactly() {
    let given = |name| std::env::var(name).ok().and_then(|n: String| n.parse::<u64>().ok());
    let first = given("WEIR_SEED").unwrap_or(1);
    let left = Left::new(30, true);
    let sound = fs::read(&left.segment).unwrap();
    let end = &sound[sound.len() - 13..];
    let mut exact = 0;
    let file = left.place.path().join("mutated");
    for seed in first..first + given("WEIR_MUTATIONS").unwrap_or(10_000) {
        let bytes = mutated(&sound, seed);
        fs::write(&file, &bytes).unwrap();
        let (rows, lost) = read(&file, bytes.len());
        // Written over, a file is brought to the disk at once.
        fs::remove_file(&file).unwrap();
        let mut expected = left.records.iter();
        let known = rows.iter().all(|row| expected.any(|record| record == row));
        assert!(known, "seed {seed} invented, repeated or reordered a row");
        assert!(rows.len() + lost as usize <= 30, "seed {seed} lost more than there was");
        // Where the end survives it says how many there were.
        if bytes.ends_with(end) {
            assert_eq!(rows.len() + lost as usize, 30, "seed {seed}");
            exact += 1;
        }
    }
    println!("{exact} segments kept their end, and the loss of each was exact");
    assert!(exact > 0);
}

/// Up to four changes of a segment.
fn mutated(sound: &[u8], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = sound.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, random.random()),
            _ => {
                let end = (at + random.random_range(0..40)).min(bytes.len());
                drop(bytes.splice(at..end, [0; 9]));
            }
        }
    }
    bytes
}

fn read(path: &Path, length: usize) -> (Vec<Record>, u64) {
    let segment = Arc::new(super::segments::Segment::left(path.to_owned(), length as u64));
    let opened = reading::Reading::open((1, 0), segment, WRITER.node).unwrap();
    let reading::Opened::Ready(mut reading) = opened else { return (Vec::new(), 0) };
    reading.fill().unwrap();
    let step = reading.step(usize::MAX);
    (step.rows, step.lost)
}
