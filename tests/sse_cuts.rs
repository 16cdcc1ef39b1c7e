//! Streams through [`weir::face::Relay`] by every single cut and by sampled double cuts: the same
//! usage, the same bytes (F29 to F33, G12).
//!
//! Those of `tests/streams`, oddities written here, streams made by chance, and, where `WEIR_CORPUS` is
//! set, recorded ones. `WEIR_SEED` repeats a run, `WEIR_STREAMS` and `WEIR_DOUBLES` make it longer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: helpers outside its functions may fail too"
)]

#[path = "streams/dress.rs"]
mod dress;
#[path = "streams/odd.rs"]
mod odd;
#[path = "streams/replay.rs"]
mod replay;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replay::{MODES, Mode, Sheet, relay, replay};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir::error::Error;
use weir::request::route::Operation;

/// Streams up to this length are cut everywhere; in longer ones the cuts are sampled.
const EVERYWHERE: usize = 3_000;
/// Longest recorded stream cut unless more streams are asked for than usual.
const RECORDED: usize = 1_500;
const STREAMS: usize = 60;
const DOUBLES: usize = 40;

struct Case {
    name: String,
    operation: Operation,
    bytes: Vec<u8>,
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn seed() -> u64 {
    let seed =
        std::env::var("WEIR_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("WEIR_SEED={seed}");
    seed
}

/// The streams that are files, and the odd ones.
fn written() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streams");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sse"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let completion = name.starts_with("completion");
            let operation = if completion { Operation::Completion } else { Operation::Chat };
            Case { name, operation, bytes: std::fs::read(path).unwrap() }
        })
        .collect();
    cases.extend(odd::streams().into_iter().enumerate().map(|(index, bytes)| Case {
        name: format!("odd {index}"),
        operation: Operation::Chat,
        bytes,
    }));
    cases
}

fn recorded(longest: usize) -> Vec<Case> {
    let Some(folder) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped the recorded streams: WEIR_CORPUS is not set");
        return Vec::new();
    };
    let file = std::fs::File::open(std::path::Path::new(&folder).join("recorded.jsonl")).unwrap();
    let rows = BufReader::new(file).lines();
    let rows = rows.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let cases = rows.filter_map(|row| {
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        let operation = match text("dialect")?.as_str() {
            "openai-chat" => Operation::Chat,
            "openai-completions" => Operation::Completion,
            _ => return None,
        };
        let bytes = text("response")?.into_bytes();
        let streamed = text("content_type")?.starts_with("text/event-stream");
        (streamed && bytes.len() <= longest).then(|| Case {
            name: text("id").unwrap(),
            operation,
            bytes,
        })
    });
    cases.collect()
}

/// What the stream comes to, after every cut has come to the same; counts the cuts.
fn cut(
    case: &Case,
    mode: Mode,
    doubles: usize,
    random: &mut StdRng,
    splits: &AtomicUsize,
) -> Sheet {
    let new = || relay(mode, case.operation, true);
    let bytes = &case.bytes[..];
    let whole = replay(new(), bytes, || usize::MAX);
    let same = |sizes: &[usize]| {
        let mut sizes = sizes.iter();
        let split = replay(new(), bytes, || sizes.next().copied().unwrap_or(usize::MAX));
        splits.fetch_add(1, Ordering::Relaxed);
        assert!(
            split == whole,
            "{} {mode:?} cut at {sizes:?}\n{}\nwhole {}\n{:?}\nsplit {}\n{:?}",
            case.name,
            bytes.escape_ascii(),
            whole.0.escape_ascii(),
            whole.1,
            split.0.escape_ascii(),
            split.1
        );
    };
    let length = bytes.len().max(2);
    if bytes.len() <= EVERYWHERE {
        (1..length).for_each(|at| same(&[at]));
    } else {
        (0..doubles).for_each(|_| same(&[random.random_range(1..length)]));
    }
    for _ in 0..doubles {
        let first = random.random_range(1..length);
        same(&[first, random.random_range(1..length.max(first + 1) - first + 1)]);
    }
    assert!(replay(new(), bytes, || 1) == whole, "{} byte by byte, {mode:?}", case.name);
    if mode == MODES[0] && !whole.0.is_empty() {
        assert!(whole.0 == bytes, "{} is not passed as it came", case.name);
    }
    // An attempt with content counts as begun: there must be something to show for it.
    assert!(!whole.1.content || !whole.0.is_empty(), "{} {mode:?}", case.name);
    whole.1
}

/// The data of each event, as the standard's own words have it: the reference.
fn parse(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut events, mut data) = (Vec::new(), None::<String>);
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if line.is_empty() {
            events.extend(data.take());
        } else if name == "data" {
            data = Some(data.map_or_else(|| value.to_owned(), |before| before + "\n" + value));
        }
    }
    events
}

