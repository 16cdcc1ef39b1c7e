//! Who stays out of a plan: policy, then capabilities, then live state.

use super::constraint::names_any;
use super::draw::SplitMix64;
use super::order::Score;
use super::{Candidate, Exclusion, Facts, Layers, Plan, Question};
use crate::catalog::{Endpoint, Modalities, Parameters};
use crate::price::PriceCeiling;
use crate::usage::Kind;

/// Splits the pool. What stays is in `ranked`, as yet unranked.
pub(super) fn filter(candidates: &[Candidate<'_>], question: &Question<'_>, seed: u64) -> Plan {
    let mut plan = Plan { ranked: Vec::with_capacity(candidates.len()), ..Plan::default() };
    let policy = Policy::of(question);
    for (index, candidate) in candidates.iter().enumerate() {
        let endpoint = candidate.endpoint;
        let tier = question.ask.tier_rank(endpoint);
        let exclusion = || {
            let forbidden = policy.forbids(endpoint, question);
            forbidden.or_else(|| by_capability(endpoint, question, policy.require_parameters))
        };
        match tier.ok_or(Exclusion::Tier).and_then(|tier| exclusion().map_or(Ok(tier), Err)) {
            Ok(tier) => plan.ranked.push(Score { index, tier, ..Score::default() }),
            Err(exclusion) => plan.excluded.push((index, exclusion)),
        }
    }
    by_preference(&mut plan, candidates, question.needs.parameters);
    by_live_state(&mut plan, candidates, seed);
    plan
}

/// What all layers of policy come to, seen once for all endpoints.
struct Policy<'a> {
    layers: Layers<'a>,
    /// Whether any layer has such a list.
    only: bool,
    ignore: bool,
    quantizations: bool,
    no_fallbacks: bool,
    no_collection: bool,
    zdr: bool,
    distillable: bool,
    require_parameters: bool,
    /// `None` bounds nothing.
    max_price: Option<PriceCeiling>,
}

impl<'a> Policy<'a> {
    fn of(question: &Question<'a>) -> Self {
        let layers = question.constraints;
        Self {
            layers,
            only: layers.any(|layer| layer.only.is_some()),
            ignore: layers.any(|layer| !layer.ignore.is_empty()),
            quantizations: layers.any(|layer| layer.quantizations.is_some()),
            no_fallbacks: layers.any(|layer| layer.no_fallbacks),
            no_collection: layers.any(|layer| layer.no_collection),
            zdr: layers.any(|layer| layer.zdr),
            distillable: layers.any(|layer| layer.distillable),
            require_parameters: layers.any(|layer| layer.require_parameters),
            max_price: Some(layers.max_price()).filter(|ceiling| !ceiling.is_open()),
        }
    }

    /// Why this endpoint may not be used, if it may not. Nothing live can change the answer.
    fn forbids(&self, endpoint: &Endpoint, question: &Question<'_>) -> Option<Exclusion> {
        let (layers, order) = (self.layers, question.ask.order);
        if !endpoint.provider.is_awake() {
            return Some(Exclusion::Dormant);
        }
        // Without fallbacks an asked order is the whole list (contract 2.3, `allow_fallbacks`).
        let listed = !self.no_fallbacks || order.is_empty() || names_any(order, endpoint);
        if !listed || self.only && !layers.all(|layer| layer.allows(endpoint)) {
            return Some(Exclusion::NotAllowed);
        }
        if self.ignore && layers.any(|layer| names_any(&layer.ignore, endpoint)) {
            return Some(Exclusion::Ignored);
        }
        if self.no_collection && (endpoint.policy.trains || endpoint.policy.retains) {
            return Some(Exclusion::DataPolicy);
        }
        if self.zdr && endpoint.policy.retains {
            return Some(Exclusion::Zdr);
        }
        if self.quantizations && !layers.all(|layer| layer.quantization_fits(endpoint)) {
            return Some(Exclusion::Quantization);
        }
        let input = question.needs.input;
        let concerns = |kind| match kind {
            Kind::InputImage => input.has(Modalities::IMAGE),
            Kind::InputAudio => input.has(Modalities::AUDIO),
            _ => true,
        };
        let rates = || endpoint.price.rates(question.now_us, question.needs.likely_tokens);
        if self.max_price.is_some_and(|most| most.exceeded(&rates(), concerns).is_some()) {
            return Some(Exclusion::MaxPrice);
        }
        (self.distillable && !endpoint.distillable).then_some(Exclusion::Distillable)
    }
}

