//! A try has failed: the one place where its error becomes an outcome, a retry or a last word.

use super::Context;
use super::attempt::{Attempt, Flow};
use super::exchange::{Exchange, Missed};
use super::{reply, response};
use crate::edge::clock::now_ms;
use crate::edge::head::EMPTY_REPLY;
use crate::edge::held::ATTEMPT_DEADLINE;
use crate::error::{Error, PreviousError};
use crate::face;
use crate::metrics::{Deadline, Phase};
use crate::outcome::Outcome;
use crate::state::State;
use bytes::Bytes;
use pingora::{ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};
use std::sync::Arc;

type Failure = Box<pingora::Error>;

/// Pingora's own, for a body that its framing makes unreadable.
const BAD_FRAMING: [ErrorType; 2] =
    [ErrorType::Custom("InvalidChunk"), ErrorType::Custom("InvalidTrailerEnd")];

/// `fail_to_connect`: nothing was sent, so there is no attempt and another try is always safe.
pub(super) fn connect(state: &State, ctx: &mut Context, mut error: Failure) -> Failure {
    let Ok(exchange) = ctx.exchange() else {
        return error;
    };
    let outcome = match error.etype() {
        ErrorType::ConnectTimedout => Outcome::ConnectTimeout,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => Outcome::Tls,
        _ => Outcome::Refused,
    };
    if let Some(attempt) = &mut exchange.attempt {
        attempt.ends(outcome);
        exchange.refused.push(attempt.address);
    }
    let retry = fail(state, exchange, outcome);
    error.set_retry(retry);
    error
}

/// `error_while_proxy`: always decides, because an undecided retry panics in Pingora.
pub(super) fn proxying(state: &State, ctx: &mut Context, mut error: Failure) -> Failure {
    error.set_retry(false);
    let Ok(exchange) = ctx.exchange() else {
        return error;
    };
    let Some(attempt) = &mut exchange.attempt else {
        return error;
    };
    let outcome = match attempt.outcome {
        Some(outcome) => outcome,
        None => outcome_of(&error, attempt),
    };
    let outcome = match exchange.clock.has_left() {
        true if outcome != Outcome::Ok => Outcome::ClientAbort,
        _ => outcome,
    };
    attempt.ends(outcome);
    if outcome == Outcome::ClientAbort {
        state.metrics.client_abort.inc(Phase::of(attempt.committed));
        // Of one HTTP/2 stream; a whole connection's is counted where its bytes wait.
        if *error.etype() == ErrorType::WriteTimedout {
            state.metrics.deadlines.inc(Deadline::Write);
        }
    }
    if attempt.committed || outcome == Outcome::ClientAbort {
        return error;
    }
    let retry = fail(state, exchange, outcome);
    error.set_retry(retry);
    error
}

/// Ends the attempt and says whether another may be made.
fn fail(state: &State, exchange: &mut Exchange, outcome: Outcome) -> bool {
    let (status, retry_after, reused) = match &exchange.attempt {
        Some(attempt) => (attempt.status, attempt.retry_after, attempt.reused),
        None => (0, None, false),
    };
    exchange.end_attempt();
    exchange.attempts.failed(outcome.meaning(status), status, retry_after);
    exchange.fresh = reused && status == 0 && outcome == Outcome::Reset;
    if exchange.fresh {
        state.metrics.stale_conn.inc();
    }
    if exchange.fresh
        || !outcome.dispatched()
        || outcome == Outcome::Credential && has_key(exchange)
    {
        exchange.attempts.stay();
    }
    exchange.next = exchange.attempts.next(|| state.budget.withdraw(now_ms()));
    if exchange.next.is_some() {
        state.metrics.retries.inc();
    }
    exchange.next.is_some()
}

/// Whether another secret of the provider tried last can be used.
fn has_key(exchange: &Exchange) -> bool {
    let last = exchange.ended.as_ref().map(|ended| &ended.target.upstream.credentials);
    last.is_some_and(|credentials| credentials.pick(now_ms()).is_some())
}

fn outcome_of(error: &pingora::Error, attempt: &Attempt) -> Outcome {
    // A caller may leave, and an upstream may linger, once the terminal event is out (F44).
    if attempt.committed && attempt.terminal() {
        return Outcome::Ok;
    }
    if *error.etype() == ATTEMPT_DEADLINE {
        return match &attempt.flow {
            _ if attempt.first_content_us.is_some() => Outcome::IdleTimeout,
            _ if now_ms() >= attempt.latest => Outcome::TotalTimeout,
            Flow::Awaiting => Outcome::FirstContentTimeout,
            _ if attempt.streamed => Outcome::FirstContentTimeout,
            _ => Outcome::IdleTimeout,
        };
    }
    if *error.etype() == EMPTY_REPLY {
        return match attempt.flow {
            Flow::Judge(_) => Outcome::Credential,
            _ => Outcome::Empty,
        };
    }
    match error.esource() {
        ErrorSource::Downstream => Outcome::ClientAbort,
        ErrorSource::Upstream if attempt.committed => Outcome::Truncated,
        ErrorSource::Upstream => match error.etype() {
            ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => Outcome::Malformed,
            etype if BAD_FRAMING.contains(etype) => Outcome::Malformed,
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::FirstContentTimeout,
            _ => Outcome::Reset,
        },
        ErrorSource::Internal | ErrorSource::Unset => Outcome::Internal,
    }
}

