//! Quality for tool requests (contract 3.6), from what the proxy itself can see: throughput, and
//! whether the calls of replies were what the requests' tools allow.

use super::order::throughput;
use super::{Candidate, Demotion, Facts, Question, Score, Sort};

/// Fewest providers to compare.
const LEAST_PROVIDERS: usize = 4;
/// Attempts in 30 minutes and replies with tool calls in 2 hours that make an endpoint comparable.
const LEAST_ATTEMPTS: u32 = 100;
const LEAST_TOOL_REPLIES: u32 = 200;
/// A median absolute deviation times this estimates a standard deviation.
const SIGMA_PER_MAD: f64 = 1.4826;
/// Standard deviations under the median that are still as good.
const THROUGHPUT_SIGMAS: f64 = 1.5;
const VALIDITY_SIGMAS: f64 = 2.0;

/// Demotes what is clearly worse than its peers: for tool requests that ask for no order of their
/// own, and for `sort: "exacto"`, which also puts the unproven behind the good.
pub(super) fn grade(ranked: &mut [Score], candidates: &[Candidate<'_>], question: &Question<'_>) {
    let sort = question.ask.sort();
    let asked = sort == Some(Sort::Exacto);
    let by_default = question.needs.tools && sort.is_none() && question.ask.order.is_empty();
    if !(asked || by_default) {
        return;
    }
    let facts =
        |score: &Score| candidates.get(score.index).map_or_else(Facts::default, |c| c.facts);
    let limits = limits(ranked.iter().map(facts));
    for score in ranked.iter_mut() {
        let facts = facts(score);
        let worse = limits.is_some_and(|limits| limits.is_worse(&facts));
        score.demotion.add(Demotion::QUALITY, worse);
        score.tool_errors = (facts.tool_replies > 0).then(|| invalid(&facts));
        if asked {
            let unproven = u64::from(!is_proven(&facts)) << 63;
            let invalid = u64::from(invalid(&facts)) << 32;
            score.metric = unproven | invalid | u64::from(u32::MAX - throughput(&facts));
        }
    }
}

fn is_proven(facts: &Facts) -> bool {
    facts.attempts >= LEAST_ATTEMPTS
}

/// Share of replies with tool calls that were no good, in thousandths; 0 where none are known.
fn invalid(facts: &Facts) -> u32 {
    let bad = u64::from(facts.tool_errors.min(facts.tool_replies)) * 1_000;
    bad.checked_div(u64::from(facts.tool_replies)).map_or(0, |share| share as u32)
}

/// What an endpoint must reach to be as good as its peers.
#[derive(Debug, Clone, Copy)]
struct Limits {
    throughput: f64,
    validity: f64,
}

impl Limits {
    fn is_worse(&self, facts: &Facts) -> bool {
        let slow = is_proven(facts)
            && throughput(facts) > 0
            && f64::from(throughput(facts)) < self.throughput;
        slow || facts.tool_replies >= LEAST_TOOL_REPLIES
            && f64::from(1_000 - invalid(facts)) < self.validity
    }
}

/// The limits among these, if enough of them are proven.
fn limits(all: impl Iterator<Item = Facts>) -> Option<Limits> {
    let proven: Vec<Facts> = all.filter(is_proven).collect();
    if proven.len() < LEAST_PROVIDERS {
        return None;
    }
    let speeds = proven.iter().map(throughput).filter(|speed| *speed > 0).map(f64::from);
    let valid = proven.iter().filter(|facts| facts.tool_replies >= LEAST_TOOL_REPLIES);
    let valid = valid.map(|facts| f64::from(1_000 - invalid(facts)));
    let least = |values: Vec<f64>, sigmas: f64| match values.len() >= LEAST_PROVIDERS {
        true => lower_limit(values, sigmas),
        false => 0.0,
    };
    Some(Limits {
        throughput: least(speeds.collect(), THROUGHPUT_SIGMAS),
        validity: least(valid.collect(), VALIDITY_SIGMAS),
    })
}

/// So many estimated standard deviations under the median.
fn lower_limit(mut values: Vec<f64>, sigmas: f64) -> f64 {
    let median_value = median(&mut values);
    let mut deviations: Vec<f64> =
        values.iter().map(|value| (value - median_value).abs()).collect();
    median_value - sigmas * SIGMA_PER_MAD * median(&mut deviations)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
    if values.len().is_multiple_of(2) {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    } else {
        at(middle)
    }
}
