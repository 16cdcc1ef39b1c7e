//! Recorded provider replies through [`Relay`], whole, byte by byte and at seeded random splits.
//!
//! Reads `recorded.jsonl` in the folder named by `WEIR_CORPUS`; says that it skips where there is none.
//! Always run are the streams in `tests/streams`, written by hand after quirks seen in the recorded
//! ones: the first line of each, a comment of the stream itself, says what must come of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: helpers outside its functions may fail too"
)]

#[path = "streams/estimated.rs"]
mod estimated;
#[path = "streams/replay.rs"]
mod replay;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replay::{MODES, Mode, Sheet, relay, replay};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use weir::request::route::Operation;
use weir::usage::Kind;

const PASSED: Mode = MODES[0];
const FILTERED: Mode = MODES[1];
const SHAPED: Mode = MODES[2];

struct Exchange {
    id: String,
    operation: Operation,
    streamed: bool,
    response: String,
    expected: Value,
}

fn exchanges() -> Option<Vec<Exchange>> {
    let folder = std::env::var_os("WEIR_CORPUS")?;
    let file = std::fs::File::open(std::path::Path::new(&folder).join("recorded.jsonl")).unwrap();
    let rows =
        BufReader::new(file).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Some(rows.filter_map(|row: Value| exchange(&row)).collect())
}

fn exchange(row: &Value) -> Option<Exchange> {
    let operation = match row["dialect"].as_str()? {
        "openai-chat" => Operation::Chat,
        "openai-completions" => Operation::Completion,
        "openai-embeddings" => Operation::Embedding,
        _ => return None,
    };
    (row["status"] == 200).then(|| Exchange {
        id: row["id"].as_str().unwrap().to_owned(),
        operation,
        streamed: row["content_type"].as_str().unwrap().starts_with("text/event-stream"),
        response: row["response"].as_str().unwrap().to_owned(),
        expected: row["expected_usage"].clone(),
    })
}

/// The same at every split: whole, byte by byte, and two random ways.
fn every_way(exchange: &Exchange, mode: Mode) -> (String, Sheet) {
    let response = exchange.response.as_bytes();
    let new = || relay(mode, exchange.operation, exchange.streamed);
    let whole = replay(new(), response, || usize::MAX);
    assert!(
        whole == replay(new(), response, || 1),
        "{} differs byte by byte, {mode:?}",
        exchange.id
    );
    for seed in 0..2 {
        let mut random = StdRng::seed_from_u64(seed);
        let split = replay(new(), response, || random.random_range(1..400));
        assert!(whole == split, "{} differs at seed {seed}, {mode:?}", exchange.id);
    }
    (String::from_utf8(whole.0).unwrap(), whole.1)
}

fn assert_usage(exchange: &Exchange, sheet: &Sheet) {
    if exchange.expected.is_null() {
        assert_eq!(sheet.usage, None, "{} reports none", exchange.id);
        return;
    }
    let usage = sheet.usage.unwrap_or_else(|| panic!("{} reports usage", exchange.id));
    let given = |key: &str| exchange.expected[key].as_u64().unwrap();
    let (input, output) = (given("input"), given("output"));
    assert_eq!((usage.prompt(), usage.completion()), (input, output), "{}", exchange.id);
    let parts = (usage.get(Kind::CacheRead), usage.get(Kind::Reasoning));
    assert_eq!(parts, (given("cache_read"), given("reasoning")), "{}", exchange.id);
    // One host writes and reads the same tokens: together they exceed the prompt that includes them.
    let written = given("cache_write").min(input - given("cache_read"));
    assert_eq!(usage.get(Kind::CacheWrite5m), written, "{}", exchange.id);
}

#[test]
fn streams_written_by_hand_come_to_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streams");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sse"));
    paths.sort();
    assert!(paths.len() >= 14);
    for path in paths {
        let response = std::fs::read_to_string(&path).unwrap();
        let first = response.trim_start_matches('\u{feff}').lines().next().unwrap();
        let id = path.file_stem().unwrap().to_string_lossy().into_owned();
        let operation =
            if id.starts_with("completion") { Operation::Completion } else { Operation::Chat };
        let said = first.strip_prefix(": ").unwrap().to_owned();
        let exchange = Exchange { id, operation, streamed: true, response, expected: Value::Null };
        let (out, sheet) = every_way(&exchange, PASSED);
        assert!(out == exchange.response, "{}", exchange.id);
        assert_eq!(summary(&sheet), said, "{}", exchange.id);
        let (_, filtered) = every_way(&exchange, FILTERED);
        assert_eq!(filtered, sheet, "{}", exchange.id);
        let (out, shaped) = every_way(&exchange, SHAPED);
        assert_eq!(shaped, sheet, "{}", exchange.id);
        for event in out.split_terminator("\n\n").filter(|event| *event != "data: [DONE]") {
            let json = event.strip_prefix("data: ").unwrap();
            assert_shape(&exchange, &serde_json::from_str(json).unwrap());
        }
    }
}

