//! Who calls: keys, and the caller a key stands for.

use crate::selection::Constraint;
use std::sync::Arc;

/// Who pays: an API key inside a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// SHA-256 of the whole key: its public handle, and what a ledger row stores.
    pub key_hash: [u8; 32],
    /// The same in lowercase hex.
    pub handle: Arc<str>,
    /// What the operator calls the key.
    pub name: Arc<str>,
    pub workspace: Arc<str>,
    pub constraint: Constraint,
    /// Model slugs the key may use, `author/*` for all of an author; `None` allows all.
    pub models: Option<Vec<Arc<str>>>,
}