/// Wherever the upstream breaks off after something has left, the error is an event of its own.
fn break_off(case: &Case, mode: Mode) {
    for at in 1..case.bytes.len().min(EVERYWHERE) {
        let mut relay = relay(mode, case.operation, true);
        let read = Bytes::copy_from_slice(&case.bytes[..at]);
        let step = relay.push(Some(read), false, &mut Sheet::default());
        let Some(out) = step.out.filter(|_| step.fault.is_none()) else { continue };
        let told = relay.fail(&Error::upstream(502, "cut"));
        let events = parse(&[&out[..], &told[..]].concat());
        let last: Value = serde_json::from_str(events.last().unwrap()).unwrap_or_default();
        assert_eq!(last["error"]["code"], 502, "{} {mode:?} broken off at {at}", case.name);
    }
}

/// Runs every case in every mode on two threads; gives the number of cuts.
fn run(cases: &[Case], doubles: usize, seed: u64, check: impl Fn(usize, &Sheet) + Sync) -> usize {
    let splits = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((index, case)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            cases.get(index).map(|case| (index, case))
        } {
            let mut random = StdRng::seed_from_u64(seed ^ index as u64);
            for mode in MODES {
                check(index, &cut(case, mode, doubles, &mut random, &splits));
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        other.join().unwrap();
    });
    splits.into_inner()
}

#[test]
fn streams_made_by_chance_come_to_the_same_at_every_cut() {
    let (seed, streams) = (seed(), number("WEIR_STREAMS", STREAMS));
    let doubles = number("WEIR_DOUBLES", DOUBLES);
    let mut random = StdRng::seed_from_u64(seed);
    let made: Vec<_> = (0..streams).map(|_| dress::make(&mut random)).collect();
    let cases: Vec<Case> = made
        .iter()
        .enumerate()
        .map(|(index, made)| Case {
            name: format!("stream {index} of seed {seed}"),
            operation: made.operation,
            bytes: made.bytes.clone(),
        })
        .collect();
    let splits = run(&cases, doubles, seed, |index, sheet| {
        let usage = sheet.usage.map(|usage| (usage.prompt(), usage.completion()));
        let told = (usage, sheet.delivered.0[0]);
        let text = cases[index].bytes.escape_ascii();
        assert_eq!(told, (made[index].usage, made[index].letters), "{}: {text}", cases[index].name);
    });
    println!("{}", json!({ "seed": seed, "made": streams, "splits": splits }));
}

#[test]
fn streams_written_and_recorded_come_to_the_same_at_every_cut() {
    let (seed, doubles) = (seed(), number("WEIR_DOUBLES", DOUBLES));
    let more = number("WEIR_STREAMS", STREAMS) > STREAMS;
    let mut cases = written();
    let count = cases.len();
    cases.extend(recorded(if more { usize::MAX } else { RECORDED }));
    let splits = run(&cases, doubles, seed, |_, _| {});
    let recorded = cases.len() - count;
    println!("{}", json!({ "written": count, "recorded": recorded, "splits": splits }));
    assert!(count >= 150, "{count}");
}

#[test]
fn an_error_after_a_cut_is_an_event_of_its_own() {
    let mut random = StdRng::seed_from_u64(seed());
    for case in written() {
        MODES.iter().for_each(|mode| break_off(&case, *mode));
    }
    for index in 0..40 {
        let made = dress::make(&mut random);
        let name = format!("stream {index}");
        let case = Case { name, operation: made.operation, bytes: made.bytes };
        MODES.iter().for_each(|mode| break_off(&case, *mode));
    }
}

#[test]
fn lines_and_replies_past_every_bound_come_to_the_same() {
    let mut random = StdRng::seed_from_u64(seed());
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let long = |size: usize| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "y".repeat(size)
        )
    };
    let comments = |size: usize| ": keep\n\n".repeat(size / 8);
    let streams = [
        long(300_000) + usage,
        content.to_owned() + &long(300_000) + usage,
        content.to_owned() + &format!(": {}\r\r", "z".repeat(600_000)) + usage,
        comments(300_000) + content + usage,
        format!("data: {}", "w".repeat(600_000)),
    ];
    for (index, stream) in streams.into_iter().enumerate() {
        let case = Case {
            name: format!("long {index}"),
            operation: Operation::Chat,
            bytes: stream.into(),
        };
        for mode in MODES {
            let new = || relay(mode, case.operation, true);
            let whole = replay(new(), &case.bytes, || usize::MAX);
            for _ in 0..6 {
                let most = [200, 5_000, 100_000, 400_000][random.random_range(0..4)];
                let split = replay(new(), &case.bytes, || random.random_range(1..most));
                assert!(split.1 == whole.1, "{} {mode:?}: {:?} {:?}", case.name, split.1, whole.1);
                assert!(split.0 == whole.0, "{} {mode:?}: other bytes", case.name);
            }
        }
    }
}
