//! Toward an upstream: the next endpoint as a peer, a head made from nothing, the spliced body.

use super::attempt::{Attempt, Flow};
use super::exchange::Exchange;
use super::intent;
use crate::catalog::{Endpoint, Parameters};
use crate::edge::clock::{now_ms, wall_us};
use crate::edge::merge;
use crate::error::Error;
use crate::meter::{Estimator, Family};
use crate::outcome::Outcome;
use crate::price::Terms;
use crate::request::rewrite::{Edit, TierEdit, rewrite};
use crate::request::route::Face;
use crate::selection::{self, Service};
use crate::snapshot::Target;
use crate::state::State;
use crate::upstream::credential::Key;
use crate::upstream::scrub::Scrub;
use bytes::Bytes;
use http::{HeaderName, header};
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, Result};
use pingora_http::RequestHeader;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Caller's header fields an upstream receives; everything else is ours (design, invariant 2).
const FORWARDED: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// Makes a pool key that no connection is kept under, so that a replay does not meet another stale one.
static FRESH: AtomicU64 = AtomicU64::new(1);

/// `upstream_peer`: the next endpoint that can be tried, with a slot claimed for it.
pub(super) fn peer(state: &State, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    loop {
        let chosen = exchange.next.take();
        let Some(choice) = chosen.or_else(|| exchange.attempts.next(|| true)) else {
            return Err(given_up("no endpoint is left to try"));
        };
        let Some(target) = exchange.target(choice) else {
            return Err(given_up("a plan names a target that its pool lacks"));
        };
        let now = now_ms();
        let upstream = &target.upstream;
        let credential = upstream.credentials.pick(now).cloned();
        let address = upstream.pool.pick(&exchange.refused, now);
        let (Some(address), true) =
            (address, credential.is_some() || target.endpoint.provider.keyless)
        else {
            skip(state, exchange, &target, Outcome::Unresolved);
            continue;
        };
        if upstream.throttle.refuses(now, exchange.dice.unit()) {
            skip(state, exchange, &target, Outcome::Throttled);
            continue;
        }
        let Ok(mut peer) = upstream.pool.peer(&target.endpoint, address, exchange.body.len())
        else {
            skip(state, exchange, &target, Outcome::Unresolved);
            continue;
        };
        if exchange.fresh {
            peer.group_key = peer.group_key.wrapping_add(FRESH.fetch_add(1, Ordering::Relaxed));
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        if peer.options.alpn == ALPN::H1 {
            peer.options.alpn = merge::alpn();
        }
        begin(state, exchange, target, (address, credential))?;
        return Ok(Box::new(peer));
    }
}

/// How long to wait before the next try: nothing, unless it goes where the last one failed (F16).
pub(super) fn pause(exchange: &mut Exchange) -> Duration {
    let draw = exchange.dice.unit();
    let next = exchange.next.and_then(|choice| exchange.target(choice));
    let last = exchange.ended.as_ref().map(|ended| &ended.target.upstream);
    match (next, last) {
        (Some(next), Some(last)) if Arc::ptr_eq(&next.upstream, last) => {
            exchange.attempts.backoff(draw)
        }
        _ => Duration::ZERO,
    }
}

/// Passes over an endpoint that is not even tried.
fn skip(state: &State, exchange: &mut Exchange, target: &Target, outcome: Outcome) {
    target.metrics.attempt(outcome);
    exchange.missed.spared.push(Arc::clone(&target.endpoint.provider.name));
    exchange.attempts.failed(outcome, 0, None);
    exchange.next = exchange.attempts.next(|| state.budget.withdraw(now_ms()));
}

/// Claims the slot and makes the attempt, before anything is dispatched.
fn begin(
    state: &State,
    exchange: &mut Exchange,
    target: Arc<Target>,
    (address, credential): (SocketAddr, Option<Arc<Key>>),
) -> Result<()> {
    let injects = target.endpoint.provider.injects_usage;
    let edit = Edit {
        upstream_model: &target.endpoint.upstream_model,
        face: exchange.face,
        stream_usage: injects,
        declares: &target.endpoint.declares,
        tier: tier_edit(exchange, &target.endpoint),
        drops: dropped(exchange, &target.endpoint),
        options: options(exchange, &target.endpoint),
        hashed_user: exchange.generation.user.as_deref(),
    };
    let body = rewrite(&exchange.body, &exchange.envelope, &edit);
    let started_us = wall_us();
    let version = Arc::clone(target.endpoint.price.at(started_us));
    let tiers = intent::tiers(exchange, &target.endpoint, started_us);
    let policy = exchange.snapshot.settings.ledger.charge;
    let terms = Terms { version, started_us, policy, earlier: exchange.charged };
    let family = Family::of(&target.endpoint.upstream_model);
    let estimator = target.live.calibration.correct(Estimator::of(family));
    let attempt = exchange.dispatched.saturating_add(1);
    let told = (&*target, credential.as_deref(), target.endpoint.tier, &terms);
    let intent = intent::intent(exchange, attempt, told);
    let Some(claim) = state.ledger.claim(&intent, &terms, estimator) else {
        let full = "The ledger cannot take another request now";
        exchange.refusal = Some(Error::weir(503, full).retry_after(Some(1)));
        return Err(given_up("no ledger slot is free"));
    };
    if exchange.envelope.has_media() {
        claim.media();
    }
    exchange.clock.stop();
    let disconnect = target.endpoint.provider.disconnect;
    exchange.clock.drain(disconnect.drains(exchange.envelope.stream));
    exchange.attempt = Some(Attempt {
        injected_usage: injects && exchange.envelope.lacks_usage(),
        _in_flight: target.live.enter(),
        target,
        address,
        credential,
        claim,
        terms,
        tiers,
        estimator,
        body,
        operation: exchange.operation,
        tools: None,
        offers_tools: exchange.envelope.tools.is_some(),
        bounded: exchange.envelope.max_tokens.is_some(),
        prompt_bytes: exchange.envelope.text_bytes(exchange.body.len()),
        flow: Flow::Awaiting,
        scrub: Scrub::default(),
        dispatched: None,
        latest: u64::MAX,
        streamed: false,
        reused: false,
        interim: 0,
        over: false,
        went_on: false,
        committed: false,
        first_content_us: None,
        outcome: None,
        status: 0,
        retry_after: None,
        code: None,
        settled: false,
    });
    Ok(())
}

/// The tier that the endpoint is priced for is the one that is asked of its provider: billing follows what
/// is served (contract 3.8). Words that are no tier's are the provider's own to read.
fn tier_edit(exchange: &Exchange, endpoint: &Endpoint) -> TierEdit<'static> {
    match (endpoint.tier, exchange.envelope.service) {
        (Some(tier), _) => TierEdit::Set(tier.as_str()),
        (None, Service::Tier(_)) => TierEdit::Remove,
        (None, Service::Unsaid | Service::Default) => TierEdit::Keep,
    }
}

