//! One try at one endpoint. Its end, by whatever way, seals its record and tells live state: both
//! from here (design, invariant 6).

use crate::bounds::SYNC_WAIT;
use crate::catalog::Tier;
use crate::edge::clock::{now_ms, wall_us};
use crate::endpoint::{self, InFlight, Sample, Scope};
use crate::face::Relay;
use crate::ledger::Claim;
use crate::meter::{self, Estimator, Evidence, Finish, Source};
use crate::metrics::CooldownScope;
use crate::outcome::Outcome;
use crate::price::{Pico, PriceVersion, Terms};
use crate::request::route::Operation;
use crate::snapshot::Target;
use crate::tools::Calls;
use crate::upstream::credential::Key;
use crate::upstream::scrub::Scrub;
use crate::usage::{Kind, Usage};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What happens to the bytes of the upstream's body.
pub(super) enum Flow {
    /// No final head yet.
    Awaiting,
    /// A reply: metered and shaped.
    Reply(Box<Relay>),
    /// An error the caller made, passed as it came (`/v1`).
    Pass,
    /// The same, collected to be wrapped (`/api/v1`); not if it is compressed.
    Wrap(Option<Vec<u8>>),
    /// A 403, collected to be judged: it speaks of our credential, or of what the caller asked. The last
    /// 429, for its code.
    Judge(Vec<u8>),
}

/// A try that holds a slot. Dropped before dispatch it leaves no record.
pub(super) struct Attempt {
    pub(super) target: Arc<Target>,
    pub(super) address: SocketAddr,
    /// `None` for a keyless provider.
    pub(super) credential: Option<Arc<Key>>,
    pub(super) claim: Claim,
    pub(super) terms: Terms,
    /// What other tiers of the same offer cost.
    pub(super) tiers: Vec<(Option<Tier>, Arc<PriceVersion>)>,
    pub(super) estimator: Estimator,
    pub(super) body: Bytes,
    /// The request's `tools`, kept when its body goes, where the calls of the reply are judged by them.
    pub(super) tools: Option<Box<[u8]>>,
    /// The request offers tools.
    pub(super) offers_tools: bool,
    /// The caller bounds the length of the reply.
    pub(super) bounded: bool,
    pub(super) operation: Operation,
    /// Bytes of the caller's text.
    pub(super) prompt_bytes: u64,
    pub(super) injected_usage: bool,
    pub(super) flow: Flow,
    pub(super) scrub: Scrub,
    /// When the first request byte was about to be written.
    pub(super) dispatched: Option<Instant>,
    /// When ([`now_ms`]) it must have ended, unless a stream delivers.
    pub(super) latest: u64,
    /// The reply is a stream of events.
    pub(super) streamed: bool,
    /// On a pooled connection.
    pub(super) reused: bool,
    /// Informational heads so far.
    pub(super) interim: u8,
    /// The terminal event, or an error in its place, has come.
    pub(super) over: bool,
    /// Something came after that.
    pub(super) went_on: bool,
    /// Content reached the caller: no other attempt after this.
    pub(super) committed: bool,
    /// When its first content came, shown to the caller or not.
    pub(super) first_content_us: Option<u64>,
    /// Set once, by whoever first knows.
    pub(super) outcome: Option<Outcome>,
    /// The upstream's status, 0 if none came.
    pub(super) status: u16,
    pub(super) retry_after: Option<u32>,
    /// How the provider names its limit, where it is asked no more.
    pub(super) code: Option<String>,
    pub(super) settled: bool,
    pub(super) _in_flight: InFlight,
}

/// What is still asked of an attempt after its end.
pub(super) struct Ended {
    pub(super) target: Arc<Target>,
    pub(super) outcome: Outcome,
    /// The upstream's status, or the one that says what became of it.
    pub(super) status: u16,
    pub(super) committed: bool,
    pub(super) usage: Usage,
    /// Pico-dollars the caller pays for it.
    pub(super) charge: Pico,
    pub(super) first_content_us: Option<u64>,
    pub(super) code: Option<String>,
}

