//! `POST /admin/explain`: what `weir explain` prints, of the configuration and the live state of now.

use super::{Admin, Answer};
use crate::bounds::{EXPLAINED_BYTES, EXPLAINED_TIME};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use pingora::protocols::http::ServerSession;
use tokio::time::{Instant, timeout_at};

pub(super) const PATH: &str = "/admin/explain";

/// A request to explain.
#[derive(Debug)]
pub struct Explained<'a> {
    /// Name of the key that would send it; `None` stands for a caller without policies of its own.
    pub key: Option<String>,
    /// Of the draw.
    pub seed: u64,
    /// Those of the operator's own request: rules may look at them.
    pub headers: &'a HeaderMap,
    /// The chat request.
    pub body: &'a [u8],
}

impl Admin {
    pub(super) async fn explain(&self, session: &mut ServerSession) -> Answer {
        let body = match body(session).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let head = session.req_header();
        let query = head.uri.query().unwrap_or_default();
        let (key, seed) = match (parameter(query, "key"), parameter(query, "seed")) {
            (key, None) => (key, Ok(1)),
            (key, Some(seed)) => (key, seed.parse()),
        };
        let Ok(seed) = seed else {
            return Answer::text(StatusCode::BAD_REQUEST, "seed must be a number.\n");
        };
        let asked = Explained { key, seed, headers: &head.headers, body: &body };
        match self.status.explain(&asked) {
            Ok(explanation) => Answer::text(StatusCode::OK, explanation.text),
            Err(problem) => Answer::text(StatusCode::NOT_FOUND, format!("{problem}\n")),
        }
    }
}

/// The whole body, or why it is not taken.
async fn body(session: &mut ServerSession) -> Result<Vec<u8>, Answer> {
    let until = Instant::now() + EXPLAINED_TIME;
    let mut body = Vec::new();
    loop {
        match timeout_at(until, session.read_request_body()).await {
            Ok(Ok(Some(piece))) if body.len() + piece.len() <= EXPLAINED_BYTES => {
                body.extend_from_slice(&piece);
            }
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(_))) => {
                let most = format!("A request of at most {EXPLAINED_BYTES} bytes is explained.\n");
                return Err(closing(session, StatusCode::PAYLOAD_TOO_LARGE, most));
            }
            Ok(Err(_)) => {
                let broken = "The request broke off.\n".to_owned();
                return Err(closing(session, StatusCode::BAD_REQUEST, broken));
            }
            Err(_) => {
                let late = "The request did not arrive in time.\n".to_owned();
                return Err(closing(session, StatusCode::REQUEST_TIMEOUT, late));
            }
        }
    }
}

/// An answer with bytes of the request still unread.
fn closing(session: &mut ServerSession, status: StatusCode, says: String) -> Answer {
    session.set_keepalive(None);
    Answer::text(status, says)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
