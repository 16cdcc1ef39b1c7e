//! How to connect to a provider: one template per provider, one `HttpPeer` per try (P10 to P12).

use crate::catalog::{HttpVersions, Provider, Timeouts};
use pingora::protocols::tls::CaType;
use pingora::tls::{CertificateDer, RootCertStore};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls_pki_types::pem::PemObject;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A TLS handshake's time on top of the connect timeout (F06).
const HANDSHAKE: Duration = Duration::from_secs(3);
/// The held session's clocks end an attempt; the socket's own only backs them up.
const READ_MARGIN: Duration = Duration::from_secs(5);
/// Time to send a body (pingora.md 17): it covers the whole of it, so it grows with its size.
const WRITE_BASE: Duration = Duration::from_secs(10);
const WRITE_BYTES_PER_SECOND: u64 = 128 << 10;
/// Below the 60 s after which common providers close an idle connection.
const IDLE: Duration = Duration::from_secs(50);
/// Below the 5 s of the servers people run themselves (uvicorn, vLLM: P11).
const IDLE_SELF_HOSTED: Duration = Duration::from_secs(4);
const H2_STREAMS: usize = 100;
const H2_PING: Duration = Duration::from_secs(30);

/// What all connections to one provider share. Built at load, where files are read.
#[derive(Debug)]
pub struct Template {
    tls: bool,
    server_name: String,
    http: HttpVersions,
    ca: Option<Arc<CaType>>,
    idle: Duration,
    /// Keeps connections of different providers, or of different trust, apart in the pool: its own
    /// key knows neither the CA nor the HTTP versions.
    group: u64,
}

/// Why a provider cannot be connected to as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    #[error("provider {0}: https needs a server_name; without one nothing would be verified")]
    NoServerName(Arc<str>),
    #[error("ca_file {}: {reason}", path.display())]
    CaFile { path: PathBuf, reason: String },
}

impl Template {
    /// Prepares connections to a provider; reads its `ca_file`.
    ///
    /// # Errors
    /// https without a name to verify (P12), or a CA file that holds no certificate.
    pub fn new(provider: &Provider) -> Result<Self, Untrusted> {
        let tls = provider.base_url.tls;
        if tls && provider.server_name.is_empty() {
            return Err(Untrusted::NoServerName(Arc::clone(&provider.slug)));
        }
        let roots = provider.ca_file.as_deref().map(load_roots).transpose()?;
        let mut hasher = DefaultHasher::new();
        (&provider.slug, tls, &provider.server_name, &roots).hash(&mut hasher);
        (provider.http as u8, provider.keyless).hash(&mut hasher);
        let wrap = |der: Vec<u8>| WrappedX509::new(der, parse_x509);
        Ok(Self {
            tls,
            server_name: provider.server_name.clone(),
            http: provider.http,
            ca: roots.map(|roots| roots.into_iter().map(wrap).collect()),
            idle: if provider.keyless { IDLE_SELF_HOSTED } else { IDLE },
            group: hasher.finish(),
        })
    }

    /// Same value, same trust and protocol: what a connection may be shared by.
    #[must_use]
    pub fn group(&self) -> u64 {
        self.group
    }

    /// A peer for one try. Whether the address may be connected to is not asked here but by
    /// [`super::pool::Pool::peer`], the only way from a provider to a peer.
    #[must_use]
    pub fn peer(&self, timeouts: &Timeouts, address: SocketAddr, body_bytes: usize) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.tls, self.server_name.clone());
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect + HANDSHAKE);
        options.read_timeout =
            Some(timeouts.total.max(timeouts.first_content).max(timeouts.idle) + READ_MARGIN);
        let sending = body_bytes as u64 / WRITE_BYTES_PER_SECOND;
        options.write_timeout = Some(WRITE_BASE + Duration::from_secs(sending));
        options.idle_timeout = Some(self.idle);
        options.verify_cert = true;
        options.verify_hostname = true;
        options.ca.clone_from(&self.ca);
        let (max, min) = match self.http {
            HttpVersions::H1 => (1, 1),
            HttpVersions::H2 => (2, 2),
            HttpVersions::Either => (2, 1),
        };
        options.set_http_version(max, min);
        if max == 2 {
            options.max_h2_streams = H2_STREAMS;
            options.h2_ping_interval = Some(H2_PING);
        }
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        peer
    }
}

