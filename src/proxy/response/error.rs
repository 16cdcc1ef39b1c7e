//! An upstream's error as its caller is told of it, or is not.

use super::{failed, told};
use crate::bounds::ERROR_BODY_BYTES;
use crate::error::Error;
use crate::face::{self, InBandFault};
use crate::outcome::Outcome;
use crate::proxy::attempt::Attempt;
use crate::proxy::exchange::Exchange;
use crate::request::route::Face;
use crate::upstream::attempts::Attempts;
use bytes::Bytes;
use pingora::Result;
use std::mem::take;

/// The answer to an error inside a 200 that is the caller's own to mend, where no other model is left to try.
pub(super) fn in_band(
    attempts: &Attempts,
    attempt: &Attempt,
    fault: &InBandFault,
) -> Option<Error> {
    let meaning = Outcome::InBand.meaning(fault.status);
    let is_told = meaning == Outcome::ClientFault && !attempts.could_follow(meaning);
    let endpoint = &attempt.target.endpoint;
    let place = (&*endpoint.provider.name, &*endpoint.model);
    is_told.then(|| face::wrap_upstream_error(fault.status, fault.raw.as_bytes(), place))
}

/// Collects the body of an error, as much of it as is looked at; gives it away at its end.
pub(super) fn keep(kept: &mut Vec<u8>, read: Option<Bytes>, end: bool) -> Vec<u8> {
    let read = read.unwrap_or_default();
    let room = ERROR_BODY_BYTES.saturating_sub(kept.len());
    kept.extend_from_slice(read.get(..room.min(read.len())).unwrap_or_default());
    if end { take(kept) } else { Vec::new() }
}

/// What the caller is told of an upstream's refusal that is his own to mend.
pub(super) fn wrapped(exchange: &mut Exchange, said: &[u8]) -> Bytes {
    let Some(attempt) = &exchange.attempt else { return Bytes::new() };
    let routing = told(exchange.routing.as_deref(), &attempt.target, attempt.status);
    let endpoint = &attempt.target.endpoint;
    let place = (&*endpoint.provider.name, &*endpoint.model);
    let error = face::wrap_upstream_error(attempt.status, said, place);
    let error = Error { routing, ..error }.after(take(&mut exchange.missed.failed));
    match exchange.clock.began_with_comment() {
        true => face::error_event(exchange.named(), &error),
        false => face::error_body(&error, Some(&exchange.generation.id)),
    }
}

/// A refusal is whole. A 429 has only been waited for to see how it names itself. A 403 that refuses what was
/// asked, as moderation does, is for the caller, unless another model may take it; any other speaks of our
/// credential (F18).
pub(super) fn judged(exchange: &mut Exchange, said: Vec<u8>) -> Result<Bytes> {
    if let Some(attempt) = exchange.attempt.as_mut().filter(|attempt| attempt.status == 429) {
        attempt.code = face::code(&said);
        return Err(failed("status of the upstream"));
    }
    let moderated = face::moderated(&said).is_some();
    let outcome = if moderated { Outcome::ClientFault } else { Outcome::Credential };
    let another = exchange.attempts.could_follow(outcome);
    if let Some(attempt) = &mut exchange.attempt {
        attempt.ends(outcome);
    }
    if !moderated || another {
        return Err(failed("status of the upstream"));
    }
    Ok(match exchange.face {
        Face::OpenRouter => wrapped(exchange, &said),
        Face::Faithful => said.into(),
    })
}
