//! Who stays out of a plan: policy first, then live state.

use super::constraint::names_any;
use super::draw::SplitMix64;
use super::{Candidate, Constraint, Exclusion, Facts, Plan};
use crate::catalog::Endpoint;

/// Splits the pool. What stays is in `order`, as yet unordered.
pub(super) fn filter(candidates: &[Candidate<'_>], constraint: &Constraint, seed: u64) -> Plan {
    let mut plan = Plan { order: Vec::with_capacity(candidates.len()), excluded: Vec::new() };
    for (index, candidate) in candidates.iter().enumerate() {
        match by_policy(candidate.endpoint, constraint) {
            Some(exclusion) => plan.excluded.push((index, exclusion)),
            None => plan.order.push(index),
        }
    }
    by_live_state(&mut plan, candidates, seed);
    plan
}

/// Why policy forbids this endpoint, if it does. Nothing live can change the answer.
fn by_policy(endpoint: &Endpoint, constraint: &Constraint) -> Option<Exclusion> {
    let provider = &endpoint.provider;
    if provider.credentials.is_empty() && !provider.keyless {
        return Some(Exclusion::Dormant);
    }
    // Without fallbacks an asked order is the whole list (contract 2.3, `allow_fallbacks`).
    let listed = !constraint.no_fallbacks
        || constraint.order.is_empty()
        || names_any(&constraint.order, endpoint);
    if !listed || constraint.only.as_deref().is_some_and(|only| !names_any(only, endpoint)) {
        return Some(Exclusion::NotAllowed);
    }
    if names_any(&constraint.ignore, endpoint) {
        return Some(Exclusion::Ignored);
    }
    if constraint.no_collection && (provider.policy.trains || provider.policy.retains) {
        return Some(Exclusion::DataPolicy);
    }
    (constraint.zdr && provider.policy.retains).then_some(Exclusion::Zdr)
}

/// Takes out cooling, down and ejected endpoints; of the ejected at most half of what policy left
/// (F10). If nothing remains, all but the cooling ones return.
fn by_live_state(plan: &mut Plan, candidates: &[Candidate<'_>], seed: u64) {
    let facts = |index: usize| candidates.get(index).map_or_else(Facts::default, |c| c.facts);
    let half = plan.order.len() / 2;
    let policy_count = plan.excluded.len();

    let excluded = &mut plan.excluded;
    let mut exclude = |index: usize, exclusion: Option<Exclusion>| {
        excluded.extend(exclusion.map(|exclusion| (index, exclusion)));
        exclusion.is_none()
    };
    plan.order.retain(|&index| {
        let facts = facts(index);
        let down = facts.down.then_some(Exclusion::Down);
        exclude(index, if facts.cooling { Some(Exclusion::Cooling) } else { down })
    });

    let ejected = plan.order.iter().filter(|&&index| facts(index).ejected).count();
    // Which of too many ejected ones stay in differs from request to request, so that none of them
    // carries the whole load.
    let spared_from = SplitMix64::new(!seed).below(ejected);
    let spared = ejected.saturating_sub(half);
    let mut nth = 0;
    plan.order.retain(|&index| {
        if !facts(index).ejected {
            return true;
        }
        let rank = (nth + ejected - spared_from) % ejected;
        nth += 1;
        exclude(index, (rank >= spared).then_some(Exclusion::Ejected))
    });

    if plan.order.is_empty() {
        let order = &mut plan.order;
        let mut position = 0;
        plan.excluded.retain(|&(index, exclusion)| {
            position += 1;
            let stays = position <= policy_count || exclusion == Exclusion::Cooling;
            if !stays {
                order.push(index);
            }
            stays
        });
    }
}
