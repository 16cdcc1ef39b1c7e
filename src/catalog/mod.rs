//! The catalogue: models, providers, endpoints. Plain data, built once per snapshot by `config`.

mod address;
mod capability;
mod diff;
mod model;
mod provider;

pub use address::is_private;
pub use capability::{Modalities, Parameters, QUANTIZATIONS, Tier};
pub use diff::{Change, Fate, diff};
pub use model::{Benchmark, DECLARABLE, Endpoint, Model, Scores};
pub use provider::{
    About, BaseUrl, Credential, DataPolicy, Disconnect, HttpVersions, Probe, Provider, Timeouts,
};

use crate::price::PriceVersion;
use crate::request::preferences::ProviderPreferences;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A configured provider that cannot serve here: neither listed nor chosen (design, overlay).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dormant {
    pub provider: Arc<str>,
    /// What is missing, without any secret.
    pub reason: String,
    /// Endpoints that wait for it.
    pub endpoints: usize,
}

/// A name that stands for a choice among models: the first that can serve is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    pub slug: Arc<str>,
    /// Other names of it (`openrouter/auto`).
    pub aliases: Vec<String>,
    /// Slugs, the preferred first.
    pub models: Vec<Arc<str>>,
}

/// What stands behind `@preset/slug` (contract 1.13).
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    pub slug: Arc<str>,
    /// Models to use where the request names none of its own.
    pub models: Vec<Arc<str>>,
    /// `provider`, where the request has none of its own.
    pub provider: ProviderPreferences,
}

/// Everything that can be asked for and who serves it. Immutable; part of a snapshot.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By slug; a model without an endpoint is not in it.
    models: BTreeMap<Arc<str>, Arc<Model>>,
    /// Slug or alias to slug's model.
    names: HashMap<String, Arc<Model>>,
    /// By slug.
    providers: BTreeMap<Arc<str>, Arc<Provider>>,
    dormant: Vec<Dormant>,
    pub routers: Vec<Router>,
    pub presets: Vec<Preset>,
}

impl Catalog {
    /// A catalogue of what can serve. Models without endpoints are left out; slugs and aliases are
    /// taken to be unique, and a slug beats an alias.
    #[must_use]
    pub fn new(providers: Vec<Arc<Provider>>, models: Vec<Model>, dormant: Vec<Dormant>) -> Self {
        let served = models.into_iter().filter(|model| !model.endpoints.is_empty());
        let models: BTreeMap<_, _> =
            served.map(|model| (Arc::clone(&model.slug), Arc::new(model))).collect();
        let mut names = HashMap::new();
        for model in models.values() {
            for alias in &model.aliases {
                names.insert(alias.clone(), Arc::clone(model));
            }
        }
        names.extend(models.iter().map(|(slug, model)| (slug.to_string(), Arc::clone(model))));
        let providers =
            providers.into_iter().map(|provider| (Arc::clone(&provider.slug), provider)).collect();
        Self { models, names, providers, dormant, routers: Vec::new(), presets: Vec::new() }
    }

    /// The model of exactly this slug or alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Model>> {
        self.names.get(name)
    }

    /// Every model that can be served, by slug.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// Every endpoint, by model and then as configured.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.models().flat_map(|model| &model.endpoints)
    }

    /// Every provider that can serve, by slug.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Providers that wait for a credential.
    #[must_use]
    pub fn dormant(&self) -> &[Dormant] {
        &self.dormant
    }

    /// The price versions in use, each once, by hash: what a ledger must know before a row names it.
    #[must_use]
    pub fn price_versions(&self) -> Vec<Arc<PriceVersion>> {
        let versions = self.endpoints().flat_map(|endpoint| endpoint.price.versions());
        let unique: BTreeMap<_, _> =
            versions.map(|version| (version.hash(), Arc::clone(version))).collect();
        unique.into_values().collect()
    }
}
