//! Why a body that has arrived whole is refused before anything is sent upstream: always 400.

use super::scan::{Fault, Flaw};
use crate::bounds::MODEL_NAME_BYTES;
use crate::error::Error;
use std::fmt::Write;

/// A refusal; its text names fields and offsets and, of the body's content, at most a model's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not the JSON of RFC 8259, or nested too deeply (S12).
    #[error("Request body is not acceptable JSON: {} at byte {}", .0.flaw, .0.offset)]
    Json(Fault),
    #[error("`{0}` is given more than once")]
    Repeated(&'static str),
    /// A spelling that a case-insensitive parser would take for a steering field.
    #[error("write `{0}` exactly so: another spelling of it is ambiguous")]
    Twin(&'static str),
    /// Two fields that mean the same say different things.
    #[error("`{param}` must be the same as `{other}`")]
    Conflict { param: &'static str, other: &'static str },
    #[error("`{param}` must be {wanted}")]
    Type { param: &'static str, wanted: &'static str },
    #[error("`{param}` may have at most {most} {unit}")]
    TooMuch { param: &'static str, most: usize, unit: &'static str },
    /// Contract 5.5. Holds the name as [`not_a_model`] makes it.
    #[error("{0} is not a valid model ID")]
    Model(String),
    #[error("No models provided")]
    NoModel,
    /// Neither of them, or both (contract 1.3).
    #[error("Input required: specify \"prompt\" or \"messages\"")]
    Input,
}

impl BodyError {
    /// Label of `bad_json_total{kind}` and its like: a closed set.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Json(Fault { flaw: Flaw::Depth, .. }) => "depth",
            Self::Json(Fault { flaw: Flaw::Utf8 | Flaw::Mark | Flaw::Surrogate, .. }) => "encoding",
            Self::Json(Fault { flaw: Flaw::Trailing, .. }) => "trailing",
            Self::Json(_) => "syntax",
            Self::Repeated(_) | Self::Conflict { .. } => "duplicate",
            Self::Twin(_) => "case",
            Self::Type { .. } => "type",
            Self::TooMuch { .. } => "bound",
            Self::Model(_) | Self::NoModel => "model",
            Self::Input => "input",
        }
    }

    /// The field at fault, where there is one.
    #[must_use]
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Repeated(param)
            | Self::Twin(param)
            | Self::Conflict { param, .. }
            | Self::Type { param, .. }
            | Self::TooMuch { param, .. } => Some(param),
            Self::Model(_) | Self::NoModel => Some("model"),
            Self::Json(_) | Self::Input => None,
        }
    }
}

impl From<Fault> for BodyError {
    fn from(fault: Fault) -> Self {
        Self::Json(fault)
    }
}

impl From<BodyError> for Error {
    fn from(refusal: BodyError) -> Self {
        let error = Self::caller(400, refusal.to_string());
        match refusal.param() {
            Some(param) => error.param(param),
            None => error,
        }
    }
}

/// Whether `name` could be a model's (S15): `[A-Za-z0-9._:/@~-]`, 1 to [`MODEL_NAME_BYTES`] bytes.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@~-".contains(&byte);
    (1..=MODEL_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// The contract's refusal of a model, the same for unknown, forbidden and impossible names (F56).
#[must_use]
pub fn not_a_model(name: &str) -> BodyError {
    const SHOWN: usize = 128;
    let mut shown = String::new();
    for character in name.chars().take(SHOWN) {
        match character {
            ' '..='~' => shown.push(character),
            // Writing to a string cannot fail.
            other => drop(write!(shown, "{}", other.escape_unicode())),
        }
    }
    if name.is_empty() {
        shown.push_str("\"\"");
    } else if name.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    BodyError::Model(shown)
}
