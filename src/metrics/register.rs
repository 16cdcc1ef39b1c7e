//! From the table to registered metrics.

use super::families::Family;
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

/// Makes a family's metric and registers it.
pub(super) struct Register<'a>(pub(super) &'a Registry);

impl Register<'_> {
    pub(super) fn counter(&self, family: &Family) -> Result<IntCounter> {
        self.keep(IntCounter::with_opts(opts(family))?)
    }

    pub(super) fn counters(&self, family: &Family) -> Result<IntCounterVec> {
        self.keep(IntCounterVec::new(opts(family), family.labels)?)
    }

    pub(super) fn gauge(&self, family: &Family) -> Result<IntGauge> {
        self.keep(IntGauge::with_opts(opts(family))?)
    }

    pub(super) fn gauges(&self, family: &Family) -> Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(opts(family), family.labels)?)
    }

    pub(super) fn histograms(&self, family: &Family, bounds: &[f64]) -> Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(family)).buckets(bounds.to_vec());
        self.keep(HistogramVec::new(opts, family.labels)?)
    }

    fn keep<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}
