//! What `weir demo` prints: once what is running, then a line per generation.

use super::fleet::{ENDPOINTS, MODELS, PROVIDERS};
use crate::log::Access;
use crate::metrics::Label as _;
use crate::price::format_usd;
use std::fmt::Write;
use std::path::Path;

/// Where a running demonstration can be reached.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// `address:port` of the callers' listener.
    pub listen: &'a str,
    /// `address:port` of the operators' listener.
    pub admin: &'a str,
    /// The demonstration's own key, shown so that it can be copied.
    pub key: &'a str,
    /// The configuration's directory, which lasts as long as the demonstration.
    pub place: &'a Path,
}

/// What is running and how to call it.
#[must_use]
pub fn banner(running: &Running<'_>) -> String {
    let Running { listen, admin, key, place } = running;
    let model = MODELS.first().map_or("", |model| model.slug);
    let mut text = format!(
        "Weir serves http://{listen} (/api/v1 as OpenRouter does, /v1 byte for byte).\n\n\
         \x20 {:<12} {:<9} {:>21} {:>9} {:>12} {:>9}\n",
        "model", "provider", "USD/M in, cached, out", "tokens/s", "first token", "failures"
    );
    for endpoint in ENDPOINTS {
        let price = format!("{}, {}, {}", endpoint.input, endpoint.cached, endpoint.output);
        let _ = writeln!(
            text,
            "  {:<12} {:<9} {price:>21} {:>9} {:>9} ms {:>8}%",
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
         Metrics: http://{admin}/metrics\n\
         Totals:  weir usage --conf {place}\n\
         Reasons: weir explain --conf {place} request.json\n\n{}\n",
        heading(),
        place = place.display(),
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

/// One generation, as it ended for its caller.
#[must_use]
pub fn line(access: &Access) -> String {
    let (prompt, completion) = access.tokens;
    let tokens = format!("{prompt} + {completion}");
    let first = access.first_token_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    format!(
        "{:<14} {:<9} {:>8}  {tokens:>15}  {:>15}  {first:>11}  {}",
        access.model.as_deref().unwrap_or("-"),
        access.provider.as_deref().unwrap_or("-"),
        access.attempts,
        format_usd(access.charge),
        access.ending.text(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Ending;
    use crate::request::route::{Face, Operation};

    fn access() -> Access {
        Access {
            generation: "gen-1-a".into(),
            workspace: "demo".into(),
            key: "demo".into(),
            face: Face::OpenRouter,
            operation: Operation::Chat,
            streamed: true,
            model: Some("demo/river".into()),
            provider: Some("birch".into()),
            attempts: 2,
            status: 200,
            ending: Ending::Ok,
            tokens: (15, 120),
            charge: 75_750_000,
            first_token_ms: Some(151),
            duration_ms: 900,
        }
    }

    #[test]
    fn a_line_stands_under_its_heading() {
        let line = line(&access());
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields.join(" "), "demo/river birch 2 15 + 120 0.00007575 151 ms ok");
        let at = |text: &str, word: &str| text.find(word).map(|at| at + word.len());
        assert_eq!(at(&line, "15 + 120"), at(&heading(), "tokens in + out"));
        assert_eq!(at(&line, "151 ms"), at(&heading(), "first token"));
    }

    #[test]
    fn what_never_came_shows() {
        let line = line(&Access { first_token_ms: None, ending: Ending::Failed, ..access() });
        let end = line.split_whitespace().rev().take(2).collect::<Vec<_>>();
        assert_eq!(end, ["failed", "-"]);
    }

    #[test]
    fn the_banner_shows_all_that_is_needed() {
        let running = Running {
            listen: "127.0.0.1:8080",
            admin: "127.0.0.1:8081",
            key: "sk-or-v1-0",
            place: Path::new("/tmp/demo"),
        };
        let text = banner(&running);
        for part in [
            "curl -N http://127.0.0.1:8080/api/v1/chat/completions",
            "'Authorization: Bearer sk-or-v1-0'",
            "base_url=\"http://127.0.0.1:8080/api/v1\", api_key=\"sk-or-v1-0\"",
            "http://127.0.0.1:8081/metrics",
            "weir usage --conf /tmp/demo",
            "  demo/delta   Cedar          2.00, 0.20, 8.00       150       120 ms        1%",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
