//! What reading a segment is told of the sink, and what each step through it gives.

use crate::ledger::record::Record;
use crate::ledger::sink::Position;
use crate::price::PriceVersion;
use std::ops::Range;

/// What is known of a sink as a segment is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::ledger) struct Resume {
    /// Where it stands: what is lost before is no loss to it.
    pub(in crate::ledger) cursor: Option<Position>,
    /// How many of the node's rows are accounted for: delivered, or counted as lost.
    pub(in crate::ledger) accounted: Option<u64>,
}

/// What was read of a segment, from its beginning on.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::ledger) struct Seen {
    /// Sound rows, delivered before or not.
    pub(in crate::ledger) rows: u64,
    pub(in crate::ledger) torn: u64,
}

/// Rows that the sink will not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Lost {
    pub(in crate::ledger) rows: u64,
    /// Number of the row behind them among all of the node's.
    pub(in crate::ledger) next: u64,
    /// Where in the segment reading goes on behind them.
    pub(in crate::ledger) offset: u64,
}

impl Lost {
    /// Their numbers among all of the node's rows.
    pub(in crate::ledger) fn numbers(&self) -> Range<u64> {
        self.next.saturating_sub(self.rows)..self.next
    }
}

/// One step through a segment.
#[derive(Default)]
pub(in crate::ledger) struct Step {
    pub(in crate::ledger) rows: Vec<Record>,
    pub(in crate::ledger) prices: Vec<PriceVersion>,
    /// Rows that had been delivered before.
    pub(in crate::ledger) skipped: u64,
    /// Rows lost to damage.
    pub(in crate::ledger) lost: u64,
    pub(in crate::ledger) losses: Vec<Lost>,
    /// Bytes of a torn tail.
    pub(in crate::ledger) torn: u64,
}

impl Step {
    pub(super) fn lose(&mut self, lost: Lost) {
        if lost.rows > 0 {
            self.lost += lost.rows;
            self.losses.push(lost);
        }
    }
}
