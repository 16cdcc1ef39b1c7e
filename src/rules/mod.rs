//! `lua-free-rules/`: declarative entries, compiled at load; facts in, decision out. Pure.

use crate::config::problem::Problem;
use crate::error::Error;
use crate::selection::Constraint;
use std::path::PathBuf;
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

/// The compiled rules of all files.
#[derive(Debug, Default)]
pub struct Rules {}

impl Rules {
    /// Compiles rule files, in order.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn compile(_sources: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        Ok(Self::default())
    }
}
