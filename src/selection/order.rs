//! The order of what policy and live state left.

use super::constraint::names;
use super::draw::{SplitMix64, by_price};
use super::{Candidate, Constraint};
use crate::usage::Kind;

/// Sorts `order` in place: asked ones as asked, then those without an outage, each by price; and
/// without an asked order draws the first.
pub(super) fn arrange(
    order: &mut [usize],
    candidates: &[Candidate<'_>],
    constraint: &Constraint,
    mut random: SplitMix64,
) {
    let key = |index: &usize| {
        let candidate = candidates.get(*index);
        let asked = candidate
            .and_then(|c| constraint.order.iter().position(|slug| names(slug, c.endpoint)));
        let asked = asked.unwrap_or(constraint.order.len());
        // An asked place is kept whatever happens; the rest are demoted while they have trouble.
        let demoted = asked == constraint.order.len() && candidate.is_some_and(is_demoted);
        (asked, demoted, candidate.map_or(0, price))
    };
    if constraint.order.is_empty() {
        shuffle(order, &mut random);
    }
    // Stable, so equal prices stay as drawn.
    order.sort_by_key(key);
    if constraint.order.is_empty() {
        draw_first(order, candidates, &mut random);
    }
}

/// Moves one of the leading, not demoted endpoints to the front.
fn draw_first(order: &mut [usize], candidates: &[Candidate<'_>], random: &mut SplitMix64) {
    let get = |index: &usize| candidates.get(*index);
    let demoted = |index: &usize| get(index).is_some_and(is_demoted);
    let best = order.first().is_some_and(demoted);
    let front = order.iter().take_while(|index| demoted(index) == best);
    let drawn = by_price(front.map(|index| get(index).map_or(0, price)), random);
    if let Some(head) = order.get_mut(..=drawn) {
        head.rotate_right(1);
    }
}

/// An outage demotes; so does any state that would exclude, where it could not.
fn is_demoted(candidate: &Candidate<'_>) -> bool {
    candidate.facts.outage || candidate.facts.ejected || candidate.facts.down
}

/// What a prompt token and a completion token cost together, in pico-dollars.
fn price(candidate: &Candidate<'_>) -> u128 {
    let unit = |kind: Kind| candidate.endpoint.price.unit.get(kind.index()).copied().unwrap_or(0);
    u128::from(unit(Kind::Input)) + u128::from(unit(Kind::Output))
}

fn shuffle(order: &mut [usize], random: &mut SplitMix64) {
    for end in (1..order.len()).rev() {
        order.swap(end, random.below(end + 1));
    }
}