/// Why the endpoint cannot do what the request needs.
fn by_capability(
    endpoint: &Endpoint,
    question: &Question<'_>,
    require_parameters: bool,
) -> Option<Exclusion> {
    let needs = question.needs;
    let output = needs.output_tokens.unwrap_or(0);
    if require_parameters && !needs.parameters.without(endpoint.parameters).is_empty() {
        return Some(Exclusion::RequireParameters);
    }
    if needs.least_tokens.saturating_add(output) > endpoint.context_length {
        return Some(Exclusion::ContextLength);
    }
    if endpoint.max_completion_tokens.is_some_and(|most| output > most) {
        return Some(Exclusion::OutputLimit);
    }
    let fits = endpoint.input.has(needs.input) && endpoint.output.has(needs.output);
    (!fits).then_some(Exclusion::Modality)
}

/// Soft preferences (contract 3.1): where some support what is sent, only those are used.
fn by_preference(plan: &mut Plan, candidates: &[Candidate<'_>], sent: Parameters) {
    for wish in Parameters::PREFERRED {
        let supports = |index: usize| {
            candidates.get(index).is_some_and(|each| each.endpoint.parameters.has(wish))
        };
        let count = plan.ranked.iter().filter(|score| supports(score.index)).count();
        if !sent.has(wish) || count == 0 || count == plan.ranked.len() {
            continue;
        }
        let Plan { ranked, excluded, .. } = plan;
        ranked.retain(|score| {
            let stays = supports(score.index);
            if !stays {
                excluded.push((score.index, Exclusion::Capability));
            }
            stays
        });
    }
}

/// Takes out cooling, down and ejected endpoints; of the ejected at most half of what policy left
/// (F10). If nothing remains, all but the cooling ones return.
fn by_live_state(plan: &mut Plan, candidates: &[Candidate<'_>], seed: u64) {
    let facts = |index: usize| candidates.get(index).map_or_else(Facts::default, |c| c.facts);
    let healthy = |score: &Score| {
        let facts = facts(score.index);
        !(facts.cooling || facts.down || facts.ejected)
    };
    if plan.ranked.iter().all(healthy) {
        return;
    }
    let half = plan.ranked.len() / 2;
    let policy_count = plan.excluded.len();
    let before = plan.ranked.clone();
    let Plan { ranked, excluded, .. } = plan;
    let mut exclude = |index: usize, exclusion: Option<Exclusion>| {
        excluded.extend(exclusion.map(|exclusion| (index, exclusion)));
        exclusion.is_none()
    };
    ranked.retain(|score| {
        let facts = facts(score.index);
        let down = facts.down.then_some(Exclusion::Down);
        exclude(score.index, if facts.cooling { Some(Exclusion::Cooling) } else { down })
    });

    let ejected = ranked.iter().filter(|score| facts(score.index).ejected).count();
    // Which of too many ejected ones stay in differs from request to request, so that none of them
    // carries the whole load.
    let spared_from = SplitMix64::new(!seed).below(ejected);
    let spared = ejected.saturating_sub(half);
    let mut nth = 0;
    ranked.retain(|score| {
        if !facts(score.index).ejected {
            return true;
        }
        let rank = (nth + ejected - spared_from) % ejected;
        nth += 1;
        exclude(score.index, (rank >= spared).then_some(Exclusion::Ejected))
    });

    if ranked.is_empty() {
        ranked.extend(before.into_iter().filter(|score| !facts(score.index).cooling));
        let mut position = 0;
        excluded.retain(|&(_, exclusion)| {
            position += 1;
            position <= policy_count || exclusion == Exclusion::Cooling
        });
    }
}
