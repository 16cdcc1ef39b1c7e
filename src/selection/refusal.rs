//! What a caller is told when no endpoint is left to try.

use super::exclusion::STEPS;
use super::{Candidate, Exclusion, Needs, Plan};
use crate::catalog::{Modalities, Parameters};
use crate::error::{Availability, Error, ErrorType, RETRY_AFTER_SECONDS};
use std::sync::Arc;

const ALL_LIMITED: &str = "Every provider of the selected model limits its rate right now.";

/// How many endpoints each step took out, over all models of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Funnel {
    models: Vec<Arc<str>>,
    total: usize,
    taken: [usize; STEPS.len()],
    /// What every endpoint lacked that was taken out for it.
    parameters: Option<Parameters>,
    modalities: Option<Modalities>,
    cooling: Cooling,
}

/// The endpoints that cool down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cooling {
    /// Display names, each once.
    providers: Vec<Arc<str>>,
    /// When the first is ready again.
    least_ms: Option<u32>,
    /// Any of them for another reason than a 429.
    troubled: bool,
}

impl Cooling {
    fn add(&mut self, candidate: &Candidate<'_>) {
        let (facts, name) = (&candidate.facts, &candidate.endpoint.provider.name);
        self.least_ms = Some(self.least_ms.map_or(facts.cooling_ms, |ms| ms.min(facts.cooling_ms)));
        self.troubled |= !facts.limited;
        if !self.providers.contains(name) {
            self.providers.push(Arc::clone(name));
        }
    }

    fn retry_after(&self) -> u32 {
        self.least_ms.map_or(RETRY_AFTER_SECONDS, |ms| ms.div_ceil(1_000).max(1))
    }
}

impl Funnel {
    /// Takes in the plan of one more model, asked for by this name, made of these candidates.
    pub fn add(&mut self, model: &str, needs: &Needs, plan: &Plan, candidates: &[Candidate<'_>]) {
        if self.models.last().is_none_or(|last| **last != *model) {
            self.models.push(Arc::from(model));
        }
        self.total += plan.ranked.len() + plan.excluded.len();
        for (index, exclusion) in &plan.excluded {
            let place = STEPS.iter().position(|step| step.exclusion == *exclusion);
            if let Some(taken) = place.and_then(|place| self.taken.get_mut(place)) {
                *taken += 1;
            }
            let Some(candidate) = candidates.get(*index) else { continue };
            let endpoint = candidate.endpoint;
            match exclusion {
                Exclusion::RequireParameters => {
                    let lacks = needs.parameters.without(endpoint.parameters);
                    let known = self.parameters.unwrap_or(lacks);
                    self.parameters = Some(known.without(known.without(lacks)));
                }
                Exclusion::Modality => {
                    let lacks = needs.input.without(endpoint.input);
                    let known = self.modalities.unwrap_or(lacks);
                    self.modalities = Some(known.without(known.without(lacks)));
                }
                Exclusion::Cooling => self.cooling.add(candidate),
                _ => {}
            }
        }
    }

    /// Endpoints left after each step that took some out; first, as `candidates`, all there were.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let mut left = self.total;
        let took = STEPS.iter().zip(self.taken).filter(|(_, taken)| *taken > 0);
        std::iter::once(("candidates", self.total)).chain(took.map(move |(step, taken)| {
            left = left.saturating_sub(taken);
            (step.label, left)
        }))
    }

    /// What the last step is told in the contract's words, where they say what was missing.
    fn message(&self, exclusion: Exclusion) -> Option<String> {
        let parameters = self.parameters.unwrap_or_default();
        match exclusion {
            Exclusion::RequireParameters if parameters.has(Parameters::TOOLS) => {
                Some("No endpoints found that support tool use.".to_owned())
            }
            Exclusion::RequireParameters if parameters.has(Parameters::TOOL_CHOICE) => {
                let says = "No endpoints found that support the provided 'tool_choice' value.";
                Some(says.to_owned())
            }
            Exclusion::Modality => {
                let name = self.modalities?.names().next()?;
                Some(format!("No endpoints found that support {name} input."))
            }
            _ => None,
        }
    }
}

/// The error when every plan is empty (contract 5.4, 5.5): 404 when policy removed all; when live state
/// did and another moment may differ, 503 (F09), or 429 if all are rate-limited, with the earliest end of
/// a cooldown. The last step that took something out is named.
#[must_use]
pub fn nothing_left(funnel: &Funnel) -> Error {
    let took = || STEPS.iter().zip(funnel.taken).filter(|(_, taken)| *taken > 0);
    let last = took().next_back().map(|(step, _)| step);
    let mut code = last.map_or("no_endpoints", |step| step.code);
    let mut error = match last {
        None => Error::caller(404, "No endpoints found for the selected model."),
        Some(step) if step.exclusion == Exclusion::Cooling && !funnel.cooling.troubled => {
            code = "capacity_exhausted";
            Error::weir(429, ALL_LIMITED).retry_after(Some(funnel.cooling.retry_after()))
        }
        Some(step) if step.exclusion.is_live() => {
            Error::weir(step.status, step.message).retry_after(Some(funnel.cooling.retry_after()))
        }
        Some(step) => match funnel.message(step.exclusion) {
            Some(message) => Error::caller(step.status, message),
            None => Error::caller(step.status, step.message),
        },
    };
    if last.is_some_and(|step| step.exclusion == Exclusion::ContextLength) {
        error.kind = ErrorType::ContextLengthExceeded;
    }
    let mut excluded_by: Vec<_> = took().filter_map(|(step, _)| step.excluded_by).collect();
    excluded_by.dedup();
    error.availability(Availability {
        code,
        requested_models: funnel.models.clone(),
        affected_providers: funnel.cooling.providers.clone(),
        excluded_by,
        funnel: funnel.steps().collect(),
    })
}

#[cfg(test)]
mod tests;
