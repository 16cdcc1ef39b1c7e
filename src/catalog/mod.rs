//! The catalogue: models, providers, endpoints. Plain data, built once per snapshot by `config`.

mod address;
mod capability;
mod diff;

pub use address::is_private;
pub use capability::{Modalities, Parameters, QUANTIZATIONS, Tier};
pub use diff::{Change, Fate, diff};

use crate::dialect::Dialect;
use crate::price::{PriceVersion, Schedule};
use crate::request::preferences::ProviderPreferences;
use secrecy::SecretString;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a provider does with prompts. Unknown counts as the worst (contract section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataPolicy {
    pub trains: bool,
    pub retains: bool,
}

/// Where a provider answers. Only configuration can say this (S16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    pub tls: bool,
    /// Name or address to connect to, without port and without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// Path before `/chat/completions` and its like, without a trailing slash (`/v1`).
    pub path: String,
}

impl BaseUrl {
    /// The `Host` header: host, and port unless it is the scheme's own (RFC 9110 section 7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

/// HTTP versions offered to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersions {
    H1,
    H2,
    /// h2 by ALPN, h1 otherwise; TLS only.
    Either,
}

impl HttpVersions {
    /// Every choice with its word in configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("h1", Self::H1), ("h2", Self::H2), ("either", Self::Either)];
}

/// How an address is found to be alive, for free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    Off,
    /// A TCP (or TLS, for https) connection.
    Connect,
    /// `GET` this path, 200 expected (`/v1/models`, `/health`).
    Get(String),
}

/// Clocks of one attempt. `total` does not run while a stream delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_content: Duration,
    /// Between two events.
    pub idle: Duration,
    pub total: Duration,
}

/// What becomes of an attempt whose caller leaves (I13): cancelled, or read to its end for the usage
/// that its provider bills either way (contract 4.6 says who does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disconnect {
    #[default]
    Cancel,
    /// A body in one piece is read to its end: no provider stops billing one.
    CancelStreams,
    Drain,
}

impl Disconnect {
    /// Every choice with its word in configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("cancel", Self::Cancel), ("cancel-streams", Self::CancelStreams), ("drain", Self::Drain)];

    /// Whether an attempt is read to its end.
    #[must_use]
    pub const fn drains(self, streamed: bool) -> bool {
        match self {
            Self::Cancel => false,
            Self::CancelStreams => !streamed,
            Self::Drain => true,
        }
    }
}

/// One secret for a provider, with its own cooldown.
#[derive(Debug)]
pub struct Credential {
    /// Stable id: `provider/name`.
    pub id: Arc<str>,
    /// Where the secret is, as configuration refers to it: `env GROQ_API_KEY`.
    pub source: String,
    pub secret: SecretString,
}

/// A host that serves models.
#[derive(Debug)]
pub struct Provider {
    /// Routing slug, lowercase (`deepinfra`).
    pub slug: Arc<str>,
    /// Display name on the wire (`DeepInfra`).
    pub name: Arc<str>,
    pub dialect: Dialect,
    pub base_url: BaseUrl,
    pub http: HttpVersions,
    /// Name that is sent and verified; never empty for TLS (P12).
    pub server_name: String,
    /// Extra CA file for private upstreams.
    pub ca_file: Option<PathBuf>,
    pub policy: DataPolicy,
    pub region: Option<String>,
    pub probe: Probe,
    pub timeouts: Timeouts,
    /// Whether addresses in private, loopback and link-local ranges may be connected to (F04).
    pub private_addresses: bool,
    /// Tried in order. Empty only where `keyless` is configured.
    pub credentials: Vec<Arc<Credential>>,
    /// Serves without a credential (a self-hosted server). Otherwise no credential means dormant.
    pub keyless: bool,
    /// Whether `stream_options.include_usage` may be injected.
    pub injects_usage: bool,
    /// What becomes of an attempt whose caller leaves.
    pub disconnect: Disconnect,
    pub about: About,
}

/// What callers may want to know of a provider (contract 1.9).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Country, two letters of ISO 3166.
    pub headquarters: Option<String>,
    pub datacenters: Vec<String>,
    pub privacy_policy_url: Option<String>,
    pub terms_of_service_url: Option<String>,
    pub status_page_url: Option<String>,
}

