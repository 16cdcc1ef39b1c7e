use super::*;
use crate::outcome::Outcome;
use crate::request::route::Operation;
use crate::tools::Verdict;
use crate::usage::{Kind, Usage};
use std::collections::BTreeSet;

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

fn scrape(metrics: &Metrics) -> String {
    metrics.scrape(&LedgerDepth::default(), []).unwrap()
}

/// Name and label names of a sample line.
fn sample(line: &str) -> (String, Vec<String>) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), Vec::new());
    };
    let labels = labels.strip_suffix('}').unwrap();
    let names = labels.split("\",").map(|pair| pair.split_once("=\"").unwrap().0.to_owned());
    (name.to_owned(), names.filter(|name| name != "le").collect())
}

fn family_of(name: &str) -> &'static Family {
    let found = FAMILIES.iter().find(|family| {
        let histogram = family.kind == Type::Histogram;
        let stem = |suffix| name.strip_suffix(suffix) == Some(family.name);
        name == family.name || histogram && (stem("_bucket") || stem("_sum") || stem("_count"))
    });
    found.unwrap_or_else(|| panic!("{name} is not in FAMILIES"))
}

#[test]
fn every_family_follows_the_conventions() {
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        assert!(names.insert(family.name), "{} twice", family.name);
        assert!(family.name.starts_with("weir_"), "{}", family.name);
        assert_eq!(
            family.name.ends_with("_total"),
            family.kind == Type::Counter,
            "{}",
            family.name
        );
        assert!(family.help.ends_with('.') && family.help.len() > 20, "{}", family.name);
        if family.kind == Type::Histogram {
            assert!(family.name.ends_with("_seconds"), "{}", family.name);
            assert!(!family.labels.contains(&"endpoint"), "{}", family.name);
        }
    }
}

#[test]
fn the_exposition_is_valid_and_complete() {
    let metrics = metrics();
    metrics.endpoint("acme/small", "north").unwrap().first_token(Duration::from_millis(40));
    metrics.rule("010-block").unwrap().inc();
    let text = scrape(&metrics);
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, mut labels) = sample(line);
        let family = family_of(&name);
        let mut declared = family.labels.to_vec();
        declared.sort_unstable();
        labels.sort_unstable();
        assert_eq!(labels, declared, "{line}");
        seen.insert(family.name);
    }
    for family in FAMILIES {
        assert!(seen.contains(family.name), "{} has no sample", family.name);
        let kind = format!("{:?}", family.kind).to_lowercase();
        assert!(text.contains(&format!("# TYPE {} {kind}\n", family.name)));
        assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)));
    }
}

