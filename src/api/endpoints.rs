//! `GET models/{author}/{slug}/endpoints` and `GET endpoints/zdr` (contract section 1.5).

use super::models::architecture;
use super::pricing::pricing;
use crate::catalog::{Endpoint, Model, Parameters, Tier};
use crate::endpoint::Report;
use crate::price::{PriceVersion, Rates};
use crate::selection::{Facts, Grade, PERCENTILES};
use crate::usage::Kind;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// An endpoint and what is known of it now.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub model: &'a Model,
    pub endpoint: &'a Endpoint,
    /// As it holds now.
    pub price: &'a PriceVersion,
    pub facts: Facts,
    pub report: Report,
}

/// One model with its endpoints. Latency and throughput are only shown `to_key`, an asker with one.
#[must_use]
pub fn of_model(model: &Model, endpoints: &[Known<'_>], to_key: bool) -> Bytes {
    let rows: Vec<Value> = endpoints.iter().map(|known| row(known, to_key)).collect();
    let data = json!({
        "id": &*model.slug,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "architecture": architecture(model),
        "endpoints": rows,
    });
    json!({ "data": data }).to_string().into()
}

/// Endpoints of any models, those that retain nothing.
#[must_use]
pub fn zero_retention<'a>(all: impl Iterator<Item = Known<'a>>, to_key: bool) -> Bytes {
    let stays = |known: &Known<'_>| !known.endpoint.policy.retains;
    let rows: Vec<Value> = all.filter(stays).map(|known| row(&known, to_key)).collect();
    json!({ "data": rows }).to_string().into()
}

/// A `PublicEndpoint`.
fn row(known: &Known<'_>, to_key: bool) -> Value {
    let Known { model, endpoint, price, report, .. } = known;
    let chooses = endpoint.parameters.has(Parameters::TOOL_CHOICE);
    let mut row = json!({
        "name": format!("{} | {}", endpoint.provider.name, model.slug),
        "model_id": &*model.slug,
        "model_name": model.name,
        "context_length": endpoint.context_length,
        "pricing": pricing(price),
        "provider_name": &*endpoint.provider.name,
        "tag": &*endpoint.tag,
        "quantization": endpoint.quantization.as_deref(),
        "max_completion_tokens": endpoint.max_completion_tokens,
        "max_prompt_tokens": null,
        "supported_parameters": endpoint.supported_parameters,
        "status": status(&known.facts),
        "uptime_last_5m": report.uptime_5m.map(percent),
        "uptime_last_30m": report.uptime_30m.map(percent),
        "uptime_last_1d": report.uptime_1d.map(percent),
        "latency_last_30m": null,
        "throughput_last_30m": null,
        "supports_implicit_caching": caches_by_itself(price.base()),
        "supports_tool_choice":
            { "auto": chooses, "function": chooses, "none": chooses, "required": chooses },
        "native_tools": {},
        "service_tier": endpoint.tier.map(Tier::as_str),
        "supports_diarization": false,
        "supports_voice_cloning": false,
        "supports_image_reference": false,
        "supports_multiple_audio_references": false,
    });
    if let Some(fields) = row.as_object_mut().filter(|_| to_key) {
        fields.extend(speed(known));
    }
    row
}

/// What only askers with a key are shown.
fn speed(known: &Known<'_>) -> Map<String, Value> {
    let latency = known.report.latency_30m.map(|ms| percentiles(ms.map(Value::from)));
    let tenths = |tenths: u32| Value::from(f64::from(tenths) / 10.0);
    let throughput = known.report.throughput_30m.map(|each| percentiles(each.map(tenths)));
    let is_embedding = known.model.output_modalities.iter().any(|it| it == "embeddings");
    let workload = if is_embedding { "embeddings" } else { "text_generation" };
    let counted = json!({
        "latency": latency,
        "throughput": throughput,
        "request_count": known.facts.attempts,
    });
    let workloads: Map<String, Value> = [(workload.to_owned(), counted)].into_iter().collect();
    let fields: [(&str, Value); 3] = [
        ("latency_last_30m", latency.into()),
        ("throughput_last_30m", throughput.into()),
        ("perf_last_30m_by_workload", workloads.into()),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn percentiles(values: [Value; PERCENTILES.len()]) -> Value {
    let named = PERCENTILES.iter().zip(values);
    Value::Object(named.map(|((name, _), value)| ((*name).to_owned(), value)).collect())
}

/// Thousandths as a percentage.
fn percent(share: u32) -> f64 {
    f64::from(share) / 10.0
}

/// The contract's grades: 0 is good, and the worse the lower. What each below 0 means it does not say.
const fn status(facts: &Facts) -> i8 {
    match facts {
        Facts { down: true, .. } => -10,
        Facts { ejected: true, .. } => -5,
        Facts { cooling: true, .. } => -3,
        Facts { outage: true, .. } => -2,
        Facts { grade: Grade::Normal, .. } => 0,
        Facts { .. } => -1,
    }
}

/// Whether prompts are cached without being asked to: reading is cheaper, and writing costs no more.
fn caches_by_itself(price: &Rates) -> bool {
    let input = price.price(Kind::Input);
    price.price(Kind::CacheRead) < input && price.price(Kind::CacheWrite5m) <= input
}

#[cfg(test)]
mod tests;
