//! What a caller is told when no endpoint is left to try.

use super::exclusion::STEPS;
use super::{Exclusion, Needs, Plan};
use crate::catalog::{Endpoint, Modalities, Parameters};
use crate::error::{Availability, Error, ErrorType};
use std::sync::Arc;

/// Seconds named in `Retry-After` when live state left nothing: a cooldown's usual length. A caller
/// of selection that knows the earliest end of a cooldown should name that instead.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// How many endpoints each step took out, over all models of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Funnel {
    models: Vec<Arc<str>>,
    total: usize,
    taken: [usize; STEPS.len()],
    /// What every endpoint lacked that was taken out for it.
    parameters: Option<Parameters>,
    modalities: Option<Modalities>,
}

impl Funnel {
    /// Takes in the plan of one more model. `endpoint` knows the candidates by their indices.
    pub fn add<'a>(
        &mut self,
        model: &Arc<str>,
        needs: &Needs,
        plan: &Plan,
        endpoint: impl Fn(usize) -> Option<&'a Arc<Endpoint>>,
    ) {
        self.models.push(Arc::clone(model));
        self.total += plan.ranked.len() + plan.excluded.len();
        for (index, exclusion) in &plan.excluded {
            let place = STEPS.iter().position(|step| step.exclusion == *exclusion);
            if let Some(taken) = place.and_then(|place| self.taken.get_mut(place)) {
                *taken += 1;
            }
            let Some(endpoint) = endpoint(*index) else { continue };
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

/// The error when every plan is empty (contract 5.4, 5.5): 404 when policy removed all, 503 when live
/// state did and another moment may differ (F09). The last step that took something out is named.
#[must_use]
pub fn nothing_left(funnel: &Funnel) -> Error {
    let took = || STEPS.iter().zip(funnel.taken).filter(|(_, taken)| *taken > 0);
    let last = took().next_back().map(|(step, _)| step);
    let mut error = match last {
        None => Error::caller(404, "No endpoints found for the selected model."),
        Some(step) if step.exclusion.is_live() => {
            Error::weir(step.status, step.message).retry_after(Some(RETRY_AFTER_SECONDS))
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
        code: last.map_or("no_endpoints", |step| step.code),
        requested_models: funnel.models.clone(),
        excluded_by,
        funnel: funnel.steps().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::fixture;

    /// The refusal after endpoints were taken out for these reasons.
    fn refused(exclusions: &[Exclusion]) -> Error {
        let endpoint = fixture::endpoint("a", 1);
        let excluded = exclusions.iter().copied().enumerate().collect();
        let mut funnel = Funnel::default();
        let plan = Plan { excluded, ..Plan::default() };
        funnel.add(&Arc::from("author/model"), &Needs::default(), &plan, |_| Some(&endpoint));
        nothing_left(&funnel)
    }

    #[test]
    fn policy_gives_404_with_the_contracts_words() {
        let cases = [
            (Exclusion::NotAllowed, "No allowed providers are available for the selected model."),
            (Exclusion::Zdr, "No endpoints found matching your data policy ("),
            (Exclusion::DataPolicy, "No endpoints found matching your data policy ("),
        ];
        for (exclusion, start) in cases {
            let error = refused(&[Exclusion::Dormant, exclusion]);
            assert_eq!((error.status, error.retryable), (404, false));
            assert!(error.message.starts_with(start), "{}", error.message);
        }
    }

    #[test]
    fn the_step_that_emptied_the_plan_is_named_and_the_funnel_told() {
        let error = refused(&[Exclusion::Zdr, Exclusion::NotAllowed, Exclusion::NotAllowed]);
        assert!(error.message.contains("data policy"), "{}", error.message);
        let availability = error.availability.unwrap();
        assert_eq!(availability.code, "privacy_restricted");
        assert_eq!(availability.excluded_by, ["allowed_providers", "data_policy:zdr"]);
        assert_eq!(availability.funnel, [("candidates", 3), ("not_allowed", 1), ("zdr", 0)]);
        assert_eq!(availability.requested_models, [Arc::from("author/model")]);
    }

    #[test]
    fn live_state_gives_503_and_when_to_come_back() {
        for live in [Exclusion::Cooling, Exclusion::Down, Exclusion::Ejected] {
            let error = refused(&[Exclusion::NotAllowed, live]);
            assert_eq!(
                (error.status, error.retryable, error.retry_after),
                (503, true, Some(RETRY_AFTER_SECONDS))
            );
            assert_eq!(error.availability.unwrap().code, "temporarily_unavailable");
        }
    }

    #[test]
    fn an_empty_pool_is_not_found() {
        assert_eq!(refused(&[]).status, 404);
    }

    #[test]
    fn too_long_a_prompt_is_the_callers_400() {
        let error = refused(&[Exclusion::ContextLength]);
        assert_eq!((error.status, error.kind), (400, ErrorType::ContextLengthExceeded));
    }

    #[test]
    fn every_exclusion_has_a_step() {
        for (exclusion, label) in Exclusion::ALL {
            assert_eq!(exclusion.as_str(), label);
            let error = refused(&[exclusion]);
            assert_eq!(error.availability.unwrap().funnel.last(), Some(&(label, 0)));
        }
        let mut codes: Vec<u8> = STEPS.iter().map(|step| step.exclusion as u8).collect();
        codes.sort_unstable();
        assert!(codes.into_iter().eq(0..19), "each exclusion stands once");
    }
}
