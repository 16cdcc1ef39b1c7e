//! From an upstream: its status decides, its head is replaced, its body is metered and shaped.

use super::attempt::{Attempt, Flow};
use super::exchange::Exchange;
use crate::bounds::{ERROR_BODY_BYTES, INTERIM_HEADS};
use crate::edge::clock::{Clock, now_ms};
use crate::error::Error;
use crate::face::{self, Relay, Reply, Routing, Step};
use crate::metrics::Phase;
use crate::outcome::Outcome;
use crate::request::route::Face;
use crate::snapshot::Target;
use crate::upstream::attempts::{Verdict, classify_status};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use pingora::{ErrorType, Result};
use pingora_http::ResponseHeader;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long an upstream may go on after its terminal event: late usage counts as long (F36).
const AFTER_TERMINAL: Duration = Duration::from_secs(1);

/// `upstream_response_filter`: goes on with a reply, passes the caller's own fault, or fails the
/// attempt so that another can be made.
pub(super) fn head(exchange: &mut Exchange, head: &mut ResponseHeader) -> Result<()> {
    let another_model = exchange.attempts.could_follow(Outcome::ClientFault);
    let Some(attempt) = &mut exchange.attempt else {
        return Err(failed("no attempt to answer"));
    };
    let status = head.status.as_u16();
    if head.status.is_informational() && status != 101 {
        attempt.interim += 1;
        if attempt.interim <= INTERIM_HEADS {
            return Ok(());
        }
        attempt.ends(Outcome::Malformed);
        return Err(failed("a flood of informational heads"));
    }
    attempt.status = status;
    attempt.claim.status(status);
    attempt.streamed = is_stream(&head.headers);
    attempt.flow = match classify_status(status) {
        Verdict::Deliver if is_compressed(&head.headers) => {
            attempt.ends(Outcome::Malformed);
            return Err(failed("compressed though identity was asked"));
        }
        Verdict::Deliver if exchange.clock.began_with_comment() && !attempt.streamed => {
            attempt.ends(Outcome::Malformed);
            return Err(failed("not a stream, and the caller reads one"));
        }
        Verdict::Deliver => Flow::Reply(Box::new(Relay::new(Reply {
            face: exchange.face,
            operation: exchange.operation,
            dialect: attempt.target.endpoint.provider.dialect,
            streamed: attempt.streamed,
            generation_id: Arc::clone(&exchange.generation.id),
            created: exchange.generation.created,
            model: Arc::clone(&attempt.target.endpoint.model),
            provider: Arc::clone(&attempt.target.endpoint.provider.name),
            injected_usage: attempt.injected_usage,
            terms: attempt.terms.clone(),
            prompt_bytes: attempt.prompt_bytes,
            estimator: attempt.estimator,
            judged: exchange.envelope.judged_by().is_some(),
            routing: told(exchange.routing.as_deref(), &attempt.target, attempt.status),
        }))),
        Verdict::Fail(outcome) => {
            attempt.ends(outcome);
            attempt.retry_after = retry_after(&head.headers);
            if outcome != Outcome::ClientFault || another_model {
                return Err(failed("status of the upstream"));
            }
            let readable = !is_compressed(&head.headers);
            match exchange.face {
                Face::OpenRouter => Flow::Wrap(readable.then(Vec::new)),
                Face::Faithful => Flow::Pass,
            }
        }
    };
    if !attempt.streamed || !matches!(attempt.flow, Flow::Reply(_)) {
        exchange.clock.hush();
    }
    exchange.answered = status;
    *head = shown(exchange.face, &attempt.flow, &exchange.generation.id, head)?;
    Ok(())
}

