//! What an HTTP/2 caller may send beside requests and bodies (S8, F59).
//!
//! The h2 crate bounds the memory of a connection, not its work: settings, pings, priorities, window
//! updates and resets may come without end, and a header block may stay half sent. Here the heads of
//! frames (RFC 9113, section 4.1) are read as their bytes pass by; nothing is decoded.
//!
//! A request costs a hundred times the bytes of a small head until it has been refused, so few of a
//! connection begin at once: the next ones wait until those have run (S10).

use crate::bounds::{
    H2_BURST_SECONDS, H2_BYTES_PER_WINDOW_UPDATE, H2_CONTINUATIONS, H2_HEADS_AT_ONCE,
};
use crate::metrics::{H2Abuse, Label};

/// What a connection begins with (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Of the preface.
const NO_FRAME: u8 = u8::MAX;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// How far [`Frames::take`] came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that may go on.
    pub(super) bytes: usize,
    /// What [`Frames::is_waiting`] spoke of before has come.
    pub(super) moved: bool,
    /// The caller said that it has read something.
    pub(super) reads: bool,
    /// The rest should wait for a turn of its own.
    pub(super) pause: bool,
}

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head under way.
    have: usize,
    /// Bytes of the payload under way that are still to come.
    left: usize,
    kind: u8,
    /// A header block has begun and not ended.
    in_block: bool,
    continuations: u32,
    /// By sort of frame, as [`H2Abuse`] numbers them.
    budgets: [Budget; SORTS],
    /// Frames a second, of each sort.
    rate: u32,
    /// Bytes written that no window update has answered yet.
    written: usize,
    /// A window update has come.
    reads: bool,
}

const SORTS: usize = H2Abuse::SlowHead as usize;

impl Frames {
    /// The frames of a connection whose preface has still to come.
    pub(super) fn new(rate: u32, now_ms: u64) -> Self {
        let budget = Budget { left: rate.saturating_mul(H2_BURST_SECONDS), since_ms: now_ms };
        Self {
            head: [0; HEAD],
            have: 0,
            left: PREFACE.len(),
            kind: NO_FRAME,
            in_block: false,
            continuations: 0,
            budgets: [budget; SORTS],
            rate,
            written: 0,
            reads: false,
        }
    }

    /// Passes bytes by, in any cut, until [`H2_HEADS_AT_ONCE`] request heads have ended in them.
    /// `now_ms` is asked for only where a budget is used up.
    ///
    /// # Errors
    /// The connection has gone too far and must end.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        now_ms: impl Fn() -> u64,
    ) -> Result<Taken, H2Abuse> {
        let (mut rest, mut moved, mut heads) = (bytes, false, 0);
        while !rest.is_empty() && heads < H2_HEADS_AT_ONCE {
            let wanted = if self.left > 0 { self.left } else { HEAD - self.have };
            let (part, later) = rest.split_at(wanted.min(rest.len()));
            rest = later;
            if self.left > 0 {
                self.left -= part.len();
            } else {
                self.fill(part);
                if self.have == HEAD {
                    self.have = 0;
                    self.begin(&now_ms)?;
                }
            }
            let whole = self.left == 0 && self.have == 0 && !self.in_block;
            moved |= whole;
            heads += u32::from(whole && matches!(self.kind, HEADERS | CONTINUATION));
        }
        let reads = std::mem::take(&mut self.reads);
        let pause = heads == H2_HEADS_AT_ONCE;
        Ok(Taken { bytes: bytes.len() - rest.len(), moved, reads, pause })
    }

    /// The preface, a header block or a frame other than DATA is not whole. Data has the deadline of
    /// its request's body.
    pub(super) fn is_waiting(&self) -> bool {
        self.in_block || self.have > 0 || (self.left > 0 && self.kind != DATA)
    }

    /// Weir has written: its caller may answer with window updates.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }

    fn fill(&mut self, part: &[u8]) {
        let free = self.head.iter_mut().skip(self.have);
        free.zip(part).for_each(|(to, from)| *to = *from);
        self.have += part.len();
    }

    /// A frame's head is whole.
    fn begin(&mut self, now_ms: impl Fn() -> u64) -> Result<(), H2Abuse> {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.kind = kind;
        let sort = match kind {
            HEADERS | CONTINUATION => return self.block(kind, flags),
            DATA if self.left > 0 || flags & END_STREAM != 0 => return Ok(()),
            PUSH_PROMISE | GOAWAY => return Ok(()),
            DATA => H2Abuse::EmptyData,
            RST_STREAM => H2Abuse::Reset,
            SETTINGS => H2Abuse::Settings,
            PING => H2Abuse::Ping,
            WINDOW_UPDATE => H2Abuse::WindowUpdate,
            _ => H2Abuse::Other,
        };
        self.reads |= sort == H2Abuse::WindowUpdate;
        let Some(budget) = self.budgets.get_mut(sort.index()) else { return Ok(()) };
        if budget.left == 0 && sort == H2Abuse::WindowUpdate {
            budget.left =
                u32::try_from(self.written / H2_BYTES_PER_WINDOW_UPDATE).unwrap_or(u32::MAX);
            self.written = 0;
        }
        if budget.spend(self.rate, now_ms) { Ok(()) } else { Err(sort) }
    }

    fn block(&mut self, kind: u8, flags: u8) -> Result<(), H2Abuse> {
        self.continuations = if kind == HEADERS { 0 } else { self.continuations + 1 };
        self.in_block = flags & END_HEADERS == 0;
        let too_many = self.continuations > H2_CONTINUATIONS;
        if too_many { Err(H2Abuse::Continuation) } else { Ok(()) }
    }
}

/// Frames of one sort that may come now: a token bucket that looks at the clock when it is empty.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: u32,
    since_ms: u64,
}

impl Budget {
    fn spend(&mut self, rate: u32, now_ms: impl Fn() -> u64) -> bool {
        if self.left == 0 {
            let now = now_ms();
            let passed = now.saturating_sub(self.since_ms).min(u64::from(H2_BURST_SECONDS) * 1_000);
            self.left = u32::try_from(u64::from(rate) * passed / 1_000).unwrap_or(u32::MAX);
            if self.left > 0 {
                self.since_ms = now;
            }
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests;
