use super::*;
use crate::error::{ErrorType, Origin, RETRY_AFTER_SECONDS};
use proptest::prelude::*;

fn at(model: usize, candidate: usize) -> Option<Choice> {
    Some(Choice { model, candidate })
}

fn yes() -> bool {
    true
}

/// Runs to the end with one outcome for every try, and returns the tries.
fn run(attempts: &mut Attempts, outcome: Outcome, status: u16) -> Vec<Choice> {
    let mut tried = Vec::new();
    while let Some(choice) = attempts.next(yes) {
        tried.push(choice);
        attempts.failed(outcome, status, None);
        assert!(tried.len() <= TRIES_PER_REQUEST);
    }
    tried
}

#[test]
fn every_status_has_one_meaning() {
    let cases: [(&[u16], Verdict); 6] = [
        (&[200, 201, 206], Verdict::Deliver),
        (&[400, 404, 413, 415, 422, 424, 451], Verdict::Fail(Outcome::ClientFault)),
        (&[401, 402, 403], Verdict::Fail(Outcome::Credential)),
        (&[429], Verdict::Fail(Outcome::RateLimited)),
        (&[408, 409, 425, 500, 502, 503, 504, 524, 529, 599], Verdict::Fail(Outcome::ServerError)),
        (&[0, 101, 301, 307, 405, 410, 418, 600], Verdict::Fail(Outcome::Malformed)),
    ];
    for (statuses, verdict) in cases {
        for status in statuses {
            assert_eq!(classify_status(*status), verdict, "{status}");
        }
    }
}

#[test]
fn the_same_host_is_asked_again_after_a_pause_that_chance_spreads() {
    let mut attempts = Attempts::new(vec![(0..6).collect()]);
    assert_eq!(attempts.backoff(0.5), Duration::ZERO, "nothing has failed");
    for (outcome, _) in Outcome::ALL {
        attempts.failed(outcome, 0, None);
        let waits = matches!(outcome, Outcome::ServerError | Outcome::InBand);
        let longest = if waits { RETRY_BACKOFF } else { Duration::ZERO };
        assert_eq!(attempts.backoff(1.0), longest, "{outcome:?}");
        assert_eq!(attempts.backoff(0.0), Duration::ZERO);
    }
    assert!(RETRY_BACKOFF <= Duration::from_millis(250));
}

#[test]
fn an_endpoint_that_is_spared_costs_no_retry_and_leaves_503() {
    let mut attempts = Attempts::new(vec![vec![0, 1]]);
    assert_eq!(attempts.next(yes), at(0, 0));
    attempts.failed(Outcome::Throttled, 0, None);
    assert_eq!(attempts.next(|| false), at(0, 1), "the budget is for what was sent");
    attempts.failed(Outcome::Throttled, 0, None);
    assert_eq!(attempts.next(yes), None);
    let error = attempts.verdict("P");
    assert_eq!((error.status, error.retry_after.is_some()), (503, true));
}

#[test]
fn at_most_three_are_dispatched_per_model_and_then_the_next_model_is_tried() {
    let mut attempts = Attempts::new(vec![vec![4, 2, 0, 1, 3], vec![7]]);
    let tried = run(&mut attempts, Outcome::ServerError, 500);
    let expected = [(0, 4), (0, 2), (0, 0), (1, 7)];
    assert_eq!(tried, expected.map(|(model, candidate)| Choice { model, candidate }));
}

#[test]
fn what_never_connected_does_not_count() {
    let mut attempts = Attempts::new(vec![(0..6).collect()]);
    assert_eq!(run(&mut attempts, Outcome::Refused, 0).len(), 6);
    let error = attempts.verdict("P");
    assert_eq!((error.status, error.origin), (502, Origin::Upstream));
}

#[test]
fn tries_of_any_sort_end_at_their_bound() {
    let mut attempts = Attempts::new(vec![(0..100).collect()]);
    assert_eq!(run(&mut attempts, Outcome::Refused, 0).len(), TRIES_PER_REQUEST);
    assert_eq!(attempts.next(yes), None);
}

#[test]
fn a_client_fault_goes_to_no_other_endpoint_but_to_the_next_model() {
    let mut attempts = Attempts::new(vec![vec![0, 1], vec![], vec![5, 6]]);
    assert_eq!(attempts.next(yes), at(0, 0));
    attempts.failed(Outcome::ClientFault, 413, None);
    // The budget is not asked: nothing is repeated.
    assert_eq!(attempts.next(|| false), at(2, 5));
    attempts.failed(Outcome::ClientFault, 400, Some(3));
    assert_eq!(attempts.next(yes), None);
    let error = attempts.verdict("DeepInfra");
    assert_eq!((error.status, error.retryable, error.retry_after), (400, false, None));
    assert_eq!(error.upstream.unwrap().provider_name, "DeepInfra");
}

