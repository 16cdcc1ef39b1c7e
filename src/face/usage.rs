//! The usage object of the contract (section 4.2), exact to the pico-dollar.

use crate::dialect::Predictions;
use crate::price::{Terms, format_usd};
use crate::request::route::Operation;
use crate::usage::{KINDS, Kind, Usage};
use std::fmt::Write;

/// What a delivered reply on `/api/v1` used.
pub(super) struct Spent<'a> {
    pub(super) usage: &'a Usage,
    pub(super) predictions: Predictions,
    /// The caller may have to pay nothing.
    pub(super) failed: bool,
}

/// The usage object; its `cost` is what the caller pays.
pub(super) fn object(spent: &Spent<'_>, terms: &Terms, operation: Operation) -> String {
    let usage = spent.usage;
    let sum =
        |kinds: &[Kind]| kinds.iter().map(|kind| usage.get(*kind)).fold(0, u64::saturating_add);
    let (prompt, completion) = (usage.prompt(), usage.completion());
    let total = prompt.saturating_add(completion);
    let rates = terms.rates(usage);
    let charge = terms.policy.charge(rates.cost(usage), true, spent.failed);
    let cost = format_usd(terms.earlier.saturating_add(charge));
    let mut text = String::with_capacity(640);
    if operation == Operation::Embedding {
        let _ =
            write!(text, r#"{{"prompt_tokens":{prompt},"total_tokens":{total},"cost":{cost}}}"#);
        return text;
    }
    let _ = write!(
        text,
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"#
    );
    let _ = write!(
        text,
        r#""cost":{cost},"is_byok":false,"prompt_tokens_details":{{"cached_tokens":{},"cache_write_tokens":{},"audio_tokens":{},"video_tokens":{}}},"#,
        sum(&[Kind::CacheRead, Kind::InputAudioCached]),
        sum(&[Kind::CacheWrite5m, Kind::CacheWrite1h]),
        sum(&[Kind::InputAudio, Kind::InputAudioCached]),
        usage.get(Kind::InputVideo),
    );
    let _ = write!(
        text,
        r#""cost_details":{{"upstream_inference_cost":null,"upstream_inference_prompt_cost":{},"upstream_inference_completions_cost":{}}},"#,
        format_usd(rates.cost(&only(usage, &Kind::PROMPT))),
        format_usd(rates.cost(&only(usage, &Kind::COMPLETION))),
    );
    let _ = write!(
        text,
        r#""completion_tokens_details":{{"reasoning_tokens":{},"image_tokens":{},"audio_tokens":{}"#,
        usage.get(Kind::Reasoning),
        usage.get(Kind::OutputImage),
        usage.get(Kind::OutputAudio),
    );
    details(spent, &mut text);
    text
}

/// Ends the completion's details and the object, with what only some replies report.
fn details(spent: &Spent<'_>, text: &mut String) {
    let Predictions { accepted, rejected } = spent.predictions;
    for (name, count) in [("accepted", accepted), ("rejected", rejected)] {
        if let Some(count) = count {
            let _ = write!(text, r#","{name}_prediction_tokens":{count}"#);
        }
    }
    text.push('}');
    let searches = spent.usage.get(Kind::Searches);
    if searches > 0 {
        let _ = write!(text, r#","server_tool_use_details":{{"web_search_requests":{searches}}}"#);
    }
    text.push('}');
}

fn only(usage: &Usage, kinds: &[Kind]) -> Usage {
    let mut part = Usage([0; KINDS]);
    for kind in kinds {
        part.set(*kind, usage.get(*kind));
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{Policy, PriceVersion, Rates};
    use std::sync::Arc;

    #[test]
    fn decimals_are_exact_and_plain() {
        let cases = [
            (0, "0"),
            (1, "0.000000000001"),
            (400_000, "0.0000004"),
            (4_500_000, "0.0000045"),
            (1_000_000_000_000, "1"),
            (10_000_000_000_000, "10"),
            (1_234_567_890_123, "1.234567890123"),
            (-1_500_000_000_000, "-1.5"),
            (crate::price::Pico::MAX, "170141183460469231731687303.715884105727"),
        ];
        for (pico, text) in cases {
            assert_eq!(format_usd(pico), text);
        }
    }

    #[test]
    fn parts_of_the_cost_add_up_to_it() {
        let mut unit = [0; KINDS];
        for (price, (kind, _)) in (1_000u64..).zip(Kind::ALL.iter().take(12)) {
            unit[kind.index()] = price;
        }
        let price = Rates::new(unit);
        let mut usage = Usage::ZERO;
        for (kind, _) in Kind::ALL.iter().take(12) {
            usage.set(*kind, 7);
        }
        let parts =
            price.cost(&only(&usage, &Kind::PROMPT)) + price.cost(&only(&usage, &Kind::COMPLETION));
        assert_eq!(parts, price.cost(&usage));
    }

    #[test]
    fn every_field_clients_require_is_there() {
        let version = Arc::new(PriceVersion::flat([150_000; KINDS]));
        let mut terms = Terms { version, started_us: 0, policy: Policy::Insured, earlier: 0 };
        let usage =
            Usage::ZERO.with(Kind::Input, 22).with(Kind::Output, 2).with(Kind::Reasoning, 6);
        let object = |usage: &Usage, terms: &Terms, operation, failed| {
            object(&Spent { usage, predictions: Predictions::default(), failed }, terms, operation)
        };
        insta::assert_snapshot!(object(&usage, &terms, Operation::Chat, false), @r#"{"prompt_tokens":22,"completion_tokens":8,"total_tokens":30,"cost":0.0000045,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.0000033,"upstream_inference_completions_cost":0.0000012},"completion_tokens_details":{"reasoning_tokens":6,"image_tokens":0,"audio_tokens":0}}"#);
        insta::assert_snapshot!(object(&usage, &terms, Operation::Embedding, false), @r#"{"prompt_tokens":22,"total_tokens":30,"cost":0.0000045}"#);
        assert!(object(&usage, &terms, Operation::Chat, true).contains(r#""cost":0,"#));
        terms.earlier = 1_000_000;
        let text = object(&usage, &terms, Operation::Chat, false);
        assert!(text.contains(r#""cost":0.0000055,"#), "earlier attempts are charged too: {text}");
    }
}
