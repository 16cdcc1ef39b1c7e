//! The immutable view of configuration a request keeps from start to end (design, invariant 1).
//!
//! Live state is attached, not contained: health, cooldowns, statistics and metric handles belong
//! to stable ids, are kept in [`Live`] and outlive every snapshot.

use crate::api::endpoints::{self, Known};
use crate::api::{self, entry::Entry, listing::Listing};
use crate::catalog::{Catalog, Endpoint, Model, Preset, Router};
use crate::config::Settings;
use crate::edge::clock::wall_us;
use crate::endpoint::{self, Registry, Stickiness, fingerprint};
use crate::metrics::{EndpointMetrics, EndpointState, Metrics};
use crate::rules::Rules;
use crate::selection::Facts;
use crate::upstream::pools::Pools;
use crate::upstream::{Unusable, Upstream};
use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What survives a reload, found again by stable ids.
#[derive(Default)]
pub struct Live {
    pub endpoints: Registry,
    /// Where conversations were last.
    pub conversations: Stickiness,
    pub pools: Arc<Pools>,
}

/// Why a checked configuration still cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("provider {provider}: {reason}")]
    Upstream { provider: Arc<str>, reason: Unusable },
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// An endpoint with the live state of its id.
pub struct Target {
    pub endpoint: Arc<Endpoint>,
    pub live: Arc<endpoint::Live>,
    pub upstream: Arc<Upstream>,
    pub metrics: Arc<EndpointMetrics>,
    /// What stands for it among [`Live::conversations`].
    pub fingerprint: u32,
}

impl Target {
    /// What selection is told of it now.
    #[must_use]
    pub fn facts(&self, now_ms: u64) -> Facts {
        self.upstream.facts(&self.live, now_ms)
    }

    /// The state shown to operators: the worst that applies.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> EndpointState {
        match self.facts(now_ms) {
            Facts { down: true, .. } => EndpointState::Down,
            Facts { ejected: true, .. } => EndpointState::Ejected,
            Facts { cooling: true, .. } => EndpointState::Cooling,
            Facts { outage: true, .. } => EndpointState::Outage,
            _ => EndpointState::Available,
        }
    }
}

/// All targets of one model.
pub struct Pool {
    pub model: Arc<Model>,
    pub targets: Vec<Arc<Target>>,
}

/// What a model's name can stand for.
pub enum Named {
    Pool(Arc<Pool>),
    Router(Router),
}

/// One configuration, ready to serve.
pub struct Snapshot {
    pub settings: Arc<Settings>,
    pub rules: Rules,
    /// Models and routers by slug and by alias.
    names: HashMap<Arc<str>, Named, RandomState>,
    presets: Vec<Preset>,
    /// `GET models`, as prices are now.
    listing: Mutex<Arc<Listing>>,
    /// `GET providers`, rendered once.
    pub providers: Bytes,
    /// `GET endpoints/zdr`, for askers without a key and with one.
    zero_retention: [Kept; 2],
}

impl Pool {
    /// Every endpoint with what is known of it now.
    pub fn known(&self, now_ms: u64) -> impl Iterator<Item = Known<'_>> {
        let now_us = wall_us();
        self.targets.iter().map(move |target| Known {
            model: &self.model,
            endpoint: &target.endpoint,
            price: target.endpoint.price.at(now_us),
            facts: target.facts(now_ms),
            report: target.live.report(now_ms),
        })
    }
}

/// A body that is made at most once a second, whoever asks.
#[derive(Default)]
struct Kept(Mutex<(u64, Bytes)>);

impl Kept {
    fn get(&self, now_ms: u64, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut kept = self.0.lock();
        if now_ms >= kept.0 {
            *kept = (now_ms.saturating_add(1_000), make());
        }
        kept.1.clone()
    }
}

