//! Prices as the contract shows them: decimal strings of dollars per token or unit (section 1.4).

use crate::catalog::Endpoint;
use crate::edge::clock::wall_us;
use crate::price::per_token_string;
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

/// The `pricing` object of an endpoint, as it holds now.
pub(super) fn pricing(endpoint: &Endpoint) -> Map<String, Value> {
    let now = endpoint.price.at(wall_us());
    let price = |kind: Kind| now.base().price(kind);
    let mut shown = Map::new();
    shown.insert("image".to_owned(), "0".into());
    for key in &PRICES {
        let own = price(key.kind);
        let repeats = key.base.is_some_and(|base| price(base) == own);
        if key.always || own > 0 && !repeats {
            let text = per_token_string(if repeats { 0 } else { own });
            shown.insert(key.name.to_owned(), text.into());
        }
    }
    shown
}

/// What an input and an output token cost together, by which endpoints and models are compared.
pub(super) fn token_price(endpoint: &Endpoint) -> u64 {
    let price = endpoint.price.at(wall_us()).base();
    price.price(Kind::Input).saturating_add(price.price(Kind::Output))
}
