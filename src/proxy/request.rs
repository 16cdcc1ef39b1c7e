//! `early_request_filter` and `request_filter`: from a head to a plan, or to an answer of our own.

use super::ask::{Ask, Planned};
use super::exchange::{Exchange, Missed};
use super::head;
use super::local;
use super::reply::Refusal;
use crate::access::{self, Admitted, Caller};
use crate::bounds::{BODY_READ_INLINE_BYTES, DRAIN_TIME};
use crate::config::Limits;
use crate::edge::clock::{Clock, now_ms};
use crate::edge::held;
use crate::edge::io::Serving;
use crate::error::Error;
use crate::metrics::{BadJson, Deadline, Ending, FailedKey, RequestCap};
use crate::request::body::{self, Bounds};
use crate::request::envelope::{self, Envelope};
use crate::request::held_bytes::Held;
use crate::request::route::{Face, Operation, Target, route};
use crate::selection::SplitMix64;
use crate::snapshot::Snapshot;
use crate::state::State;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Version, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Deadlines of the caller's connection. In every request: each parsed head resets keep-alive (P2).
pub(super) fn early(state: &State, session: &mut Session, pipelined: bool) {
    let snapshot = state.snapshot.load();
    let limits = &snapshot.settings.limits;
    keep_open(session, limits, pipelined);
    // The stream of an HTTP/1 connection has its own pace; here a caller can shut one stream's window.
    let write = session.is_http2().then_some(limits.write_timeout);
    session.set_write_timeout(write);
    session.set_total_drain_timeout(Some(DRAIN_TIME));
}

/// How long the connection may be idle after this request.
fn keep_open(session: &mut Session, limits: &Limits, pipelined: bool) {
    // A connection that is to be closed says so; zero seconds would mean for ever. To HTTP/1.0 it is
    // closed unless asked for (RFC 9112, section 9.3), and Weir does not go into that.
    let new = session.req_header().version > Version::HTTP_10;
    let open = new && !pipelined && !session.is_process_shutting_down();
    session.set_keepalive(open.then(|| limits.keepalive_idle.as_secs().max(1)));
}

/// Decides what becomes of a request. `None`: it has been answered already.
pub(super) async fn filter(
    state: &Arc<State>,
    session: &mut Session,
    serving: Option<&Serving>,
) -> Result<Option<Box<Exchange>>, Refusal> {
    let started = Instant::now();
    head::ignore_h2c(session.req_header_mut());
    let head = session.req_header();
    let (face, target) = head::destination(head)?;
    head::asks_no_more(head).map_err(|bad| {
        state.metrics.bad_request.inc(bad);
        Refusal::closing(Error::caller(bad.status(), bad.says()))
    })?;
    let operation = match target {
        Target::Inference(operation) => operation,
        other => {
            local::answer(state, session, (face, other)).await?;
            state.metrics.request(Some((face, other)), Ending::Ok);
            return Ok(None);
        }
    };
    let caller = caller(state, session).map_err(Refusal::closing)?;
    let snapshot = state.snapshot.load_full();
    let limits = &snapshot.settings.limits;
    let admitted = admit(state, &caller, limits, session.req_header())?;
    let mut held = state.bodies.hold();
    let body = whole_body(state, session, limits, &mut held).await?;
    // Pingora means to close a connection once it has written 100 (Continue).
    keep_open(session, limits, serving.is_some_and(Serving::is_pipelined));
    head::end_hop(session.req_header_mut());
    let received = Instant::now();
    let envelope = understood(state, &body, operation).await?;
    state.metrics.forbidden_fields.inc_by(envelope.forbidden() as u64);
    let ask = Ask { state, snapshot, caller, face, headers: &session.req_header().headers };
    let Planned { pools, attempts, conversation, routing } =
        ask.plan(&envelope, &body).map_err(Refusal::kept)?;
    let generation = ask.generation(&envelope);
    let Ask { snapshot, caller, .. } = ask;
    state.budget.request(now_ms());
    let clock = Arc::new(clock(&snapshot, face, envelope.stream));
    let id = Arc::clone(&generation.id);
    let inner = held::hold(&mut session.downstream_session, body.clone(), Arc::clone(&clock), id);
    Ok(Some(Box::new(Exchange {
        last_bytes: None,
        state: Arc::clone(state),
        snapshot,
        caller,
        face,
        operation,
        generation,
        body,
        held,
        _admitted: admitted,
        envelope,
        pools,
        conversation,
        attempts,
        routing,
        next: None,
        fresh: false,
        dice: SplitMix64::new(rand::random()),
        refused: Vec::new(),
        attempt: None,
        dispatched: 0,
        clock,
        inner,
        started,
        received,
        refusal: None,
        ended: None,
        missed: Missed::default(),
        charged: 0,
        answered: 0,
    })))
}

