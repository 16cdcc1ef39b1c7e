//! Counters and gauges of the whole process, in Prometheus' conventions, with closed label sets.
//!
//! Everything a request touches is resolved before: a field of [`Metrics`], or the
//! [`EndpointMetrics`] its endpoint was given at load. Counting is an atomic addition; no label is
//! looked up and no string a caller chose becomes one (S22).

mod cells;
mod endpoint;
mod families;
mod labels;
mod ledger;
mod register;
#[cfg(test)]
mod tests;
mod upstream;

pub use cells::{Counters, Gauges};
pub use endpoint::{EndpointMetrics, ProviderMetrics};
pub use families::{FAMILIES, Family, Type};
pub use labels::{
    BadJson, ConnectionCap, CooldownScope, Deadline, Ending, EndpointState, FailedKey, H2Abuse,
    Label, Phase, Reload, RequestCap,
};
pub use ledger::LedgerDepth;
pub use upstream::UpstreamDepth;

use crate::bounds;
use crate::ledger::record::{Record, Source, flag};
use crate::request::bad_request::BadRequest;
use crate::request::route::{Face, Target};
use crate::selection::Exclusion;
use endpoint::Handles;
use ledger::LedgerFamilies;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry, Result, TextEncoder};
use register::Register;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use upstream::UpstreamFamilies;

