//! One caller request from plan to last byte: a generation in the making.

use super::attempt::Attempt;
use crate::access::Caller;
use crate::edge::clock::Clock;
use crate::edge::held::{self, Inner};
use crate::error::Error;
use crate::outcome::Outcome;
use crate::request::envelope::Envelope;
use crate::request::route::{Face, Operation};
use crate::snapshot::{Pool, Snapshot, Target};
use crate::state::State;
use crate::upstream::attempts::{Attempts, Choice};
use bytes::Bytes;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// Everything that stays the same over the attempts of a request, and the attempt under way.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) state: Arc<State>,
    /// Kept from start to end: a reload does not touch a running request.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) caller: Arc<Caller>,
    pub(super) face: Face,
    pub(super) operation: Operation,
    pub(super) generation: Generation,
    pub(super) body: Bytes,
    pub(super) envelope: Envelope,
    /// One pool per model asked for, in order.
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) attempts: Attempts,
    /// A connection was stale before it carried anything: the same choice, once, on a fresh one.
    pub(super) replay: Option<Choice>,
    pub(super) attempt: Option<Attempt>,
    /// Attempts dispatched so far.
    pub(super) dispatched: u8,
    pub(super) seed: u64,
    pub(super) clock: Arc<Clock>,
    pub(super) inner: Inner,
    pub(super) started: Instant,
    /// What went wrong in Weir itself, shown instead of the attempts' verdict.
    pub(super) refusal: Option<Error>,
    pub(super) log: AccessLog,
}

/// Identity of a generation and what its records say of the caller.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) id: Arc<str>,
    /// Unix seconds.
    pub(super) created: u64,
    pub(super) app: String,
    /// As it is sent upstream: hashed on `/api/v1`.
    pub(super) user: Option<String>,
}

/// Facts of the last attempt, for the access line.
#[derive(Debug, Default)]
pub(super) struct AccessLog {
    pub(super) target: Option<Arc<Target>>,
    pub(super) outcome: Option<Outcome>,
    pub(super) status: u16,
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) cost: i128,
    pub(super) first_content_us: Option<u64>,
}

impl Exchange {
    /// The target a choice of `attempts` stands for.
    pub(super) fn target(&self, choice: Choice) -> Option<Arc<Target>> {
        self.pools.get(choice.model)?.targets.get(choice.candidate).cloned()
    }

    /// Ends the attempt under way: its record is sealed and its outcome told to live state.
    pub(super) fn end_attempt(&mut self) {
        if let Some(mut attempt) = self.attempt.take() {
            attempt.settle(&mut self.log);
        }
    }

    /// Puts the real session back in place of the held one.
    pub(super) fn give_back(&mut self, session: &mut Session) {
        held::give_back(&mut session.downstream_session, &mut self.inner);
    }

    /// Whether reply bytes have gone to the caller.
    pub(super) fn committed(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.committed)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end_attempt();
        self.state.finished(self.face, self.operation, &self.log, self.started);
        crate::log::Access {
            generation: &self.generation.id,
            key: &self.caller.name,
            workspace: &self.caller.workspace,
            face: self.face,
            operation: self.operation,
            model: self.log.target.as_ref().map_or("", |target| &target.endpoint.model),
            provider: self.log.target.as_ref().map_or("", |target| &target.endpoint.provider.slug),
            attempts: self.dispatched,
            outcome: self.log.outcome.unwrap_or(Outcome::Internal),
            status: self.log.status,
            prompt_tokens: self.log.prompt,
            completion_tokens: self.log.completion,
            cost: self.log.cost,
            first_content_us: self.log.first_content_us,
            duration: self.started.elapsed(),
        }
        .emit();
    }
}
