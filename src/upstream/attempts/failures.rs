//! What the tries of a request failed of, and what its caller is told in the end.

use super::Failure;
use crate::bounds::COOLDOWN_SECONDS;
use crate::error::{Availability, Error, UpstreamFault};
use crate::outcome::Outcome;

/// How many tries failed, and of what.
#[derive(Debug, Default)]
pub(super) struct Failures {
    all: usize,
    /// Of them, those that had no address to try, or that a throttle held back.
    untried: usize,
    rate_limited: usize,
    overloaded: usize,
    timeouts: usize,
    retry_after: Option<u32>,
}

impl Failures {
    /// One more, for which the upstream asked to wait so many seconds.
    pub(super) fn add(&mut self, outcome: Outcome, status: u16, retry_after: Option<u32>) {
        self.all += 1;
        self.untried += usize::from(is_untried(outcome));
        self.rate_limited += usize::from(outcome == Outcome::RateLimited);
        self.overloaded += usize::from(matches!(status, 503 | 529));
        self.timeouts += usize::from(is_timeout(outcome, status));
        self.retry_after = match (self.retry_after, retry_after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// The caller's error after the last of them (design): nothing tried 503; a client fault as it came;
    /// all 429: 429; all of them or overloaded 503; only timeouts 504; otherwise 502.
    pub(super) fn error(&self, last: Option<Failure>, provider_name: &str) -> Error {
        let Self { all, untried, rate_limited, overloaded, timeouts, retry_after } = *self;
        let Some(last) = last.filter(|_| untried < all) else {
            return Error::weir(503, "No provider is available for the selected model right now.")
                .availability(unavailable(TEMPORARILY));
        };
        let status = match last.outcome {
            Outcome::Internal | Outcome::CrashRecovered => {
                return Error::weir(500, "Internal Server Error");
            }
            Outcome::Shutdown => return Error::weir(503, "Shutting down. Send the request again."),
            Outcome::ClientFault => last.status,
            _ if rate_limited == all => 429,
            _ if rate_limited + overloaded == all => 503,
            _ if timeouts == all => 504,
            _ => 502,
        };
        let retry_after = retry_after.filter(|_| last.outcome != Outcome::ClientFault);
        let (least, most) = COOLDOWN_SECONDS;
        let provider_name = provider_name.to_owned();
        let fault = UpstreamFault { provider_name, retry_after, ..UpstreamFault::default() };
        let error = Error::upstream(status, "Provider returned error")
            .retry_after(retry_after.map(|seconds| seconds.clamp(least, most)))
            .fault(fault);
        match status {
            429 => error.availability(unavailable("capacity_exhausted")),
            503 => error.availability(unavailable(TEMPORARILY)),
            _ => error,
        }
    }
}

const TEMPORARILY: &str = "temporarily_unavailable";

/// Another moment may differ; what was asked for and of whom is for the caller to add.
fn unavailable(code: &'static str) -> Availability {
    Availability { code, ..Availability::default() }
}

/// Nothing was tried: there was no address, or the provider is to be spared.
pub(super) const fn is_untried(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Unresolved | Outcome::Throttled)
}

/// A clock of ours or of the upstream's ran out. A connect timeout is like a refusal (F02).
const fn is_timeout(outcome: Outcome, status: u16) -> bool {
    matches!(outcome, Outcome::FirstContentTimeout | Outcome::IdleTimeout | Outcome::TotalTimeout)
        || matches!(status, 408 | 504 | 524)
}
