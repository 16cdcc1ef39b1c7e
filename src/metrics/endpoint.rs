//! Handles of one model at one provider: resolved at load, found again after a reload.

use super::cells::{Counters, Gauges};
use super::families as f;
use super::labels::{CooldownScope, EndpointState};
use super::register::Register;
use super::{FIRST_TOKEN_SECONDS, OTHER};
use crate::bounds;
use crate::outcome::Outcome;
use crate::price::Pico;
use crate::tools::Verdict;
use crate::usage::{Kind, Usage};
use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is counted for a provider, whatever the model.
#[derive(Debug)]
pub struct ProviderMetrics {
    attempts: Counters<Outcome>,
    cooldowns: Counters<CooldownScope>,
    ejections: IntCounter,
    tool_replies: Counters<Verdict>,
}

/// What is counted for a model at a provider. Endpoints that differ only by tag share one.
#[derive(Debug)]
pub struct EndpointMetrics {
    provider: Arc<ProviderMetrics>,
    tokens: Counters<Kind>,
    cost: IntCounter,
    first_token: Histogram,
    /// Attempts dispatched and not ended.
    pub in_flight: IntGauge,
    pub(super) states: Gauges<EndpointState>,
}

impl EndpointMetrics {
    /// Counts a try that ended, connected or not.
    pub fn attempt(&self, outcome: Outcome) {
        self.provider.attempts.inc(outcome);
    }

    /// Tries of this endpoint's provider that ended so.
    #[must_use]
    pub fn provider_attempts(&self, outcome: Outcome) -> u64 {
        self.provider.attempts.get(outcome)
    }

    /// Counts a cooldown that began.
    pub fn cooldown(&self, scope: CooldownScope) {
        self.provider.cooldowns.inc(scope);
    }

    /// Counts an ejection.
    pub fn ejection(&self) {
        self.provider.ejections.inc();
    }

    /// Counts a reply that called tools.
    pub fn tool_reply(&self, verdict: Verdict) {
        self.provider.tool_replies.inc(verdict);
    }

    /// Replies of this endpoint's provider of which this was made.
    #[must_use]
    pub fn tool_replies(&self, verdict: Verdict) -> u64 {
        self.provider.tool_replies.get(verdict)
    }

    /// Adds what an attempt consumed and what it cost.
    pub fn usage(&self, usage: &Usage, cost: Pico) {
        for (kind, _) in Kind::ALL {
            let count = usage.get(kind);
            if count > 0 {
                self.tokens.add(kind, count);
            }
        }
        self.cost.inc_by(u64::try_from(cost.max(0)).unwrap_or(u64::MAX));
    }

    /// Units of any kind consumed since the process began.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let counts = Kind::ALL.iter().map(|(kind, _)| self.tokens.get(*kind));
        counts.fold(0, u64::saturating_add)
    }

    /// Records the wait for an attempt's first content.
    pub fn first_token(&self, waited: Duration) {
        self.first_token.observe(waited.as_secs_f64());
    }
}

type Pair = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Known {
    endpoints: HashMap<Pair, Arc<EndpointMetrics>>,
    providers: HashMap<Arc<str>, Arc<ProviderMetrics>>,
}

/// The families that have a model or a provider for a label, and every handle made of them.
#[derive(Debug)]
pub(super) struct Handles {
    attempts: IntCounterVec,
    cooldowns: IntCounterVec,
    ejections: IntCounterVec,
    tool_replies: IntCounterVec,
    tokens: IntCounterVec,
    cost: IntCounterVec,
    first_token: HistogramVec,
    in_flight: IntGaugeVec,
    states: IntGaugeVec,
    known: Mutex<Known>,
}

impl Handles {
    pub(super) fn new(new: &Register<'_>) -> Result<Self> {
        Ok(Self {
            attempts: new.counters(&f::ATTEMPTS)?,
            cooldowns: new.counters(&f::COOLDOWNS)?,
            ejections: new.counters(&f::EJECTIONS)?,
            tool_replies: new.counters(&f::TOOL_REPLIES)?,
            tokens: new.counters(&f::TOKENS)?,
            cost: new.counters(&f::COST)?,
            first_token: new.histograms(&f::FIRST_TOKEN, FIRST_TOKEN_SECONDS)?,
            in_flight: new.gauges(&f::IN_FLIGHT)?,
            states: new.gauges(&f::ENDPOINTS)?,
            known: Mutex::default(),
        })
    }

    pub(super) fn resolve(&self, model: &str, provider: &str) -> Result<Arc<EndpointMetrics>> {
        let mut known = self.known.lock();
        let mut pair: Pair = (model.into(), provider.into());
        if !known.endpoints.contains_key(&pair) && known.endpoints.len() >= bounds::METRIC_PAIRS {
            pair = (OTHER.into(), OTHER.into());
        }
        if let Some(found) = known.endpoints.get(&pair) {
            return Ok(Arc::clone(found));
        }
        let provider = self.provider(&mut known, &pair.1)?;
        let labels: [&str; 2] = [&pair.0, &pair.1];
        let made = Arc::new(EndpointMetrics {
            provider,
            tokens: Counters::resolve(&self.tokens, &labels)?,
            cost: self.cost.get_metric_with_label_values(&labels)?,
            first_token: self.first_token.get_metric_with_label_values(&labels)?,
            in_flight: self.in_flight.get_metric_with_label_values(&labels)?,
            states: Gauges::resolve(&self.states, &labels)?,
        });
        known.endpoints.insert(pair, Arc::clone(&made));
        Ok(made)
    }

    fn provider(&self, known: &mut Known, slug: &Arc<str>) -> Result<Arc<ProviderMetrics>> {
        if let Some(found) = known.providers.get(slug) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(ProviderMetrics {
            attempts: Counters::resolve(&self.attempts, &[slug])?,
            cooldowns: Counters::resolve(&self.cooldowns, &[slug])?,
            ejections: self.ejections.get_metric_with_label_values(&[slug])?,
            tool_replies: Counters::resolve(&self.tool_replies, &[slug])?,
        });
        known.providers.insert(Arc::clone(slug), Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn clear_states(&self) {
        for endpoint in self.known.lock().endpoints.values() {
            endpoint.states.clear();
        }
    }
}
