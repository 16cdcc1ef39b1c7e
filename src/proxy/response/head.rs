//! The head of a reply: whether it is delivered, and what the caller sees of it.

use super::{failed, told};
use crate::bounds::{INTERIM_HEADS, REFUSAL_TIME};
use crate::edge::clock::now_ms;
use crate::face::{Relay, Reply};
use crate::outcome::Outcome;
use crate::proxy::attempt::{Attempt, Flow};
use crate::proxy::exchange::Exchange;
use crate::request::route::{Face, Operation};
use crate::upstream::attempts::{Attempts, Verdict, classify_status};
use http::{HeaderMap, HeaderName, header};
use pingora::Result;
use pingora_http::ResponseHeader;
use std::sync::Arc;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `upstream_response_filter`: goes on with a reply, passes the caller's own fault, or fails the
/// attempt so that another can be made.
pub(in crate::proxy) fn head(exchange: &mut Exchange, head: &mut ResponseHeader) -> Result<()> {
    let Some(attempt) = &mut exchange.attempt else {
        return Err(failed("no attempt to answer"));
    };
    let status = head.status.as_u16();
    if head.status.is_informational() && status != 101 {
        return interim(attempt);
    }
    attempt.status = status;
    attempt.claim.status(status);
    attempt.streamed = is_stream(&head.headers);
    let asked = exchange.envelope.stream && exchange.operation != Operation::Embedding;
    let chunks = if exchange.face == Face::OpenRouter { asked } else { attempt.streamed };
    attempt.flow = match classify_status(status) {
        Verdict::Deliver if is_compressed(&head.headers) => {
            attempt.ends(Outcome::Malformed);
            return Err(failed("compressed though identity was asked"));
        }
        Verdict::Deliver
            if !chunks && (attempt.streamed || exchange.clock.began_with_comment()) =>
        {
            attempt.ends(Outcome::Malformed);
            return Err(failed("a stream that nobody asked for, or none to who reads one"));
        }
        Verdict::Deliver => Flow::Reply(Box::new(Relay::new(Reply {
            face: exchange.face,
            operation: exchange.operation,
            dialect: attempt.target.endpoint.provider.dialect,
            streamed: attempt.streamed,
            chunks,
            generation_id: Arc::clone(&exchange.generation.id),
            created: exchange.generation.created,
            model: Arc::clone(&attempt.target.endpoint.model),
            provider: Arc::clone(&attempt.target.endpoint.provider.name),
            injected_usage: attempt.injected_usage,
            hides_reasoning: exchange.envelope.hides_reasoning,
            terms: attempt.terms.clone(),
            tier: attempt.target.endpoint.tier,
            tiers: std::mem::take(&mut attempt.tiers),
            prompt_bytes: attempt.prompt_bytes,
            estimator: attempt.estimator,
            judged: exchange.envelope.judged_by().is_some(),
            routing: told(exchange.routing.as_deref(), &attempt.target, attempt.status),
        }))),
        Verdict::Fail(outcome) => {
            attempt.retry_after = retry_after(&head.headers);
            let readable = !is_compressed(&head.headers);
            let flow = refused(exchange.face, outcome, (status, readable), &exchange.attempts);
            if status != 403 || flow.is_none() {
                attempt.ends(outcome);
            }
            if status == 429 {
                exchange.clock.set(now_ms(), REFUSAL_TIME, Some(attempt.latest));
            }
            flow.ok_or_else(|| failed("status of the upstream"))?
        }
    };
    let chunks = chunks && matches!(attempt.flow, Flow::Reply(_));
    if !chunks {
        exchange.clock.hush();
    }
    exchange.answered = status;
    *head = shown(exchange.face, (&attempt.flow, chunks), &exchange.generation.id, head)?;
    Ok(())
}

/// What is done with the body of a refusal with this status and this meaning; `None`: it is not waited for.
fn refused(
    face: Face,
    outcome: Outcome,
    (status, readable): (u16, bool),
    attempts: &Attempts,
) -> Option<Flow> {
    match (outcome, face) {
        (Outcome::Credential, _) if status == 403 && readable => Some(Flow::Judge(Vec::new())),
        // Another endpoint would not wait.
        _ if attempts.could_follow(outcome) => None,
        (Outcome::RateLimited, _) if readable => Some(Flow::Judge(Vec::new())),
        (Outcome::ClientFault, Face::OpenRouter) => Some(Flow::Wrap(readable.then(Vec::new))),
        (Outcome::ClientFault, Face::Faithful) => Some(Flow::Pass),
        _ => None,
    }
}

/// One more head that is not the last.
fn interim(attempt: &mut Attempt) -> Result<()> {
    attempt.interim += 1;
    if attempt.interim <= INTERIM_HEADS {
        return Ok(());
    }
    attempt.ends(Outcome::Malformed);
    Err(failed("a flood of informational heads"))
}

/// Whether the body is anything but itself, though `identity` was asked for (F39).
fn is_compressed(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Seconds of a `Retry-After`: a number, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Some(seconds.clamp(0.0, f64::from(u32::MAX)).ceil() as u32);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let left = until.duration_since(std::time::SystemTime::now()).unwrap_or_default();
    Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
}

/// The reply head the caller sees: an allow-list, and the generation's id.
fn shown(
    face: Face,
    (flow, chunks): (&Flow, bool),
    id: &str,
    upstream: &ResponseHeader,
) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(upstream.status, Some(6))?;
    let kind = upstream.headers.get(header::CONTENT_TYPE).cloned();
    match (flow, kind) {
        _ if chunks => head.insert_header(header::CONTENT_TYPE, "text/event-stream")?,
        (Flow::Wrap(_) | Flow::Judge(_), _) | (_, None) => {
            head.insert_header(header::CONTENT_TYPE, "application/json")?;
        }
        (_, Some(kind)) => head.insert_header(header::CONTENT_TYPE, kind)?,
    }
    if chunks || is_stream(&upstream.headers) {
        head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    }
    if matches!(flow, Flow::Pass) {
        for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            if let Some(value) = upstream.headers.get(&name) {
                head.insert_header(name, value.clone())?;
            }
        }
    }
    if face == Face::Faithful
        && let Some(request_id) = upstream.headers.get(&X_REQUEST_ID)
    {
        head.insert_header(X_REQUEST_ID.clone(), request_id.clone())?;
    }
    head.insert_header("X-Generation-Id", id)?;
    Ok(head)
}
