//! Which endpoints may serve a request, in which order, and why the others may not. Pure.
//!
//! [`plan`] is a function of the pool, what is known of it now, the merged constraint and a seed:
//! the same four always give the same plan, so any choice can be explained afterwards.

mod constraint;
mod draw;
mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod order;
mod refusal;
#[cfg(test)]
mod tests;

pub use draw::SplitMix64;
pub use refusal::{RETRY_AFTER_SECONDS, nothing_left};

use crate::catalog::Endpoint;
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
    /// Only the first endpoint, or only those that `order` names, may be tried. Merge: OR.
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
    /// Would have served as a fallback, and fallbacks are off.
    NoFallbacks = 10,
}

impl Exclusion {
    /// Every exclusion with its label.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::NotAllowed, "not_allowed"),
        (Self::Ignored, "ignored"),
        (Self::DataPolicy, "data_policy"),
        (Self::Zdr, "zdr"),
        (Self::Dormant, "dormant"),
        (Self::Down, "down"),
        (Self::Ejected, "ejected"),
        (Self::Cooling, "cooling"),
        (Self::ContextLength, "context_length"),
        (Self::Dialect, "dialect"),
        (Self::NoFallbacks, "no_fallbacks"),
    ];

    /// The label in metrics and explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("not_allowed", |(_, name)| name)
    }

    /// Whether live state, not policy, took the endpoint out: another moment may differ.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Down | Self::Ejected | Self::Cooling)
    }
}

/// One endpoint of the pool, with what is known of it now.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub endpoint: &'a Arc<Endpoint>,
    pub facts: Facts,
}

/// The ordered endpoints a request may use, and why the others may not.
///
/// Every index into the pool is in exactly one of the two lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Indices into the candidates, first choice first.
    pub order: Vec<usize>,
    pub excluded: Vec<(usize, Exclusion)>,
}

/// The plan for one model's pool (contract section 3, items 1, 2, 4).
///
/// Policy and live state filter; endpoints without an outage come first, and among them the first
/// is drawn with weight 1/price²; the rest follow by ascending price. An asked order is kept as
/// asked, and needs no draw.
#[must_use]
pub fn plan(candidates: &[Candidate<'_>], constraint: &Constraint, seed: u64) -> Plan {
    let mut plan = filter::filter(candidates, constraint, seed);
    order::arrange(&mut plan.order, candidates, constraint, SplitMix64::new(seed));
    if constraint.no_fallbacks && constraint.order.is_empty() {
        let unused = plan.order.drain(1.min(plan.order.len())..);
        plan.excluded.extend(unused.map(|index| (index, Exclusion::NoFallbacks)));
    }
    plan
}
