//! The access line: one per request that reached a route, with allow-listed fields only.

use crate::metrics::{Ending, Label as _};
use crate::request::route::{Face, Operation};

/// What an access line says. No field holds anything a caller wrote: names are the catalogue's and
/// the operator's, and empty where the request did not get so far.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// `gen-...`.
    pub generation: &'a str,
    pub workspace: &'a str,
    /// What the operator calls the key.
    pub key: &'a str,
    pub face: Face,
    pub operation: Operation,
    pub streamed: bool,
    /// Slug of the model that served, or would have.
    pub model: &'a str,
    /// Slug of the last provider tried.
    pub provider: &'a str,
    /// Dispatched attempts.
    pub attempts: u8,
    /// HTTP status answered; 0 when the caller left before.
    pub status: u16,
    pub ending: Ending,
    /// Tokens of the delivered attempt: prompt and completion.
    pub tokens: (u64, u64),
    /// The charge in USD, exact.
    pub cost: &'a str,
    pub first_token_ms: Option<u64>,
    pub duration_ms: u64,
}

impl Access<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        tracing::info!(
            target: "access",
            generation = self.generation,
            workspace = self.workspace,
            key = self.key,
            face = self.face.text(),
            operation = self.operation.as_str(),
            streamed = self.streamed,
            model = self.model,
            provider = self.provider,
            attempts = self.attempts,
            status = self.status,
            outcome = self.ending.text(),
            prompt_tokens = self.tokens.0,
            completion_tokens = self.tokens.1,
            cost = self.cost,
            first_token_ms = self.first_token_ms,
            duration_ms = self.duration_ms,
        );
    }
}