/// The clock of a request; it calls for comments where its caller reads a stream that may have them.
fn clock(snapshot: &Snapshot, face: Face, streamed: bool) -> Clock {
    let comments = face == Face::OpenRouter && streamed;
    let silence = if comments { snapshot.settings.keepalive_comment } else { Duration::ZERO };
    Clock::commenting(now_ms(), silence)
}

/// A place among the requests under way, before any byte of the body is read (S9).
fn admit(
    state: &State,
    caller: &Caller,
    limits: &Limits,
    head: &RequestHeader,
) -> Result<Admitted, Refusal> {
    let full = |cap, says: &'static str| {
        state.metrics.shed.inc(cap);
        Error::weir(503, says).retry_after(Some(1))
    };
    if state.pressure.sheds() {
        // Connections take memory too.
        return Err(Refusal::closing(full(RequestCap::Memory, "Memory runs out now")));
    }
    if state.active() > limits.requests {
        let error = full(RequestCap::Total, "Too many requests are under way now");
        return Err(Refusal::unread(error, head));
    }
    let admitted = caller.admit(limits.requests_per_key);
    admitted.map_err(|error| {
        state.metrics.shed.inc(RequestCap::Key);
        Refusal::unread(error, head)
    })
}

async fn whole_body(
    state: &State,
    session: &mut Session,
    limits: &Limits,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let bounds = Bounds {
        bytes: limits.body_bytes,
        buffered: state.pressure.bodies(limits.buffered_bytes),
        time: limits.body_timeout,
        rate: limits.min_body_rate,
    };
    body::read(session, bounds, held).await.map_err(|error| {
        match error.status {
            408 => state.metrics.deadlines.inc(Deadline::Body),
            413 => state.metrics.body_too_large.inc(),
            503 => state.metrics.body_shed.inc(),
            _ => {}
        }
        Refusal::closing(error)
    })
}

/// What the body asks for. A large one is read beside the threads that serve, so that a few callers
/// cannot hold up all others.
async fn understood(
    state: &State,
    body: &Bytes,
    operation: Operation,
) -> Result<Envelope, Refusal> {
    let read = if body.len() <= BODY_READ_INLINE_BYTES {
        envelope::read(body, operation)
    } else {
        let body = body.clone();
        let reading = tokio::task::spawn_blocking(move || envelope::read(&body, operation));
        let unread = |_| Refusal::kept(Error::weir(500, "The body could not be read"));
        reading.await.map_err(unread)?
    };
    read.map_err(|error| {
        state.metrics.bad_json.inc(BadJson::of_kind(error.kind()));
        Refusal::kept(error.into())
    })
}

/// Counts a request that Weir itself has refused.
pub(super) fn refused(state: &State, session: &Session, refusal: &Refusal) {
    let head = session.req_header();
    let place = route(&head.method, head.uri.path()).ok();
    state.metrics.request(place, Ending::of_status(refusal.error.status));
}

/// 401 before any byte of the body is read (S11).
pub(super) fn caller(state: &State, session: &Session) -> Result<Arc<Caller>, Error> {
    let headers = &session.req_header().headers;
    let value = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let (bearer, key) = (value(&header::AUTHORIZATION), value(&X_API_KEY));
    let found = access::authenticate(&state.keys.load(), bearer, key);
    found.map_err(|error| failed_key(state, session, error))
}

/// The answer to a wrong key, or to none: 429 once its address has sent too many.
fn failed_key(state: &State, session: &Session, error: Error) -> Error {
    let most = state.snapshot.load().settings.limits.failed_keys;
    let address = session.client_addr().and_then(|address| address.as_inet());
    let counted = match address.filter(|_| most > 0) {
        Some(address) => state.failures.count(address.ip(), now_ms() / 1000, most),
        None => Ok(()),
    };
    match counted {
        Ok(()) => {
            state.metrics.failed_keys.inc(FailedKey::Refused);
            error
        }
        Err(seconds) => {
            state.metrics.failed_keys.inc(FailedKey::Limited);
            let says = "Too many requests without a valid key from this address";
            Error::caller(429, says).retry_after(Some(seconds))
        }
    }
}