impl Attempt {
    /// The outcome, unless one is known already.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// Microseconds since dispatch.
    pub(super) fn elapsed_us(&self) -> u64 {
        self.dispatched.map_or(0, |at| u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What of a read may be looked at: all but the provider's own secret.
    pub(super) fn scrubbed(&mut self, read: Option<Bytes>, end: bool) -> Option<Bytes> {
        match &self.credential {
            Some(credential) => self.scrub.pass(credential.secret(), read, end),
            None => read,
        }
    }

    /// Whether the terminal event of the reply was seen.
    pub(super) fn terminal(&self) -> bool {
        matches!(&self.flow, Flow::Reply(relay) if relay.is_terminal())
    }

    /// The reply is complete: where durability is strict, waits until that is on record. False: it
    /// cannot be recorded, and the caller must not take the reply for complete.
    pub(super) fn completes(&mut self) -> bool {
        if !self.claim.waits() {
            return true;
        }
        let outcome = *self.outcome.get_or_insert(Outcome::Ok);
        self.claim.outcome(outcome);
        self.claim.ended(wall_us(), self.elapsed_us());
        let on_record = tokio::task::block_in_place(|| self.claim.complete(SYNC_WAIT));
        if !on_record {
            self.outcome = Some(Outcome::Internal);
        }
        on_record
    }

    /// Ends the attempt. Once; a second call changes nothing that counts.
    pub(super) fn settle(&mut self) -> Ended {
        let outcome = *self.outcome.get_or_insert_with(|| unforeseen(&self.flow));
        let mut ended = Ended {
            target: Arc::clone(&self.target),
            outcome,
            status: told(self.status, outcome),
            committed: self.committed,
            usage: Usage::ZERO,
            charge: 0,
            first_content_us: self.first_content_us,
            code: self.code.take(),
        };
        if self.settled {
            return ended;
        }
        self.settled = true;
        if self.dispatched.is_some() {
            self.claim.outcome(outcome);
            self.claim.ended(wall_us(), self.elapsed_us());
            self.target.metrics.in_flight.dec();
            (ended.usage, ended.charge) = self.account(outcome);
        }
        if self.dispatched.is_some() || !outcome.dispatched() {
            self.tell(outcome, &ended.usage);
        }
        ended
    }

    /// Usage and charge as the record will say. A complete report corrects later estimates.
    fn account(&self, outcome: Outcome) -> (Usage, Pico) {
        let Flow::Reply(relay) = &self.flow else { return (Usage::ZERO, 0) };
        let evidence = Evidence {
            content: self.committed || !relay.delivered().is_empty(),
            ..relay.evidence()
        };
        let (source, usage) = evidence.settle();
        if (source, outcome) == (Source::Reported, Outcome::Ok) {
            self.target.live.calibration.learn(&evidence, &usage);
        }
        let failed = meter::failed(Some(outcome), relay.finish(), &usage, self.operation);
        let cost = self.terms.cost(&usage);
        (usage, self.terms.policy.charge(cost, self.committed, failed))
    }

    /// Gives away the tool calls of a whole reply, where they are to be judged.
    pub(super) fn take_calls(&mut self) -> Option<Calls> {
        match &mut self.flow {
            Flow::Reply(relay) if self.outcome == Some(Outcome::Ok) => relay.take_calls(),
            _ => None,
        }
    }

    /// Whether a reply to a request with tools ended before its model was done, and not for the caller's own
    /// bound.
    fn cut_short(&self) -> Option<bool> {
        let Flow::Reply(relay) = &self.flow else { return None };
        self.offers_tools.then(|| match relay.finish() {
            Some(Finish::Stop | Finish::ToolCalls) => false,
            Some(Finish::Length) => !self.bounded,
            Some(Finish::ContentFilter | Finish::Error) | None => true,
        })
    }

    /// Live state learns of the end, each at its scope (design, cooldown scope).
    fn tell(&self, outcome: Outcome, usage: &Usage) {
        let now = now_ms();
        self.target.metrics.attempt(outcome);
        let meaning = outcome.meaning(self.status);
        self.target.upstream.throttle.record(meaning, self.status, now);
        // Where no secret of ours was sent, none is to blame.
        let unasked = outcome == Outcome::Credential && self.credential.is_none();
        let blamed = if unasked { Outcome::ServerError } else { meaning };
        if self.target.live.record(blamed, now, self.retry_after) {
            self.target.metrics.ejection();
        }
        let ms = |us: u64| u32::try_from(us / 1_000).unwrap_or(u32::MAX);
        let sample = Sample {
            outcome,
            status: self.status,
            first_content_ms: self.first_content_us.map(ms),
            elapsed_ms: ms(self.elapsed_us()),
            output_tokens: usage.completion(),
            prompt_tokens: usage.prompt(),
            cached_tokens: usage.get(Kind::CacheRead),
            cut_short: self.cut_short(),
        };
        self.target.live.measure(&sample, now);
        match endpoint::scope(meaning) {
            Scope::Address => {
                self.target.upstream.pool.connect_failed(self.address, now);
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

/// The status that says how an attempt ended: a 200 that failed later says nothing.
const fn told(status: u16, outcome: Outcome) -> u16 {
    match (status, outcome) {
        (_, Outcome::Ok) => 200,
        (0 | 200..=299, Outcome::ConnectTimeout)
        | (0 | 200..=299, Outcome::FirstContentTimeout | Outcome::IdleTimeout)
        | (0 | 200..=299, Outcome::TotalTimeout) => 504,
        (0 | 200..=299, _) => 502,
        (status, _) => status,
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
