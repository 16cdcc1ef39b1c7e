//! A try has failed: the one place where its error becomes an outcome, a retry or a last word.

use super::Context;
use super::attempt::{Attempt, Flow};
use super::exchange::Exchange;
use super::{reply, response};
use crate::edge::clock::now_ms;
use crate::edge::held::ATTEMPT_DEADLINE;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::state::State;
use pingora::{ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};

type Failure = Box<pingora::Error>;

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
    }
    let retry = fail(state, exchange, outcome);
    error.set_retry(retry);
    error
}

/// `error_while_proxy`: always decides, because an undecided retry panics in Pingora (section 1.5
/// of the notes on it).
pub(super) fn proxying(
    state: &State,
    ctx: &mut Context,
    mut error: Failure,
    reused: bool,
) -> Failure {
    error.set_retry(false);
    let Ok(exchange) = ctx.exchange() else {
        return error;
    };
    let Some(attempt) = &mut exchange.attempt else {
        return error;
    };
    let outcome = *attempt.outcome.get_or_insert_with(|| outcome_of(&error, attempt_view(attempt)));
    if attempt.committed || outcome == Outcome::ClientAbort {
        if outcome == Outcome::ClientAbort {
            state.metrics.client_abort(attempt.committed);
        }
        return error;
    }
    let stale = reused && attempt.status == 0 && outcome == Outcome::Reset;
    if stale && !attempt.replayed {
        state.metrics.stale_connection();
        exchange.replay = Some(attempt.choice);
        exchange.end_attempt();
        error.set_retry(true);
        return error;
    }
    let retry = fail(state, exchange, outcome);
    error.set_retry(retry);
    error
}

/// Ends the attempt and says whether another may be made.
fn fail(state: &State, exchange: &mut Exchange, outcome: Outcome) -> bool {
    let (status, retry_after) = exchange
        .attempt
        .as_ref()
        .map_or((0, None), |attempt| (attempt.status, attempt.retry_after));
    exchange.end_attempt();
    exchange.attempts.failed(outcome, status, retry_after);
    if !exchange.attempts.has_next() {
        return false;
    }
    // A try that never connected cost the upstream nothing, so it costs the budget nothing.
    let allowed = !outcome.dispatched() || state.budget.retry(now_ms());
    if allowed {
        state.metrics.retried();
    }
    allowed
}

/// What of an attempt decides the meaning of a transport error.
struct View {
    committed: bool,
    terminal: bool,
    streamed: bool,
}

fn attempt_view(attempt: &Attempt) -> View {
    let terminal = matches!(&attempt.flow, Flow::Reply(relay) if relay.is_terminal());
    View { committed: attempt.committed, terminal, streamed: true }
}

fn outcome_of(error: &pingora::Error, view: View) -> Outcome {
    // A caller may leave, and an upstream may linger, once the terminal event is out (F44).
    if view.terminal && view.committed {
        return Outcome::Ok;
    }
    if *error.etype() == ATTEMPT_DEADLINE {
        return match (view.committed, view.streamed) {
            (false, _) => Outcome::FirstContentTimeout,
            (true, _) => Outcome::IdleTimeout,
        };
    }
    match error.esource() {
        ErrorSource::Downstream => Outcome::ClientAbort,
        ErrorSource::Upstream if view.committed => Outcome::Truncated,
        ErrorSource::Upstream => match error.etype() {
            ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => Outcome::Malformed,
            ErrorType::ReadTimedout => Outcome::FirstContentTimeout,
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
        let said = reply::error(session, &Error::weir(500, "Internal error"), None).await;
        return FailToProxy { error_code: 500, can_reuse_downstream: said.is_ok() && false };
    };
    exchange.give_back(session);
    let gone = exchange.log.outcome == Some(Outcome::ClientAbort)
        || exchange.attempt.as_ref().is_some_and(|a| a.outcome == Some(Outcome::ClientAbort));
    if gone {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let verdict = exchange.refusal.take().unwrap_or_else(|| exchange.attempts.verdict());
    if session.response_written().is_none() {
        session.set_keepalive(None);
        let said = reply::error(session, &verdict, Some(&exchange.generation.id)).await;
        let error_code = if said.is_ok() { verdict.status } else { 0 };
        return FailToProxy { error_code, can_reuse_downstream: false };
    }
    if let Some(attempt) = &mut exchange.attempt {
        break_off(session, attempt, error).await;
    }
    FailToProxy { error_code: 502, can_reuse_downstream: false }
}

/// Ends a reply that was already under way, in a way its reader can tell from a whole one.
async fn break_off(session: &mut Session, attempt: &mut Attempt, error: &pingora::Error) {
    let Flow::Reply(relay) = &mut attempt.flow else {
        return;
    };
    if !relay.is_stream() {
        return;
    }
    let last = if relay.is_terminal() {
        None
    } else if *error.etype() == ATTEMPT_DEADLINE {
        Some(relay.fail(&Error::upstream(504, "Provider timed out")))
    } else {
        Some(relay.fail(&response::disconnected()))
    };
    if let Err(error) = session.write_response_body(last, true).await {
        tracing::debug!(%error, "the caller left before the last event");
    }
}