#[test]
fn nothing_tried_is_503() {
    for orders in [vec![], vec![vec![]], vec![vec![], vec![]]] {
        let mut attempts = Attempts::new(orders);
        assert_eq!(attempts.next(yes), None);
        assert_eq!((attempts.verdict("").status, attempts.tries()), (503, 0));
    }
    let mut attempts = Attempts::new(vec![vec![0, 1]]);
    run(&mut attempts, Outcome::Unresolved, 0);
    let error = attempts.verdict("P");
    assert_eq!((error.status, error.retry_after), (503, Some(RETRY_AFTER_SECONDS)));
}

#[test]
fn the_verdict_tells_what_all_tries_had_in_common() {
    use Outcome::{
        ConnectTimeout, Credential, FirstContentTimeout, IdleTimeout, RateLimited, ServerError,
    };
    type Case = (&'static [(Outcome, u16)], u16, ErrorType);
    let cases: [Case; 9] = [
        (&[(ServerError, 503), (ServerError, 529)], 503, ErrorType::ProviderOverloaded),
        (&[(ServerError, 503), (RateLimited, 429)], 503, ErrorType::ProviderOverloaded),
        (&[(RateLimited, 429), (RateLimited, 429)], 429, ErrorType::RateLimitExceeded),
        (&[(RateLimited, 429), (ServerError, 500)], 502, ErrorType::ProviderUnavailable),
        (&[(FirstContentTimeout, 0), (IdleTimeout, 200)], 504, ErrorType::Timeout),
        (&[(FirstContentTimeout, 0), (ServerError, 504)], 504, ErrorType::Timeout),
        (&[(FirstContentTimeout, 0), (RateLimited, 429)], 502, ErrorType::ProviderUnavailable),
        (&[(ConnectTimeout, 0)], 502, ErrorType::ProviderUnavailable),
        (&[(Credential, 401)], 502, ErrorType::ProviderUnavailable),
    ];
    for (failures, status, kind) in cases {
        let mut attempts = Attempts::new(vec![(0..failures.len()).collect()]);
        for (outcome, status) in failures {
            attempts.next(yes).unwrap();
            attempts.failed(*outcome, *status, None);
        }
        assert_eq!(attempts.next(yes), None);
        let error = attempts.verdict("P");
        assert_eq!((error.status, error.kind), (status, kind), "{failures:?}");
        assert_eq!(error.message, "Provider returned error");
    }
}

#[test]
fn the_earliest_time_to_come_back_is_named() {
    let mut attempts = Attempts::new(vec![vec![0, 1, 2]]);
    for retry_after in [Some(30), None, Some(7)] {
        attempts.next(yes).unwrap();
        attempts.failed(Outcome::RateLimited, 429, retry_after);
    }
    let error = attempts.verdict("P");
    assert_eq!((error.status, error.retry_after), (429, Some(7)));
}

#[test]
fn when_to_come_back_is_always_said_and_what_was_asked_for_too() {
    for (outcome, status) in [(Outcome::RateLimited, 429), (Outcome::ServerError, 503)] {
        for (asked, seconds) in [(None, RETRY_AFTER_SECONDS), (Some(0), 1), (Some(900), 300)] {
            let mut attempts = Attempts::new(vec![vec![0]]);
            attempts.next(yes).unwrap();
            attempts.failed(outcome, status, asked);
            let error = attempts.verdict("P");
            assert_eq!((error.status, error.retry_after), (status, Some(seconds)));
            assert_eq!(error.upstream.unwrap().retry_after, asked);
        }
    }
    let mut attempts = Attempts::new(vec![vec![0]]);
    run(&mut attempts, Outcome::Shutdown, 0);
    assert_eq!(attempts.verdict("P").retry_after, Some(RETRY_AFTER_SECONDS));
}

#[test]
fn a_spent_budget_ends_the_request_and_is_asked_for_retries_only() {
    let mut attempts = Attempts::new(vec![vec![0, 1]]);
    assert_eq!(attempts.next(|| panic!("a first try is free")), at(0, 0));
    attempts.failed(Outcome::ServerError, 503, None);
    assert_eq!(attempts.next(|| false), None);
    assert!(attempts.starved());
    assert_eq!(attempts.next(yes), None, "the end is final");
    assert_eq!(attempts.verdict("P").status, 503);
}

#[test]
fn the_budget_is_not_asked_when_nothing_is_left() {
    let mut attempts = Attempts::new(vec![vec![0]]);
    attempts.next(yes).unwrap();
    attempts.failed(Outcome::ServerError, 500, None);
    assert_eq!(attempts.next(|| panic!("nothing to retry")), None);
    assert!(!attempts.starved());
}

#[test]
fn no_try_follows_content_nor_an_end_that_is_nobodys_fault() {
    let mut attempts = Attempts::new(vec![vec![0, 1]]);
    attempts.next(yes).unwrap();
    attempts.commit();
    attempts.failed(Outcome::Truncated, 200, None);
    assert_eq!(attempts.next(yes), None);
    assert_eq!(attempts.last().map(|last| last.outcome), Some(Outcome::Truncated));
    for outcome in [Outcome::ClientAbort, Outcome::Shutdown, Outcome::Internal, Outcome::Ok] {
        let mut attempts = Attempts::new(vec![vec![0, 1]]);
        assert_eq!(run(&mut attempts, outcome, 0).len(), 1, "{outcome:?}");
    }
}

#[test]
fn a_stale_connection_is_replayed_once() {
    let mut attempts = Attempts::new(vec![vec![0]]);
    assert_eq!(attempts.next(yes), at(0, 0));
    attempts.failed(Outcome::Reset, 0, None);
    attempts.stay();
    assert_eq!(attempts.next(yes), at(0, 0));
    attempts.failed(Outcome::Reset, 0, None);
    attempts.stay();
    assert_eq!(attempts.next(yes), None);
}

#[test]
fn an_end_of_ours_is_not_blamed_on_the_provider() {
    for (outcome, status) in [(Outcome::Internal, 500), (Outcome::Shutdown, 503)] {
        let mut attempts = Attempts::new(vec![vec![0]]);
        run(&mut attempts, outcome, 0);
        let error = attempts.verdict("P");
        assert_eq!((error.status, error.origin), (status, Origin::Weir));
    }
}

#[test]
fn another_address_or_credential_is_tried_at_the_same_endpoint_but_not_for_ever() {
    let mut attempts = Attempts::new(vec![vec![3, 4]]);
    let mut tried = Vec::new();
    while let Some(choice) = attempts.next(yes) {
        tried.push(choice.candidate);
        attempts.failed(Outcome::Refused, 0, None);
        attempts.stay();
    }
    assert_eq!(tried, [3, 3, 3, 4, 4, 4]);

    for (order, expected) in [(vec![3, 4], vec![3, 3, 4]), (vec![3], vec![3, 3, 3])] {
        let mut attempts = Attempts::new(vec![order]);
        let mut tried = Vec::new();
        while let Some(choice) = attempts.next(yes) {
            tried.push(choice.candidate);
            attempts.failed(Outcome::Credential, 401, None);
            attempts.stay();
        }
        assert_eq!(tried, expected, "refused credentials leave a try to the next endpoint");
    }

    let mut attempts = Attempts::new(vec![vec![3, 4]]);
    attempts.next(yes).unwrap();
    attempts.failed(Outcome::ServerError, 500, None);
    attempts.stay();
    assert_eq!(attempts.next(yes), at(0, 4), "the endpoint itself was at fault");
}

proptest! {
    /// Whatever happens: at most three dispatched per model, in plan order, never back.
    #[test]
    fn bounds_hold_for_any_course(
        orders in prop::collection::vec(prop::collection::vec(0..9_usize, 0..9), 0..5),
        course in prop::collection::vec((0..Outcome::ALL.len(), any::<[bool; 2]>()), 0..200),
    ) {
        let mut attempts = Attempts::new(orders.clone());
        let mut dispatched = vec![0; orders.len()];
        let mut model = 0;
        let mut tries = 0;
        for (outcome, [stay, budget]) in course {
            let Some(choice) = attempts.next(|| budget) else { break };
            prop_assert!(choice.model >= model);
            prop_assert!(orders[choice.model].contains(&choice.candidate));
            model = choice.model;
            tries += 1;
            let outcome = Outcome::ALL[outcome].0;
            dispatched[model] += usize::from(outcome.dispatched());
            attempts.failed(outcome, 0, None);
            if stay {
                attempts.stay();
            }
        }
        prop_assert!(dispatched.iter().all(|count| *count <= ATTEMPTS_PER_MODEL));
        prop_assert_eq!(attempts.tries(), tries);
        prop_assert!(tries <= TRIES_PER_REQUEST);
    }
}
