//! What a caller is told when no endpoint is left to try.

use super::Exclusion;
use crate::error::{Error, ErrorType};

/// Seconds named in `Retry-After` when live state left nothing: a cooldown's usual length. A caller
/// of selection that knows the earliest end of a cooldown should name that instead.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// Steps in the order [`super::plan`] applies them, with what the caller is told of each. The last
/// step that took something out is the one that emptied the plan.
const STEPS: [(Exclusion, u16, &str); 7] = [
    (Exclusion::Dormant, 404, "No endpoints found for the selected model."),
    (Exclusion::Dialect, 404, "No endpoints found that support the requested API."),
    (Exclusion::NotAllowed, 404, "No allowed providers are available for the selected model."),
    (Exclusion::Ignored, 404, "No allowed providers are available for the selected model."),
    (Exclusion::DataPolicy, 404, "No endpoints found matching your data policy (Data collection)."),
    (Exclusion::Zdr, 404, "No endpoints found matching your data policy (Zero data retention)."),
    (
        Exclusion::ContextLength,
        400,
        "No endpoints found whose context length fits this request. Send a shorter prompt or a \
         smaller max_tokens.",
    ),
];

/// The error when a plan is empty (contract 5.5): 404 when policy removed all, 503 when live state
/// did and another moment may differ (F09).
#[must_use]
pub fn nothing_left(excluded: &[(usize, Exclusion)]) -> Error {
    let has = |kind: Exclusion| excluded.iter().any(|(_, exclusion)| *exclusion == kind);
    if excluded.iter().any(|(_, exclusion)| exclusion.is_live()) {
        return Error::weir(503, "No provider is available for the selected model right now.")
            .retry_after(Some(RETRY_AFTER_SECONDS));
    }
    let (status, message) = STEPS
        .iter()
        .rfind(|(kind, ..)| has(*kind))
        .map_or((404, "No endpoints found for the selected model."), |(_, s, m)| (*s, *m));
    let mut error = Error::caller(status, message);
    if status == 400 {
        error.kind = ErrorType::ContextLengthExceeded;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_gives_404_with_the_contracts_words() {
        let cases = [
            (Exclusion::NotAllowed, "No allowed providers are available for the selected model."),
            (Exclusion::Zdr, "No endpoints found matching your data policy ("),
            (Exclusion::DataPolicy, "No endpoints found matching your data policy ("),
        ];
        for (exclusion, start) in cases {
            let error = nothing_left(&[(0, Exclusion::Dormant), (1, exclusion)]);
            assert_eq!((error.status, error.retryable), (404, false));
            assert!(error.message.starts_with(start), "{}", error.message);
        }
    }

    #[test]
    fn the_step_that_emptied_the_plan_is_named() {
        let error = nothing_left(&[(0, Exclusion::Zdr), (1, Exclusion::NotAllowed)]);
        assert!(error.message.contains("data policy"), "{}", error.message);
    }

    #[test]
    fn live_state_gives_503_and_when_to_come_back() {
        for live in [Exclusion::Cooling, Exclusion::Down, Exclusion::Ejected] {
            let error = nothing_left(&[(0, Exclusion::NotAllowed), (1, live)]);
            assert_eq!(
                (error.status, error.retryable, error.retry_after),
                (503, true, Some(RETRY_AFTER_SECONDS))
            );
        }
    }

    #[test]
    fn an_empty_pool_is_not_found() {
        assert_eq!(nothing_left(&[]).status, 404);
    }

    #[test]
    fn too_long_a_prompt_is_the_callers_400() {
        let error = nothing_left(&[(0, Exclusion::ContextLength)]);
        assert_eq!((error.status, error.kind), (400, ErrorType::ContextLengthExceeded));
    }
}
