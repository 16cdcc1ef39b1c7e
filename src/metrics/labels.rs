//! The closed sets of label values.

use crate::outcome::Outcome;
use crate::request::bad_request::BadRequest;
use crate::request::route::{Face, Target};
use crate::selection::Exclusion;
use crate::tools::Verdict;
use crate::usage::Kind;

/// A closed set of label values. A string that a caller chose cannot be one.
pub trait Label: Copy {
    /// Every value; the position is the index.
    fn values() -> impl Iterator<Item = &'static str>;
    /// Position of this value.
    fn index(self) -> usize;
    /// The value as it stands in metrics and log lines.
    fn text(self) -> &'static str {
        Self::values().nth(self.index()).unwrap_or_default()
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$of])* $value,)* }
        impl Label for $name {
            fn values() -> impl Iterator<Item = &'static str> {
                [$($text),*].into_iter()
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a request ended for its caller.
    Ending {
        Ok = "ok",
        /// Answered 4xx, except 429.
        CallerFault = "caller_fault",
        RateLimited = "rate_limited",
        /// Answered 5xx.
        Failed = "failed",
        /// Began well and ended with an error event or a broken body.
        Cut = "cut",
        ClientAbort = "client_abort",
    }
}

impl Ending {
    /// The ending of a request whose reply was delivered whole with this status.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            400..=499 => Self::CallerFault,
            500.. => Self::Failed,
            _ => Self::Ok,
        }
    }
}

label! {
    /// What cools down (design, cooldown scope).
    CooldownScope {
        Endpoint = "endpoint",
        Credential = "credential",
        Address = "address",
    }
}

label! {
    /// Live state of an endpoint; the worst that applies.
    EndpointState {
        Available = "available",
        /// Demoted, not excluded.
        Outage = "outage",
        Cooling = "cooling",
        Ejected = "ejected",
        Down = "down",
    }
}

label! {
    /// What an HTTP/2 connection was closed for (F59). Sorts of frames come first.
    H2Abuse {
        Reset = "reset",
        Settings = "settings",
        Ping = "ping",
        /// DATA without a byte.
        EmptyData = "empty_data",
        WindowUpdate = "window_update",
        /// PRIORITY, and sorts that RFC 9113 does not know.
        Other = "other",
        /// One header block in too many frames.
        Continuation = "continuation",
        /// The preface, a header block or a frame that was not whole in time.
        SlowHead = "slow_head",
    }
}

label! {
    /// Where in a reply something happened.
    Phase {
        /// Before content reached the caller.
        Before = "before_content",
        After = "after_content",
    }
}

impl Phase {
    /// The phase of an attempt whose content has, or has not, reached the caller.
    #[must_use]
    pub const fn of(committed: bool) -> Self {
        if committed { Self::After } else { Self::Before }
    }
}

label! {
    /// Why a body was refused (F53 to F55), in the words of
    /// [`crate::request::body_error::BodyError::kind`].
    BadJson {
        Syntax = "syntax",
        Encoding = "encoding",
        Trailing = "trailing",
        Duplicate = "duplicate",
        CaseTwin = "case",
        Depth = "depth",
        /// A steering field of the wrong type.
        Type = "type",
        /// A steering field with more than it may hold.
        Bound = "bound",
        /// No model, or a name that cannot be one.
        Model = "model",
        /// Nothing to answer.
        Input = "input",
    }
}

impl BadJson {
    const ALL: [Self; 10] = [
        Self::Syntax,
        Self::Encoding,
        Self::Trailing,
        Self::Duplicate,
        Self::CaseTwin,
        Self::Depth,
        Self::Type,
        Self::Bound,
        Self::Model,
        Self::Input,
    ];

    /// The label with this text; `Syntax` for a text that is none.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        let found = Self::values().position(|text| text == kind);
        found.and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Syntax)
    }
}

label! {
    /// What a request with a wrong key or none was told.
    FailedKey {
        /// 401.
        Refused = "refused",
        /// 429: too many from its address.
        Limited = "limited",
    }
}

label! {
    /// What a connection was one too many of.
    ConnectionCap {
        Total = "total",
        /// Of its IPv4 address or IPv6 network.
        Address = "address",
        /// The control group is nearly out of it.
        Memory = "memory",
    }
}

label! {
    /// What a request was one too many of.
    RequestCap {
        Total = "total",
        Key = "key",
        /// The control group is nearly out of it.
        Memory = "memory",
    }
}

label! {
    /// What a caller took too long for.
    Deadline {
        Handshake = "handshake",
        Head = "head",
        Body = "body",
        /// Taking what is sent.
        Write = "write",
        /// The next request.
        Idle = "idle",
    }
}

label! {
    /// What became of a reload.
    Reload {
        Applied = "applied",
        Rejected = "rejected",
    }
}

impl Label for Outcome {
    fn values() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(_, name)| name)
    }
    fn index(self) -> usize {
        Self::ALL.iter().position(|(outcome, _)| *outcome == self).unwrap_or(usize::MAX)
    }
}

impl Label for Kind {
    fn values() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(_, name)| name)
    }
    fn index(self) -> usize {
        Kind::index(self)
    }
}

impl Label for BadRequest {
    fn values() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|bad| bad.label())
    }
    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Exclusion {
    fn values() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(_, name)| name)
    }
    fn index(self) -> usize {
        Self::ALL.iter().position(|(exclusion, _)| *exclusion == self).unwrap_or(usize::MAX)
    }
}

impl Label for Verdict {
    fn values() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(_, name)| name)
    }
    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Face {
    fn values() -> impl Iterator<Item = &'static str> {
        ["openrouter", "faithful"].into_iter()
    }
    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Target {
    fn values() -> impl Iterator<Item = &'static str> {
        ["chat", "completion", "embedding", "models", "generation", "preflight", "activity"]
            .into_iter()
    }
    fn index(self) -> usize {
        match self {
            Self::Inference(operation) => operation as usize,
            Self::Catalog(_) => 3,
            Self::Generation => 4,
            Self::Preflight => 5,
            Self::Activity => 6,
        }
    }
}
