//! Counters and gauges resolved once for each value of a closed set.

use super::labels::Label;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};
use std::marker::PhantomData;

/// One counter per value of a closed set, resolved ahead: counting is one atomic addition.
#[derive(Debug)]
pub struct Counters<L> {
    cells: Box<[IntCounter]>,
    set: PhantomData<fn(L)>,
}

impl<L: Label> Counters<L> {
    /// Resolves every value of the family's last label below the given values of the others.
    pub(super) fn resolve(family: &IntCounterVec, outer: &[&str]) -> Result<Self> {
        let cells = L::values()
            .map(|value| family.get_metric_with_label_values(&[outer, &[value]].concat()))
            .collect::<Result<_>>()?;
        Ok(Self { cells, set: PhantomData })
    }

    /// Counts one.
    pub fn inc(&self, value: L) {
        self.add(value, 1);
    }

    /// Counts several.
    pub fn add(&self, value: L, count: u64) {
        if let Some(cell) = self.cells.get(value.index()) {
            cell.inc_by(count);
        }
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self, value: L) -> u64 {
        self.cells.get(value.index()).map_or(0, IntCounter::get)
    }
}

/// One gauge per value of a closed set.
#[derive(Debug)]
pub struct Gauges<L> {
    cells: Box<[IntGauge]>,
    set: PhantomData<fn(L)>,
}

impl<L: Label> Gauges<L> {
    pub(super) fn resolve(family: &IntGaugeVec, outer: &[&str]) -> Result<Self> {
        let cells = L::values()
            .map(|value| family.get_metric_with_label_values(&[outer, &[value]].concat()))
            .collect::<Result<_>>()?;
        Ok(Self { cells, set: PhantomData })
    }

    pub(super) fn add(&self, value: L, count: i64) {
        if let Some(cell) = self.cells.get(value.index()) {
            cell.add(count);
        }
    }

    pub(super) fn clear(&self) {
        for cell in &self.cells {
            cell.set(0);
        }
    }
}
