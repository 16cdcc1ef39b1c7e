//! Wire formats: which keys hold what, edits to send, errors to show. Pure; one file per format.

/// A wire format an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    OpenAiChat,
}
