//! `GET models` for both faces: OpenAI's shape with OpenRouter's fields (contract section 1.4).

use super::entry::Entry;
use super::pricing::{pricing, token_price};
use crate::catalog::{Benchmark, Endpoint, Model, Parameters, Scores};
use crate::price::PriceVersion;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An entry as one asker may use it: itself, and those of its endpoints that serve this asker.
#[derive(Debug, Clone)]
pub(super) struct Offer<'a> {
    pub entry: &'a Entry,
    /// As the entry shows it.
    pub model: &'a Model,
    pub endpoints: Vec<&'a Arc<Endpoint>>,
    /// The one with the cheapest tokens: its prices and limits are shown as the model's.
    pub cheapest: &'a Arc<Endpoint>,
    /// That one's, as they hold now.
    pub price: &'a PriceVersion,
}

impl<'a> Offer<'a> {
    /// `None` if no endpoint is left. `now_us` is in Unix microseconds.
    pub(super) fn of(
        entry: &'a Entry,
        endpoints: Vec<&'a Arc<Endpoint>>,
        now_us: u64,
    ) -> Option<Self> {
        let price = |endpoint: &'a Arc<Endpoint>| &**endpoint.price.at(now_us);
        // A request that asks for no tier does not come to one.
        let cheapest = *endpoints
            .iter()
            .min_by_key(|endpoint| (endpoint.tier.is_some(), token_price(price(endpoint))))?;
        Some(Self { entry, model: &entry.shown, endpoints, cheapest, price: price(cheapest) })
    }

    /// With every endpoint whose provider is not dormant.
    pub(super) fn whole(entry: &'a Entry, now_us: u64) -> Option<Self> {
        let serving = entry.shown.endpoints.iter().filter(|endpoint| endpoint.provider.is_awake());
        Self::of(entry, serving.collect(), now_us)
    }

    /// What any of the endpoints honours.
    pub(super) fn parameters(&self) -> BTreeSet<&'a String> {
        self.endpoints.iter().flat_map(|endpoint| &endpoint.supported_parameters).collect()
    }

    /// The model's row.
    pub(super) fn row(&self) -> Value {
        let Self { model, cheapest, .. } = self;
        let author = model.slug.split('/').next().unwrap_or_default();
        let mut row = json!({
            "id": &*model.slug,
            "object": "model",
            "owned_by": author,
            "canonical_slug": &*model.slug,
            "hugging_face_id": model.hugging_face_id,
            "name": model.name,
            "created": model.created,
            "description": model.description,
            "context_length": model.context_length,
            "architecture": architecture(model),
            "pricing": pricing(self.price),
            "top_provider": {
                "context_length": cheapest.context_length,
                "max_completion_tokens": cheapest.max_completion_tokens,
                "is_moderated": false,
            },
            "per_request_limits": null,
            "supported_parameters": self.parameters(),
            "default_parameters": { "temperature": null, "top_p": null, "frequency_penalty": null },
            "supported_voices": null,
            "knowledge_cutoff": model.knowledge_cutoff,
            "expiration_date": null,
            "links": { "details": format!("/api/v1/models/{}/endpoints", model.slug) },
        });
        if let (Some(scores), Some(fields)) = (benchmarks(&model.scores), row.as_object_mut()) {
            fields.insert("benchmarks".to_owned(), scores);
        }
        let reasons = self.endpoints.iter().any(|it| it.parameters.has(Parameters::REASONING));
        if let Some(fields) = row.as_object_mut().filter(|_| reasons) {
            // Which efforts a model takes is not known: null says that any may be asked for.
            let efforts = json!({ "mandatory": false, "supported_efforts": null });
            fields.insert("reasoning".to_owned(), efforts);
        }
        if let Some(fields) = row.as_object_mut() {
            self.entry.mark(fields);
        }
        row
    }
}

/// The `benchmarks` object of a model that has an index. Of Design Arena the contract wants more than a score.
fn benchmarks(scores: &Scores) -> Option<Value> {
    let [intelligence, coding, agentic] =
        [Benchmark::Intelligence, Benchmark::Coding, Benchmark::Agentic].map(|it| scores.get(it));
    intelligence.or(coding).or(agentic)?;
    let shown = |score: Option<u64>| score.map(|thousandths| thousandths as f64 / 1_000.0);
    Some(json!({
        "artificial_analysis": {
            "intelligence_index": shown(intelligence),
            "coding_index": shown(coding),
            "agentic_index": shown(agentic),
        },
        "design_arena": [],
    }))
}

/// The `architecture` object of a model.
pub(super) fn architecture(model: &Model) -> Map<String, Value> {
    let [input, output] = [&model.input_modalities, &model.output_modalities];
    let fields: [(&str, Value); 5] = [
        ("modality", format!("{}->{}", input.join("+"), output.join("+")).into()),
        ("input_modalities", input.clone().into()),
        ("output_modalities", output.clone().into()),
        ("tokenizer", model.tokenizer.as_deref().unwrap_or("Other").into()),
        ("instruct_type", Value::Null),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{endpoint, entry, model};
    use crate::usage::Kind;

    fn rows(models: &[Model]) -> Vec<Value> {
        let entries: Vec<Entry> = models.iter().map(entry).collect();
        entries.iter().filter_map(|entry| Offer::whole(entry, 0)).map(|offer| offer.row()).collect()
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
        let row = &rows(&[model("acme/small", vec![dear, cheap])])[0];
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
            "image": "0", "web_search": "0", "internal_reasoning": "0", "discount": 0 });
        assert_eq!(row["pricing"], twice);
        assert_eq!(row["top_provider"]["context_length"], 65_536);
    }

    #[test]
    fn benchmarks_are_shown_where_they_are_known() {
        let plain = || model("a/m", vec![endpoint("south", [(Kind::Input, 1)], true)]);
        let mut scored = plain();
        scored.scores = Scores([None, Some(41_500), None, None]);
        let rows = rows(&[plain(), scored]);
        assert!(rows[0].get("benchmarks").is_none());
        let shown = &rows[1]["benchmarks"];
        let indices =
            json!({ "intelligence_index": null, "coding_index": 41.5, "agentic_index": null });
        assert_eq!(*shown, json!({ "artificial_analysis": indices, "design_arena": [] }));
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
        let rows = rows(&[model("acme/small", vec![endpoint("south", prices, true)])]);
        let expected = json!({ "prompt": "0.0000004", "completion": "0.00000175", "request": "0",
            "image": "0", "web_search": "0.004", "internal_reasoning": "0",
            "input_cache_read": "0.0000002", "discount": 0 });
        assert_eq!(rows[0]["pricing"], expected);
    }

    #[test]
    fn dormant_providers_neither_list_nor_price_a_model() {
        let dormant = || endpoint("asleep", [(Kind::Input, 1)], false);
        let awake = endpoint("awake", [(Kind::Input, 500_000)], true);
        let rows = rows(&[
            model("acme/asleep", vec![dormant()]),
            model("acme/half", vec![dormant(), awake]),
            model("acme/empty", Vec::new()),
        ]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["id"], "acme/half");
        assert_eq!(rows[0]["pricing"]["prompt"], "0.0000005");
        assert!(!rows[0].to_string().contains("asleep"));
    }
}
