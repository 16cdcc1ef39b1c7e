//! `lua-free-rules/`: declarative entries, compiled at load; facts in, decision out. Pure.

use crate::error::Error;
use crate::selection::Constraint;
use std::sync::Arc;

/// What a rule can match on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The model asked for first.
    pub model: &'a str,
    /// Name of the caller's key.
    pub key: &'a str,
    pub workspace: &'a str,
    pub stream: bool,
    /// Request headers; names lowercase.
    pub headers: &'a http::HeaderMap,
}

/// What the rules want done.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Refuse with this error; nothing else counts then.
    pub reject: Option<Error>,
    /// Serve this model in place of the one asked for.
    pub rename: Option<Arc<str>>,
    pub constraint: Constraint,
}