/// `/v1` leaves it to the upstream to say what it does not know.
fn dropped(exchange: &Exchange, endpoint: &Endpoint) -> Parameters {
    match exchange.face {
        Face::OpenRouter => endpoint.parameters.dropped(),
        Face::Faithful => Parameters::NONE,
    }
}

/// What the request passes through to this endpoint's provider; what is for others is dropped.
fn options<'a>(exchange: &'a Exchange, endpoint: &Endpoint) -> &'a [Range<usize>] {
    let mut options = exchange.envelope.provider.options.iter();
    let own = options.find(|(slug, _)| selection::names(slug, endpoint));
    own.map_or(&[], |(_, members)| members)
}

/// `connected_to_upstream`.
pub(super) fn connected(exchange: &mut Exchange, reused: bool) {
    if let Some(attempt) = &mut exchange.attempt {
        attempt.reused = reused;
        if !reused {
            attempt.target.upstream.pool.connected(attempt.address);
        }
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
    let heads = &attempt.target.upstream.heads;
    let mut head = heads.of(exchange.operation, exchange.envelope.stream).clone();
    head.set_version(out.version);
    head.insert_header(header::CONTENT_LENGTH, attempt.body.len())?;
    if let Some(credential) = &attempt.credential {
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
        exchange.state.metrics.added_latency(exchange.face, exchange.received.elapsed());
    }
    attempt.target.metrics.in_flight.inc();
    let timeouts = &attempt.target.endpoint.timeouts;
    let now = now_ms();
    attempt.latest = now.saturating_add(milliseconds(timeouts.total));
    exchange.clock.set(now, timeouts.first_content, Some(attempt.latest));
    exchange.clock.unhush(now);
    attempt.dispatched = Some(Instant::now());
    attempt.claim.dispatched();
    Ok(())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `request_body_filter`: the whole body, once per attempt.
pub(super) fn body(exchange: &Exchange) -> Bytes {
    exchange.attempt.as_ref().map(|attempt| attempt.body.clone()).unwrap_or_default()
}

/// An error that ends the request; what the caller is shown is decided in `failure`.
fn given_up(why: &'static str) -> Box<pingora::Error> {
    pingora::Error::explain(ErrorType::Custom("WeirGivenUp"), why).into_up()
}