impl Snapshot {
    /// Attaches a configuration to its live state.
    ///
    /// # Errors
    /// [`BuildError`]; nothing in force has changed then.
    pub fn build(
        settings: Arc<Settings>,
        catalog: &Catalog,
        rules: Rules,
        live: &Live,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
        let mut upstreams = HashMap::new();
        for provider in catalog.providers() {
            let upstream = Upstream::attach(provider, &live.pools, &live.endpoints);
            let upstream = upstream.map_err(|reason| BuildError::Upstream {
                provider: Arc::clone(&provider.slug),
                reason,
            })?;
            upstreams.insert(Arc::clone(&provider.slug), Arc::new(upstream));
        }
        let mut names = HashMap::default();
        for model in catalog.models() {
            let targets = model.endpoints.iter().filter_map(|endpoint| {
                let upstream = upstreams.get(&endpoint.provider.slug)?;
                Some(target(endpoint, Arc::clone(upstream), live, metrics))
            });
            let targets = targets.collect::<Result<_, _>>()?;
            let pool = Arc::new(Pool { model: Arc::clone(model), targets });
            for alias in &model.aliases {
                names.insert(Arc::from(alias.as_str()), Named::Pool(Arc::clone(&pool)));
            }
            names.insert(Arc::clone(&model.slug), Named::Pool(pool));
        }
        for router in &catalog.routers {
            let aliases = router.aliases.iter().map(|alias| Arc::from(&**alias));
            for name in aliases.chain([Arc::clone(&router.slug)]) {
                names.insert(name, Named::Router(router.clone()));
            }
        }
        let presets = catalog.presets.clone();
        let listing = Mutex::new(Arc::new(Listing::new(Entry::all(catalog), wall_us())));
        let providers = api::providers::render(catalog.providers());
        let zero_retention = Default::default();
        Ok(Self { settings, rules, names, presets, listing, providers, zero_retention })
    }

    /// What is named so, by slug or alias.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Named> {
        self.names.get(name)
    }

    /// The pool of the model named so, by slug or alias.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        match self.named(name) {
            Some(Named::Pool(pool)) => Some(pool),
            _ => None,
        }
    }

    /// Whether any preset is configured.
    #[must_use]
    pub fn has_presets(&self) -> bool {
        !self.presets.is_empty()
    }

    /// The preset of this slug.
    #[must_use]
    pub fn preset(&self, slug: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| *preset.slug == *slug)
    }

    /// Every pool once.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.names.iter().filter_map(|(name, named)| match named {
            Named::Pool(pool) if **name == *pool.model.slug => Some(pool),
            _ => None,
        })
    }

    /// `GET models` with the prices that hold at `now_us` (Unix microseconds).
    #[must_use]
    pub fn listing(&self, now_us: u64) -> Arc<Listing> {
        let mut kept = self.listing.lock();
        if let Some(renewed) = kept.renewed(now_us) {
            *kept = Arc::new(renewed);
        }
        Arc::clone(&kept)
    }

    /// `GET endpoints/zdr`.
    #[must_use]
    pub fn zero_retention(&self, now_ms: u64, to_key: bool) -> Bytes {
        let make = || {
            let mut pools: Vec<&Arc<Pool>> = self.pools().collect();
            pools.sort_unstable_by(|a, b| a.model.slug.cmp(&b.model.slug));
            let known = pools.into_iter().flat_map(|pool| pool.known(now_ms));
            endpoints::zero_retention(known, to_key)
        };
        let [without, with] = &self.zero_retention;
        (if to_key { with } else { without }).get(now_ms, make)
    }

    /// Every target once.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.pools().flat_map(|pool| &pool.targets)
    }
}

fn target(
    endpoint: &Arc<Endpoint>,
    upstream: Arc<Upstream>,
    live: &Live,
    metrics: &Metrics,
) -> Result<Arc<Target>, BuildError> {
    let provider = &endpoint.provider.slug;
    Ok(Arc::new(Target {
        live: live.endpoints.endpoint(&endpoint.id),
        metrics: metrics.endpoint(&endpoint.model, provider)?,
        fingerprint: fingerprint(&endpoint.id),
        endpoint: Arc::clone(endpoint),
        upstream,
    }))
}
