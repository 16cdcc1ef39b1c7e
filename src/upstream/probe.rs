//! Active health: free checks of every address, one loop for the whole process (P20).

use super::peer::Template;
use crate::catalog::{BaseUrl, Probe, Timeouts};
use async_trait::async_trait;
use http::{HeaderValue, Uri, Version, header};
use pingora::connectors::{TransportConnector, http::Connector};
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::{Backend, HealthCheckService, HealthRegistry};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);
/// For connecting, and for the whole check.
const CONNECT: Duration = Duration::from_secs(1);
const WHOLE: Duration = Duration::from_secs(2);
const DOWN_AFTER: usize = 3;
const UP_AFTER: usize = 2;

/// What is checked: rides on each address as the extension of its `Backend`.
#[derive(Debug)]
pub struct Target {
    pub slug: Arc<str>,
    pub template: Template,
    pub probe: Probe,
    /// `host` or `host:port`, as in a `Host` header.
    pub authority: String,
    pub tls: bool,
    pub authorization: Option<HeaderValue>,
}

impl Target {
    /// Same value, same health: addresses of targets that are probed alike share it.
    fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.slug, self.template.group(), &self.authority).hash(&mut hasher);
        match &self.probe {
            Probe::Off => 0_u8.hash(&mut hasher),
            Probe::Connect => 1_u8.hash(&mut hasher),
            Probe::Get(path) => (2_u8, path).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Whether nothing differs, the credential included.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.authorization == other.authorization
    }
}

/// `Host` header of a base URL: the port only where it is not the scheme's own.
#[must_use]
pub fn authority(base: &BaseUrl) -> String {
    match (base.tls, base.port) {
        (true, 443) | (false, 80) => base.host.clone(),
        _ => format!("{}:{}", base.host, base.port),
    }
}

/// A registry of health that is told apart by target and address, so that views of an unchanged
/// target built by a reload find the health of the old ones.
#[must_use]
pub fn registry() -> Arc<HealthRegistry> {
    let registry = HealthRegistry::with_equivalence(|backend| {
        let mut hasher = DefaultHasher::new();
        backend.addr.hash(&mut hasher);
        backend.ext.get::<Arc<Target>>().map(|target| target.identity()).hash(&mut hasher);
        hasher.finish()
    });
    registry.set_health_check(Box::new(Prober::new()));
    Arc::new(registry)
}

/// The loop over all targets. To be added to the server once, before it runs.
#[must_use]
pub fn service(registry: Arc<HealthRegistry>) -> HealthCheckService {
    let mut service = HealthCheckService::new(registry);
    service.health_check_frequency = Some(INTERVAL);
    service.parallel_health_check = true;
    service
}

/// Checks an address in the way its target asks for.
struct Prober {
    transport: TransportConnector,
    http: Connector,
}

impl Prober {
    fn new() -> Self {
        Self { transport: TransportConnector::new(None), http: Connector::new(None) }
    }

    async fn run(&self, target: &Target, backend: &Backend) -> Result<()> {
        let Some(address) = backend.addr.as_inet().copied() else { return Ok(()) };
        let timeouts =
            Timeouts { connect: CONNECT, first_content: WHOLE, idle: WHOLE, total: WHOLE };
        let peer = target.template.peer(&timeouts, address, 0);
        match &target.probe {
            Probe::Off => Ok(()),
            Probe::Connect => self.transport.new_stream(&peer).await.map(drop),
            Probe::Get(path) => self.get(target, &peer, path).await,
        }
    }

    async fn get(&self, target: &Target, peer: &HttpPeer, path: &str) -> Result<()> {
        let (mut session, _) = self.http.get_http_session(peer).await?;
        let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
        if session.as_http2().is_some() {
            let scheme = if target.tls { "https" } else { "http" };
            let uri = Uri::builder().scheme(scheme).authority(target.authority.as_str());
            let uri = uri.path_and_query(path).build();
            request.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "probe path")?);
            request.set_version(Version::HTTP_2);
        } else {
            request.insert_header(header::HOST, target.authority.as_str())?;
        }
        if let Some(authorization) = &target.authorization {
            request.insert_header(header::AUTHORIZATION, authorization)?;
        }
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        session.shutdown().await;
        if status == 200 {
            return Ok(());
        }
        Error::e_explain(ErrorType::HTTPStatus(status), "probe expected 200")
    }
}

#[async_trait]
impl HealthCheck for Prober {
    async fn check(&self, backend: &Backend) -> Result<()> {
        let Some(target) = backend.ext.get::<Arc<Target>>() else { return Ok(()) };
        match tokio::time::timeout(WHOLE, self.run(target, backend)).await {
            Ok(result) => result,
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "probe took too long"),
        }
    }

    fn backend_summary(&self, backend: &Backend) -> String {
        let slug = backend.ext.get::<Arc<Target>>().map_or("?", |target| &target.slug);
        format!("{slug} at {}", backend.addr)
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { UP_AFTER } else { DOWN_AFTER }
    }
}