/// What a tally was told, in the words of the first line of a hand-written stream.
fn summary(sheet: &Sheet) -> String {
    let mut words = Vec::new();
    if let Some(usage) = &sheet.usage {
        let (cached, reasoning) = (usage.get(Kind::CacheRead), usage.get(Kind::Reasoning));
        words.push(format!("input={} output={}", usage.prompt(), usage.completion()));
        words.push(format!("cache_read={cached} reasoning={reasoning}"));
    }
    words.extend(sheet.finish.iter().map(|(_, native)| format!("finish={native}")));
    words.extend(sheet.fault.iter().map(|status| format!("fault={status}")));
    words.push(format!("letters={}", sheet.delivered.0[0]));
    words.join(" ")
}

/// The stream less its events with usage and no choices.
fn less_usage_chunk(stream: &str) -> String {
    let keeps = |event: &&str| {
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        !(event["usage"].is_object() && event["choices"].as_array().is_none_or(Vec::is_empty))
    };
    stream.split_inclusive("\n\n").filter(keeps).collect()
}

#[test]
fn faithful_replies_keep_their_bytes_and_their_usage() {
    let Some(exchanges) = exchanges() else {
        return println!("skipped: WEIR_CORPUS is not set");
    };
    for exchange in &exchanges {
        let (out, sheet) = every_way(exchange, PASSED);
        assert_usage(exchange, &sheet);
        assert!(out == exchange.response, "{}: {out}", exchange.id);
        let (out, filtered) = every_way(exchange, FILTERED);
        assert_eq!(filtered, sheet, "{}", exchange.id);
        if exchange.streamed {
            assert!(out == less_usage_chunk(&exchange.response), "{}: {out}", exchange.id);
        }
    }
    assert!(exchanges.len() > 500, "{} exchanges", exchanges.len());
}

#[test]
fn shaped_replies_keep_the_contract_and_their_usage() {
    let Some(exchanges) = exchanges() else {
        return println!("skipped: WEIR_CORPUS is not set");
    };
    for exchange in &exchanges {
        let (out, sheet) = every_way(exchange, SHAPED);
        assert_usage(exchange, &sheet);
        let events: Vec<&str> = if exchange.streamed {
            out.split_terminator("\n\n")
                .map(|event| event.strip_prefix("data: ").unwrap())
                .collect()
        } else {
            Vec::from_iter((!out.is_empty()).then_some(&*out))
        };
        let events: Vec<Value> = events
            .into_iter()
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("{data}")))
            .collect();
        for event in &events {
            assert_shape(exchange, event);
        }
        let last = events.last().map(|event| &event["usage"]["prompt_tokens"]);
        if let (Some(last), Some(input)) = (last, exchange.expected["input"].as_u64()) {
            assert_eq!(last.as_u64(), Some(input), "{}: {out}", exchange.id);
        }
        let with_usage = events.iter().filter(|event| event["usage"].is_object()).count();
        let failed = events.iter().any(|event| event["error"].is_object());
        assert_eq!(with_usage, usize::from(!failed && !events.is_empty()), "{}", exchange.id);
    }
}

fn assert_shape(exchange: &Exchange, event: &Value) {
    let context = format!("{}: {event}", exchange.id);
    assert_eq!(event["id"], "gen-1-abc", "{context}");
    assert_eq!((&event["model"], &event["provider"]), (&"author/model".into(), &"Provider".into()));
    if exchange.operation == Operation::Embedding {
        return;
    }
    assert!(event["created"].as_u64().is_some_and(|seconds| seconds > 0), "{context}");
    let choices = event["choices"].as_array().unwrap();
    assert!(!choices.is_empty(), "{context}");
    for choice in choices {
        let reason = choice.get("finish_reason").unwrap();
        let known = ["stop", "length", "tool_calls", "content_filter", "error"];
        assert!(reason.is_null() || known.contains(&reason.as_str().unwrap()), "{context}");
        assert!(choice.get("native_finish_reason").is_some(), "{context}");
        assert!(choice["delta"].get("reasoning_content").is_none(), "{context}");
    }
}