#[test]
fn counting_creates_no_series() {
    let metrics = metrics();
    let endpoint = metrics.endpoint("acme/small", "north").unwrap();
    let before = scrape(&metrics).lines().count();
    let mut usage = Usage::ZERO;
    for (kind, _) in Kind::ALL {
        usage.set(kind, 3);
    }
    endpoint.usage(&usage, 1_000);
    for (outcome, _) in Outcome::ALL {
        endpoint.attempt(outcome);
        assert_eq!(endpoint.provider_attempts(outcome), 1);
    }
    for scope in [CooldownScope::Endpoint, CooldownScope::Credential, CooldownScope::Address] {
        endpoint.cooldown(scope);
    }
    metrics.request(None, Ending::of_status(404));
    metrics.request(
        Some((Face::Faithful, Target::Inference(Operation::Embedding))),
        Ending::of_status(200),
    );
    metrics.added_latency(Face::OpenRouter, Duration::from_micros(70));
    metrics.excluded.inc(Exclusion::Dialect);
    let text = scrape(&metrics);
    assert_eq!(text.lines().count(), before);
    for line in [
        r#"weir_requests_total{face="other",operation="other",outcome="caller_fault"} 1"#,
        r#"weir_requests_total{face="faithful",operation="embedding",outcome="ok"} 1"#,
        r#"weir_excluded_total{reason="dialect"} 1"#,
        r#"weir_tokens_total{kind="reasoning",model="acme/small",provider="north"} 3"#,
        r#"weir_cost_picodollars_total{model="acme/small",provider="north"} 1000"#,
        r#"weir_added_latency_seconds_count{face="openrouter"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn handles_are_found_again_after_a_reload() {
    let metrics = metrics();
    let first = metrics.endpoint("acme/small", "north").unwrap();
    first.attempt(Outcome::Ok);
    let again = metrics.endpoint("acme/small", "north").unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let other_model = metrics.endpoint("acme/large", "north").unwrap();
    other_model.attempt(Outcome::Ok);
    assert_eq!(first.provider_attempts(Outcome::Ok), 2);
}

#[test]
fn pairs_past_their_bound_share_one_handle() {
    let metrics = metrics();
    let of = |name: String| metrics.endpoint("m", &name).unwrap();
    let pairs: Vec<_> = (0..bounds::METRIC_PAIRS).map(|n| of(format!("p{n}"))).collect();
    let past = of("one-past".to_owned());
    assert!(Arc::ptr_eq(&past, &of("two-past".to_owned())));
    assert!(pairs.iter().all(|pair| !Arc::ptr_eq(pair, &past)));
    assert!(pairs.iter().enumerate().all(|(n, pair)| Arc::ptr_eq(pair, &of(format!("p{n}")))));
}

#[test]
fn rules_past_their_bound_share_one_counter() {
    let metrics = metrics();
    for n in 0..bounds::METRIC_RULES {
        metrics.rule(&format!("r{n}")).unwrap();
    }
    assert!(!scrape(&metrics).contains(r#"rule="other""#));
    metrics.rule("one-past").unwrap().inc();
    metrics.rule("two-past").unwrap().inc();
    let text = scrape(&metrics);
    assert!(text.contains(r#"weir_rule_hits_total{rule="other"} 2"#));
    assert!(!text.contains("past"));
}

#[test]
fn every_kind_of_refused_body_has_its_label() {
    for kind in BadJson::values() {
        assert_eq!(BadJson::of_kind(kind).text(), kind);
    }
    assert_eq!(BadJson::of_kind("made up by a caller"), BadJson::Syntax);
}

#[test]
fn the_ledger_is_shown_as_it_is_at_the_scrape() {
    let metrics = metrics();
    let mut depth = LedgerDepth {
        slots: 101,
        slots_used: 102,
        spool_rows: 103,
        spool_bytes: 104,
        spool_oldest_seconds: 105,
        rows_total: 106,
        recovered_attempts_total: 107,
        sink_errors_total: 108,
        refused_total: 109,
        duplicates_total: 110,
        conflicts_total: 111,
        lost_total: 112,
        torn_bytes_total: 113,
        spool_limit: 114,
        spool_alarm: 1,
        sinks_refusing: 2,
        unbilled_total: 115,
        io_errors_total: 116,
        dead_letters_total: 117,
    };
    let text = metrics.scrape(&depth, []).unwrap();
    for line in [
        "weir_slots 101",
        "weir_sinks_refusing 2",
        "weir_slots_used 102",
        "weir_spool_rows 103",
        "weir_spool_bytes 104",
        "weir_spool_oldest_seconds 105",
        "weir_ledger_rows_total 106",
        "weir_recovered_attempts_total 107",
        "weir_sink_errors_total 108",
        "weir_ledger_refused_total 109",
        "weir_ledger_duplicates_total 110",
        "weir_ledger_conflicts_total 111",
        "weir_ledger_lost_total 112",
        "weir_ledger_torn_bytes_total 113",
        "weir_spool_limit_bytes 114",
        "weir_spool_alarm 1",
        "weir_unbilled_attempts_total 115",
        "weir_spool_io_errors_total 116",
        "weir_dead_letters_total 117",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    depth.rows_total += 2;
    depth.slots_used = 1;
    let text = metrics.scrape(&depth, []).unwrap();
    assert!(text.contains("weir_ledger_rows_total 108\n") && text.contains("weir_slots_used 1\n"));
}

#[test]
fn endpoint_states_are_counted_anew_at_each_scrape() {
    let metrics = metrics();
    let one = metrics.endpoint("m", "p").unwrap();
    let states = [
        (Arc::clone(&one), EndpointState::Available),
        (Arc::clone(&one), EndpointState::Available),
        (Arc::clone(&one), EndpointState::Cooling),
    ];
    let line =
        |state, n| format!(r#"weir_endpoints{{model="m",provider="p",state="{state}"}} {n}"#);
    let text = metrics.scrape(&LedgerDepth::default(), states).unwrap();
    assert!(text.contains(&line("available", 2)) && text.contains(&line("cooling", 1)));
    let text = metrics.scrape(&LedgerDepth::default(), [(one, EndpointState::Down)]).unwrap();
    assert!(text.contains(&line("available", 0)) && text.contains(&line("down", 1)));
}

#[test]
fn every_label_set_is_as_long_as_its_type() {
    for (exclusion, name) in Exclusion::ALL {
        assert_eq!(exclusion.text(), name);
    }
    for (outcome, name) in Outcome::ALL {
        assert_eq!(outcome.text(), name);
    }
    assert_eq!(Face::values().nth(Face::Faithful.index()), Some("faithful"));
    let embedding = Target::Inference(Operation::Embedding);
    assert_eq!(Target::values().nth(embedding.index()), Some(Operation::Embedding.as_str()));
    assert_eq!(Target::values().nth(Target::Generation.index()), Some("generation"));
    assert_eq!(Target::values().nth(Target::Preflight.index()), Some("preflight"));
}

/// The section of ARCHITECTURE.md, as it should be.
fn documentation() -> String {
    let code = |names: &[&str]| {
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(" ")
    };
    let mut text = "| metric | labels | meaning |\n|---|---|---|\n".to_owned();
    for Family { name, labels, help, .. } in FAMILIES {
        text += &format!("| `{name}` | {} | {help} |\n", code(labels));
    }
    text += "\n| label | of | values |\n|---|---|---|\n";
    let sets: [(&str, &str, Vec<&str>); 19] = [
        ("face", "requests", Face::values().collect()),
        ("operation", "requests", Target::values().collect()),
        ("outcome", "requests", Ending::values().collect()),
        ("outcome", "attempts", Outcome::values().collect()),
        ("kind", "tokens", Kind::values().collect()),
        ("state", "endpoints", EndpointState::values().collect()),
        ("scope", "cooldowns", CooldownScope::values().collect()),
        ("verdict", "tool_replies", Verdict::values().collect()),
        ("reason", "excluded", Exclusion::values().collect()),
        ("kind", "bad_request", BadRequest::values().collect()),
        ("kind", "bad_json", BadJson::values().collect()),
        ("answer", "failed_keys", FailedKey::values().collect()),
        ("kind", "h2_abuse", H2Abuse::values().collect()),
        ("phase", "client_abort", Phase::values().collect()),
        ("phase", "inband_error", Phase::values().collect()),
        ("cap", "conn_refused", ConnectionCap::values().collect()),
        ("cap", "requests_shed", RequestCap::values().collect()),
        ("deadline", "deadlines", Deadline::values().collect()),
        ("result", "reload", Reload::values().collect()),
    ];
    for (label, of, values) in sets {
        text += &format!("| `{label}` | `{of}` | {} |\n", code(&values));
    }
    text
}

#[test]
fn every_metric_is_documented() {
    let page = include_str!("../../ARCHITECTURE.md");
    let wanted = documentation();
    assert!(page.contains(&wanted), "ARCHITECTURE.md, Metrics, should read:\n\n{wanted}");
}
