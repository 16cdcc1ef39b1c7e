//! Metering a reply: SSE framing, accumulation, estimate. Pure; incremental; no text is kept.

mod account;
mod delivered;
mod estimate;
mod event;
mod framer;
mod settlement;

pub use account::Account;
pub use delivered::{CLASSES, Delivered};
pub use estimate::{ESTIMATOR, Estimator, Family, prompt_tokens};
pub use event::{Event, EventReader};
pub use framer::{Block, Framer, Part};
pub use settlement::{Evidence, Source, failed, is_plausible};

use crate::usage::Usage;

/// `finish_reason` of the contract (section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Finish {
    Stop = 1,
    Length = 2,
    ToolCalls = 3,
    ContentFilter = 4,
    Error = 5,
}

impl Finish {
    /// The literal on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
        }
    }
}

/// Where the numbers of an attempt are put, before the bytes they came from are handed on.
///
/// The ledger slot implements it with atomics; tests with a plain struct.
pub trait Tally {
    /// Usage as reported; the last report of a reply wins.
    fn reported(&mut self, usage: &Usage);
    /// Content delivered so far.
    fn delivered(&mut self, delivered: &Delivered);
    /// The reply's finish reason: normalised and as the upstream wrote it.
    fn finish(&mut self, finish: Finish, native: &str);
    /// The upstream's own id of the reply.
    fn upstream_id(&mut self, id: &str);
    /// A report was implausible: refused, clamped, or at odds with itself (F35).
    fn suspect(&mut self) {}
    /// A report or an event could not be read, or was too large to be (F30, F33).
    fn unreadable(&mut self) {}
    /// Whether the record can follow the reply to another tier, should it be asked to.
    fn may_follow(&mut self) -> bool {
        true
    }
}
