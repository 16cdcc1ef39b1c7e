//! A host that serves models: where it answers, how, and what it does with prompts.

use crate::dialect::Dialect;
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

impl Provider {
    /// Whether it can be called at all: it is not dormant.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.keyless || !self.credentials.is_empty()
    }
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
