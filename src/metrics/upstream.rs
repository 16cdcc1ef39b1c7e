//! Figures that the upstream side keeps itself, carried over at each scrape.

use super::families as f;
use super::register::Register;
use prometheus::{IntCounter, IntGauge, Result};

/// The upstream side as it is now. Totals are since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamDepth {
    pub lookups_stale: u64,
    pub lookup_errors_total: u64,
    pub addresses_refused_total: u64,
    pub unexpected_data_total: u64,
    pub stalls_total: u64,
}

#[derive(Debug)]
pub(super) struct UpstreamFamilies {
    stale: IntGauge,
    lookup_errors: IntCounter,
    refused: IntCounter,
    unexpected_data: IntCounter,
    stalls: IntCounter,
}

impl UpstreamFamilies {
    pub(super) fn new(new: &Register<'_>) -> Result<Self> {
        Ok(Self {
            stale: new.gauge(&f::LOOKUPS_STALE)?,
            lookup_errors: new.counter(&f::LOOKUP_ERRORS)?,
            refused: new.counter(&f::ADDRESSES_REFUSED)?,
            unexpected_data: new.counter(&f::UNEXPECTED_DATA)?,
            stalls: new.counter(&f::STALLS)?,
        })
    }

    /// Brings every metric to its figure. Counters never fall.
    pub(super) fn set(&self, depth: &UpstreamDepth) {
        self.stale.set(i64::try_from(depth.lookups_stale).unwrap_or(i64::MAX));
        for (counter, total) in [
            (&self.lookup_errors, depth.lookup_errors_total),
            (&self.refused, depth.addresses_refused_total),
            (&self.unexpected_data, depth.unexpected_data_total),
            (&self.stalls, depth.stalls_total),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
