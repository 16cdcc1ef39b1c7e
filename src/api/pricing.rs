//! Prices as the contract shows them: decimal strings of dollars per token or unit (section 1.4).

use crate::price::{Override, PriceVersion, Rates, per_token_string};
use crate::usage::Kind;
use serde_json::{Map, Value};

/// A price key of the contract: its kind, and the kind it repeats unless it has its own price.
struct PriceKey {
    name: &'static str,
    kind: Kind,
    base: Option<Kind>,
    /// Present even when it says nothing, because clients read it.
    always: bool,
}

const fn own(name: &'static str, kind: Kind, always: bool) -> PriceKey {
    PriceKey { name, kind, base: None, always }
}

const fn like(name: &'static str, kind: Kind, base: Kind, always: bool) -> PriceKey {
    PriceKey { name, kind, base: Some(base), always }
}

/// `image` is per picture, which Weir never charges; pictures are tokens: `image_token`.
const PRICES: [PriceKey; 13] = [
    own("prompt", Kind::Input, true),
    own("completion", Kind::Output, true),
    own("request", Kind::Requests, true),
    own("web_search", Kind::Searches, true),
    like("internal_reasoning", Kind::Reasoning, Kind::Output, true),
    like("input_cache_read", Kind::CacheRead, Kind::Input, false),
    like("input_cache_write", Kind::CacheWrite5m, Kind::Input, false),
    like("input_cache_write_1h", Kind::CacheWrite1h, Kind::Input, false),
    like("image_token", Kind::InputImage, Kind::Input, false),
    like("image_output", Kind::OutputImage, Kind::Output, false),
    like("audio", Kind::InputAudio, Kind::Input, false),
    like("audio_output", Kind::OutputAudio, Kind::Output, false),
    like("input_audio_cache", Kind::InputAudioCached, Kind::Input, false),
];

impl PriceKey {
    /// Whether the kind costs what its base does.
    fn repeats(&self, rates: &Rates) -> bool {
        self.base.is_some_and(|base| rates.price(base) == rates.price(self.kind))
    }
}

/// The `pricing` object: what is paid, so that the discount, which is in it already, is none.
pub(super) fn pricing(version: &PriceVersion) -> Map<String, Value> {
    let base = version.base();
    let mut shown = Map::new();
    shown.insert("image".to_owned(), "0".into());
    shown.insert("discount".to_owned(), 0.into());
    for key in &PRICES {
        let (own, repeats) = (base.price(key.kind), key.repeats(base));
        if key.always || own > 0 && !repeats {
            let text = per_token_string(if repeats { 0 } else { own });
            shown.insert(key.name.to_owned(), text.into());
        }
    }
    if !version.overrides().is_empty() {
        let all = version.overrides().iter().map(|each| changed(each, base));
        shown.insert("overrides".to_owned(), all.collect());
    }
    shown
}

/// One of `overrides`: its conditions, and the prices that a reader of the rest would not expect.
fn changed(each: &Override, base: &Rates) -> Value {
    let price = |kind: Kind| {
        let own = each.prices.iter().find(|(changed, _)| *changed == kind);
        own.map_or(base.price(kind), |(_, pico)| *pico)
    };
    let mut shown = Map::new();
    // The contract's threshold is to be passed, Weir's to be reached.
    if let Some(most) = each.min_prompt_tokens.checked_sub(1) {
        shown.insert("min_prompt_tokens".to_owned(), most.into());
    }
    if let Some(hours) = each.hours {
        // 1030 is half past ten.
        let clock = |minutes: u16| minutes / 60 * 100 + minutes % 60;
        shown.insert("utc_start".to_owned(), clock(hours.start).into());
        shown.insert("utc_end".to_owned(), clock(hours.end).into());
    }
    for key in &PRICES {
        // What repeated its base goes on doing so unless its own price is said.
        let of = key.base.filter(|_| key.repeats(base));
        let expected = of.map_or(base.price(key.kind), price);
        if price(key.kind) != expected {
            shown.insert(key.name.to_owned(), per_token_string(price(key.kind)).into());
        }
    }
    shown.into()
}

/// What an input and an output token cost together, by which endpoints and models are compared.
pub(super) fn token_price(version: &PriceVersion) -> u64 {
    let base = version.base();
    base.price(Kind::Input).saturating_add(base.price(Kind::Output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{Hours, complete, implied};
    use serde_json::json;

    const BASE: [(Kind, u64); 3] =
        [(Kind::Input, 1_000_000), (Kind::Output, 2_000_000), (Kind::CacheRead, 100_000)];

    fn version(overrides: Vec<Override>) -> PriceVersion {
        PriceVersion::new(Rates::new(complete(&BASE)), overrides)
    }

    #[test]
    fn overrides_say_when_they_hold_and_what_they_change() {
        let prices = |own: &[(Kind, u64)]| implied(&BASE, own);
        let long = Override {
            min_prompt_tokens: 200_001,
            hours: None,
            prices: prices(&[(Kind::Input, 2_000_000), (Kind::CacheRead, 200_000)]),
        };
        let night = Override {
            min_prompt_tokens: 0,
            hours: Some(Hours { start: 16 * 60 + 30, end: 30 }),
            prices: prices(&[(Kind::Output, 1_000_000)]),
        };
        let writes = Override {
            min_prompt_tokens: 1,
            hours: None,
            prices: prices(&[(Kind::CacheWrite1h, 3_000_000)]),
        };
        let shown = Value::from(pricing(&version(vec![long, night, writes])));
        assert_eq!((&shown["discount"], &shown["prompt"]), (&json!(0), &json!("0.000001")));
        let expected = json!([
            { "min_prompt_tokens": 200_000, "prompt": "0.000002", "input_cache_read": "0.0000002" },
            { "utc_start": 1630, "utc_end": 30, "completion": "0.000001" },
            { "min_prompt_tokens": 0, "input_cache_write_1h": "0.000003" },
        ]);
        assert_eq!(shown["overrides"], expected);
        assert!(!pricing(&version(Vec::new())).contains_key("overrides"));
    }

    #[test]
    fn what_keeps_its_price_while_its_base_changes_says_so() {
        let prices = vec![(Kind::Output, 1_000_000)];
        let night = Override { min_prompt_tokens: 9, hours: None, prices };
        let shown = Value::from(pricing(&version(vec![night])));
        assert_eq!(shown["overrides"][0]["internal_reasoning"], json!("0.000002"));
    }
}
