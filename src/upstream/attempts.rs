//! Go on, retry, or give up: the only place that decides (design, attempts; F01 to F19).
//!
//! Pure: it is told how each try ended and whether the retry budget has room, and answers which
//! endpoint is next. Nobody else counts tries.

mod failures;
#[cfg(test)]
mod tests;

use crate::bounds::{ATTEMPTS_PER_MODEL, RETRY_BACKOFF, TRIES_PER_REQUEST};
use crate::error::Error;
use crate::outcome::{Outcome, is_callers};
use failures::{Failures, is_untried};
use std::time::Duration;

/// What an upstream's status means before its body is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with this reply.
    Deliver,
    /// The attempt has failed so.
    Fail(Outcome),
}

/// The meaning of a final status (F15 to F22).
#[must_use]
pub const fn classify_status(status: u16) -> Verdict {
    Verdict::Fail(match status {
        200..=299 => return Verdict::Deliver,
        status if is_callers(status) => Outcome::ClientFault,
        401..=403 => Outcome::Credential,
        429 => Outcome::RateLimited,
        408 | 409 | 425 | 500..=599 => Outcome::ServerError,
        // Redirects and upgrades are never followed; Weir builds the request, so the rest of 4xx
        // says that this endpoint is not what the configuration takes it for.
        _ => Outcome::Malformed,
    })
}

/// An endpoint to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Position in the request's models.
    pub model: usize,
    /// Index into that model's candidates.
    pub candidate: usize,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub choice: Choice,
    pub outcome: Outcome,
    /// The upstream's status, 0 if none came.
    pub status: u16,
    /// Seconds, as the upstream asked.
    pub retry_after: Option<u32>,
}

/// Where to go after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onward {
    /// The same endpoint, by another address or credential.
    Stay,
    NextEndpoint,
    NextModel,
    Nowhere,
}

/// The tries of one request. Plans are given per model, in the order the caller asked.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Plan order per model.
    orders: Vec<Vec<usize>>,
    model: usize,
    cursor: usize,
    /// Of the current model.
    dispatched: usize,
    /// Of the current endpoint.
    here: usize,
    tries: usize,
    onward: Option<Onward>,
    last: Option<Failure>,
    /// Over all failures so far.
    failures: Failures,
    starved: bool,
    committed: bool,
}

impl Attempts {
    /// `orders` are [`crate::selection::Plan::order`] per model; an empty one is passed over.
    #[must_use]
    pub fn new(orders: Vec<Vec<usize>>) -> Self {
        Self { orders, ..Self::default() }
    }

    /// The endpoint to try now, or `None` when the request must end.
    ///
    /// `budget` is asked before a retry and never before a first try; nor before the next model
    /// after a client fault, which repeats nothing that failed for lack of capacity; nor after an
    /// endpoint that was passed over.
    pub fn next(&mut self, budget: impl FnOnce() -> bool) -> Option<Choice> {
        let onward = self.onward.take();
        let free = self
            .last
            .is_none_or(|last| last.outcome == Outcome::ClientFault || is_untried(last.outcome));
        match onward {
            _ if self.committed => return None,
            None | Some(Onward::Stay) => {}
            Some(Onward::NextEndpoint) => self.cursor += 1,
            Some(Onward::NextModel) => self.leave_model(),
            Some(Onward::Nowhere) => {
                self.onward = onward;
                return None;
            }
        }
        let choice = self.settle()?;
        if self.last.is_none_or(|last| last.choice != choice) {
            self.here = 0;
        }
        if self.tries >= TRIES_PER_REQUEST || !(free || self.has_budget(budget)) {
            self.onward = Some(Onward::Nowhere);
            return None;
        }
        self.tries += 1;
        self.here += 1;
        Some(choice)
    }

    /// Takes in how the try that [`Attempts::next`] gave has failed. `status` is 0 if none came.
    pub fn failed(&mut self, outcome: Outcome, status: u16, retry_after: Option<u32>) {
        let Some(choice) = self.current() else { return };
        self.dispatched += usize::from(outcome.dispatched());
        self.onward = Some(if self.committed { Onward::Nowhere } else { onward(outcome) });
        self.last = Some(Failure { choice, outcome, status, retry_after });
        self.failures.add(outcome, status, retry_after);
    }

