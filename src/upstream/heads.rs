//! Heads of the requests to one provider, made once: a request adds what is its own.

use crate::catalog::Provider;
use crate::request::route::Operation;
use http::{Method, header};
use pingora::Result;
use pingora_http::RequestHeader;

/// Room for what a request adds: its length, a credential, what is passed on of the caller's head.
const FIELDS: usize = 10;

/// A head per operation, for a reply in one piece and for a stream.
#[derive(Debug)]
pub struct Heads {
    chat: [RequestHeader; 2],
    completion: [RequestHeader; 2],
    embedding: [RequestHeader; 2],
}

impl Heads {
    /// `authority` is the `Host` of all of them.
    ///
    /// # Errors
    /// It, or the path of the provider's base URL, cannot stand in a head.
    pub fn new(provider: &Provider, authority: &str) -> Result<Self> {
        let head = |operation: Operation, accept: &'static str| -> Result<_> {
            let path = format!("{}{}", provider.base_url.path, operation.path());
            let method = Method::POST;
            let mut head = RequestHeader::build_no_case(method, path.as_bytes(), Some(FIELDS))?;
            head.insert_header(header::HOST, authority)?;
            head.insert_header(header::CONTENT_TYPE, "application/json")?;
            head.insert_header(header::ACCEPT, accept)?;
            // Without it a server may compress, and what is metered must be read.
            head.insert_header(header::ACCEPT_ENCODING, "identity")?;
            head.insert_header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))?;
            Ok(head)
        };
        let both = |operation| -> Result<_> {
            Ok([head(operation, "application/json")?, head(operation, "text/event-stream")?])
        };
        Ok(Self {
            chat: both(Operation::Chat)?,
            completion: both(Operation::Completion)?,
            embedding: both(Operation::Embedding)?,
        })
    }

    /// The head to begin with.
    #[must_use]
    pub fn of(&self, operation: Operation, streamed: bool) -> &RequestHeader {
        let [whole, stream] = match operation {
            Operation::Chat => &self.chat,
            Operation::Completion => &self.completion,
            Operation::Embedding => &self.embedding,
        };
        if streamed { stream } else { whole }
    }
}
