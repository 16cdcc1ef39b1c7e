//! The one error value a caller can be shown, and the facts `upstream/attempts` decides retries by.
//!
//! Contract sections 5.1 to 5.4. Faces and dialects turn it into bytes; nobody else formats errors.

use std::borrow::Cow;
use std::sync::Arc;

/// Seconds of `Retry-After` where nothing says when a cooldown ends: one's usual length.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// `error_type` of the contract (section 5.3), with the status each one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    ContextLengthExceeded,
    InvalidRequest,
    Authentication,
    PaymentRequired,
    PermissionDenied,
    NotFound,
    PayloadTooLarge,
    Unprocessable,
    RateLimitExceeded,
    Server,
    ProviderUnavailable,
    ProviderOverloaded,
    Timeout,
}

impl ErrorType {
    /// The literal on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "authentication",
            Self::PaymentRequired => "payment_required",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Unprocessable => "unprocessable",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::Server => "server",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::ProviderOverloaded => "provider_overloaded",
            Self::Timeout => "timeout",
        }
    }

    /// The type that belongs to a status when nothing more is known (contract section 5.3).
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::PaymentRequired,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 | 504 | 524 => Self::Timeout,
            413 => Self::PayloadTooLarge,
            422 => Self::Unprocessable,
            429 => Self::RateLimitExceeded,
            502 => Self::ProviderUnavailable,
            503 | 529 => Self::ProviderOverloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }
}

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Caller,
    Weir,
    Upstream,
}

/// What an upstream said, as far as a caller may see it (contract 5.5, `Provider returned error`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamFault {
    pub provider_name: String,
    /// The upstream's own body as text; `None` where it must not be shown (401, 403, 5xx: S21).
    pub raw: Option<String>,
    /// How it names its refusal, where that is for its rate.
    pub code: Option<String>,
    /// Of a refusal by moderation: what for, and of which model.
    pub moderation: Option<Moderation>,
    /// Seconds it asked to wait, as it said.
    pub retry_after: Option<u32>,
    /// The failed attempts before it.
    pub previous: Vec<PreviousError>,
}

/// What a provider's moderation says (contract 5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moderation {
    pub reasons: Vec<String>,
    /// The part of the input, as the provider shortened it.
    pub flagged_input: Option<String>,
    /// The catalogue slug of the model that was not asked.
    pub model: String,
}

/// Why nothing could be tried (contract 5.4 and 5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// Empty where the contract has no code of this status (a context that is too long): then the
    /// funnel alone is told.
    pub code: &'static str,
    pub requested_models: Vec<Arc<str>>,
    /// Display names of the providers that would serve it at another moment.
    pub affected_providers: Vec<Arc<str>>,
    pub excluded_by: Vec<&'static str>,
    /// Endpoints left after each step that took some out, the first being all there were.
    pub funnel: Vec<(&'static str, usize)>,
}

/// An attempt that failed before the one an error tells of (contract 5.4): never its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousError {
    /// Display name.
    pub provider: Arc<str>,
    /// As it would have been answered with.
    pub status: u16,
}

/// An error in the words of the contract.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status} {}: {message}", kind.as_str())]
pub struct Error {
    /// HTTP status before output, and the integer `error.code` everywhere.
    pub status: u16,
    pub kind: ErrorType,
    pub message: Cow<'static, str>,
    pub origin: Origin,
    /// Whether the caller may send the same request again.
    pub retryable: bool,
    /// Seconds for `Retry-After`; every 429 and 503 has some (contract 4.5).
    pub retry_after: Option<u32>,
    /// The request field at fault, for OpenAI's `param`.
    pub param: Option<Cow<'static, str>>,
    pub upstream: Option<Box<UpstreamFault>>,
    pub availability: Option<Box<Availability>>,
    /// `openrouter_metadata` as JSON, for a caller that asked for it (contract 4.9).
    pub routing: Option<Arc<str>>,
}

impl Error {
    /// The caller's mistake; sending it again changes nothing.
    #[must_use]
    pub fn caller(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, message, Origin::Caller, false)
    }

    /// Weir's own refusal or failure.
    #[must_use]
    pub fn weir(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, message, Origin::Weir, matches!(status, 429 | 500..))
    }

    /// An upstream's failure after every allowed attempt.
    #[must_use]
    pub fn upstream(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, message, Origin::Upstream, matches!(status, 408 | 429 | 500..))
    }

    fn new(
        status: u16,
        message: impl Into<Cow<'static, str>>,
        origin: Origin,
        retryable: bool,
    ) -> Self {
        Self {
            status,
            kind: ErrorType::of_status(status),
            message: message.into(),
            origin,
            retryable,
            retry_after: matches!(status, 429 | 503).then_some(RETRY_AFTER_SECONDS),
            param: None,
            upstream: None,
            availability: None,
            routing: None,
        }
    }

    #[must_use]
    pub fn param(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(name.into());
        self
    }

    /// Names the time to come back, if it is known.
    #[must_use]
    pub fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after = seconds.or(self.retry_after);
        self
    }

    #[must_use]
    pub fn availability(mut self, availability: Availability) -> Self {
        self.availability = Some(Box::new(availability));
        self
    }

    /// An upstream's error, told with the failed attempts before it.
    #[must_use]
    pub fn after(mut self, failed: Vec<PreviousError>) -> Self {
        if let Some(fault) = &mut self.upstream {
            fault.previous = failed;
        }
        self
    }

    #[must_use]
    pub fn fault(mut self, fault: UpstreamFault) -> Self {
        self.upstream = Some(Box::new(fault));
        self
    }
}
