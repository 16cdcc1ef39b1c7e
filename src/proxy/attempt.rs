//! One try at one endpoint. Its end, by whatever way, seals its record and tells live state: both
//! from here (design, invariant 6).

use crate::edge::clock::{now_ms, wall_us};
use crate::endpoint::{self, InFlight, Scope};
use crate::face::Relay;
use crate::ledger::record::{Source, flag};
use crate::ledger::{Claim, Settlement};
use crate::metrics::CooldownScope;
use crate::outcome::Outcome;
use crate::price::Pico;
use crate::snapshot::Target;
use crate::state::State;
use crate::upstream::credential::Credential;
use crate::usage::Usage;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    pub(super) address: SocketAddr,
    /// `None` for a keyless provider.
    pub(super) credential: Option<Arc<Credential>>,
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
    pub(super) settled: bool,
    pub(super) _in_flight: InFlight,
}

/// What is still asked of an attempt after its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) target: Arc<Target>,
    pub(super) outcome: Outcome,
    pub(super) committed: bool,
    pub(super) usage: Usage,
    /// Pico-dollars the caller pays.
    pub(super) charge: Pico,
    pub(super) first_content_us: Option<u64>,
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

    /// Whether the terminal event of the reply was seen.
    pub(super) fn terminal(&self) -> bool {
        matches!(&self.flow, Flow::Reply(relay) if relay.is_terminal())
    }

    /// Ends the attempt. Once; a second call changes nothing that counts.
    pub(super) fn settle(&mut self) -> Ended {
        let outcome = *self.outcome.get_or_insert_with(|| unforeseen(&self.flow));
        let mut ended = Ended {
            target: Arc::clone(&self.target),
            outcome,
            committed: self.committed,
            usage: Usage::ZERO,
            charge: 0,
            first_content_us: self.first_content_us,
        };
        if self.settled {
            return ended;
        }
        self.settled = true;
        if self.dispatched.is_some() {
            self.claim.outcome(outcome);
            self.claim.ended(wall_us(), self.elapsed_us());
            let settlement = self.claim.settle();
            (ended.usage, ended.charge) = (settlement.usage, settlement.charge);
            self.count(&settlement);
        }
        self.tell(outcome);
        ended
    }

    /// Metrics of a dispatched attempt.
    fn count(&self, settlement: &Settlement) {
        let metrics = &self.target.metrics;
        metrics.in_flight.dec();
        metrics.usage(&settlement.usage, settlement.cost);
        if let Some(waited) = self.first_content_us {
            metrics.first_token(Duration::from_micros(waited));
        }
        if settlement.source == Source::Estimated {
            self.state.metrics.usage_estimated.inc();
        }
        if settlement.flags & flag::SUSPECT_USAGE != 0 {
            self.state.metrics.usage_suspect.inc();
        }
        if settlement.flags & flag::UNREADABLE_USAGE != 0 {
            self.state.metrics.usage_parse_errors.inc();
        }
    }

    /// Live state learns of the end, each at its scope (design, cooldown scope).
    fn tell(&self, outcome: Outcome) {
        let now = now_ms();
        self.target.metrics.attempt(outcome);
        self.target.live.record(outcome, now, self.retry_after);
        match endpoint::scope(outcome) {
            Scope::Address => {
                self.target.addresses.connect_failed(self.address, now);
                self.target.metrics.cooldown(CooldownScope::Address);
            }
            Scope::Credential => {
                if let Some(credential) = &self.credential {
                    credential.live.record(outcome, now, self.retry_after);
                    self.target.metrics.cooldown(CooldownScope::Credential);
                }
            }
            Scope::Throttle => self.target.metrics.cooldown(CooldownScope::Endpoint),
            Scope::Success | Scope::Failure | Scope::Nobody => {}
        }
    }
}

/// Why an attempt ends that nobody gave an outcome.
fn unforeseen(flow: &Flow) -> Outcome {
    match flow {
        _ if std::thread::panicking() => Outcome::Internal,
        Flow::Reply(relay) if relay.is_terminal() => Outcome::Ok,
        _ => Outcome::Shutdown,
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.settle();
    }
}
