//! Errors as bytes: the envelope before output, the last event after it (contract 4.4, 5.1 to 5.5).

use super::Core;
use crate::dialect::fault::{capped_text, code, moderated};
use crate::error::{Availability, Error, ErrorType, Moderation, PreviousError, UpstreamFault};
use crate::outcome::is_callers;
use crate::request::route::Operation;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where the words of the availability object are explained: they are OpenRouter's.
const DOCS_URL: &str = "https://openrouter.ai/docs/api/reference/errors-and-debugging";

/// What helps where a provider limits the rate.
const REMEDY: &str = "Send it again after retry_after_seconds, or let other providers or models serve it: \
    `provider` without `only` and with `allow_fallbacks`, `models`.";

/// The JSON envelope of an error, the same on both faces.
///
/// `code` is the integer status; `type` and `param` are for OpenAI's SDKs.
#[must_use]
pub fn error_body(error: &Error, generation_id: Option<&str>) -> Bytes {
    let mut envelope = object(error);
    if let (Some(id), Some(Value::Object(metadata))) = (generation_id, envelope.get_mut("metadata"))
    {
        metadata.insert("generation_id".into(), id.into());
    }
    let mut body = Map::new();
    body.insert("error".into(), envelope.into());
    show_routing(error, &mut body);
    Bytes::from(Value::from(body).to_string())
}

/// Puts `openrouter_metadata` beside an error.
fn show_routing(error: &Error, body: &mut Map<String, Value>) {
    let routing = error.routing.as_deref().and_then(|json| serde_json::from_str(json).ok());
    body.extend(routing.map(|routing: Value| ("openrouter_metadata".to_owned(), routing)));
}

/// An upstream's 4xx for the caller of `/api/v1`: `Provider returned error`. The upstream's own words
/// are shown only where they speak of the caller's request ([`is_callers`]), never where they may
/// speak of Weir's credential (S21): of a 403 only where it is moderation's.
#[must_use]
pub fn wrap_upstream_error(status: u16, body: &[u8], (provider, model): (&str, &str)) -> Error {
    let moderated = if status == 403 { moderated(body) } else { None };
    let shown = is_callers(status) || moderated.is_some();
    let raw = shown.then(|| capped_text(body));
    let mut error = Error::upstream(status, "Provider returned error");
    if raw.as_ref().is_some_and(|text| text.contains("context_length_exceeded")) {
        error.kind = ErrorType::ContextLengthExceeded;
    }
    let (provider_name, model) = (provider.to_owned(), model.to_owned());
    let moderation =
        moderated.map(|(reasons, flagged_input)| Moderation { reasons, flagged_input, model });
    let code = if status == 429 { code(body) } else { None };
    error.fault(UpstreamFault { provider_name, raw, code, moderation, ..UpstreamFault::default() })
}

/// What a stream's events say of themselves.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub operation: Operation,
    /// `gen-...`.
    pub generation_id: &'a str,
    /// Unix seconds.
    pub created: u64,
    /// The catalogue slug.
    pub model: &'a str,
    /// Display name.
    pub provider: &'a str,
}

/// The only event of a stream whose attempts all failed after it had begun (contract 4.4).
#[must_use]
pub fn error_event(named: Named<'_>, error: &Error) -> Bytes {
    Bytes::from(format!("data: {}\n\n", cut(named, error)))
}

/// The JSON of a stream's last event after a cut.
pub(super) fn last_event(core: &Core, error: &Error) -> String {
    let reply = &core.reply;
    let named = Named {
        operation: reply.operation,
        generation_id: &reply.generation_id,
        created: core.created,
        model: &reply.model,
        provider: &reply.provider,
    };
    if reply.routing.is_none() {
        return cut(named, error);
    }
    cut(named, &Error { routing: reply.routing.clone(), ..error.clone() })
}

fn cut(named: Named<'_>, error: &Error) -> String {
    let (object_name, mut choice) = match named.operation {
        Operation::Completion => ("text_completion", json!({ "index": 0, "text": "" })),
        Operation::Chat | Operation::Embedding => {
            ("chat.completion.chunk", json!({ "index": 0, "delta": { "content": "" } }))
        }
    };
    if let Value::Object(members) = &mut choice {
        members.insert("finish_reason".into(), "error".into());
        members.insert("native_finish_reason".into(), Value::Null);
    }
    let event = json!({
        "id": named.generation_id,
        "object": object_name,
        "created": named.created,
        "model": named.model,
        "provider": named.provider,
        "error": object(error),
        "choices": [choice],
    });
    let Value::Object(mut event) = event else { return String::new() };
    show_routing(error, &mut event);
    Value::from(event).to_string()
}