    /// Keeps the next try at the same endpoint, where another address or credential of it is ready,
    /// or where a reused connection turned out to be stale (F07).
    ///
    /// To be called after [`Attempts::failed`]. Does nothing if the endpoint itself was at fault,
    /// nor after [`ATTEMPTS_PER_MODEL`] tries there; a lost connection is replayed once, and refused
    /// credentials leave a try to the next endpoint.
    pub fn stay(&mut self) {
        let most = match self.last.map(|last| last.outcome) {
            Some(Outcome::Refused | Outcome::ConnectTimeout | Outcome::Tls) => ATTEMPTS_PER_MODEL,
            Some(Outcome::Credential) if self.has_later() => ATTEMPTS_PER_MODEL - 1,
            Some(Outcome::Credential) => ATTEMPTS_PER_MODEL,
            Some(Outcome::Reset) => 2,
            _ => 0,
        };
        if self.onward == Some(Onward::NextEndpoint) && self.here < most {
            self.onward = Some(Onward::Stay);
        }
    }

    /// How long to wait before a try at the provider that failed last: up to [`RETRY_BACKOFF`], as
    /// `draw` in `[0, 1)` says, so that those who failed together do not come back together (F16).
    #[must_use]
    pub fn backoff(&self, draw: f64) -> Duration {
        match self.last.map(|last| last.outcome) {
            Some(Outcome::ServerError | Outcome::InBand) => RETRY_BACKOFF.mul_f64(draw),
            _ => Duration::ZERO,
        }
    }

    /// Whether another try could follow if the current one ended so, the budget aside: a reply that
    /// nobody else can better may be passed as it is.
    #[must_use]
    pub fn could_follow(&self, outcome: Outcome) -> bool {
        let later_model = self.orders.iter().skip(self.model + 1).any(|order| !order.is_empty());
        let later_endpoint = self.dispatched + 1 < ATTEMPTS_PER_MODEL && self.has_later();
        match onward(outcome) {
            _ if self.committed || self.tries >= TRIES_PER_REQUEST => false,
            Onward::Stay | Onward::NextEndpoint => later_endpoint || later_model,
            Onward::NextModel => later_model,
            Onward::Nowhere => false,
        }
    }

    /// Whether the model has an endpoint after the current one.
    fn has_later(&self) -> bool {
        self.orders.get(self.model).is_some_and(|order| self.cursor + 1 < order.len())
    }

    /// Content has reached the caller: there is no next try (design, invariant 5).
    pub fn commit(&mut self) {
        self.committed = true;
    }

    /// How the last try failed.
    #[must_use]
    pub fn last(&self) -> Option<Failure> {
        self.last
    }

    /// Tries so far, those that never connected included.
    #[must_use]
    pub fn tries(&self) -> usize {
        self.tries
    }

    /// Whether a retry was possible and the budget refused it.
    #[must_use]
    pub fn starved(&self) -> bool {
        self.starved
    }

    /// The caller's error when nothing is left; `provider_name` is the last one's.
    #[must_use]
    pub fn verdict(&self, provider_name: &str) -> Error {
        self.failures.error(self.last, provider_name)
    }

    fn has_budget(&mut self, budget: impl FnOnce() -> bool) -> bool {
        let allowed = budget();
        self.starved |= !allowed;
        allowed
    }

    /// Moves the cursor to something that may be tried, over spent and empty models.
    fn settle(&mut self) -> Option<Choice> {
        while self.model < self.orders.len() {
            if self.dispatched < ATTEMPTS_PER_MODEL
                && let Some(choice) = self.current()
            {
                return Some(choice);
            }
            self.leave_model();
        }
        None
    }

    fn current(&self) -> Option<Choice> {
        let candidate = *self.orders.get(self.model)?.get(self.cursor)?;
        Some(Choice { model: self.model, candidate })
    }

    fn leave_model(&mut self) {
        self.model += 1;
        self.cursor = 0;
        self.dispatched = 0;
    }
}

const fn onward(outcome: Outcome) -> Onward {
    match outcome {
        Outcome::ClientFault => Onward::NextModel,
        // Delivered, gone or ours: no other endpoint would help anyone.
        Outcome::Ok
        | Outcome::ClientAbort
        | Outcome::Shutdown
        | Outcome::Internal
        | Outcome::CrashRecovered => Onward::Nowhere,
        _ => Onward::NextEndpoint,
    }
}
