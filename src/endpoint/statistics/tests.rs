use super::*;
use crate::endpoint::{Scope, scope};

const GOOD: Sample = Sample {
    outcome: Outcome::Ok,
    status: 200,
    first_content_ms: Some(200),
    elapsed_ms: 2_000,
    output_tokens: 100,
    prompt_tokens: 1_000,
    cached_tokens: 0,
    cut_short: None,
};

fn facts(statistics: &Statistics, now_ms: u64) -> Facts {
    let mut facts = Facts::default();
    statistics.tell(&mut facts, now_ms);
    facts
}

fn is_near(found: u32, exact: u32) -> bool {
    f64::from(found.abs_diff(exact)) <= f64::from(exact) * crate::endpoint::histogram::ERROR
}

#[test]
fn nothing_known_says_nothing() {
    let statistics = Statistics::default();
    assert_eq!(facts(&statistics, 0), Facts::default());
    assert_eq!(statistics.report(0), Report::default());
}

#[test]
fn speed_is_told_at_its_percentiles_and_forgotten() {
    let statistics = Statistics::default();
    for n in 1..=100_u32 {
        let sample =
            Sample { first_content_ms: Some(n * 10), output_tokens: u64::from(n) * 2, ..GOOD };
        statistics.add(&sample, 0);
    }
    let known = facts(&statistics, 0);
    for (found, exact) in known.latency_ms.into_iter().zip([500, 750, 900, 990]) {
        assert!(is_near(found, exact), "{known:?}");
    }
    // From 1 to 100 tokens a second: half reach 50, 99 of a hundred reach 1.
    for (found, exact) in known.throughput.into_iter().zip([500, 250, 100, 10]) {
        assert!(is_near(found, exact), "{known:?}");
    }
    let later = 6 * MINUTE_MS;
    assert_eq!(facts(&statistics, later).latency_ms, [0; 4]);
    assert!(statistics.report(later).latency_30m.is_some());
    assert_eq!(statistics.report(36 * MINUTE_MS).latency_30m, None);
}

#[test]
fn what_comes_within_a_millisecond_is_not_unknown() {
    let statistics = Statistics::default();
    statistics.add(&Sample { first_content_ms: Some(0), ..GOOD }, 0);
    assert_eq!(facts(&statistics, 0).latency_ms, [1; 4]);
}

#[test]
fn what_selection_reads_is_a_second_old_at_most() {
    let statistics = Statistics::default();
    statistics.add(&GOOD, 0);
    assert_eq!(facts(&statistics, 0).attempts, 1);
    statistics.add(&GOOD, 1);
    assert_eq!(facts(&statistics, FRESH_MS - 1).attempts, 1);
    assert_eq!(facts(&statistics, FRESH_MS).attempts, 2);
}

#[test]
fn grades_need_a_hundred_attempts_and_have_the_contracts_borders() {
    let grade = |good: u32, bad: u32| {
        let statistics = Statistics::default();
        (0..good).for_each(|_| statistics.add(&GOOD, 0));
        let failed = Sample { outcome: Outcome::ServerError, status: 500, ..GOOD };
        (0..bad).for_each(|_| statistics.add(&failed, 0));
        facts(&statistics, 0).grade
    };
    assert_eq!(grade(0, 99), Grade::Normal);
    assert_eq!(grade(0, 100), Grade::Fallback);
    assert_eq!((grade(95, 5), grade(94, 6)), (Grade::Normal, Grade::Lower));
    assert_eq!((grade(80, 20), grade(79, 21)), (Grade::Lower, Grade::Fallback));
}

#[test]
fn callers_faults_and_rate_limits_do_not_count_and_404_does() {
    for (outcome, name) in Outcome::ALL {
        let sample = |status| Sample { outcome, status, ..GOOD };
        let counted = sample(400).counts().is_some();
        let meaning = outcome.meaning(400);
        let expected = !matches!(scope(meaning), Scope::Throttle | Scope::Nobody);
        assert_eq!(counted, expected, "{name}");
    }
    let fault = |status| Sample { outcome: Outcome::ClientFault, status, ..GOOD };
    assert_eq!((fault(404).counts(), fault(413).counts()), (Some(false), None));
    let inside = |status| Sample { outcome: Outcome::InBand, status, ..GOOD }.counts();
    assert_eq!([400, 404, 413, 451, 429].map(inside), [None, Some(false), None, None, None]);
    assert_eq!([401, 500, 502, 503].map(inside), [Some(false); 4]);
}

#[test]
fn shares_and_classes_are_reported() {
    let statistics = Statistics::default();
    statistics.add(&Sample { cached_tokens: 900, cut_short: Some(true), ..GOOD }, 0);
    statistics.add(&Sample { cut_short: Some(false), ..GOOD }, 0);
    statistics.add(&Sample { outcome: Outcome::RateLimited, status: 429, ..GOOD }, 0);
    statistics.add(&Sample { outcome: Outcome::Empty, ..GOOD }, 0);
    [true, false, false].into_iter().for_each(|good| statistics.judged(good, 0));
    let report = statistics.report(0);
    assert_eq!((report.cache_hits, report.tool_errors), (Some(500), Some(666)));
    assert_eq!(report.cut_short, Some(500));
    assert_eq!(report.errors, [1, 0, 0, 0, 0, 1]);
    let known = facts(&statistics, 0);
    assert_eq!((known.tool_replies, known.tool_errors), (3, 2));
    assert_eq!((known.finishes, known.cut_short), (2, 1));
    for (place, (class, _)) in ErrorClass::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, place);
    }
}

#[test]
fn what_is_saved_is_restored_by_another_clock() {
    let old = Statistics::default();
    let day = 24 * 60 * MINUTE_MS;
    for nth in (0..2_000_u64).rev() {
        let outcome = if nth % 7 == 0 { Outcome::Reset } else { Outcome::Ok };
        let first_content_ms = u32::try_from(nth % 900).ok();
        let cut_short = (nth % 3 == 0).then_some(nth % 2 == 0);
        old.add(&Sample { outcome, first_content_ms, cut_short, ..GOOD }, day - nth * 4_000);
    }
    let saved = old.save(day);
    for (now, gap) in [(0, 0), (7 * day, 0)] {
        let new = Statistics::default();
        new.restore(&saved, now, gap);
        assert_eq!(new.report(now), old.report(day));
        assert_eq!(facts(&new, now), facts(&old, day));
        assert_eq!(new.save(now), saved);
    }
    let new = Statistics::default();
    new.restore(&saved, 0, 40 * MINUTE_MS);
    let later = new.report(0);
    assert_eq!((later.latency_30m, later.cache_hits), (None, None));
    assert_eq!(later.uptime_1d, old.report(day).uptime_1d);
}

#[test]
fn hostile_counts_are_left_out() {
    let saved: Saved = serde_json::from_value(serde_json::json!({
        "latency": [[[u64::MAX, [[0, 1]]], [0, [[usize::MAX, 1], [5, u32::MAX], [5, 9]]]], []],
        "throughput": [[], []],
        "uptime": "+?é-",
        "attempts": [[0, u64::MAX, u64::MAX], [u64::MAX, 1, 1]],
        "cache": [], "tools": [], "errors": [[], [], []],
    }))
    .unwrap();
    let statistics = Statistics::default();
    statistics.restore(&saved, 0, u64::MAX);
    statistics.restore(&saved, 0, 0);
    let _ = (facts(&statistics, 0), statistics.report(0), statistics.save(0));
}
