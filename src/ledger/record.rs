//! The row of the ledger: what is known before dispatch, and what came of it.

use crate::meter::{CLASSES, Finish};
use crate::outcome::Outcome;
use crate::price::Pico;
use crate::request::route::{Face, Operation};
use crate::usage::Usage;
use std::borrow::Cow;

/// Identity of a record everywhere (design, ledger identity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    pub node: [u8; 16],
    pub epoch: u64,
    pub seq: u64,
}

/// What is known before dispatch. Written into the slot when it is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent<'a> {
    pub generation_id: Cow<'a, str>,
    /// 1 for the generation's first dispatched attempt.
    pub attempt: u8,
    pub face: Face,
    pub operation: Operation,
    pub streamed: bool,
    pub workspace: Cow<'a, str>,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// `X-Title`, else `HTTP-Referer`.
    pub app: Cow<'a, str>,
    pub session: Cow<'a, str>,
    /// As sent upstream: hashed on `/api/v1`.
    pub user: Cow<'a, str>,
    pub model: Cow<'a, str>,
    pub provider: Cow<'a, str>,
    /// Display name.
    pub provider_name: Cow<'a, str>,
    pub endpoint: Cow<'a, str>,
    pub upstream_model: Cow<'a, str>,
    pub credential: Cow<'a, str>,
    pub tier: Cow<'a, str>,
    pub price: [u8; 32],
    /// Bytes of the caller's text, pictures and the like left out: what the prompt's estimate works from.
    pub prompt_bytes: u64,
    pub max_tokens: Option<u64>,
}

pub use crate::meter::Source;

/// One terminal record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: RecordKey,
    pub intent: Intent<'static>,
    pub outcome: Outcome,
    /// Upstream's HTTP status, 0 if none came.
    pub status: u16,
    pub finish: Option<Finish>,
    pub native_finish: String,
    pub upstream_id: String,
    /// Unix microseconds.
    pub started_us: u64,
    pub ended_us: u64,
    /// Monotonic, from dispatch; `None` if it never came.
    pub first_content_us: Option<u64>,
    pub duration_us: u64,
    pub source: Source,
    /// Text of a [`crate::meter::Estimator`], empty unless some of the usage is estimated.
    pub estimator: Cow<'static, str>,
    pub usage: Usage,
    pub delivered: [u64; CLASSES],
    /// Content reached the caller.
    pub committed: bool,
    pub cost: Pico,
    /// What the caller pays for this attempt, by `policy`.
    pub charge: Pico,
    /// Word of a [`crate::price::Policy`].
    pub policy: Cow<'static, str>,
    /// Anything suspicious: implausible usage, crash recovered (bit set, see `flag`).
    pub flags: u32,
}

/// Bits of [`Record::flags`].
pub mod flag {
    /// Closed by a later start, not by its own process.
    pub const CRASH_RECOVERED: u32 = 1;
    /// Usage was implausible and clamped or refused (F35).
    pub const SUSPECT_USAGE: u32 = 2;
    /// A usage object could not be read (F33).
    pub const UNREADABLE_USAGE: u32 = 4;
    /// The terminal event or a whole body was seen.
    pub const TERMINAL: u32 = 8;
    /// Wall clock and monotonic clock disagree: bill by start + duration (I8, F79).
    pub const CLOCK_JUMP: u32 = 16;
    /// A text of the intent was longer than its slot allows and was cut.
    pub const CUT_INTENT: u32 = 32;
    /// A count or an amount did not fit and was saturated.
    pub const SATURATED: u32 = 64;
    /// A report was refused, clamped, or claims more than bytes explain (I15): look at it before
    /// billing it.
    pub const QUARANTINED: u32 = 128;
    /// The prompt has pictures, sound or files, whose tokens its bytes do not bound.
    pub const MEDIA: u32 = 256;
    /// A whole answer came to no tokens, or to no cost where it has a price (I18).
    pub const ZERO: u32 = 512;
}
