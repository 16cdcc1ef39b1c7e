//! One try at one endpoint. Its end, by whatever way, seals its record and tells live state: both
//! from here (design, invariant 6).

use super::exchange::AccessLog;
use crate::edge::clock::{now_ms, wall_us};
use crate::endpoint::InFlight;
use crate::face::Relay;
use crate::ledger::Claim;
use crate::outcome::Outcome;
use crate::snapshot::Target;
use crate::state::State;
use crate::upstream::attempts::Choice;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What happens to the bytes of the upstream's body.
#[derive(Debug)]
pub(super) enum Flow {
    /// No final head yet.
    Awaiting,
    /// A reply: metered and shaped.
    Reply(Box<Relay>),
    /// An error the caller made, passed as it came (`/v1`).
    Pass,
    /// The same, collected to be wrapped (`/api/v1`).
    Wrap(Vec<u8>),
}

/// A try that holds a slot. Dropped before dispatch it leaves no record.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) state: Arc<State>,
    pub(super) target: Arc<Target>,
    pub(super) choice: Choice,
    pub(super) address: SocketAddr,
    /// Index of the credential in the target's list; `None` for a keyless provider.
    pub(super) credential: Option<usize>,
    pub(super) claim: Claim,
    pub(super) body: Bytes,
    pub(super) injected_usage: bool,
    pub(super) flow: Flow,
    /// When the first request byte was about to be written.
    pub(super) dispatched: Option<Instant>,
    /// On a pooled connection.
    pub(super) reused: bool,
    /// Content reached the caller: no other attempt after this.
    pub(super) committed: bool,
    pub(super) first_content_us: Option<u64>,
    /// Set once, by whoever first knows.
    pub(super) outcome: Option<Outcome>,
    /// The upstream's status, 0 if none came.
    pub(super) status: u16,
    pub(super) retry_after: Option<u32>,
    pub(super) _in_flight: InFlight,
}

impl Attempt {
    /// The outcome, unless one is known already.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// Microseconds since dispatch.
    pub(super) fn elapsed_us(&self) -> u64 {
        self.dispatched
            .map_or(0, |at| u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Ends the attempt and notes what the access line says of it.
    pub(super) fn settle(&mut self, log: &mut AccessLog) {
        let outcome = self.outcome.unwrap_or_else(|| self.unforeseen());
        self.outcome = Some(outcome);
        log.target = Some(Arc::clone(&self.target));
        log.outcome = Some(outcome);
        log.status = self.status;
        if self.dispatched.is_some() {
            self.claim.outcome(outcome);
            self.claim.ended(wall_us(), self.elapsed_us());
            let settlement = self.claim.settle();
            self.target.metrics.settled(&settlement, self.first_content_us);
            log.prompt = settlement.usage.prompt();
            log.completion = settlement.usage.completion();
            log.cost = settlement.charge;
            log.first_content_us = self.first_content_us;
        }
        self.tell(outcome);
    }

    /// Why an attempt ends that nobody gave an outcome.
    fn unforeseen(&self) -> Outcome {
        if std::thread::panicking() {
            return Outcome::Internal;
        }
        match &self.flow {
            Flow::Reply(relay) if relay.is_terminal() => Outcome::Ok,
            _ => Outcome::Shutdown,
        }
    }

    /// Live state and metrics learn of the end, each at its scope (design, cooldown scope).
    fn tell(&self, outcome: Outcome) {
        let now = now_ms();
        self.target.metrics.attempt(outcome);
        self.target.live.record(outcome, now, self.retry_after);
        if matches!(outcome, Outcome::Refused | Outcome::ConnectTimeout | Outcome::Tls) {
            self.target.addresses.connect_failed(self.address, now);
        }
        if outcome == Outcome::Credential
            && let Some(credential) = self.credential.and_then(|at| self.target.credentials.get(at))
        {
            credential.live.refused(now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            self.settle(&mut AccessLog::default());
        }
    }
}
