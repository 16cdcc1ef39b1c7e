use super::*;

fn fail(live: &Live, times: usize, now_ms: u64) {
    for _ in 0..times {
        live.record(Outcome::ServerError, now_ms, None);
    }
}

#[test]
fn in_flight_is_counted_until_the_guard_goes() {
    let live = Arc::new(Live::default());
    let first = live.enter();
    let second = live.enter();
    assert_eq!(live.facts(0).in_flight, 2);
    drop((first, second));
    assert_eq!(live.facts(0).in_flight, 0);
}

#[test]
fn a_429_cools_for_as_long_as_it_says_and_is_no_failure() {
    let live = Live::default();
    live.record(Outcome::RateLimited, 1_000, Some(7));
    assert!(live.facts(7_999).cooling);
    assert_eq!(live.cooling_ms(7_999), 1);
    assert!(live.facts(7_999).limited && live.facts(7_999).cooling_ms == 1);
    assert_eq!(live.facts(8_000), Facts::default());
    live.record(Outcome::RateLimited, 10_000, None);
    assert!(live.facts(14_999).cooling && !live.facts(15_000).cooling);
    for _ in 0..20 {
        live.record(Outcome::RateLimited, 20_000, Some(0));
    }
    assert_eq!(live.facts(21_000), Facts::default());
}

#[test]
fn a_shorter_cooldown_never_ends_a_longer_one() {
    let live = Live::default();
    live.record(Outcome::RateLimited, 0, Some(60));
    live.record(Outcome::RateLimited, 1_000, Some(1));
    assert!(live.facts(59_999).cooling);
}

#[test]
fn two_failures_in_a_row_give_a_short_cooldown_and_one_does_not() {
    let live = Live::default();
    fail(&live, 1, 0);
    assert!(!live.facts(0).cooling);
    fail(&live, 1, 100);
    assert!(live.facts(1_099).cooling && !live.facts(1_100).cooling);
}

#[test]
fn an_overload_that_names_a_time_cools_at_once() {
    let live = Live::default();
    live.record(Outcome::RateLimited, 0, Some(2));
    assert!(live.facts(0).limited);
    live.record(Outcome::ServerError, 0, Some(9));
    assert_eq!(live.cooling_ms(0), 9_000);
    assert!(!live.facts(0).limited, "the longer cooldown is for something else");
}

#[test]
fn three_failures_in_a_row_are_an_outage_for_thirty_seconds() {
    let live = Live::default();
    fail(&live, 2, 0);
    assert!(!live.facts(0).outage);
    fail(&live, 1, 0);
    assert!(live.facts(0).outage && live.facts(29_999).outage);
    assert!(!live.facts(30_000).outage);
}

#[test]
fn three_failures_in_a_row_across_more_than_thirty_seconds_are_none() {
    let live = Live::default();
    fail(&live, 2, 0);
    fail(&live, 1, 31_000);
    assert!(!live.facts(31_000).outage);
}

#[test]
fn under_half_good_of_five_is_an_outage_and_half_good_is_not() {
    let live = Live::default();
    let outcomes = [Outcome::Reset, Outcome::Ok, Outcome::Empty, Outcome::InBand, Outcome::Ok];
    for outcome in outcomes {
        assert!(!live.facts(0).outage);
        live.record(outcome, 0, None);
    }
    assert!(live.facts(0).outage, "two of five");
    live.record(Outcome::Ok, 0, None);
    assert!(!live.facts(0).outage, "three of six");
}

#[test]
fn five_failures_in_a_row_eject_longer_each_time_up_to_a_cap() {
    let live = Live::default();
    let mut now = 0;
    for times in 1..=12_u64 {
        fail(&live, 4, now);
        assert!(!live.facts(now).ejected);
        fail(&live, 1, now);
        let length = (30_000 * times).min(300_000);
        assert!(live.facts(now + length - 1).ejected, "ejection {times}");
        now += length;
        assert!(!live.facts(now).ejected, "ejection {times}");
    }
}

#[test]
fn failures_of_requests_already_in_flight_do_not_lengthen_an_ejection() {
    let live = Live::default();
    fail(&live, 500, 0);
    assert!(!live.facts(30_000).ejected);
    fail(&live, 5, 30_000);
    assert!(live.facts(89_999).ejected && !live.facts(90_000).ejected);
}

#[test]
fn a_long_good_time_makes_the_next_ejection_a_first_one() {
    let live = Live::default();
    fail(&live, 5, 0);
    live.record(Outcome::Ok, 30_000 + 300_000, None);
    fail(&live, 5, 400_000);
    assert!(!live.facts(430_000).ejected);
}

#[test]
fn callers_credentials_and_addresses_never_count() {
    let live = Live::default();
    for (outcome, _) in Outcome::ALL {
        if !matches!(scope(outcome), Scope::Failure | Scope::Throttle) {
            for _ in 0..10 {
                live.record(outcome, 0, Some(60));
            }
        }
    }
    assert_eq!(live.facts(0), Facts::default());
}
