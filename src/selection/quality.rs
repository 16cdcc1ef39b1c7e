//! Quality for tool requests (contract 3.6), from what the proxy itself can see: throughput, whether the
//! calls of replies were what the requests' tools allow, and how the replies finished.

use super::order::throughput;
use super::{Candidate, Demotion, Facts, Question, Score, Sort};

/// Fewest providers to compare.
const LEAST_PROVIDERS: usize = 4;
/// Attempts in 30 minutes, and replies in 2 hours, that make an endpoint comparable.
const LEAST_ATTEMPTS: u32 = 100;
const LEAST_REPLIES: u32 = 200;
/// A median absolute deviation times this estimates a standard deviation.
const SIGMA_PER_MAD: f64 = 1.4826;

/// Something that endpoints are compared by, the higher the better.
struct Measure {
    /// `None` where too little is known.
    of: fn(&Facts) -> Option<f64>,
    /// Standard deviations under the median that are still as good.
    sigmas: f64,
}

const MEASURES: [Measure; 3] = [
    Measure { of: speed, sigmas: 1.5 },
    Measure { of: |facts| good(facts.tool_replies, facts.tool_errors), sigmas: 2.0 },
    Measure { of: |facts| good(facts.finishes, facts.cut_short), sigmas: 2.0 },
];

/// Demotes what is clearly worse than its peers: for tool requests that ask for no order of their
/// own, and for `sort: "exacto"`, which also puts the unproven behind the good.
pub(super) fn grade(ranked: &mut [Score], candidates: &[Candidate<'_>], question: &Question<'_>) {
    let sort = question.ask.sort();
    let asked = sort == Some(Sort::Exacto);
    let by_default = question.needs.tools && sort.is_none() && question.ask.order.is_empty();
    if !(asked || by_default) {
        return;
    }
    let limits = MEASURES.map(|measure| {
        let peers = ranked.iter().filter_map(|score| candidates.get(score.index));
        (limit(&measure, peers), measure)
    });
    for score in ranked.iter_mut() {
        let Some(Candidate { facts, .. }) = candidates.get(score.index) else { continue };
        let worse = |(limit, measure): &(Option<f64>, Measure)| {
            (measure.of)(facts).zip(*limit).is_some_and(|(value, limit)| value < limit)
        };
        score.demotion.add(Demotion::QUALITY, limits.iter().any(worse));
        if asked {
            let unproven = u64::from(!is_proven(facts)) << 63;
            let bad = share(facts.tool_replies, facts.tool_errors)
                + share(facts.finishes, facts.cut_short);
            score.metric =
                unproven | u64::from(bad) << 32 | u64::from(u32::MAX - throughput(facts));
        }
    }
}

fn is_proven(facts: &Facts) -> bool {
    facts.attempts >= LEAST_ATTEMPTS
}

fn speed(facts: &Facts) -> Option<f64> {
    let speed = throughput(facts);
    (is_proven(facts) && speed > 0).then(|| speed.into())
}

/// Of enough replies those that were good, in thousandths.
fn good(all: u32, bad: u32) -> Option<f64> {
    (all >= LEAST_REPLIES).then(|| f64::from(1_000 - share(all, bad)))
}

/// The part that `bad` is of `all`, in thousandths; 0 of none.
fn share(all: u32, bad: u32) -> u32 {
    let bad = u64::from(bad.min(all)) * 1_000;
    bad.checked_div(u64::from(all)).map_or(0, |share| share as u32)
}

/// What an endpoint must reach to be as good as these, if enough providers are known: so many estimated
/// standard deviations under the median.
fn limit<'a>(measure: &Measure, peers: impl Iterator<Item = &'a Candidate<'a>>) -> Option<f64> {
    let (mut values, mut providers) = (Vec::new(), Vec::new());
    for Candidate { endpoint, facts } in peers {
        let Some(value) = (measure.of)(facts) else { continue };
        values.push(value);
        if !providers.contains(&&endpoint.provider.slug) {
            providers.push(&endpoint.provider.slug);
        }
    }
    (providers.len() >= LEAST_PROVIDERS).then(|| {
        let middle = median(&mut values);
        let mut deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        middle - measure.sigmas * SIGMA_PER_MAD * median(&mut deviations)
    })
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
