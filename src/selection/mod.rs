//! Which endpoints may serve a request, in which order, and why the others may not. Pure.
//!
//! [`plan`] is a function of the pool, what is known of it now, the question and a seed: the same
//! four always give the same plan, so any choice can be explained afterwards.

mod ask;
mod constraint;
mod draw;
mod exclusion;
mod facts;
mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod order;
mod quality;
mod refusal;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod variant;

pub use ask::{Ask, Needs, PERCENTILES, Percentiles, Question, Service, Sort};
pub use constraint::{Constraint, Layers, OPEN, names};
pub use draw::SplitMix64;
pub use exclusion::Exclusion;
pub use facts::{Facts, Grade};
pub use order::{Demotion, Score};
pub use refusal::{Funnel, nothing_left};
pub use variant::{STATIC_VARIANTS, Variants, are_static};

use crate::catalog::Endpoint;
use std::sync::Arc;

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
    /// Those to try, first choice first, each with what it was ranked by.
    pub ranked: Vec<Score>,
    pub excluded: Vec<(usize, Exclusion)>,
    /// The first was drawn among its class.
    drawn: bool,
}

impl Plan {
    /// Indices into the candidates, first choice first.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        self.ranked.iter().map(|score| score.index)
    }

    /// The chance that each of the first had in the draw, what is in flight aside; nothing without one.
    #[must_use]
    pub fn chances(&self) -> Vec<f64> {
        let first = self.ranked.first().filter(|_| self.drawn).map(|score| score.class);
        let class = self.ranked.iter().take_while(|score| Some(score.class) == first);
        draw::chances(class.map(|score| score.price))
    }
}

/// The plan for one model's pool (contract section 3, items 1 to 8).
///
/// Policy, capabilities and live state filter; endpoints without an outage come first, and among
/// them the first is drawn with weight 1/price²; the rest follow by ascending price. An asked order
/// or sort is kept as asked, and needs no draw.
#[must_use]
pub fn plan(candidates: &[Candidate<'_>], question: &Question<'_>, seed: u64) -> Plan {
    let normal = question.in_normal_tier(candidates);
    let question = normal.as_ref().unwrap_or(question);
    let mut plan = filter::filter(candidates, question, seed);
    plan.drawn = order::arrange(&mut plan.ranked, candidates, question, SplitMix64::new(seed));
    if question.is_sole() {
        plan.drawn = false;
        let unused = plan.ranked.drain(1.min(plan.ranked.len())..);
        plan.excluded.extend(unused.map(|score| (score.index, Exclusion::NoFallbacks)));
    }
    plan
}
