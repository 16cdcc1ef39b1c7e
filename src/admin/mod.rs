//! The operators' listener: `/metrics`, `/healthz`, `/readyz`, `/admin/explain`. Plain text; never on a
//! caller's port.

mod explain;
#[cfg(test)]
mod tests;

pub use explain::Explained;

use crate::choose::Explanation;
use crate::metrics::{EndpointMetrics, EndpointState, LedgerDepth, Metrics, UpstreamDepth};
use async_trait::async_trait;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use prometheus::TEXT_FORMAT;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;

const PLAIN: &str = "text/plain; charset=utf-8";

/// What is served, and by which method.
const PATHS: [(&str, &str); 4] =
    [("/healthz", "GET"), ("/metrics", "GET"), ("/readyz", "GET"), (explain::PATH, "POST")];

/// How often rules have matched since they were first loaded, by name, and how often one could not be
/// evaluated.
#[derive(Debug, Default)]
pub struct RuleCounts {
    pub hits: Vec<(String, u64)>,
    pub faults: u64,
}

/// What the operators' listener asks of the running process.
pub trait Status: Send + Sync {
    /// Whether requests can be served: configuration loaded, ledger accepting, not draining.
    ///
    /// # Errors
    /// The reason, in words for the operator.
    fn ready(&self) -> Result<(), Cow<'static, str>>;
    /// The ledger as it is now.
    fn ledger(&self) -> LedgerDepth;
    /// The upstream side as it is now.
    fn upstream(&self) -> UpstreamDepth;
    /// Every configured endpoint with its live state.
    fn endpoints(&self) -> Vec<(Arc<EndpointMetrics>, EndpointState)>;
    /// How often rules have matched.
    fn rules(&self) -> RuleCounts;
    /// What would become of a request, as the configuration and everything live are now.
    ///
    /// # Errors
    /// No key has that name.
    fn explain(&self, asked: &Explained<'_>) -> Result<Explanation, String>;
}

/// The application of the operators' listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    status: Arc<dyn Status>,
    /// SHA-256 of the bearer token that everything but `/healthz` demands.
    token: Option<[u8; 32]>,
}

/// An answer before it is a message of HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Cow<'static, str>,
    extra: Option<(HeaderName, &'static str)>,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, content_type: PLAIN, body: body.into(), extra: None }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.extra = Some((name, value));
        self
    }
}

impl Admin {
    /// `token`: the bearer token to demand, where one is configured.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        status: Arc<dyn Status>,
        token: Option<&SecretString>,
    ) -> Self {
        let token = token.map(|secret| Sha256::digest(secret.expose_secret()).into());
        Self { metrics, status, token }
    }

    /// The answer to anything that has no body.
    #[cfg(test)]
    fn answer(&self, method: &str, path: &str, authorization: Option<&[u8]>) -> Answer {
        self.refusal(method, path, authorization).unwrap_or_else(|| self.shown(path))
    }

    /// Why nothing is shown, if nothing is.
    fn refusal(&self, method: &str, path: &str, authorization: Option<&[u8]>) -> Option<Answer> {
        let Some((_, allowed)) = PATHS.iter().find(|(known, _)| *known == path) else {
            let known = PATHS.map(|(path, _)| path).join(", ");
            let says = format!("Not found. This listener serves {known}.\n");
            return Some(Answer::text(StatusCode::NOT_FOUND, says));
        };
        if method != *allowed {
            let answer = Answer::text(StatusCode::METHOD_NOT_ALLOWED, format!("Use {allowed}.\n"));
            return Some(answer.with(ALLOW, allowed));
        }
        if path == "/healthz" || self.admits(authorization) {
            return None;
        }
        let wanted = "Send the operators' token as a bearer token.\n";
        Some(Answer::text(StatusCode::UNAUTHORIZED, wanted).with(WWW_AUTHENTICATE, "Bearer"))
    }

    fn shown(&self, path: &str) -> Answer {
        match path {
            "/healthz" => Answer::text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness(),
            _ => self.exposition(),
        }
    }

    fn readiness(&self) -> Answer {
        match self.status.ready() {
            Ok(()) => Answer::text(StatusCode::OK, "ready\n"),
            Err(reason) => {
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
            }
        }
    }

    fn exposition(&self) -> Answer {
        self.metrics.upstream(&self.status.upstream());
        let RuleCounts { hits, faults } = self.status.rules();
        let counted = self.metrics.rules(&hits, faults);
        let scraped = counted
            .and_then(|()| self.metrics.scrape(&self.status.ledger(), self.status.endpoints()));
        match scraped {
            Ok(text) => Answer { content_type: TEXT_FORMAT, ..Answer::text(StatusCode::OK, text) },
            Err(error) => {
                let message = format!("The metrics cannot be written: {error}\n");
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }

    /// Digests are compared, so that neither length nor content of the token shows in the time.
    fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        let Some((scheme, sent)) = authorization.and_then(|value| value.split_at_checked(7)) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(sent).into();
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(digest.ct_eq(token))
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let authorization = head.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let path = head.uri.path();
        let answer = match self.refusal(head.method.as_str(), path, authorization) {
            Some(refusal) => refusal,
            None if path == explain::PATH => self.explain(session).await,
            None => self.shown(path),
        };
        let body = answer.body.into_owned().into_bytes();
        let mut response = Response::builder()
            .status(answer.status)
            .header(CONTENT_TYPE, answer.content_type)
            .header(CONTENT_LENGTH, body.len());
        if let Some((name, value)) = answer.extra {
            response = response.header(name, value);
        }
        response.body(body).unwrap_or_default()
    }
}