/// The certificates of a PEM file, each one checked to be usable as a root.
fn load_roots(path: &Path) -> Result<Vec<Vec<u8>>, Untrusted> {
    let broken = |reason: String| Untrusted::CaFile { path: path.to_owned(), reason };
    let mut store = RootCertStore::empty();
    let mut roots = Vec::new();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| broken(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        roots.push(certificate.to_vec());
        store.add(certificate).map_err(|error| broken(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(broken("holds no PEM certificate".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::fixture::{self, TIMEOUTS};
    use pingora::upstreams::peer::{ALPN, Peer};
    use std::io::Write;

    fn tls_provider() -> Provider {
        let mut provider = fixture::provider("p");
        provider.base_url.tls = true;
        provider.server_name = "api.example.com".to_owned();
        provider.keyless = false;
        provider
    }

    fn peer(provider: &Provider, body_bytes: usize) -> HttpPeer {
        let address = "127.0.0.1:443".parse().unwrap();
        Template::new(provider).unwrap().peer(&TIMEOUTS, address, body_bytes)
    }

    #[test]
    fn every_timeout_is_set_and_everything_is_verified() {
        let peer = peer(&tls_provider(), 0);
        let options = &peer.options;
        assert_eq!(options.connection_timeout, Some(TIMEOUTS.connect));
        assert_eq!(options.total_connection_timeout, Some(Duration::from_secs(5)));
        assert_eq!(options.read_timeout, Some(TIMEOUTS.total + READ_MARGIN));
        assert_eq!(options.write_timeout, Some(WRITE_BASE));
        assert_eq!(options.idle_timeout, Some(Duration::from_secs(50)));
        assert!(peer.is_tls() && peer.verify_cert() && peer.verify_hostname());
        assert_eq!(peer.sni(), "api.example.com");
        assert_eq!(
            options.http_upstream_request_policy,
            HttpUpstreamRequestPolicy::deny_upgrades()
        );
    }

    #[test]
    fn a_self_hosted_server_gets_a_short_idle_time_and_a_long_body_more_time() {
        let peer = peer(&fixture::provider("vllm"), 64 << 20);
        assert_eq!(peer.options.idle_timeout, Some(Duration::from_secs(4)));
        assert_eq!(peer.options.write_timeout, Some(WRITE_BASE + Duration::from_secs(512)));
    }

    #[test]
    fn http_versions_are_offered_as_configured() {
        let mut provider = tls_provider();
        let cases = [
            (HttpVersions::H1, ALPN::H1, 1, None),
            (HttpVersions::H2, ALPN::H2, H2_STREAMS, Some(H2_PING)),
            (HttpVersions::Either, ALPN::H2H1, H2_STREAMS, Some(H2_PING)),
        ];
        for (http, alpn, streams, ping) in cases {
            provider.http = http;
            let options = peer(&provider, 0).options;
            assert_eq!(options.alpn, alpn);
            assert_eq!((options.max_h2_streams, options.h2_ping_interval), (streams, ping));
        }
    }

    #[test]
    fn https_without_a_name_to_verify_is_refused() {
        let mut provider = tls_provider();
        provider.server_name = String::new();
        assert!(matches!(Template::new(&provider), Err(Untrusted::NoServerName(_))));
    }

    #[test]
    fn a_broken_ca_file_is_an_error_and_not_an_empty_trust_store() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut provider = tls_provider();
        provider.ca_file = Some(file.path().to_owned());
        assert!(matches!(Template::new(&provider), Err(Untrusted::CaFile { .. })));
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(Template::new(&provider), Err(Untrusted::CaFile { .. })));
        provider.ca_file = Some("/nonexistent/ca.pem".into());
        assert!(matches!(Template::new(&provider), Err(Untrusted::CaFile { .. })));
    }

    #[test]
    fn providers_and_their_trust_never_share_a_connection() {
        let one = tls_provider();
        let mut other = tls_provider();
        assert_eq!(peer(&one, 0).reuse_hash(), peer(&other, 9).reuse_hash());
        other.slug = Arc::from("q");
        assert_ne!(peer(&one, 0).reuse_hash(), peer(&other, 0).reuse_hash());
        other = tls_provider();
        other.http = HttpVersions::Either;
        assert_ne!(peer(&one, 0).reuse_hash(), peer(&other, 0).reuse_hash());
    }
}
