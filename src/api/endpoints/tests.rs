use super::*;
use crate::api::fixture::{endpoint, model};
use crate::catalog::DataPolicy;
use std::sync::Arc;

const REPORT: Report = Report {
    latency_30m: Some([200, 300, 400, 500]),
    throughput_30m: Some([805, 400, 200, 15]),
    uptime_5m: Some(1_000),
    uptime_30m: Some(995),
    uptime_1d: None,
    cache_hits: None,
    tool_errors: None,
    cut_short: None,
    errors: [0; 6],
};

fn served() -> Model {
    let prices = [
        (Kind::Input, 400_000),
        (Kind::Output, 800_000),
        (Kind::CacheRead, 100_000),
        (Kind::CacheWrite5m, 400_000),
    ];
    model("acme/small", vec![endpoint("north", prices, true)])
}

fn known(model: &Model, facts: Facts) -> Known<'_> {
    let endpoint = &model.endpoints[0];
    Known { model, endpoint, price: endpoint.price.at(0), facts, report: REPORT }
}

fn read(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn an_endpoint_has_every_field_of_the_contract() {
    let model = served();
    let facts = Facts { attempts: 12, ..Facts::default() };
    let body = read(&of_model(&model, &[known(&model, facts)], true));
    let data = &body["data"];
    assert_eq!((&data["id"], &data["name"]), (&json!("acme/small"), &json!("A model")));
    assert_eq!(data["architecture"]["modality"], "text+image->text");
    let latency = json!({ "p50": 200, "p75": 300, "p90": 400, "p99": 500 });
    let throughput = json!({ "p50": 80.5, "p75": 40.0, "p90": 20.0, "p99": 1.5 });
    let expected = json!({
        "name": "NORTH | acme/small", "model_id": "acme/small", "model_name": "A model",
        "context_length": 65_536, "provider_name": "NORTH", "tag": "north", "quantization": null,
        "pricing": { "prompt": "0.0000004", "completion": "0.0000008", "request": "0", "image": "0",
            "web_search": "0", "internal_reasoning": "0", "input_cache_read": "0.0000001",
            "discount": 0 },
        "max_completion_tokens": null, "max_prompt_tokens": null,
        "supported_parameters": ["temperature", "max_tokens", "north"], "status": 0,
        "uptime_last_5m": 100.0, "uptime_last_30m": 99.5, "uptime_last_1d": null,
        "latency_last_30m": latency, "throughput_last_30m": throughput,
        "perf_last_30m_by_workload": { "text_generation":
            { "latency": latency, "throughput": throughput, "request_count": 12 } },
        "supports_implicit_caching": true,
        "supports_tool_choice":
            { "auto": false, "function": false, "none": false, "required": false },
        "native_tools": {}, "service_tier": null, "supports_diarization": false,
        "supports_voice_cloning": false, "supports_image_reference": false,
        "supports_multiple_audio_references": false,
    });
    assert_eq!(data["endpoints"], json!([expected]));
}

#[test]
fn speed_is_for_askers_with_a_key() {
    let model = served();
    let body = read(&of_model(&model, &[known(&model, Facts::default())], false));
    let row = &body["data"]["endpoints"][0];
    assert_eq!(
        (&row["latency_last_30m"], &row["throughput_last_30m"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(row.get("perf_last_30m_by_workload"), None);
    assert_eq!(row["uptime_last_5m"], 100.0);
}

#[test]
fn the_worst_state_decides_the_status() {
    let good = Facts::default();
    for (facts, expected) in [
        (good, 0),
        (Facts { grade: Grade::Lower, ..good }, -1),
        (Facts { outage: true, grade: Grade::Fallback, ..good }, -2),
        (Facts { cooling: true, outage: true, ..good }, -3),
        (Facts { ejected: true, cooling: true, ..good }, -5),
        (Facts { down: true, ejected: true, ..good }, -10),
    ] {
        assert_eq!(status(&facts), expected, "{facts:?}");
    }
}

#[test]
fn what_retains_is_not_among_zero_retention() {
    let mut keeps = served();
    let endpoint = Arc::get_mut(&mut keeps.endpoints[0]).unwrap();
    endpoint.policy = DataPolicy { trains: false, retains: true };
    let model = served();
    let all = [known(&keeps, Facts::default()), known(&model, Facts::default())];
    let body = read(&zero_retention(all.into_iter(), false));
    assert_eq!(body["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["data"][0]["tag"], "north");
}

#[test]
fn caching_that_costs_to_write_must_be_asked_for() {
    let price = |write| {
        let unit = crate::price::complete(&[(Kind::Input, 4), (Kind::CacheRead, 1), write]);
        Rates::new(unit)
    };
    assert!(caches_by_itself(&price((Kind::CacheWrite5m, 4))));
    assert!(!caches_by_itself(&price((Kind::CacheWrite5m, 5))));
}
