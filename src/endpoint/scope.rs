//! Whose fault an outcome is, and so what cools down after it (design, cooldown scope).

use crate::bounds;
use crate::outcome::Outcome;

/// What an outcome speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The endpoint answered well.
    Success,
    /// The endpoint is healthy but wants fewer requests (F15).
    Throttle,
    /// A counted failure of the endpoint.
    Failure,
    /// Our secret was refused.
    Credential,
    /// One address could not be connected to.
    Address,
    /// The caller, or Weir itself: says nothing about an upstream.
    Nobody,
}

/// The scope of an outcome.
#[must_use]
pub const fn scope(outcome: Outcome) -> Scope {
    match outcome {
        Outcome::Ok => Scope::Success,
        Outcome::RateLimited => Scope::Throttle,
        Outcome::ServerError
        | Outcome::Reset
        | Outcome::Truncated
        | Outcome::FirstContentTimeout
        | Outcome::IdleTimeout
        | Outcome::TotalTimeout
        | Outcome::InBand
        | Outcome::Empty
        | Outcome::Malformed => Scope::Failure,
        Outcome::Credential => Scope::Credential,
        Outcome::Refused | Outcome::ConnectTimeout | Outcome::Tls => Scope::Address,
        Outcome::Unresolved
        | Outcome::Throttled
        | Outcome::ClientFault
        | Outcome::ClientAbort
        | Outcome::Shutdown
        | Outcome::Internal
        | Outcome::CrashRecovered => Scope::Nobody,
    }
}

/// A cooldown an upstream asked for, within [`bounds::COOLDOWN_SECONDS`], in milliseconds (F15).
pub(super) fn asked_ms(seconds: u32) -> u64 {
    let (shortest, longest) = bounds::COOLDOWN_SECONDS;
    u64::from(seconds.clamp(shortest, longest)) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cooldown_stays_within_its_bounds() {
        let (shortest, longest) = bounds::COOLDOWN_SECONDS;
        let cases = [
            (0, shortest),
            (shortest, shortest),
            (longest, longest),
            (longest + 1, longest),
            (1_000_000_000, longest),
        ];
        for (asked, given) in cases {
            assert_eq!(asked_ms(asked), u64::from(given) * 1_000);
        }
    }

    #[test]
    fn what_never_connected_never_counts_against_an_endpoint() {
        for (outcome, name) in Outcome::ALL {
            if !outcome.dispatched() {
                assert!(matches!(scope(outcome), Scope::Address | Scope::Nobody), "{name}");
            }
        }
    }
}