/// Value of a label whose set is full, and of the face and operation of an unserved path.
const OTHER: &str = "other";
/// Bounds of time to first token, seconds.
const FIRST_TOKEN_SECONDS: &[f64] =
    &[0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Bounds of Weir's own share of the latency, seconds.
const ADDED_SECONDS: &[f64] =
    &[50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 1.0];

/// Every metric of the process. One per process; it outlives reloads.
#[derive(Debug)]
pub struct Metrics {
    pub retries: IntCounter,
    pub no_peer: IntCounter,
    pub excluded: Counters<Exclusion>,
    pub bad_json: Counters<BadJson>,
    pub bad_request: Counters<BadRequest>,
    pub pipelined: IntCounter,
    pub body_too_large: IntCounter,
    pub body_shed: IntCounter,
    pub forbidden_fields: IntCounter,
    pub failed_keys: Counters<FailedKey>,
    pub client_abort: Counters<Phase>,
    pub in_band_error: Counters<Phase>,
    pub usage_estimated: IntCounter,
    pub usage_suspect: IntCounter,
    pub usage_quarantined: IntCounter,
    pub usage_zero: IntCounter,
    pub usage_parse_errors: IntCounter,
    pub stale_conn: IntCounter,
    pub post_done: IntCounter,
    pub conn_refused: Counters<ConnectionCap>,
    pub shed: Counters<RequestCap>,
    pub deadlines: Counters<Deadline>,
    pub handshakes_failed: IntCounter,
    pub accept_errors: IntCounter,
    pub h2_abuse: Counters<H2Abuse>,
    pub panics: IntCounter,
    pub memory_limit: IntGauge,
    pub memory_used: IntGauge,
    pub reload: Counters<Reload>,
    pub config_epoch: IntGauge,
    unrouted: Counters<Ending>,
    /// By face, then by target.
    requests: Box<[Box<[Counters<Ending>]>]>,
    /// By face.
    added_latency: Box<[Histogram]>,
    rules: IntCounterVec,
    rule_faults: IntCounter,
    rule_handles: Mutex<HashMap<Arc<str>, IntCounter>>,
    ledger: LedgerFamilies,
    upstream: UpstreamFamilies,
    handles: Handles,
    registry: Registry,
    /// One scrape at a time: totals of the ledger are carried over as differences.
    scraping: Mutex<()>,
}

impl Metrics {
    /// Registers every family of [`FAMILIES`] in `registry`.
    ///
    /// # Errors
    /// A family is registered there already.
    pub fn new(registry: &Registry) -> Result<Self> {
        use families as f;
        let new = Register(registry);
        let requests = new.counters(&f::REQUESTS)?;
        let added = new.histograms(&f::ADDED_LATENCY, ADDED_SECONDS)?;
        let build = new.gauges(&f::BUILD_INFO)?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(Self {
            retries: new.counter(&f::RETRIES)?,
            no_peer: new.counter(&f::NO_PEER)?,
            excluded: Counters::resolve(&new.counters(&f::EXCLUDED)?, &[])?,
            bad_json: Counters::resolve(&new.counters(&f::BAD_JSON)?, &[])?,
            bad_request: Counters::resolve(&new.counters(&f::BAD_REQUEST)?, &[])?,
            pipelined: new.counter(&f::PIPELINED)?,
            body_too_large: new.counter(&f::BODY_TOO_LARGE)?,
            body_shed: new.counter(&f::BODY_SHED)?,
            forbidden_fields: new.counter(&f::FORBIDDEN_FIELDS)?,
            failed_keys: Counters::resolve(&new.counters(&f::FAILED_KEYS)?, &[])?,
            client_abort: Counters::resolve(&new.counters(&f::CLIENT_ABORT)?, &[])?,
            in_band_error: Counters::resolve(&new.counters(&f::IN_BAND_ERROR)?, &[])?,
            usage_estimated: new.counter(&f::USAGE_ESTIMATED)?,
            usage_suspect: new.counter(&f::USAGE_SUSPECT)?,
            usage_quarantined: new.counter(&f::USAGE_QUARANTINED)?,
            usage_zero: new.counter(&f::USAGE_ZERO)?,
            usage_parse_errors: new.counter(&f::USAGE_PARSE_ERRORS)?,
            stale_conn: new.counter(&f::STALE_CONN)?,
            post_done: new.counter(&f::POST_DONE)?,
            conn_refused: Counters::resolve(&new.counters(&f::CONN_REFUSED)?, &[])?,
            shed: Counters::resolve(&new.counters(&f::SHED)?, &[])?,
            deadlines: Counters::resolve(&new.counters(&f::DEADLINES)?, &[])?,
            handshakes_failed: new.counter(&f::HANDSHAKES_FAILED)?,
            accept_errors: new.counter(&f::ACCEPT_ERRORS)?,
            h2_abuse: Counters::resolve(&new.counters(&f::H2_ABUSE)?, &[])?,
            panics: new.counter(&f::PANICS)?,
            memory_limit: new.gauge(&f::MEMORY_LIMIT)?,
            memory_used: new.gauge(&f::MEMORY_USED)?,
            reload: Counters::resolve(&new.counters(&f::RELOAD)?, &[])?,
            config_epoch: new.gauge(&f::CONFIG_EPOCH)?,
            unrouted: Counters::resolve(&requests, &[OTHER, OTHER])?,
            requests: Face::values()
                .map(|face| by_target(&requests, face))
                .collect::<Result<_>>()?,
            added_latency: Face::values()
                .map(|face| added.get_metric_with_label_values(&[face]))
                .collect::<Result<_>>()?,
            rules: new.counters(&f::RULE_HITS)?,
            rule_faults: new.counter(&f::RULE_FAULTS)?,
            rule_handles: Mutex::default(),
            ledger: LedgerFamilies::new(&new)?,
            upstream: UpstreamFamilies::new(&new)?,
            handles: Handles::new(&new)?,
            registry: registry.clone(),
            scraping: Mutex::default(),
        })
    }

    /// Counts a request that ended; `route` is `None` for a path that is not served.
    pub fn request(&self, route: Option<(Face, Target)>, ending: Ending) {
        let counters = match route {
            Some((face, target)) => {
                self.requests.get(face.index()).and_then(|targets| targets.get(target.index()))
            }
            None => Some(&self.unrouted),
        };
        if let Some(counters) = counters {
            counters.inc(ending);
        }
    }

    /// Records the time Weir itself spent before the first dispatch.
    pub fn added_latency(&self, face: Face, spent: Duration) {
        if let Some(histogram) = self.added_latency.get(face.index()) {
            histogram.observe(spent.as_secs_f64());
        }
    }

    /// The handles of a configured model at a configured provider, by their slugs. For load time:
    /// the same names give the same counters after every reload. Past
    /// [`bounds::METRIC_PAIRS`] pairs the rest share one named `other`.
    ///
    /// # Errors
    /// Never, as long as label names and values agree in number; the tests show they do.
    pub fn endpoint(&self, model: &str, provider: &str) -> Result<Arc<EndpointMetrics>> {
        self.handles.resolve(model, provider)
    }

    /// The counter of a configured rule, by its id. For load time, bounded like
    /// [`Metrics::endpoint`] by [`bounds::METRIC_RULES`].
    ///
    /// # Errors
    /// As [`Metrics::endpoint`].
    pub fn rule(&self, id: &str) -> Result<IntCounter> {
        let mut known = self.rule_handles.lock();
        if let Some(counter) = known.get(id) {
            return Ok(counter.clone());
        }
        if known.len() >= bounds::METRIC_RULES {
            return self.rules.get_metric_with_label_values(&[OTHER]);
        }
        let counter = self.rules.get_metric_with_label_values(&[id])?;
        known.insert(id.into(), counter.clone());
        Ok(counter)
    }

    /// Counts what an attempt consumed. Called with every record of this epoch, so that the counters
    /// agree with the ledger's rows (I7).
    pub fn record(&self, record: &Record) {
        let intent = &record.intent;
        if let Ok(endpoint) = self.endpoint(&intent.model, &intent.provider) {
            endpoint.usage(&record.usage, record.cost);
            if let Some(waited) = record.first_content_us {
                endpoint.first_token(Duration::from_micros(waited));
            }
        }
        let flagged = |bit: u32| u64::from(record.flags & bit != 0);
        let estimated = matches!(record.source, Source::Estimated | Source::Partial);
        self.usage_estimated.inc_by(u64::from(estimated));
        self.usage_suspect.inc_by(flagged(flag::SUSPECT_USAGE));
        self.usage_quarantined.inc_by(flagged(flag::QUARANTINED));
        self.usage_zero.inc_by(flagged(flag::ZERO));
        self.usage_parse_errors.inc_by(flagged(flag::UNREADABLE_USAGE));
    }

    /// Brings the counters of rules up to what the rules themselves have counted.
    ///
    /// # Errors
    /// As [`Metrics::rule`].
    pub fn rules(&self, hits: &[(String, u64)], faults: u64) -> Result<()> {
        self.rule_faults.inc_by(faults.saturating_sub(self.rule_faults.get()));
        for (id, total) in hits {
            let counter = self.rule(id)?;
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        Ok(())
    }

    /// Brings the figures of the upstream side up to what it has counted itself.
    pub fn upstream(&self, depth: &UpstreamDepth) {
        self.upstream.set(depth);
    }

    /// The text exposition of everything, with the ledger as `depth` and the endpoints of
    /// `states` as they are now.
    ///
    /// # Errors
    /// The registry holds a family that cannot be written.
    pub fn scrape(
        &self,
        depth: &LedgerDepth,
        states: impl IntoIterator<Item = (Arc<EndpointMetrics>, EndpointState)>,
    ) -> Result<String> {
        let _one = self.scraping.lock();
        self.ledger.set(depth);
        self.handles.clear_states();
        for (endpoint, state) in states {
            endpoint.states.add(state, 1);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn by_target(requests: &IntCounterVec, face: &str) -> Result<Box<[Counters<Ending>]>> {
    Target::values().map(|target| Counters::resolve(requests, &[face, target])).collect()
}
