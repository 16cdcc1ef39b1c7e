//! What can be seen of the ledger from outside: gauges and counters.

use super::durability::SpoolFull;
use super::shared::{Shared, now_us};
use crate::bounds::{SINKS, SPOOL_ALARM_PERCENT, SPOOL_ALARM_ROOM};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Whether new attempts are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    Open = 0,
    /// The disk or the spool's share of it is full; opens by itself (F62).
    Full = 1,
    /// A write or sync failed. Only a restart recovers (F63).
    Failed = 2,
}

/// Gauges and counters since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    pub slots_total: u64,
    /// Slots claimed, open or not yet synced.
    pub slots_used: u64,
    /// Slots sealed whose records are not yet synced.
    pub sealed: u64,
    /// Rows in the spool that not every sink has confirmed.
    pub rows_pending: u64,
    /// Bytes of the spool that not every sink has confirmed.
    pub spool_bytes: u64,
    /// Age of the oldest row waiting for a sink, seconds; 0 while all keep up.
    pub oldest_seconds: u64,
    /// Rows confirmed by every sink.
    pub rows_flushed: u64,
    /// Rows taken from slots of earlier epochs; of these, `crash_recovered` were cut.
    pub recovered: u64,
    pub crash_recovered: u64,
    pub sink_errors: u64,
    /// Sinks that take no rows now.
    pub sinks_refusing: u64,
    /// Rows a sink refused for good, laid aside in a file.
    pub dead_letters: u64,
    /// Rows the sink had already, as after a lost acknowledgement.
    pub duplicates: u64,
    /// Rows the sink had with other content: an alarm (I3).
    pub conflicts: u64,
    /// Rows lost to damaged slots, and those of the spool that the worst served sink will never get,
    /// exactly counted (F65).
    pub rows_lost: u64,
    /// Bytes of torn tails, where a crash or power cut ended a write.
    pub torn_bytes: u64,
    /// Claims refused.
    pub refused: u64,
    /// Attempts made without a record, while the spool was full.
    pub unbilled: u64,
    /// Bytes the spool may take.
    pub spool_limit: u64,
    /// Bytes free on the disk of the state directory; the most there can be where the host does not say.
    pub disk_free: u64,
    /// Writes and syncs of slots or spool that failed.
    pub io_errors: u64,
    pub gate: Gate,
}

impl Depth {
    /// Whether an operator should look at the sinks, well before the spool is full.
    #[must_use]
    pub fn alarm(&self) -> bool {
        let half = self.spool_limit / 100 * SPOOL_ALARM_PERCENT;
        self.gate != Gate::Open || self.spool_bytes >= half || self.disk_free < SPOOL_ALARM_ROOM
    }
}

/// Counters behind [`Depth`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) claimed: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) sealed: AtomicU64,
    pub(super) appended: AtomicU64,
    /// Rows each sink is done with: delivered, there already, or laid aside.
    pub(super) passed: [AtomicU64; SINKS],
    /// Rows each sink has taken.
    pub(super) flushed: [AtomicU64; SINKS],
    pub(super) recovered: AtomicU64,
    pub(super) crash_recovered: AtomicU64,
    pub(super) sink_errors: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) conflicts: AtomicU64,
    /// Rows of damaged slots.
    pub(super) lost: AtomicU64,
    /// Rows each sink will never get from the spool.
    pub(super) missed: [AtomicU64; SINKS],
    pub(super) torn: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unbilled: AtomicU64,
    pub(super) io_errors: AtomicU64,
    pub(super) dead: AtomicU64,
    /// 1 for each sink that takes no rows now.
    pub(super) refuses: [AtomicU64; SINKS],
    /// End of the oldest row that waits for each sink; 0 while it keeps up.
    pub(super) oldest_us: [AtomicU64; SINKS],
}

fn free(directory: &Path) -> u64 {
    let told = rustix::fs::statvfs(directory);
    told.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Shared {
    /// Rows in the spool that the database may lack.
    pub(super) fn behind(&self) -> u64 {
        let [database, ..] = &self.counters.passed;
        // In this order, so that a row is rather counted twice than not at all.
        let passed = database.load(Relaxed);
        self.counters.appended.load(Relaxed).saturating_sub(passed)
    }

    /// See [`super::Ledger::admits`].
    pub(super) fn admits(&self) -> Result<(), &'static str> {
        match (self.gate(), self.options.spool_full) {
            (Gate::Open, _) | (Gate::Full, SpoolFull::ServeUnbilled) => Ok(()),
            (Gate::Full, SpoolFull::Refuse) => {
                Err("the spool is full: the sink does not take rows")
            }
            (Gate::Failed, _) => Err("the spool cannot be written: restart once the disk is well"),
        }
    }

    pub(super) fn depth(&self) -> Depth {
        let counters = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let sinks = self.options.sinks().count();
        let least = |of: &[AtomicU64]| of.iter().take(sinks).map(get).min().unwrap_or(0);
        let missed = counters.missed.iter().map(get).max().unwrap_or(0);
        let oldest = counters.oldest_us.iter().map(get).filter(|us| *us > 0).min().unwrap_or(0);
        let released = get(&counters.released);
        Depth {
            slots_total: self.map.slots().len() as u64,
            slots_used: get(&counters.claimed).saturating_sub(released),
            sealed: get(&counters.sealed).saturating_sub(released),
            rows_pending: get(&counters.appended).saturating_sub(least(&counters.passed)),
            spool_bytes: self.segments.pending_bytes(),
            oldest_seconds: if oldest == 0 {
                0
            } else {
                now_us().saturating_sub(oldest) / 1_000_000
            },
            rows_flushed: least(&counters.flushed),
            recovered: get(&counters.recovered),
            crash_recovered: get(&counters.crash_recovered),
            dead_letters: get(&counters.dead),
            sinks_refusing: counters.refuses.iter().map(get).sum(),
            sink_errors: get(&counters.sink_errors),
            duplicates: get(&counters.duplicates),
            conflicts: get(&counters.conflicts),
            rows_lost: get(&counters.lost) + missed,
            torn_bytes: get(&counters.torn),
            refused: get(&counters.refused),
            unbilled: get(&counters.unbilled),
            spool_limit: self.options.spool_bytes,
            disk_free: free(self.directory.path()),
            io_errors: get(&counters.io_errors),
            gate: self.gate(),
        }
    }
}
