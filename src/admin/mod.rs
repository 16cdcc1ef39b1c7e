//! The operators' listener: `/metrics`, `/healthz`, `/readyz`. Plain text; never on a caller's port.

#[cfg(test)]
mod tests;

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
    /// How often each rule has matched since it was first loaded.
    fn rules(&self) -> Vec<(String, u64)>;
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

    fn answer(&self, method: &str, path: &str, authorization: Option<&[u8]>) -> Answer {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            let known = "Not found. This listener serves /metrics, /healthz and /readyz.\n";
            return Answer::text(StatusCode::NOT_FOUND, known);
        }
        if method != "GET" {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n").with(ALLOW, "GET");
        }
        if path == "/healthz" {
            return Answer::text(StatusCode::OK, "alive\n");
        }
        if !self.admits(authorization) {
            let wanted = "Send the operators' token as a bearer token.\n";
            return Answer::text(StatusCode::UNAUTHORIZED, wanted).with(WWW_AUTHENTICATE, "Bearer");
        }
        if path == "/readyz" { self.readiness() } else { self.exposition() }
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
        let counted = self.metrics.rule_hits(&self.status.rules());
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
        let answer = self.answer(head.method.as_str(), head.uri.path(), authorization);
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
