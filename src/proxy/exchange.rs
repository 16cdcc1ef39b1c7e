//! One caller request from plan to last byte: a generation in the making.

use super::attempt::{Attempt, Ended};
use crate::access::{Admitted, Caller};
use crate::choose::Conversation;
use crate::edge::clock::Clock;
use crate::edge::held::{self, Inner};
use crate::error::{Error, PreviousError};
use crate::face::{Named, Place, Routing};
use crate::log::Access;
use crate::metrics::Ending;
use crate::outcome::Outcome;
use crate::price::Pico;
use crate::request::envelope::Envelope;
use crate::request::held_bytes::Held;
use crate::request::route::{self, Face, Operation};
use crate::selection::SplitMix64;
use crate::snapshot::{Pool, Snapshot, Target};
use crate::state::State;
use crate::upstream::attempts::{Attempts, Choice};
use bytes::Bytes;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Everything that stays the same over the attempts of a request, and the attempt under way.
pub(super) struct Exchange {
    pub(super) state: Arc<State>,
    /// Kept from start to end: a reload does not touch a running request.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) caller: Arc<Caller>,
    pub(super) face: Face,
    pub(super) operation: Operation,
    pub(super) generation: Generation,
    /// Until content has reached the caller.
    pub(super) body: Bytes,
    /// Its share of what all bodies may take.
    pub(super) held: Held,
    /// Its place among the requests of its key.
    pub(super) _admitted: Admitted,
    pub(super) envelope: Envelope,
    /// One pool per model asked for, in order.
    pub(super) pools: Vec<Arc<Pool>>,
    /// The conversation it goes on with, if it could stick to an endpoint.
    pub(super) conversation: Option<Conversation>,
    pub(super) attempts: Attempts,
    /// What the caller asked to be told of it all.
    pub(super) routing: Option<Box<Routing>>,
    /// The next try, decided when the last one failed.
    pub(super) next: Option<Choice>,
    /// The next try needs a connection that was not pooled: the last one was stale (F07).
    pub(super) fresh: bool,
    pub(super) dice: SplitMix64,
    /// Addresses that could not be connected to in this request.
    pub(super) refused: Vec<SocketAddr>,
    pub(super) attempt: Option<Attempt>,
    /// Attempts dispatched so far.
    pub(super) dispatched: u8,
    pub(super) clock: Arc<Clock>,
    pub(super) inner: Inner,
    pub(super) started: Instant,
    /// When the whole body was there.
    pub(super) received: Instant,
    /// What went wrong in Weir itself, shown instead of the attempts' verdict.
    pub(super) refusal: Option<Error>,
    /// What the attempts that have ended are charged, pico-dollars.
    pub(super) charged: Pico,
    pub(super) missed: Missed,
    /// The last attempt, once it has ended.
    pub(super) ended: Option<Ended>,
    /// The status the caller was answered with, be it in the last event of a stream that had begun
    /// with a comment; 0 while there is none.
    pub(super) answered: u16,
    /// What the end of a body that ended in trailers came to.
    pub(super) last_bytes: Option<Bytes>,
}

/// Where a request was not served, for the error that may follow.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Attempts that failed, in order.
    pub(super) failed: Vec<PreviousError>,
    /// Display names of providers that were passed over.
    pub(super) spared: Vec<Arc<str>>,
}

/// Identity of a generation and what its records say of the caller.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) id: Arc<str>,
    /// Unix seconds.
    pub(super) created: u64,
    pub(super) app: String,
    /// `session_id` of the body, else the `x-session-id` field (contract 2.2).
    pub(super) session: Option<Arc<str>>,
    /// As it is sent upstream: hashed on `/api/v1`.
    pub(super) user: Option<String>,
}

impl Exchange {
    /// The target a choice of `attempts` stands for.
    pub(super) fn target(&self, choice: Choice) -> Option<Arc<Target>> {
        self.pools.get(choice.model)?.targets.get(choice.candidate).cloned()
    }

    /// Ends the attempt under way: its record is sealed and its outcome told to live state.
    pub(super) fn end_attempt(&mut self) {
        if let Some(mut attempt) = self.attempt.take() {
            let ended = attempt.settle();
            if let (Some(tools), Some(calls)) = (attempt.tools.take(), attempt.take_calls()) {
                self.state.judge.take(&ended.target, tools, calls);
            }
            self.charged = self.charged.saturating_add(ended.charge);
            if ended.outcome != Outcome::Ok {
                let endpoint = &ended.target.endpoint;
                let provider = Arc::clone(&endpoint.provider.name);
                self.missed.failed.push(PreviousError { provider, status: ended.status });
                if let Some(routing) = &mut self.routing {
                    routing.attempts.push((Place::of(endpoint), ended.status));
                }
            }
            self.ended = Some(ended);
        }
    }

    /// What an event of Weir's own says of itself, for an attempt under way or ended, or none at all.
    pub(super) fn named(&self) -> Named<'_> {
        let attempt = self.attempt.as_ref().map(|attempt| &attempt.target);
        let target = attempt.or(self.ended.as_ref().map(|ended| &ended.target));
        let asked = self.pools.first().map_or("", |pool| &*pool.model.slug);
        Named {
            operation: self.operation,
            generation_id: &self.generation.id,
            created: self.generation.created,
            model: target.map_or(asked, |target| &*target.endpoint.model),
            provider: target.map_or("", |target| &*target.endpoint.provider.name),
        }
    }

    /// Puts the real session back in place of the held one.
    pub(super) fn give_back(&mut self, session: &mut Session) {
        held::give_back(&mut session.downstream_session, &mut self.inner);
    }

    fn ending(&self) -> Ending {
        let Some(ended) = &self.ended else {
            return Ending::of_status(self.answered);
        };
        match ended.outcome {
            _ if self.clock.has_left() => Ending::ClientAbort,
            Outcome::ClientAbort => Ending::ClientAbort,
            Outcome::Ok => Ending::Ok,
            _ if ended.committed => Ending::Cut,
            _ => Ending::of_status(if self.answered == 0 { 500 } else { self.answered }),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end_attempt();
        let ending = self.ending();
        self.state
            .metrics
            .request(Some((self.face, route::Target::Inference(self.operation))), ending);
        let ended = self.ended.as_ref();
        let target = ended.map(|ended| &ended.target.endpoint);
        let usage = ended.map(|ended| ended.usage).unwrap_or_default();
        self.state.ended(Access {
            generation: Arc::clone(&self.generation.id),
            workspace: Arc::clone(&self.caller.workspace),
            key: Arc::clone(&self.caller.name),
            face: self.face,
            operation: self.operation,
            streamed: self.envelope.stream,
            model: target.map(|endpoint| Arc::clone(&endpoint.model)),
            provider: target.map(|endpoint| Arc::clone(&endpoint.provider.slug)),
            attempts: self.dispatched,
            status: self.answered,
            ending,
            tokens: (usage.prompt(), usage.completion()),
            charge: self.charged,
            first_token_ms: ended.and_then(|ended| ended.first_content_us).map(|us| us / 1_000),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}
