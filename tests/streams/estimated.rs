//! Recorded replies whose usage is known, as if it had not been reported: hidden, estimated, compared
//! (F34). Endpoints learn from each reply after it was estimated, as they do in service.

use super::replay::{MODES, relay, replay};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use weir::endpoint::Calibration;
use weir::meter::{Estimator, Evidence, Family, is_plausible};
use weir::request::envelope;
use weir::request::route::Operation;
use weir::usage::Usage;

/// How far sums may be off, percent.
const OFF: u64 = 15;

/// What is known of one exchange, and what it reported.
struct Known {
    endpoint: String,
    family: Family,
    operation: Operation,
    prompt_bytes: u64,
    media: bool,
    sheet: super::Sheet,
    reported: Usage,
}

impl Known {
    fn evidence(&self, estimator: Estimator) -> Evidence<'_> {
        Evidence {
            reported: None,
            delivered: &self.sheet.delivered,
            content: true,
            complete: true,
            prompt_bytes: self.prompt_bytes,
            operation: self.operation,
            estimator,
        }
    }
}

fn known(row: &Value) -> Option<Known> {
    let operation = match row["dialect"].as_str()? {
        "openai-chat" => Operation::Chat,
        "openai-completions" => Operation::Completion,
        _ => return None,
    };
    let usage = &row["expected_usage"];
    // Reasoning that nobody was shown left nothing to estimate from.
    if row["status"] != 200 || usage.is_null() || usage["reasoning"].as_u64()? > 0 {
        return None;
    }
    let request = row["request"].as_str()?;
    let envelope = envelope::read(request.as_bytes(), operation).ok()?;
    let streamed = row["content_type"].as_str()?.starts_with("text/event-stream");
    let response = row["response"].as_str()?.as_bytes();
    let (_, sheet) = replay(relay(MODES[0], operation, streamed), response, || usize::MAX);
    let model = envelope.models.first()?;
    Some(Known {
        endpoint: format!("{}@{}", model, row["host"].as_str()?),
        family: Family::of(model),
        operation,
        prompt_bytes: envelope.text_bytes(request.len()),
        media: envelope.has_media(),
        reported: sheet.usage?,
        sheet,
    })
}

/// Pairs of estimate and truth, and what they come to.
#[derive(Default)]
struct Compared(Vec<(u64, u64)>);

impl Compared {
    /// Estimated tokens for each hundred that were reported.
    fn percent(&self) -> u64 {
        let (estimate, truth) = self.0.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        estimate * 100 / truth.max(1)
    }

    fn print(&self, name: &str) {
        let mut each: Vec<_> = self.0.iter().map(|(guess, truth)| guess * 100 / truth).collect();
        each.sort_unstable();
        let at = |share: usize| each[(each.len() - 1) * share / 100];
        println!(
            "{name:<18} {:>4} replies, in sum {:>3} %; each: p5 {} %, p25 {} %, p50 {} %, p75 {} %, p95 {} %",
            each.len(),
            self.percent(),
            at(5),
            at(25),
            at(50),
            at(75),
            at(95)
        );
    }
}

#[test]
fn estimates_of_hidden_usage_come_to_what_was_reported() {
    let Some(folder) = std::env::var_os("WEIR_CORPUS") else {
        return println!("skipped: WEIR_CORPUS is not set");
    };
    let file = std::fs::File::open(std::path::Path::new(&folder).join("recorded.jsonl")).unwrap();
    let rows = BufReader::new(file).lines();
    let all: Vec<_> =
        rows.filter_map(|line| known(&serde_json::from_str(&line.unwrap()).unwrap())).collect();
    assert!(all.len() > 350, "{} exchanges", all.len());
    let odd = |one: &&Known| {
        let delivered = &one.sheet.delivered;
        !is_plausible(&one.reported, delivered, one.prompt_bytes, one.media)
    };
    let odd: Vec<_> = all.iter().filter(odd).map(|one| (&one.endpoint, one.reported)).collect();
    println!("{} of {} true reports are quarantined: {odd:?}", odd.len(), all.len());
    assert!(odd.len() * 100 <= all.len(), "that is too many to look at");
    let mut endpoints: HashMap<&str, Calibration> = HashMap::new();
    let [mut output, mut input, mut plain_output, mut plain_input, mut unseen] =
        std::array::from_fn(|_| Compared::default());
    for one in &all {
        let calibration = endpoints.entry(&one.endpoint).or_default();
        let plain = Estimator::of(one.family);
        for (estimator, out, prompt) in [
            (calibration.correct(plain), &mut output, &mut input),
            (plain, &mut plain_output, &mut plain_input),
        ] {
            let (_, guess) = one.evidence(estimator).settle();
            if one.reported.completion() > 0 {
                out.0.push((guess.completion(), one.reported.completion()));
            }
            // What a picture costs, and what a provider's own search found, no byte of ours tells.
            let untold = one.media || one.reported.prompt() > one.prompt_bytes;
            let prompts = if untold { &mut unseen } else { prompt };
            prompts.0.push((guess.prompt(), one.reported.prompt().max(1)));
        }
        calibration.learn(&one.evidence(plain), &one.reported);
    }
    plain_output.print("output, uncorrected");
    plain_input.print("input, uncorrected");
    output.print("output, corrected");
    input.print("input, corrected");
    unseen.print("input unseen");
    for compared in [&output, &input, &plain_output, &plain_input] {
        let percent = compared.percent();
        assert!((100 - OFF..=100 + OFF).contains(&percent), "{percent} % in sum");
    }
}