/// `fail_to_proxy`: a status with an error while nothing is written, else the last event.
pub(super) async fn last_word(
    session: &mut Session,
    error: &pingora::Error,
    ctx: &mut Context,
) -> FailToProxy {
    let Ok(exchange) = ctx.exchange() else {
        // Reached by an error before a plan: Pingora's own, or that an answer could not be written.
        if session.response_written().is_some() {
            return over(0);
        }
        let said = reply::error(session, &Error::weir(500, "Internal Server Error"), None).await;
        return over(if said.is_ok() { 500 } else { 0 });
    };
    let outcome = exchange.attempt.as_ref().and_then(|attempt| attempt.outcome);
    if outcome == Some(Outcome::ClientAbort) || exchange.clock.has_left() {
        exchange.give_back(session);
        return over(0);
    }
    let began_with_comment = exchange.clock.began_with_comment();
    if session.response_written().is_none() && !began_with_comment {
        exchange.give_back(session);
        let verdict = verdict(exchange);
        exchange.answered = verdict.status;
        session.set_keepalive(None);
        let said = reply::error(session, &verdict, Some(&exchange.generation.id)).await;
        return over(if said.is_ok() { verdict.status } else { 0 });
    }
    // The held session finishes a comment that is half written.
    match &mut exchange.attempt {
        Some(attempt) => break_off(session, attempt, error).await,
        None if began_with_comment => {
            let verdict = verdict(exchange);
            exchange.answered = verdict.status;
            end(session, Some(face::error_event(exchange.named(), &verdict))).await;
        }
        None => {}
    }
    exchange.give_back(session);
    over(502)
}

/// What the caller is told when nothing is left to try.
fn verdict(exchange: &mut Exchange) -> Error {
    let ended = exchange.ended.as_ref();
    let provider = ended.map_or("", |ended| &ended.target.endpoint.provider.name);
    let refusal = exchange.refusal.take();
    let mut verdict = refusal.unwrap_or_else(|| exchange.attempts.verdict(provider));
    if let Some(fault) = verdict.upstream.as_mut().filter(|_| verdict.status == 429) {
        fault.code = ended.and_then(|ended| ended.code.clone());
    }
    let Missed { mut failed, spared } = std::mem::take(&mut exchange.missed);
    if let Some(availability) = &mut verdict.availability {
        availability.requested_models.clone_from(&exchange.envelope.models);
        let tried = failed.iter().map(|PreviousError { provider, .. }| provider);
        for provider in tried.chain(&spared) {
            if !availability.affected_providers.contains(provider) {
                availability.affected_providers.push(Arc::clone(provider));
            }
        }
    }
    // The last is the one that is told.
    failed.pop();
    let verdict = verdict.after(failed);
    match &exchange.routing {
        Some(routing) => routing.beside(verdict),
        None => verdict,
    }
}

fn over(error_code: u16) -> FailToProxy {
    FailToProxy { error_code, can_reuse_downstream: false }
}

/// Ends a reply that was already under way, in a way its reader can tell from a whole one.
async fn break_off(session: &mut Session, attempt: &mut Attempt, error: &pingora::Error) {
    let Flow::Reply(relay) = &mut attempt.flow else {
        return;
    };
    let last = if relay.is_terminal() {
        None
    } else {
        let why = match *error.etype() == ATTEMPT_DEADLINE {
            true => Error::upstream(504, "Provider timed out"),
            false => response::disconnected(),
        };
        // Empty for an unstreamed body: breaking off is all that can be said there.
        Some(relay.fail(&why)).filter(|last| !last.is_empty())
    };
    if attempt.outcome == Some(Outcome::Internal) {
        // Its record could not be made: no end that reads as one.
        return;
    }
    let told = attempt.outcome == Some(Outcome::InBand);
    if last.is_none() && !relay.is_terminal() && !told {
        return;
    }
    end(session, last).await;
}

async fn end(session: &mut Session, last: Option<Bytes>) {
    if let Err(error) = session.write_response_body(last, true).await {
        tracing::debug!(%error, "the caller left before the last event");
    }
}
