//! Fits tokens per class of delivered byte; see README.md.

#![allow(dead_code, reason = "the meter's own file is used in part")]

#[path = "../../src/meter/delivered.rs"]
mod delivered;

use delivered::{CLASSES, Delivered};
use serde_json::Value;
use std::collections::HashSet;

/// Where the texts say nothing: tokens per class as they were first measured.
const PRIOR: [f64; CLASSES] = [0.15, 0.7, 0.38, 0.6, 0.7, 0.725, 1.5, 10.6];
/// How much a weight is drawn to it.
const PULL: f64 = 0.02;
/// Passes of coordinate descent.
const PASSES: usize = 2_000;

/// What was delivered, and the tokens it came to.
struct Sample {
    counts: [f64; CLASSES],
    tokens: f64,
}

impl Sample {
    fn new(delivered: &Delivered, tokens: usize) -> Self {
        Self { counts: delivered.0.map(|count| count as f64), tokens: tokens as f64 }
    }

    fn estimate(&self, weights: &[f64; CLASSES]) -> f64 {
        self.counts.iter().zip(weights).map(|(count, weight)| count * weight).sum()
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("the path of recorded.jsonl");
    let file = std::fs::read_to_string(path).expect("the file of recorded exchanges");
    let rows: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut texts = HashSet::new();
    for row in &rows {
        for half in ["request", "response"] {
            documents(row[half].as_str().unwrap_or_default(), &mut |json| gather(json, &mut texts));
        }
    }
    let families = [
        ("o200k", tiktoken_rs::o200k_base().unwrap()),
        ("cl100k", tiktoken_rs::cl100k_base().unwrap()),
    ];
    for (name, tokenizer) in families {
        let samples: Vec<_> = texts
            .iter()
            .map(|text| Sample::new(&count(text), tokenizer.encode_ordinary(text).len()))
            .collect();
        fit(name, &samples);
    }
    fit("other", &rows.iter().filter_map(reported).collect::<Vec<_>>());
}

/// Every JSON document of a body: itself, or the data of its events.
fn documents(body: &str, take: &mut dyn FnMut(&Value)) {
    if let Ok(json) = serde_json::from_str(body) {
        return take(&json);
    }
    for line in body.lines().filter_map(|line| line.strip_prefix("data:")) {
        if let Ok(json) = serde_json::from_str(line) {
            take(&json);
        }
    }
}

/// Texts that people or models wrote; the longest kept are whole pages.
fn gather(json: &Value, texts: &mut HashSet<String>) {
    const KEYS: [&str; 7] =
        ["content", "text", "arguments", "reasoning", "reasoning_content", "prompt", "description"];
    match json {
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(text) if KEYS.contains(&key.as_str()) && text.len() > 20 => {
                        texts.insert(text.to_owned());
                    }
                    _ => gather(value, texts),
                }
            }
        }
        _ => {}
    }
}

fn count(text: &str) -> Delivered {
    let mut delivered = Delivered::default();
    let json = serde_json::to_string(text).unwrap();
    delivered.count(&json.as_bytes()[1..json.len() - 1]);
    delivered
}

/// A chat reply of a host with a tokenizer of its own, with the completion tokens it reported.
fn reported(row: &Value) -> Option<Sample> {
    let other =
        !["openai", "azure"].iter().any(|name| row["host"].as_str().unwrap().contains(name));
    let usage = &row["expected_usage"];
    if row["dialect"] != "openai-chat" || !other || usage["reasoning"].as_u64()? > 0 {
        return None;
    }
    let mut delivered = Delivered::default();
    documents(row["response"].as_str()?, &mut |json| {
        for choice in json["choices"].as_array().into_iter().flatten() {
            for message in [&choice["message"], &choice["delta"]] {
                for key in ["content", "reasoning", "reasoning_content"] {
                    delivered.add(&count(message[key].as_str().unwrap_or_default()));
                }
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    if let Some(name) = function["name"].as_str() {
                        delivered.call();
                        delivered.add(&count(name));
                    }
                    delivered.add(&count(function["arguments"].as_str().unwrap_or_default()));
                }
            }
        }
    });
    let sample = Sample::new(&delivered, usize::try_from(usage["output"].as_u64()?).ok()?);
    // Hidden reasoning that is not told apart, and replies whose text is not here.
    let ratio = sample.tokens / sample.estimate(&PRIOR).max(1.0);
    (sample.tokens >= 3.0 && (0.4..1.8).contains(&ratio)).then_some(sample)
}

/// Least squares of relative errors over positive weights, by coordinate descent.
fn fit(name: &str, samples: &[Sample]) {
    let mut weights = PRIOR;
    let pull = PULL * samples.len() as f64;
    for _ in 0..PASSES {
        for class in 0..CLASSES {
            let (mut up, mut down) = (0.0, 0.0);
            for sample in samples {
                let x = sample.counts[class] / sample.tokens.max(1.0);
                let rest = sample.estimate(&weights) - sample.counts[class] * weights[class];
                up += x * (sample.tokens - rest) / sample.tokens.max(1.0);
                down += x * x;
            }
            let towards = pull / PRIOR[class].powi(2);
            weights[class] = ((up + towards * PRIOR[class]) / (down + towards)).max(0.0);
        }
    }
    let mut ratios: Vec<f64> =
        samples.iter().map(|s| s.estimate(&weights) / s.tokens.max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: usize| ratios[(ratios.len() - 1) * share / 100];
    let sums = samples.iter().fold((0.0, 0.0), |(estimate, tokens), sample| {
        (estimate + sample.estimate(&weights), tokens + sample.tokens)
    });
    println!("{name}: {:?}", weights.map(|weight| (weight * 1_000.0).round()));
    println!(
        "  {} texts, {} tokens, sum {:.3}, estimate/tokens p5 {:.2} p25 {:.2} p50 {:.2} p75 {:.2} p95 {:.2}",
        samples.len(),
        sums.1,
        sums.0 / sums.1,
        at(5),
        at(25),
        at(50),
        at(75),
        at(95)
    );
}
