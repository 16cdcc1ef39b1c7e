//! What a sink has been given and what it misses, counted once however often a segment is read.

use crate::ledger::depth::add;
use crate::ledger::losses::{self, Loss};
use crate::ledger::reading::{Lost, Seen};
use crate::ledger::segments::Segment;
use crate::ledger::shared::Shared;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

pub(super) struct Tally {
    /// The sink's number among all.
    pub(super) own: usize,
    name: &'static str,
    /// What of the segment being read has been counted.
    counted: Seen,
    /// Numbers of the rows that were noted as lost and are still before the cursor.
    noted: Vec<Range<u64>>,
}

impl Tally {
    pub(super) fn new(own: usize, name: &'static str) -> Self {
        Self { own, name, counted: Seen::default(), noted: Vec::new() }
    }

    /// Notes losses, before the cursor goes past them.
    ///
    /// # Errors
    /// They could not be noted, and so are not counted.
    pub(super) fn lost(
        &mut self,
        shared: &Shared,
        id: (u64, u64),
        losses: &[Lost],
    ) -> io::Result<()> {
        let (epoch, segment) = id;
        let fresh: Vec<_> = losses
            .iter()
            .map(|lost| (lost, self.fresh(lost)))
            .filter(|(_, rows)| *rows > 0)
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let found = fresh.iter().map(|(lost, _)| Loss::found(self.name, id, **lost));
        let found: Vec<_> = found.collect();
        losses::put(shared.directory.path(), &found)?;
        for lost in losses {
            let all = lost.numbers();
            self.noted.retain(|known| known.start < all.start || known.end > all.end);
            self.noted.push(all);
        }
        let (sink, rows) = (self.name, fresh.iter().map(|(_, rows)| rows).sum());
        if let Some(missed) = shared.counters.missed.get(self.own) {
            add(missed, rows);
        }
        tracing::error!(sink, rows, epoch, segment, "rows of or before a spool segment are lost");
        Ok(())
    }

    /// The sink was put back: it needs all segments again. What was noted as lost is remembered, for it misses
    /// that a second time, and it counts once.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub(super) fn again(&mut self, shared: &Shared) -> io::Result<()> {
        self.noted = losses::lacking(shared.directory.path(), self.name)?;
        let rows = shared.segments.again(self.own) + self.counted.rows;
        self.counted = Seen::default();
        if let Some(passed) = shared.counters.passed.get(self.own) {
            let less = |now: u64| Some(now.saturating_sub(rows));
            let _ = passed.fetch_update(Relaxed, Relaxed, less);
        }
        Ok(())
    }

    /// How many of these rows were not noted yet: more may be lost of a segment each time it is read.
    fn fresh(&self, lost: &Lost) -> u64 {
        let all = lost.numbers();
        let common =
            |known: &Range<u64>| known.end.min(all.end).saturating_sub(known.start.max(all.start));
        lost.rows.saturating_sub(self.noted.iter().map(common).sum())
    }

    /// The cursor is past so many of the node's rows.
    pub(super) fn delivered(&mut self, rows: u64) {
        self.noted.retain(|known| known.end > rows);
    }

    /// Counts what was read of a segment so far.
    pub(super) fn seen(&mut self, shared: &Shared, seen: Seen) {
        if let Some(passed) = shared.counters.passed.get(self.own) {
            add(passed, seen.rows.saturating_sub(self.counted.rows));
        }
        // Every sink reads past the same tail.
        if self.own == 0 {
            add(&shared.counters.torn, seen.torn.saturating_sub(self.counted.torn));
        }
        if seen.rows >= self.counted.rows {
            self.counted = seen;
        }
    }

    /// A segment is done with: what was counted as waiting in it and cannot be read waits no more.
    pub(super) fn done(&mut self, shared: &Shared, segment: &Segment) {
        let rows = segment.rows.load(Relaxed).saturating_sub(self.counted.rows);
        if let Some(passed) = shared.counters.passed.get(self.own) {
            add(passed, rows);
        }
        self.counted = Seen::default();
    }
}
