use super::*;
use crate::selection::{Facts, fixture};

/// The refusal after endpoints were taken out for these reasons.
fn refused(exclusions: &[Exclusion]) -> Error {
    let each = exclusions.iter().map(|exclusion| (*exclusion, Facts::default()));
    refused_of(&each.collect::<Vec<_>>())
}

fn refused_of(exclusions: &[(Exclusion, Facts)]) -> Error {
    let endpoint = fixture::endpoint("a", 1);
    let candidate = |(_, facts): &(_, Facts)| Candidate { endpoint: &endpoint, facts: *facts };
    let candidates: Vec<_> = exclusions.iter().map(candidate).collect();
    let excluded = exclusions.iter().map(|(exclusion, _)| *exclusion).enumerate().collect();
    let mut funnel = Funnel::default();
    let plan = Plan { excluded, ..Plan::default() };
    funnel.add("author/model", &Needs::default(), &plan, &candidates);
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
    for (live, seconds) in [(Exclusion::Cooling, 1), (Exclusion::Down, RETRY_AFTER_SECONDS)] {
        let error = refused(&[Exclusion::NotAllowed, live]);
        assert_eq!((error.status, error.retryable, error.retry_after), (503, true, Some(seconds)));
        assert_eq!(error.availability.unwrap().code, "temporarily_unavailable");
    }
}

#[test]
fn the_earliest_end_of_a_cooldown_is_named_and_429_where_all_are_limited() {
    let cooling = |cooling_ms, limited| {
        let facts = Facts { cooling: true, cooling_ms, limited, ..Facts::default() };
        (Exclusion::Cooling, facts)
    };
    let error = refused_of(&[cooling(9_001, true), cooling(7_001, true)]);
    assert_eq!((error.status, error.retry_after), (429, Some(8)));
    assert_eq!(error.kind, ErrorType::RateLimitExceeded);
    let availability = error.availability.unwrap();
    assert_eq!(availability.code, "capacity_exhausted");
    assert_eq!(availability.affected_providers.len(), 1, "each once");
    let error = refused_of(&[cooling(9_001, true), cooling(60_000, false)]);
    assert_eq!((error.status, error.retry_after), (503, Some(10)));
}

#[test]
fn an_empty_pool_is_not_found() {
    assert_eq!(refused(&[]).status, 404);
}

#[test]
fn too_long_a_prompt_is_the_callers_400() {
    let error = refused(&[Exclusion::ContextLength]);
    assert_eq!((error.status, error.kind), (400, ErrorType::ContextLengthExceeded));
    assert!(error.availability.unwrap().code.is_empty(), "no code of the contract is a 400 here");
}

#[test]
fn status_type_and_code_are_those_of_the_contracts_table() {
    for (exclusion, _) in Exclusion::ALL {
        let error = refused(&[exclusion]);
        let wanted = match error.availability.unwrap().code {
            "" => (400, ErrorType::ContextLengthExceeded),
            "no_endpoints" | "privacy_restricted" | "constraint_filtered" => {
                (404, ErrorType::NotFound)
            }
            "capacity_exhausted" => (429, ErrorType::RateLimitExceeded),
            "temporarily_unavailable" => (503, ErrorType::ProviderOverloaded),
            code => panic!("{code}"),
        };
        assert_eq!((error.status, error.kind), wanted, "{exclusion:?}");
    }
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
