//! Which endpoints may serve a request, in which order, and why the others may not. Pure.

use std::sync::Arc;

/// What narrows a choice, from policy, key, rule or request. Merging never loosens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraint {
    /// Allowed provider slugs or tags; `None` allows all. Merge: intersect.
    pub only: Option<Vec<Arc<str>>>,
    /// Forbidden provider slugs or tags. Merge: union.
    pub ignore: Vec<Arc<str>>,
    /// Endpoint must not retain. Merge: OR.
    pub zdr: bool,
    /// Endpoint must not train nor retain. Merge: OR.
    pub no_collection: bool,
    /// Only the first endpoint of the order may be tried. Merge: OR.
    pub no_fallbacks: bool,
    /// Asked order of slugs or tags; a request's only.
    pub order: Vec<Arc<str>>,
}

/// What is known of an endpoint now; read from live state by the caller of selection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every address is down by active checks.
    pub down: bool,
    /// Ejected by passive health.
    pub ejected: bool,
    /// Endpoint or every credential cools down.
    pub cooling: bool,
    /// An outage in the last 30 s: demoted, not excluded.
    pub outage: bool,
    pub in_flight: u32,
}

/// Why an endpoint is not in a plan. Closed set: it becomes a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exclusion {
    NotAllowed = 0,
    Ignored = 1,
    DataPolicy = 2,
    Zdr = 3,
    Dormant = 4,
    Down = 5,
    Ejected = 6,
    Cooling = 7,
    ContextLength = 8,
    Dialect = 9,
}
