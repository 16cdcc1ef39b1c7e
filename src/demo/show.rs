//! What `weir demo` prints: once what is running, then a line per generation.

use super::fleet::{ENDPOINTS, MODELS, PROVIDERS};
use crate::ledger::record::{Record, Source};
use crate::price::Pico;
use std::fmt::Write;

/// Where a running demonstration can be reached.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// `address:port` of the callers' listener.
    pub listen: &'a str,
    /// `address:port` of the operators' listener.
    pub admin: &'a str,
    /// The demonstration's own key, shown so that it can be copied.
    pub key: &'a str,
}

/// What is running and how to call it.
#[must_use]
pub fn banner(running: &Running<'_>) -> String {
    let Running { listen, admin, key } = running;
    let model = MODELS.first().map_or("", |model| model.slug);
    let mut text = format!(
        "Weir serves http://{listen} (/api/v1 as OpenRouter does, /v1 byte for byte).\n\n\
         \x20 {:<12} {:<9} {:>16} {:>9} {:>12} {:>9}\n",
        "model", "provider", "USD/M in, out", "tokens/s", "first token", "failures"
    );
    for endpoint in ENDPOINTS {
        let price = format!("{}, {}", endpoint.input, endpoint.output);
        let _ = writeln!(
            text,
            "  {:<12} {:<9} {price:>16} {:>9} {:>9} ms {:>8}%",
            endpoint.model,
            display(endpoint.provider),
            endpoint.tokens_per_second,
            endpoint.first_token.as_millis(),
            (endpoint.failure_rate * 100.0).round(),
        );
    }
    let _ = write!(
        text,
        "\nAsk it (curl):\n\n\
         \x20 curl -N http://{listen}/api/v1/chat/completions -H 'Authorization: Bearer {key}' \
         -H 'Content-Type: application/json' -d '{{\"model\": \"{model}\", \"stream\": true, \
         \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'\n\n\
         Ask it (OpenAI's Python SDK):\n\n\
         \x20 from openai import OpenAI\n\
         \x20 client = OpenAI(base_url=\"http://{listen}/api/v1\", api_key=\"{key}\")\n\
         \x20 reply = client.chat.completions.create(\n\
         \x20     model=\"{model}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}])\n\
         \x20 print(reply.choices[0].message.content, reply.usage)\n\n\
         Metrics: http://{admin}/metrics\n\n{}\n",
        heading(),
    );
    text
}

fn display(slug: &str) -> &str {
    PROVIDERS.iter().find(|(own, _)| *own == slug).map_or(slug, |(_, name)| name)
}

/// The heads of the columns of [`line`].
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<14} {:<9} {:>8}  {:>15}  {:>15}  {:>11}  outcome",
        "model", "provider", "attempts", "tokens in + out", "cost USD", "first token"
    )
}

/// One generation, told by the record of its last attempt.
#[must_use]
pub fn line(record: &Record) -> String {
    let intent = &record.intent;
    let mark = if record.source == Source::Estimated { "~" } else { "" };
    let usage = record.usage;
    let tokens = format!("{mark}{} + {}", usage.prompt(), usage.completion());
    let first = record
        .first_content_us
        .map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1_000, us % 1_000 / 100));
    format!(
        "{:<14} {:<9} {:>8}  {tokens:>15}  {:>15}  {first:>11}  {}",
        intent.model,
        intent.provider_name,
        intent.attempt,
        usd(record.cost),
        record.outcome.as_str(),
    )
}

/// Pico-dollars as dollars, exact, without trailing zeros beyond the cent's cent.
fn usd(pico: Pico) -> String {
    let (sign, size) =
        if pico < 0 { ("-", pico.unsigned_abs()) } else { ("", pico.unsigned_abs()) };
    let fraction = format!("{:012}", size % 1_000_000_000_000);
    let kept = fraction.trim_end_matches('0').len().max(4);
    let fraction = fraction.get(..kept).unwrap_or(&fraction);
    format!("{sign}{}.{fraction}", size / 1_000_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::{Intent, RecordKey};
    use crate::meter::CLASSES;
    use crate::outcome::Outcome;
    use crate::request::route::{Face, Operation};
    use crate::usage::{Kind, Usage};

    fn record() -> Record {
        let intent = Intent {
            generation_id: "gen-1-a".into(),
            attempt: 2,
            face: Face::OpenRouter,
            operation: Operation::Chat,
            streamed: true,
            workspace: "demo".into(),
            key_hash: [0; 32],
            app: "".into(),
            session: "".into(),
            user: "".into(),
            model: "demo/river".into(),
            provider: "birch".into(),
            provider_name: "Birch".into(),
            endpoint: "demo/river@birch".into(),
            upstream_model: "river".into(),
            credential: "".into(),
            tier: "".into(),
            price: [0; 32],
            prompt_bytes: 80,
            max_tokens: None,
        };
        Record {
            key: RecordKey { node: [0; 16], epoch: 1, seq: 1 },
            intent,
            outcome: Outcome::Ok,
            status: 200,
            finish: None,
            native_finish: String::new(),
            upstream_id: String::new(),
            started_us: 0,
            ended_us: 1,
            first_content_us: Some(151_234),
            duration_us: 1,
            source: Source::Reported,
            estimator: "",
            usage: Usage::ZERO.with(Kind::Input, 15).with(Kind::Output, 120),
            delivered: [0; CLASSES],
            committed: true,
            cost: 75_750_000,
            charge: 75_750_000,
            policy: "delivered",
            flags: 0,
        }
    }

    #[test]
    fn a_line_stands_under_its_heading() {
        let line = line(&record());
        let fields: Vec<&str> = line.split_whitespace().collect();
        let expected = "demo/river Birch 2 15 + 120 0.00007575 151.2 ms ok";
        assert_eq!(fields.join(" "), expected);
        let at = |text: &str, word: &str| text.find(word).map(|at| at + word.len());
        assert_eq!(at(&line, "15 + 120"), at(&heading(), "tokens in + out"));
        assert_eq!(at(&line, "151.2 ms"), at(&heading(), "first token"));
    }

    #[test]
    fn what_never_came_and_what_was_estimated_shows() {
        let mut record = record();
        record.first_content_us = None;
        record.source = Source::Estimated;
        record.outcome = Outcome::Truncated;
        let line = line(&record);
        assert!(line.contains("~15 + 120") && line.contains(" -  truncated"), "{line}");
    }

    #[test]
    fn money_is_exact() {
        for (pico, text) in [
            (0, "0.0000"),
            (1, "0.000000000001"),
            (1_500_000_000_000, "1.5000"),
            (-75_750_000, "-0.00007575"),
        ] {
            assert_eq!(usd(pico), text);
        }
    }

    #[test]
    fn the_banner_shows_all_that_is_needed() {
        let running =
            Running { listen: "127.0.0.1:8080", admin: "127.0.0.1:8081", key: "sk-or-v1-0" };
        let text = banner(&running);
        for part in [
            "curl -N http://127.0.0.1:8080/api/v1/chat/completions",
            "'Authorization: Bearer sk-or-v1-0'",
            "base_url=\"http://127.0.0.1:8080/api/v1\", api_key=\"sk-or-v1-0\"",
            "http://127.0.0.1:8081/metrics",
            "  demo/delta   Cedar           2.00, 8.00       150       120 ms        1%",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
