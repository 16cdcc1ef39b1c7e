//! The catalogue: models, providers, endpoints. Plain data, built once per snapshot by `config`.

use crate::dialect::Dialect;
use crate::price::PriceVersion;
use secrecy::SecretString;
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
    /// Host for DNS and the `Host` header, without port.
    pub host: String,
    pub port: u16,
    /// Path before `/chat/completions` and its like, without a trailing slash (`/v1`).
    pub path: String,
}

/// HTTP versions offered to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersions {
    H1,
    H2,
    /// h2 by ALPN, h1 otherwise; TLS only.
    Either,
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

/// One secret for a provider, with its own cooldown.
#[derive(Debug)]
pub struct Credential {
    /// Stable id: `provider/name`.
    pub id: Arc<str>,
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
    pub price: Arc<PriceVersion>,
    pub supported_parameters: Vec<String>,
    /// Weir's own fields (`usage`, `provider`, ...) this upstream understands and so receives.
    pub declares: Vec<String>,
    /// Overrides the provider's.
    pub timeouts: Timeouts,
}

/// What a caller names, with all endpoints that serve it: the pool.
#[derive(Debug)]
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
    /// Other names that mean this model (bare upstream names, dated slugs).
    pub aliases: Vec<String>,
    pub endpoints: Vec<Arc<Endpoint>>,
}
