//! What one attempt shows of its endpoint.

use crate::endpoint::{Scope, scope};
use crate::outcome::Outcome;

/// What an attempt that was dispatched has shown of its endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub outcome: Outcome,
    /// The upstream's status, 0 if none came.
    pub status: u16,
    pub first_content_ms: Option<u32>,
    /// From dispatch to the end.
    pub elapsed_ms: u32,
    pub output_tokens: u64,
    pub prompt_tokens: u64,
    /// Of the prompt, those read from the provider's cache.
    pub cached_tokens: u64,
    /// Whether the reply to a request with tools was cut short through no doing of the caller's; `None`
    /// without tools.
    pub cut_short: Option<bool>,
}

/// Classes of errors that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    RateLimited,
    Credential,
    Server,
    Timeout,
    Connection,
    Malformed,
}

impl ErrorClass {
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::RateLimited, "rate_limited"),
        (Self::Credential, "credential"),
        (Self::Server, "server"),
        (Self::Timeout, "timeout"),
        (Self::Connection, "connection"),
        (Self::Malformed, "malformed"),
    ];

    /// The class of an outcome, if it is an error that says something of the endpoint.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::RateLimited => Self::RateLimited,
            Outcome::Credential => Self::Credential,
            Outcome::ServerError | Outcome::InBand => Self::Server,
            Outcome::FirstContentTimeout | Outcome::IdleTimeout | Outcome::TotalTimeout => {
                Self::Timeout
            }
            Outcome::Refused
            | Outcome::ConnectTimeout
            | Outcome::Tls
            | Outcome::Reset
            | Outcome::Truncated => Self::Connection,
            Outcome::Empty | Outcome::Malformed => Self::Malformed,
            _ => return None,
        })
    }
}

impl Sample {
    /// Whether the attempt counts for uptime and how (contract 3.3): 401, 402, 404, 5xx, a failure in the
    /// middle and an error finish are failures; 400, 413 and 429 are nobody's.
    pub(super) fn counts(&self) -> Option<bool> {
        match scope(self.outcome.meaning(self.status)) {
            Scope::Success => Some(true),
            Scope::Failure | Scope::Address | Scope::Credential => Some(false),
            Scope::Nobody if self.status == 404 => Some(false),
            Scope::Throttle | Scope::Nobody => None,
        }
    }

    /// Tenths of a token per second, from dispatch to end (contract section 9).
    pub(super) fn throughput(&self) -> Option<u32> {
        let tenths = self.output_tokens.checked_mul(10_000)?;
        let speed = tenths.checked_div(u64::from(self.elapsed_ms.max(1)))?;
        (self.output_tokens > 0).then(|| u32::try_from(speed).unwrap_or(u32::MAX))
    }
}