/// What the caller asked to be told of an attempt that answers with this status.
fn told(routing: Option<&Routing>, target: &Target, status: u16) -> Option<Arc<str>> {
    routing.map(|routing| routing.answered(&target.endpoint, status))
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
fn shown(face: Face, flow: &Flow, id: &str, upstream: &ResponseHeader) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(upstream.status, Some(6))?;
    let kind = upstream.headers.get(header::CONTENT_TYPE).cloned();
    match (flow, kind) {
        (Flow::Wrap(_), _) | (_, None) => {
            head.insert_header(header::CONTENT_TYPE, "application/json")?;
        }
        (_, Some(kind)) => head.insert_header(header::CONTENT_TYPE, kind)?,
    }
    if is_stream(&upstream.headers) {
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

/// `upstream_response_trailer_filter`: a body that ends in trailers has no last piece of its own.
pub(super) fn trailers(exchange: &mut Exchange) -> Result<()> {
    let mut last = None;
    body(exchange, &mut last, true)?;
    exchange.last_bytes = Some(last.unwrap_or_default());
    Ok(())
}

/// `upstream_response_body_filter`.
pub(super) fn body(exchange: &mut Exchange, body: &mut Option<Bytes>, end: bool) -> Result<()> {
    let Some(attempt) = &mut exchange.attempt else {
        return Err(failed("no attempt to answer"));
    };
    *body = attempt.scrubbed(body.take(), end);
    match &mut attempt.flow {
        Flow::Awaiting => Err(failed("a body before its head")),
        Flow::Pass => Ok(()),
        Flow::Wrap(kept) => {
            if let (Some(bytes), Some(kept)) = (body.take(), kept.as_mut()) {
                let room = ERROR_BODY_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            }
            if end {
                let name = &attempt.target.endpoint.provider.name;
                let said = kept.as_deref().unwrap_or_default();
                let routing = told(exchange.routing.as_deref(), &attempt.target, attempt.status);
                let error = face::wrap_upstream_error(attempt.status, said, name);
                let error = Error { routing, ..error }.after(take(&mut exchange.missed.failed));
                *body = Some(match exchange.clock.began_with_comment() {
                    true => face::error_event(exchange.named(), &error),
                    false => face::error_body(&error, Some(&exchange.generation.id)),
                });
            }
            Ok(())
        }
        Flow::Reply(relay) => {
            let read = body.take();
            let said_more =
                attempt.over && read.as_ref().is_some_and(|read| !read.trim_ascii().is_empty());
            if said_more && !std::mem::replace(&mut attempt.went_on, true) {
                exchange.state.metrics.post_done.inc();
            }
            let step = relay.push(read, end, &mut attempt.claim);
            reply(exchange, step, body, end)
        }
    }
}

/// Acts on what one read held, before its bytes are handed on.
fn reply(exchange: &mut Exchange, step: Step, body: &mut Option<Bytes>, end: bool) -> Result<()> {
    let Some(attempt) = &mut exchange.attempt else {
        return Err(failed("no attempt to answer"));
    };
    let Flow::Reply(relay) = &mut attempt.flow else {
        return Err(failed("not a reply"));
    };
    if let Some(fault) = &step.fault {
        attempt.status = fault.status;
        attempt.claim.outcome(*attempt.outcome.get_or_insert(Outcome::InBand));
        let after = attempt.committed || step.content;
        let phase = if after { Phase::After } else { Phase::Before };
        exchange.state.metrics.in_band_error.inc(phase);
        if !after {
            return Err(failed("an error event before content"));
        }
    }
    if !attempt.committed && end && step.empty {
        let outcome = if step.malformed { Outcome::Malformed } else { Outcome::Empty };
        attempt.outcome.get_or_insert(outcome);
        // What nobody else can better passes on `/v1` as it came.
        if step.out.is_none() || exchange.attempts.could_follow(outcome) {
            return Err(failed("nothing usable in a 200"));
        }
    }
    let terminal = relay.is_terminal();
    let may_comment = step.fault.is_none() && !terminal && relay.is_between_events();
    *body = step.out;
    if terminal {
        attempt.claim.terminal();
    }
    if end && !terminal && attempt.outcome.is_none() {
        attempt.outcome = Some(Outcome::Truncated);
        if !attempt.committed && !step.content {
            return Err(failed("the stream ended before content"));
        }
        let last = relay.fail(&disconnected());
        *body = Some(join(body.take(), last));
    }
    let left = exchange.clock.has_left();
    if !attempt.committed && !left && (step.content || body.is_some()) {
        commit(attempt);
        exchange.attempts.commit();
        let tools = exchange.envelope.judged_by().and_then(|range| exchange.body.get(range));
        attempt.tools = tools.map(Box::from);
        exchange.body = Bytes::new();
        exchange.held.settle(attempt.tools.as_ref().map_or(0, |tools| tools.len()));
    }
    if terminal && !attempt.completes() {
        *body = None;
        return Err(failed("the record could not be synced"));
    }
    let deadline = next_deadline(attempt, step.event, terminal);
    let heard = body.is_some().then_some(may_comment);
    rearm(&exchange.clock, deadline, heard);
    if end && terminal && left {
        attempt.ends(Outcome::ClientAbort);
        exchange.state.metrics.client_abort.inc(Phase::of(attempt.committed));
    }
    if end && terminal {
        attempt.ends(Outcome::Ok);
    }
    Ok(())
}

/// Moves the clock: a new deadline, and where the caller `heard` something, whether a comment may
/// follow it.
fn rearm(clock: &Clock, deadline: Option<(Duration, Option<u64>)>, heard: Option<bool>) {
    let heard = heard.filter(|_| clock.comments());
    if deadline.is_none() && heard.is_none() {
        return;
    }
    let now = now_ms();
    if let Some((after, latest)) = deadline {
        clock.set(now, after, latest);
    }
    match heard {
        Some(true) => clock.spoke(now),
        Some(false) => clock.hush(),
        None => {}
    }
}

/// What the clock is set to by a read, and the instant it may not pass.
///
/// Before its first content a stream has its first-content clock, whatever comes; after it, only the
/// idle clock; after its end, one that nothing winds up again. A body in one piece makes progress
/// with every read, but has a total.
fn next_deadline(
    attempt: &mut Attempt,
    event: bool,
    terminal: bool,
) -> Option<(Duration, Option<u64>)> {
    let idle = attempt.target.endpoint.timeouts.idle;
    let over = terminal || attempt.outcome == Some(Outcome::InBand);
    let was_over = std::mem::replace(&mut attempt.over, over);
    match attempt.streamed {
        _ if over => (!was_over).then_some((AFTER_TERMINAL, None)),
        true => (event && attempt.committed).then_some((idle, None)),
        false => event.then_some((idle, Some(attempt.latest))),
    }
}

/// Content is about to reach the caller: from here on there is no other attempt, and no body for one.
fn commit(attempt: &mut Attempt) {
    attempt.committed = true;
    attempt.body = Bytes::new();
    let elapsed = attempt.elapsed_us();
    attempt.first_content_us = Some(elapsed);
    attempt.claim.first_content(elapsed);
    attempt.claim.committed();
}

fn join(first: Option<Bytes>, last: Bytes) -> Bytes {
    match first {
        Some(first) if !first.is_empty() => [first, last].concat().into(),
        _ => last,
    }
}

/// What a caller is told of a stream that broke off after content (contract 4.4).
pub(super) fn disconnected() -> Error {
    Error::upstream(502, "Provider disconnected")
}

/// Fails the attempt; `error_while_proxy` decides what follows.
fn failed(why: &'static str) -> Box<pingora::Error> {
    pingora::Error::explain(ErrorType::Custom("WeirAttempt"), why).into_up()
}