/// One way to be served one model: the unit of selection.
#[derive(Debug)]
pub struct Endpoint {
    /// Stable across reloads: `model@tag`. Live state and metrics are keyed by it.
    pub id: Arc<str>,
    /// The model's slug.
    pub model: Arc<str>,
    pub provider: Arc<Provider>,
    /// Name the provider knows the model by.
    pub upstream_model: Arc<str>,
    /// Routing slug: `provider` or `provider/variant` (`deepinfra/turbo`).
    pub tag: Arc<str>,
    pub quantization: Option<Arc<str>>,
    pub context_length: u64,
    pub max_completion_tokens: Option<u64>,
    pub price: Schedule,
    pub supported_parameters: Vec<String>,
    /// The same as a set.
    pub parameters: Parameters,
    /// What the model takes and gives.
    pub input: Modalities,
    pub output: Modalities,
    /// Serves this tier alone, and only to requests that ask for it (contract 3.8).
    pub tier: Option<Tier>,
    /// Whether the model's author permits distillation.
    pub distillable: bool,
    /// What is done with prompts here; the provider's unless configured.
    pub policy: DataPolicy,
    /// Weir's own fields (`usage`, `provider`, ...) this upstream understands and so receives.
    pub declares: Vec<String>,
    /// Overrides the provider's.
    pub timeouts: Timeouts,
}

/// What a model can be scored by: Artificial Analysis' indices, and the best Elo of Design Arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    Intelligence,
    Coding,
    Agentic,
    DesignArena,
}

impl Benchmark {
    pub const ALL: [(&'static str, Self); 4] = [
        ("intelligence", Self::Intelligence),
        ("coding", Self::Coding),
        ("agentic", Self::Agentic),
        ("design_arena", Self::DesignArena),
    ];
}

/// Scores in thousandths, where the operator gives them, in the order of [`Benchmark::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scores(pub [Option<u64>; Benchmark::ALL.len()]);

impl Scores {
    /// The score by this benchmark.
    #[must_use]
    pub fn get(&self, benchmark: Benchmark) -> Option<u64> {
        self.0.get(benchmark as usize).copied().flatten()
    }
}

/// What a caller names, with all endpoints that serve it: the pool.
#[derive(Debug, Clone)]
pub struct Model {
    /// `author/slug`.
    pub slug: Arc<str>,
    pub name: String,
    /// Unix seconds.
    pub created: u64,
    pub description: String,
    pub context_length: u64,
    pub input_modalities: Vec<String>,
    pub output_modalities: Vec<String>,
    /// Whether its author permits distillation.
    pub distillable: bool,
    /// The tokenizer's family, as `GET models` names it.
    pub tokenizer: Option<String>,
    /// Day or month its training data ends, `2024-07` or `2024-07-31`.
    pub knowledge_cutoff: Option<String>,
    /// Name on Hugging Face.
    pub hugging_face_id: Option<String>,
    /// Uses by which `GET models` finds it (`programming`).
    pub categories: Vec<String>,
    pub scores: Scores,
    /// Other names that mean this model (bare upstream names, dated slugs).
    pub aliases: Vec<String>,
    pub endpoints: Vec<Arc<Endpoint>>,
}

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

/// Weir's own request fields, which an upstream only receives if its endpoint declares them
/// (design, "What is consumed").
pub const DECLARABLE: [&str; 11] = [
    "models",
    "provider",
    "route",
    "plugins",
    "preset",
    "session_id",
    "transforms",
    "usage",
    "include_reasoning",
    "debug",
    "trace",
];

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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tls: bool, host: &str, port: u16) -> BaseUrl {
        BaseUrl { tls, host: host.to_owned(), port, path: String::new() }
    }

    #[test]
    fn authority_leaves_out_the_schemes_own_port() {
        assert_eq!(url(true, "api.example", 443).authority(), "api.example");
        assert_eq!(url(true, "api.example", 80).authority(), "api.example:80");
        assert_eq!(url(false, "::1", 8000).authority(), "[::1]:8000");
    }
}
