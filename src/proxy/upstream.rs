//! Toward an upstream: the next endpoint as a peer, a head made from nothing, the spliced body.

use super::attempt::{Attempt, Flow};
use super::exchange::Exchange;
use crate::edge::clock::{now_ms, wall_us};
use crate::error::Error;
use crate::ledger::record::Intent;
use crate::outcome::Outcome;
use crate::request::rewrite::{Edit, rewrite};
use crate::request::route::{Face, Operation};
use crate::snapshot::Target;
use crate::state::State;
use crate::upstream::attempts::Choice;
use crate::upstream::peer;
use bytes::Bytes;
use http::{HeaderName, Method, header};
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, Result};
use pingora_http::RequestHeader;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Caller's header fields an upstream receives; everything else is ours (design, invariant 2).
const FORWARDED: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// A connection pool of its own, so that a replay does not meet another stale connection.
const FRESH: u64 = 1 << 63;

/// `upstream_peer`: the next endpoint that can be tried, with a slot claimed for it.
pub(super) fn peer(state: &Arc<State>, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    loop {
        let replay = exchange.replay.take();
        let fresh = replay.is_some();
        let Some(choice) = replay.or_else(|| exchange.attempts.next()) else {
            return Err(given_up("no endpoint is left to try"));
        };
        let Some(target) = exchange.target(choice) else {
            continue;
        };
        exchange.seed = exchange.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let Some(address) = target.addresses.pick(exchange.seed, now_ms()) else {
            target.metrics.attempt(Outcome::Unresolved);
            exchange.attempts.failed(Outcome::Unresolved, 0, None);
            continue;
        };
        let credential = target.credential(now_ms());
        if credential.is_none() && !target.endpoint.provider.keyless {
            exchange.attempts.failed(Outcome::Credential, 0, None);
            continue;
        }
        let mut peer = peer::peer(&target.endpoint, address, exchange.body.len());
        if fresh {
            peer.group_key |= FRESH;
        }
        begin(state, exchange, choice, target, (address, credential))?;
        return Ok(Box::new(peer));
    }
}

/// Claims the slot and makes the attempt, before anything is dispatched.
fn begin(
    state: &Arc<State>,
    exchange: &mut Exchange,
    choice: Choice,
    target: Arc<Target>,
    (address, credential): (std::net::SocketAddr, Option<usize>),
) -> Result<()> {
    let injected_usage = injects_usage(exchange, &target);
    let user = exchange.generation.user.as_deref().filter(|_| exchange.face == Face::OpenRouter);
    let body = rewrite(
        &exchange.body,
        &exchange.envelope,
        &Edit {
            upstream_model: &target.endpoint.upstream_model,
            face: exchange.face,
            stream_usage: injected_usage,
            declares: &target.endpoint.declares,
            hashed_user: user,
        },
    );
    let intent = intent(exchange, &target, credential);
    let price = Arc::clone(&target.endpoint.price);
    let Some(claim) = state.ledger.claim(&intent, price, wall_us()) else {
        exchange.refusal = Some(
            Error::weir(503, "The ledger cannot take another request now").retry_after(Some(1)),
        );
        return Err(given_up("no ledger slot is free"));
    };
    exchange.clock.stop();
    exchange.attempt = Some(Attempt {
        state: Arc::clone(state),
        _in_flight: target.live.begin(),
        target,
        choice,
        address,
        credential,
        claim,
        body,
        injected_usage,
        flow: Flow::Awaiting,
        dispatched: None,
        reused: false,
        committed: false,
        first_content_us: None,
        outcome: None,
        status: 0,
        retry_after: None,
    });
    Ok(())
}

/// Usage is asked of a stream whose caller did not ask, where the provider understands the option.
fn injects_usage(exchange: &Exchange, target: &Target) -> bool {
    exchange.envelope.stream
        && exchange.operation != Operation::Embedding
        && exchange.envelope.include_usage != Some(true)
        && target.endpoint.provider.injects_usage
}

