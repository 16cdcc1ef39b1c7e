//! `GET models` for both faces: OpenAI's shape with OpenRouter's fields (contract section 1.4).

use crate::catalog::{Endpoint, Model};
use crate::price::per_token_string;
use crate::usage::Kind;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

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

/// The whole body. A model none of whose providers has a credential is left out; prices and limits
/// are those of the endpoint with the cheapest tokens.
#[must_use]
pub fn render<'a>(models: impl Iterator<Item = &'a Model>) -> Bytes {
    let rows: Vec<Value> = models.filter_map(row).collect();
    let count = rows.len();
    let body = json!({
        "object": "list",
        "data": rows,
        "total_count": count,
        "links": { "next": null },
    });
    body.to_string().into()
}

fn row(model: &Model) -> Option<Value> {
    let serving = || model.endpoints.iter().filter(|endpoint| serves(endpoint));
    let cheapest = serving().min_by_key(|endpoint| token_price(endpoint))?;
    let parameters: BTreeSet<&String> =
        serving().flat_map(|endpoint| &endpoint.supported_parameters).collect();
    let author = model.slug.split('/').next().unwrap_or_default();
    Some(json!({
        "id": &*model.slug,
        "object": "model",
        "owned_by": author,
        "canonical_slug": &*model.slug,
        "hugging_face_id": null,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length,
        "architecture": architecture(model),
        "pricing": pricing(cheapest),
        "top_provider": {
            "context_length": cheapest.context_length,
            "max_completion_tokens": cheapest.max_completion_tokens,
            "is_moderated": false,
        },
        "per_request_limits": null,
        "supported_parameters": parameters,
        "default_parameters": {},
        "supported_voices": null,
        "knowledge_cutoff": null,
        "expiration_date": null,
        "links": { "details": format!("/api/v1/models/{}/endpoints", model.slug) },
    }))
}

fn architecture(model: &Model) -> Value {
    let [input, output] = [&model.input_modalities, &model.output_modalities];
    json!({
        "modality": format!("{}->{}", input.join("+"), output.join("+")),
        "input_modalities": input,
        "output_modalities": output,
        "tokenizer": "Other",
        "instruct_type": null,
    })
}

/// Prices as decimal strings in USD per token or unit.
fn pricing(endpoint: &Endpoint) -> Map<String, Value> {
    let price = |kind: Kind| endpoint.price.price(kind);
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

fn token_price(endpoint: &Endpoint) -> u64 {
    let price = &endpoint.price;
    price.price(Kind::Input).saturating_add(price.price(Kind::Output))
}

/// Whether the endpoint's provider is not dormant.
fn serves(endpoint: &Endpoint) -> bool {
    endpoint.provider.keyless || !endpoint.provider.credentials.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{endpoint, model};

    fn listed(models: &[Model]) -> Value {
        serde_json::from_slice(&render(models.iter())).unwrap()
    }

    #[test]
    fn a_row_has_the_shape_of_both_contracts() {
        let dear = endpoint("north", [(Kind::Input, 900_000), (Kind::Output, 900_000)], true);
        let cheap = endpoint(
            "south",
            [
                (Kind::Input, 400_000),
                (Kind::Output, 1_750_000),
                (Kind::Reasoning, 1_750_000),
                (Kind::CacheRead, 200_000),
                (Kind::CacheWrite5m, 400_000),
            ],
            true,
        );
        let body = listed(&[model("acme/small", vec![dear, cheap])]);
        assert_eq!(body["object"], "list");
        assert_eq!((&body["total_count"], &body["links"]["next"]), (&json!(1), &Value::Null));
        let row = &body["data"][0];
        for (key, value) in [
            ("id", json!("acme/small")),
            ("object", json!("model")),
            ("owned_by", json!("acme")),
            ("created", json!(1_737_381_095)),
            ("context_length", json!(131_072)),
            ("supported_parameters", json!(["max_tokens", "north", "south", "temperature"])),
        ] {
            assert_eq!(row[key], value, "{key}");
        }
        assert_eq!(row["architecture"]["modality"], "text+image->text");
        let twice = json!({ "prompt": "0.0000009", "completion": "0.0000009", "request": "0",
            "image": "0", "web_search": "0", "internal_reasoning": "0" });
        assert_eq!(row["pricing"], twice);
        assert_eq!(row["top_provider"]["context_length"], 65_536);
    }

    #[test]
    fn only_prices_that_differ_from_their_base_are_shown() {
        let prices = [
            (Kind::Input, 400_000),
            (Kind::Output, 1_750_000),
            (Kind::Reasoning, 1_750_000),
            (Kind::CacheRead, 200_000),
            (Kind::CacheWrite5m, 400_000),
            (Kind::Searches, 4_000_000_000),
        ];
        let body = listed(&[model("acme/small", vec![endpoint("south", prices, true)])]);
        let expected = json!({ "prompt": "0.0000004", "completion": "0.00000175", "request": "0",
            "image": "0", "web_search": "0.004", "internal_reasoning": "0",
            "input_cache_read": "0.0000002" });
        assert_eq!(body["data"][0]["pricing"], expected);
    }

    #[test]
    fn dormant_providers_neither_list_nor_price_a_model() {
        let dormant = || endpoint("asleep", [(Kind::Input, 1)], false);
        let awake = endpoint("awake", [(Kind::Input, 500_000)], true);
        let body = listed(&[
            model("acme/asleep", vec![dormant()]),
            model("acme/half", vec![dormant(), awake]),
            model("acme/empty", Vec::new()),
        ]);
        assert_eq!(body["total_count"], 1);
        assert_eq!(body["data"][0]["id"], "acme/half");
        assert_eq!(body["data"][0]["pricing"]["prompt"], "0.0000005");
        assert!(!body.to_string().contains("asleep"));
    }

    #[test]
    fn no_model_is_an_empty_list() {
        let body = listed(&[]);
        assert_eq!((&body["data"], &body["total_count"]), (&json!([]), &json!(0)));
    }
}
