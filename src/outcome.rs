//! How a try ended. One closed set, shared by attempts (which decides), metrics (label) and ledger (row).

/// Whether a status refuses what the caller asked (F19): its form, model, size, kind of media, something it
/// names that cannot be had, or by law. Any endpoint of the model would say the same.
#[must_use]
pub const fn is_callers(status: u16) -> bool {
    matches!(status, 400 | 404 | 413 | 415 | 422 | 424 | 451)
}

/// Who made an attempt end without its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Caller,
    Provider,
    /// Whoever runs Weir: its credentials, its restarts.
    Operator,
    Weir,
}

impl Cause {
    /// The label in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Operator => "operator",
            Self::Weir => "weir",
        }
    }
}

/// End of a try. Those before [`Outcome::Ok`] never connected: no attempt, no row (design, vocabulary).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// TCP refused or unreachable.
    Refused = 1,
    ConnectTimeout = 2,
    /// Certificate or handshake.
    Tls = 3,
    /// No address is known.
    Unresolved = 4,
    /// Held back: the provider says that it is overloaded.
    Throttled = 5,

    /// Delivered to its terminal event, or a whole body.
    Ok = 16,
    /// The caller's own fault: [`is_callers`].
    ClientFault = 17,
    RateLimited = 18,
    /// 401, 402, 403 for our credential.
    Credential = 19,
    ServerError = 20,
    /// Connection lost before a head.
    Reset = 21,
    /// Connection lost after content, or a stream without terminal event.
    Truncated = 22,
    FirstContentTimeout = 23,
    IdleTimeout = 24,
    TotalTimeout = 25,
    /// An error event inside a 200.
    InBand = 26,
    /// A 200 with nothing in it.
    Empty = 27,
    /// Not HTTP, not JSON, not the dialect; redirects and upgrades too.
    Malformed = 28,
    /// The caller left.
    ClientAbort = 29,
    /// Cut by Weir's own shutdown.
    Shutdown = 30,
    /// A panic or a bug of ours.
    Internal = 31,
    /// Found open by a later start.
    CrashRecovered = 32,
}

impl Outcome {
    /// Every outcome with its label.
    pub const ALL: [(Self, &'static str); 22] = [
        (Self::Refused, "refused"),
        (Self::ConnectTimeout, "connect_timeout"),
        (Self::Tls, "tls"),
        (Self::Unresolved, "unresolved"),
        (Self::Throttled, "throttled"),
        (Self::Ok, "ok"),
        (Self::ClientFault, "client_fault"),
        (Self::RateLimited, "rate_limited"),
        (Self::Credential, "credential"),
        (Self::ServerError, "server_error"),
        (Self::Reset, "reset"),
        (Self::Truncated, "truncated"),
        (Self::FirstContentTimeout, "first_content_timeout"),
        (Self::IdleTimeout, "idle_timeout"),
        (Self::TotalTimeout, "total_timeout"),
        (Self::InBand, "in_band_error"),
        (Self::Empty, "empty"),
        (Self::Malformed, "malformed"),
        (Self::ClientAbort, "client_abort"),
        (Self::Shutdown, "shutdown"),
        (Self::Internal, "internal"),
        (Self::CrashRecovered, "crash_recovered"),
    ];

    /// The label in metrics and the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(outcome, _)| *outcome == self).map_or("internal", |(_, name)| name)
    }

    /// The outcome stored as `code` in a slot or a spool record.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(outcome, _)| *outcome as u8 == code).map(|(outcome, _)| *outcome)
    }

    /// Who caused it; nobody where the answer was delivered.
    #[must_use]
    pub const fn cause(self) -> Option<Cause> {
        Some(match self {
            Self::Ok => return None,
            Self::ClientFault | Self::ClientAbort => Cause::Caller,
            Self::Credential | Self::Shutdown => Cause::Operator,
            Self::Internal | Self::CrashRecovered => Cause::Weir,
            Self::Refused
            | Self::ConnectTimeout
            | Self::Tls
            | Self::Unresolved
            | Self::Throttled
            | Self::RateLimited
            | Self::ServerError
            | Self::Reset
            | Self::Truncated
            | Self::FirstContentTimeout
            | Self::IdleTimeout
            | Self::TotalTimeout
            | Self::InBand
            | Self::Empty
            | Self::Malformed => Cause::Provider,
        })
    }

    /// What it says of request and upstream: an error inside a 200 says what its `status` would have (F27).
    #[must_use]
    pub const fn meaning(self, status: u16) -> Self {
        match (self, status) {
            (Self::InBand, status) if is_callers(status) => Self::ClientFault,
            (Self::InBand, 429) => Self::RateLimited,
            (outcome, _) => outcome,
        }
    }

    /// Whether the try reached the upstream, so that a record must exist.
    #[must_use]
    pub fn dispatched(self) -> bool {
        self >= Self::Ok
    }
}
