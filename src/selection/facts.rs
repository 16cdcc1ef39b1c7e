//! What is known of an endpoint now; read from live state by the caller of selection.

/// The uptime grade of an endpoint (contract 3.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// At least 95 %, or too few requests to say.
    #[default]
    Normal,
    /// 80 to 94 %.
    Lower,
    /// Under 80 %: a fallback only.
    Fallback,
}

/// Live facts of one endpoint. Zeros mean that nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every address is down by active checks.
    pub down: bool,
    /// Ejected by passive health.
    pub ejected: bool,
    /// Endpoint or every credential cools down.
    pub cooling: bool,
    /// Milliseconds until the cooldown ends.
    pub cooling_ms: u32,
    /// It cools because it was asked for more than it serves (429).
    pub limited: bool,
    /// An outage in the last 30 s: demoted, not excluded.
    pub outage: bool,
    /// The conversation was here last and probably finds its prompt cached.
    pub warm: bool,
    pub grade: Grade,
    pub in_flight: u32,
    /// Time to first content over 5 minutes at each of [`super::PERCENTILES`], milliseconds.
    pub latency_ms: [u32; 4],
    /// Tenths of an output token per second over 5 minutes, at each of [`super::PERCENTILES`]: that
    /// share of the replies was at least so fast.
    pub throughput: [u32; 4],
    /// Attempts of the last 30 minutes that say something of the endpoint.
    pub attempts: u32,
    /// Replies of the last 2 hours that called tools, and those whose calls were no good.
    pub tool_replies: u32,
    pub tool_errors: u32,
    /// Replies of the last 2 hours to requests with tools, and those that were cut short, through no doing of
    /// the caller's.
    pub finishes: u32,
    pub cut_short: u32,
}
