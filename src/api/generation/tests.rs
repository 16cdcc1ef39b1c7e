use super::*;
use crate::api::fixture::record;

fn data(rows: &[Record]) -> Value {
    let body: Value = serde_json::from_slice(&render(rows, |_| None).unwrap()).unwrap();
    body["data"].clone()
}

#[test]
fn a_delivered_generation_is_told_in_full() {
    let data = data(&[record()]);
    for (key, value) in [
        ("id", json!("gen-1")),
        ("upstream_id", json!("chatcmpl-9")),
        ("created_at", json!("2026-05-06T01:35:06.250Z")),
        ("session_id", json!("s-1")),
        ("external_user", Value::Null),
        ("http_referer", json!("https://app.example")),
        ("api_type", json!("completions")),
        ("streamed", json!(true)),
        ("cancelled", json!(false)),
        ("finish_reason", json!("stop")),
        ("native_finish_reason", json!("eos")),
        ("latency", json!(300)),
        ("generation_time", json!(1_200)),
        ("native_tokens_prompt", json!(22)),
        ("native_tokens_completion", json!(8)),
        ("native_tokens_reasoning", json!(3)),
        ("native_tokens_cached", json!(2)),
        ("is_byok", json!(false)),
    ] {
        assert_eq!(data[key], value, "{key}");
    }
}

#[test]
fn money_keeps_every_digit() {
    let mut row = record();
    row.charge = 123_456_789_000_000_000_001;
    let body = render(&[row], |_| None).unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(r#""total_cost":123456789.000000000001"#), "{text}");
    assert!(text.contains(r#""usage":123456789.000000000001"#), "{text}");
}

#[test]
fn the_delivered_attempt_leads_and_every_attempt_is_listed() {
    let mut failed = record();
    failed.intent.provider_name = "South".into();
    failed.outcome = Outcome::RateLimited;
    failed.status = 429;
    failed.committed = false;
    failed.first_content_us = None;
    failed.charge = 0;
    let mut served = record();
    served.intent.attempt = 2;
    served.started_us += 500_000;
    let data = data(&[served, failed]);
    assert_eq!((&data["provider_name"], &data["latency"]), (&json!("North"), &json!(800)));
    assert_eq!(data["generation_time"], 1_700);
    let listed = data["provider_responses"].as_array().unwrap();
    let statuses: Vec<_> = listed.iter().map(|row| row["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(429), Some(200)]);
    assert_eq!(listed[0]["provider_name"], "South");
    assert_eq!(listed[0]["latency"], Value::Null);
}

#[test]
fn without_a_delivered_attempt_the_last_one_leads() {
    let mut rows = [record(), record()];
    for (row, attempt) in rows.iter_mut().zip([2, 1]) {
        row.committed = false;
        row.intent.attempt = attempt;
        row.outcome = Outcome::ServerError;
    }
    rows[0].outcome = Outcome::ClientAbort;
    rows[0].status = 0;
    let data = data(&rows);
    assert_eq!(data["cancelled"], true);
    assert_eq!(data["provider_responses"][1]["status"], Value::Null);
}

#[test]
fn no_record_no_generation() {
    assert_eq!(render(&[], |_| None), None);
}

#[test]
fn the_discount_of_the_cache_is_what_its_tokens_cost_less() {
    let version = Arc::new(PriceVersion::parse("cache_read=250000 input=1000000").unwrap());
    let told = |row: Record, price: Option<&Arc<PriceVersion>>| {
        let body = render(&[row], |_| price.cloned()).unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        value["data"]["cache_discount"].to_string()
    };
    assert_eq!(told(record(), Some(&version)), "0.0000015");
    assert_eq!(told(record(), None), "null", "its price is not configured any more");
    let mut fresh = record();
    fresh.usage.set(Kind::CacheRead, 0);
    assert_eq!(told(fresh, Some(&version)), "null");
    let mut written = record();
    written.usage.set(Kind::CacheRead, 0);
    written.usage.set(Kind::CacheWrite5m, 4);
    let dear = Arc::new(PriceVersion::parse("cache_write_5m=1250000 input=1000000").unwrap());
    assert_eq!(told(written, Some(&dear)), "-0.000001");
}
