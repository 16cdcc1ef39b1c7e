//! The ledger's own figures, carried over at each scrape.

use super::families as f;
use super::register::Register;
use prometheus::{IntCounter, IntGauge, Result};

/// What the ledger looks like now. Totals are since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerDepth {
    pub slots: u64,
    pub slots_used: u64,
    pub spool_rows: u64,
    pub spool_bytes: u64,
    pub spool_oldest_seconds: u64,
    pub rows_total: u64,
    pub recovered_attempts_total: u64,
    pub sink_errors_total: u64,
    pub refused_total: u64,
    pub duplicates_total: u64,
    pub conflicts_total: u64,
    pub lost_total: u64,
    pub torn_bytes_total: u64,
    pub spool_limit: u64,
    /// 0 or 1.
    pub spool_alarm: u64,
    pub sinks_refusing: u64,
    pub unbilled_total: u64,
    pub io_errors_total: u64,
    pub dead_letters_total: u64,
}

impl LedgerDepth {
    const fn levels(&self) -> [u64; 8] {
        [
            self.slots,
            self.slots_used,
            self.spool_rows,
            self.spool_bytes,
            self.spool_oldest_seconds,
            self.spool_limit,
            self.spool_alarm,
            self.sinks_refusing,
        ]
    }

    const fn totals(&self) -> [u64; 11] {
        [
            self.rows_total,
            self.recovered_attempts_total,
            self.sink_errors_total,
            self.refused_total,
            self.duplicates_total,
            self.conflicts_total,
            self.lost_total,
            self.torn_bytes_total,
            self.unbilled_total,
            self.io_errors_total,
            self.dead_letters_total,
        ]
    }
}

/// Gauges and counters in the order of [`LedgerDepth::levels`] and [`LedgerDepth::totals`].
#[derive(Debug)]
pub(super) struct LedgerFamilies {
    gauges: [IntGauge; 8],
    counters: [IntCounter; 11],
}

impl LedgerFamilies {
    pub(super) fn new(new: &Register<'_>) -> Result<Self> {
        Ok(Self {
            gauges: [
                new.gauge(&f::SLOTS)?,
                new.gauge(&f::SLOTS_USED)?,
                new.gauge(&f::SPOOL_ROWS)?,
                new.gauge(&f::SPOOL_BYTES)?,
                new.gauge(&f::SPOOL_OLDEST)?,
                new.gauge(&f::SPOOL_LIMIT)?,
                new.gauge(&f::SPOOL_ALARM)?,
                new.gauge(&f::SINKS_REFUSING)?,
            ],
            counters: [
                new.counter(&f::LEDGER_ROWS)?,
                new.counter(&f::RECOVERED)?,
                new.counter(&f::SINK_ERRORS)?,
                new.counter(&f::LEDGER_REFUSED)?,
                new.counter(&f::LEDGER_DUPLICATES)?,
                new.counter(&f::LEDGER_CONFLICTS)?,
                new.counter(&f::LEDGER_LOST)?,
                new.counter(&f::LEDGER_TORN)?,
                new.counter(&f::UNBILLED)?,
                new.counter(&f::SPOOL_IO_ERRORS)?,
                new.counter(&f::DEAD_LETTERS)?,
            ],
        })
    }

    /// Brings every metric to the ledger's figure. Counters never fall.
    pub(super) fn set(&self, depth: &LedgerDepth) {
        for (gauge, level) in self.gauges.iter().zip(depth.levels()) {
            gauge.set(i64::try_from(level).unwrap_or(i64::MAX));
        }
        for (counter, total) in self.counters.iter().zip(depth.totals()) {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