fn intent<'a>(exchange: &'a Exchange, target: &'a Target, credential: Option<usize>) -> Intent<'a> {
    let endpoint = &target.endpoint;
    let credential = credential.and_then(|at| target.credentials.get(at));
    let session = exchange.envelope.session_id.as_deref();
    Intent {
        generation_id: Cow::Borrowed(&exchange.generation.id),
        attempt: exchange.dispatched.saturating_add(1),
        face: exchange.face,
        operation: exchange.operation,
        streamed: exchange.envelope.stream,
        workspace: Cow::Borrowed(&exchange.caller.workspace),
        key_hash: exchange.caller.key_hash,
        app: Cow::Borrowed(&exchange.generation.app),
        session: Cow::Borrowed(session.unwrap_or("")),
        user: Cow::Borrowed(exchange.generation.user.as_deref().unwrap_or("")),
        model: Cow::Borrowed(&endpoint.model),
        provider: Cow::Borrowed(&endpoint.provider.slug),
        provider_name: Cow::Borrowed(&endpoint.provider.name),
        endpoint: Cow::Borrowed(&endpoint.tag),
        upstream_model: Cow::Borrowed(&endpoint.upstream_model),
        credential: Cow::Borrowed(credential.map_or("", |credential| &credential.id)),
        tier: Cow::Borrowed(""),
        price: endpoint.price.hash,
        prompt_bytes: exchange.body.len() as u64,
        max_tokens: exchange.envelope.max_tokens,
    }
}

/// `connected_to_upstream`.
pub(super) fn connected(exchange: &mut Exchange, reused: bool) {
    if let Some(attempt) = &mut exchange.attempt {
        attempt.reused = reused;
    }
}

/// `upstream_request_filter`: the head, from nothing but the endpoint and an allow-list, and the
/// dispatch mark: the next thing Pingora does is write it.
pub(super) fn head(
    exchange: &mut Exchange,
    caller: &RequestHeader,
    out: &mut RequestHeader,
) -> Result<()> {
    let Some(attempt) = &mut exchange.attempt else {
        return Err(given_up("no attempt to send"));
    };
    let provider = &attempt.target.endpoint.provider;
    let path = format!("{}{}", provider.base_url.path, exchange.operation.path());
    let mut head = RequestHeader::build(Method::POST, path.as_bytes(), Some(8))?;
    head.set_version(out.version);
    head.insert_header(header::HOST, attempt.target.host.clone())?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, attempt.body.len())?;
    let accept = if exchange.envelope.stream { "text/event-stream" } else { "application/json" };
    head.insert_header(header::ACCEPT, accept)?;
    head.insert_header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))?;
    if let Some(credential) =
        attempt.credential.and_then(|at| attempt.target.credentials.get(at))
    {
        head.insert_header(header::AUTHORIZATION, credential.authorization.clone())?;
    }
    for name in FORWARDED {
        if let Some(value) = caller.headers.get(&name) {
            head.insert_header(name, value.clone())?;
        }
    }
    *out = head;
    exchange.dispatched = exchange.dispatched.saturating_add(1);
    if exchange.dispatched == 1 {
        attempt.target.metrics.added_latency(exchange.started.elapsed());
    }
    let timeouts = &attempt.target.endpoint.timeouts;
    let now = now_ms();
    exchange.clock.set(now, timeouts.first_content, Some(latest(now, timeouts.total)));
    attempt.dispatched = Some(Instant::now());
    attempt.claim.dispatched();
    Ok(())
}

fn latest(now_ms: u64, total: std::time::Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(total.as_millis()).unwrap_or(u64::MAX))
}

/// `request_body_filter`: the whole body, once per attempt.
pub(super) fn body(exchange: &Exchange) -> Bytes {
    exchange.attempt.as_ref().map(|attempt| attempt.body.clone()).unwrap_or_default()
}

/// An error that ends the request; what the caller is shown is decided in `failure`.
fn given_up(why: &'static str) -> Box<pingora::Error> {
    pingora::Error::explain(ErrorType::Custom("WeirGivenUp"), why).into_up()
}
