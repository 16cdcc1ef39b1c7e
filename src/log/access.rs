//! The access line: one per request that reached a plan, with allow-listed fields only.

use crate::metrics::{Ending, Label as _};
use crate::price::{Pico, format_usd};
use crate::request::route::{Face, Operation};
use std::sync::Arc;

/// What an access line says. No field holds anything a caller wrote: names are the catalogue's and
/// the operator's. Owned, so that the log's thread can write it out.
#[derive(Debug, Clone)]
pub struct Access {
    /// `gen-...`.
    pub generation: Arc<str>,
    pub workspace: Arc<str>,
    /// What the operator calls the key.
    pub key: Arc<str>,
    pub face: Face,
    pub operation: Operation,
    pub streamed: bool,
    /// Slugs of the model and the provider tried last; `None` where the request did not get so far.
    pub model: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    /// Dispatched attempts.
    pub attempts: u8,
    /// HTTP status answered; 0 when the caller left before.
    pub status: u16,
    pub ending: Ending,
    /// Tokens of the delivered attempt: prompt and completion.
    pub tokens: (u64, u64),
    pub charge: Pico,
    pub first_token_ms: Option<u64>,
    pub duration_ms: u64,
}

impl Access {
    /// Writes the line.
    pub fn emit(&self) {
        tracing::info!(
            target: "access",
            generation = &*self.generation,
            workspace = &*self.workspace,
            key = &*self.key,
            face = self.face.text(),
            operation = self.operation.as_str(),
            streamed = self.streamed,
            model = self.model.as_deref().unwrap_or(""),
            provider = self.provider.as_deref().unwrap_or(""),
            attempts = self.attempts,
            status = self.status,
            outcome = self.ending.text(),
            prompt_tokens = self.tokens.0,
            completion_tokens = self.tokens.1,
            cost = format_usd(self.charge).as_str(),
            first_token_ms = self.first_token_ms,
            duration_ms = self.duration_ms,
        );
    }
}
