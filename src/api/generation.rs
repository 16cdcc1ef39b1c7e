//! `GET generation`: one generation as its attempts left it in the ledger (contract section 1.6).

use crate::ledger::record::Record;
use crate::meter::Finish;
use crate::outcome::Outcome;
use crate::price::{Pico, PriceVersion, format_usd};
use crate::request::route::Operation;
use crate::usage::Kind;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Number, Value, json};
use std::sync::Arc;

/// The whole body, from the records of one generation in any order; `None` without records.
///
/// The attempt that reached the caller speaks for the generation, else the last one; money is the
/// sum over attempts. Times are milliseconds; `latency` is what the caller waited for content,
/// failed attempts included. `price` finds a version by its hash, if it is still configured:
/// without it the discount of the cache is not told.
#[must_use]
pub fn render(
    rows: &[Record],
    price: impl Fn([u8; 32]) -> Option<Arc<PriceVersion>>,
) -> Option<Bytes> {
    let mut attempts: Vec<&Record> = rows.iter().collect();
    attempts.sort_by_key(|record| record.intent.attempt);
    let first = *attempts.first()?;
    let last = *attempts.last()?;
    let lead = attempts.iter().rfind(|record| record.committed).map_or(last, |record| *record);
    let mut data = described(lead, first);
    let version = price(lead.intent.price);
    let saved = version
        .and_then(|it| it.rates(lead.started_us, lead.usage.prompt()).cache_discount(&lead.usage));
    let more = [
        numbers(lead),
        money(&attempts),
        json!({ "cache_discount": saved.and_then(dollars) }),
        json!({ "provider_responses": responses(&attempts) }),
    ];
    if let Value::Object(fields) = &mut data {
        for part in more {
            if let Value::Object(part) = part {
                fields.extend(part);
            }
        }
    }
    Some(json!({ "data": data }).to_string().into())
}

fn described(lead: &Record, first: &Record) -> Value {
    let intent = &lead.intent;
    let before_us = lead.started_us.saturating_sub(first.started_us);
    let latency = lead.first_content_us.map(|waited| before_us.saturating_add(waited) / 1_000);
    let referer = intent.app.starts_with("http").then_some(&*intent.app);
    json!({
        "id": intent.generation_id,
        "upstream_id": text(&lead.upstream_id),
        "request_id": null,
        "session_id": text(&intent.session),
        "created_at": instant(first.started_us),
        "model": intent.model,
        "provider_name": intent.provider_name,
        "app_id": null,
        "app_name": text(&intent.app),
        "http_referer": referer,
        "origin": referer.unwrap_or_default(),
        "user_agent": null,
        "external_user": text(&intent.user),
        "workspace_id": intent.workspace,
        "api_type": api_type(intent.operation),
        "router": null,
        "preset_id": null,
        "service_tier": text(&intent.tier),
        "data_region": "global",
        "streamed": intent.streamed,
        "cancelled": lead.outcome == Outcome::ClientAbort,
        "finish_reason": lead.finish.map(Finish::as_str),
        "native_finish_reason": text(&lead.native_finish),
        "latency": latency,
        "moderation_latency": null,
        "generation_time": before_us.saturating_add(lead.duration_us) / 1_000,
    })
}

fn numbers(lead: &Record) -> Value {
    let usage = &lead.usage;
    let (prompt, completion) = (usage.prompt(), usage.completion());
    let cached = usage.get(Kind::CacheRead).saturating_add(usage.get(Kind::InputAudioCached));
    json!({
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_reasoning": usage.get(Kind::Reasoning),
        "native_tokens_cached": cached,
        "native_tokens_completion_images": usage.get(Kind::OutputImage),
        "num_media_prompt": null,
        "num_media_completion": null,
        "num_input_audio_prompt": null,
        "num_search_results": null,
        "num_fetches": null,
        "web_search_engine": null,
    })
}

fn money(attempts: &[&Record]) -> Value {
    let charge = attempts.iter().fold(0, |sum: Pico, row| sum.saturating_add(row.charge));
    json!({
        "usage": dollars(charge),
        "total_cost": dollars(charge),
        "upstream_inference_cost": null,
        "is_byok": false,
        "response_cache_source_id": null,
    })
}

fn responses(attempts: &[&Record]) -> Vec<Value> {
    let row = |record: &&Record| {
        let intent = &record.intent;
        let mut response = json!({
            "id": text(&record.upstream_id),
            "endpoint_id": intent.endpoint,
            "provider_name": intent.provider_name,
            "model_permaslug": intent.model,
            "is_byok": false,
            "latency": record.first_content_us.map(|waited| waited / 1_000),
            "routed_service_tier": text(&intent.tier),
            "status": (record.status > 0).then_some(record.status),
        });
        // Strict clients know these absent, but `status` also null.
        if let Value::Object(members) = &mut response {
            members.retain(|name, value| name == "status" || !value.is_null());
        }
        response
    };
    attempts.iter().map(row).collect()
}

/// Empty means not set.
fn text(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

/// An exact JSON number: the digits are kept as they are.
fn dollars(pico: Pico) -> Option<Number> {
    format_usd(pico).parse().ok()
}

fn instant(unix_us: u64) -> Option<String> {
    let micros = i64::try_from(unix_us).ok()?;
    Timestamp::from_microsecond(micros).ok().map(|instant| format!("{instant:.3}"))
}

const fn api_type(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat | Operation::Completion => "completions",
        Operation::Embedding => "embeddings",
    }
}

#[cfg(test)]
mod tests;