fn object(error: &Error) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("error_type".into(), error.kind.as_str().into());
    if let Some(fault) = &error.upstream {
        metadata.insert("provider_name".into(), (*fault.provider_name).into());
        metadata.insert("is_byok".into(), false.into());
        if let Some(raw) = &fault.raw {
            metadata.insert("raw".into(), (**raw).into());
        }
        metadata
            .extend(fault.code.as_deref().map(|code| ("provider_error_code".into(), code.into())));
        if let Some(Moderation { reasons, flagged_input, model }) = &fault.moderation {
            metadata.insert("reasons".into(), reasons.clone().into());
            metadata.insert("flagged_input".into(), flagged_input.clone().into());
            metadata.insert("model_slug".into(), (**model).into());
        }
        if !fault.previous.is_empty() {
            let previous = fault.previous.iter().map(|PreviousError { provider, status }| {
                let code = ErrorType::of_status(*status).as_str();
                json!({ "provider": &**provider, "code": code, "status": status })
            });
            metadata.insert("previous_errors".into(), previous.collect());
        }
    }
    if error.status == 429 && (error.upstream.is_some() || error.availability.is_some()) {
        metadata.insert("limit_source".into(), "upstream_provider_shared_pool".into());
        metadata.insert("remedy_hint".into(), REMEDY.into());
    }
    if let Some(seconds) = error.retry_after {
        metadata.insert("retry_after_seconds".into(), seconds.into());
        let asked = error.upstream.as_ref().and_then(|fault| fault.retry_after);
        metadata.extend(asked.map(|asked| ("retry_after_seconds_raw".into(), asked.into())));
        metadata.insert("headers".into(), json!({ "Retry-After": seconds.to_string() }));
    }
    let mut object = Map::new();
    if let Some(availability) = &error.availability {
        explain(error, availability, &mut metadata, &mut object);
    }
    object.insert("code".into(), error.status.into());
    object.insert("message".into(), (*error.message).into());
    object.insert("type".into(), openai_type(error.kind).into());
    object.insert("param".into(), error.param.as_deref().map_or(Value::Null, Value::from));
    object.insert("metadata".into(), metadata.into());
    object
}

/// What the contract says of a request that could not be tried (5.4), beside `code`, which SDKs need.
fn explain(
    error: &Error,
    availability: &Availability,
    metadata: &mut Map<String, Value>,
    object: &mut Map<String, Value>,
) {
    if let Some((failed, _)) = availability.funnel.last() {
        let step = |(step, left): &(_, _)| json!({ "step": step, "endpoint_count": left });
        let funnel: Vec<Value> = availability.funnel.iter().map(step).collect();
        metadata.insert("routing_funnel".into(), funnel.into());
        metadata.insert("failed_routing_step".into(), (*failed).into());
    }
    if availability.code.is_empty() {
        return;
    }
    let names = |names: &[Arc<str>]| names.iter().map(|name| Value::from(&**name)).collect();
    let models: Vec<Value> = names(&availability.requested_models);
    let mut shown = json!({
        "code": availability.code,
        "retryable": error.retryable,
        "requested_models": models,
        "docs_url": DOCS_URL,
    });
    if let Value::Object(members) = &mut shown {
        if let Some(seconds) = error.retry_after {
            members.insert("retry_after".into(), seconds.into());
        }
        let lists = [
            ("affected_providers", names(&availability.affected_providers)),
            ("excluded_by", availability.excluded_by.iter().map(|word| (*word).into()).collect()),
            ("fallback_models", models.into_iter().skip(1).collect()),
        ];
        let said = lists.into_iter().filter(|(_, list)| !list.is_empty());
        members.extend(said.map(|(name, list)| (name.to_owned(), list.into())));
    }
    object.insert("error_type".into(), error.kind.as_str().into());
    object.insert("http_status".into(), error.status.into());
    object.insert("availability".into(), shown);
}

/// `error.type` as OpenAI's own service writes it.
const fn openai_type(kind: ErrorType) -> &'static str {
    match kind {
        ErrorType::ContextLengthExceeded
        | ErrorType::InvalidRequest
        | ErrorType::NotFound
        | ErrorType::PayloadTooLarge
        | ErrorType::Unprocessable => "invalid_request_error",
        ErrorType::Authentication => "authentication_error",
        ErrorType::PaymentRequired => "insufficient_quota",
        ErrorType::PermissionDenied => "permission_error",
        ErrorType::RateLimitExceeded => "rate_limit_error",
        ErrorType::Server | ErrorType::ProviderUnavailable | ErrorType::ProviderOverloaded => {
            "server_error"
        }
        ErrorType::Timeout => "timeout_error",
    }
}

#[cfg(test)]
mod tests;
