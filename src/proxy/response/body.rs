//! The body of a reply, read by read: metered, shaped, and the clock that the next read has.

use super::{error, failed};
use crate::edge::clock::{Clock, now_ms, wall_us};
use crate::error::Error;
use crate::face::{self, Step};
use crate::metrics::Phase;
use crate::outcome::Outcome;
use crate::proxy::attempt::{Attempt, Flow};
use crate::proxy::exchange::Exchange;
use crate::proxy::intent;
use bytes::Bytes;
use pingora::Result;
use std::time::Duration;

/// How long an upstream may go on after its terminal event: late usage counts as long (F36).
const AFTER_TERMINAL: Duration = Duration::from_secs(1);

/// `upstream_response_trailer_filter`: a body that ends in trailers has no last piece of its own.
pub(in crate::proxy) fn trailers(exchange: &mut Exchange) -> Result<()> {
    let mut last = None;
    body(exchange, &mut last, true)?;
    exchange.last_bytes = Some(last.unwrap_or_default());
    Ok(())
}

/// `upstream_response_body_filter`.
pub(in crate::proxy) fn body(
    exchange: &mut Exchange,
    body: &mut Option<Bytes>,
    end: bool,
) -> Result<()> {
    let Some(attempt) = &mut exchange.attempt else {
        return Err(failed("no attempt to answer"));
    };
    *body = attempt.scrubbed(body.take(), end);
    match &mut attempt.flow {
        Flow::Awaiting => Err(failed("a body before its head")),
        Flow::Pass => Ok(()),
        Flow::Wrap(kept) => {
            let said =
                kept.as_mut().map(|kept| error::keep(kept, body.take(), end)).unwrap_or_default();
            *body = end.then(|| error::wrapped(exchange, &said));
            Ok(())
        }
        Flow::Judge(kept) => {
            let said = error::keep(kept, body.take(), end);
            *body = if end { Some(error::judged(exchange, said)?) } else { None };
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
            let retiered = relay.take_retiered();
            if step.begun {
                begin(attempt);
            }
            if retiered {
                intent::served(exchange);
            }
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
            attempt.code = face::code(fault.raw.as_bytes());
            exchange.refusal = error::in_band(&exchange.attempts, attempt, fault);
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
        // Before its caller can go on with it.
        if let Some(conversation) = exchange.conversation.as_ref().filter(|_| !attempt.over) {
            let told = (&*attempt.target, &relay.evidence().settle().1);
            conversation.keep(&exchange.state.live.conversations, told, now_ms(), wall_us());
        }
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
        true => (event && attempt.first_content_us.is_some()).then_some((idle, None)),
        false => event.then_some((idle, Some(attempt.latest))),
    }
}

/// The upstream has begun to deliver, if only what its caller is not shown.
fn begin(attempt: &mut Attempt) {
    if attempt.first_content_us.is_none() {
        let elapsed = attempt.elapsed_us();
        attempt.first_content_us = Some(elapsed);
        attempt.claim.first_content(elapsed);
    }
}

/// Content is about to reach the caller: from here on there is no other attempt, and no body for one.
fn commit(attempt: &mut Attempt) {
    begin(attempt);
    attempt.committed = true;
    attempt.body = Bytes::new();
    attempt.claim.committed();
}

fn join(first: Option<Bytes>, last: Bytes) -> Bytes {
    match first {
        Some(first) if !first.is_empty() => [first, last].concat().into(),
        _ => last,
    }
}

/// What a caller is told of a stream that broke off after content (contract 4.4).
pub(in crate::proxy) fn disconnected() -> Error {
    Error::upstream(502, "Provider disconnected")
}
