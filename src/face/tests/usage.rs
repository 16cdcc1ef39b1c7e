//! Which report counts.

use super::*;

#[test]
fn the_last_valid_report_wins_and_odd_ones_are_flagged() {
    let usage = |text: &str| chunk(&format!(r#""choices":[],"usage":{text}"#));
    let good = r#"{"prompt_tokens":5,"completion_tokens":3}"#;
    let more = r#"{"prompt_tokens":5,"completion_tokens":8}"#;
    let cases = [
        (vec![good, more], 8, false, false),
        (vec![more, good], 8, true, false),
        (vec![good, "null", "{}"], 3, false, false),
        (vec![good, r#"{"prompt_tokens":-5,"completion_tokens":9}"#], 3, true, false),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":"9"}"#], 3, true, false),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":9.5}"#], 3, true, false),
        (
            vec![good, r#"{"prompt_tokens":5,"completion_tokens":1000000000000000000}"#],
            3,
            true,
            false,
        ),
        (vec![good, r#"{"prompt_tokens":5,"completion_tokens":1000000001}"#], 3, true, false),
        (
            vec![r#"{"prompt_tokens":5,"completion_tokens":1000000000}"#],
            1_000_000_000,
            false,
            false,
        ),
        (vec![good, "[1]"], 3, false, true),
        (
            vec![good, r#"{"prompt_tokens":5,"completion_tokens":9,"total_tokens":99}"#],
            9,
            true,
            false,
        ),
    ];
    for (reports, completion, suspect, unreadable) in cases {
        let events: String = reports.iter().map(|text| usage(text)).collect();
        let body = [&*delta(r#""content":"Hi""#), &events, DONE].concat();
        let sheet = every_way(&reply(Face::Faithful, true), &body).sheet;
        assert_eq!(sheet.usage.unwrap().completion(), completion, "{reports:?}");
        assert_eq!((sheet.suspect, sheet.unreadable), (suspect, unreadable), "{reports:?}");
    }
}

#[test]
fn an_unreadable_event_passes_and_is_flagged() {
    let body = [&*delta(r#""content":"Hi""#), "data: {\"usage\":{\"prompt_tok\n\n", DONE].concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((&*result.out, result.sheet.unreadable, result.sheet.usage), (&*body, true, None));
}

#[test]
fn usage_in_an_unfinished_last_event_counts() {
    let body = [delta(r#""content":"Hi""#), usage_chunk().trim_end().to_owned()].concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((&*result.out, result.sheet.usage.unwrap().prompt()), (&*body, 9));
}

#[test]
fn searches_and_predictions_are_shown_where_the_upstream_tells_of_them() {
    let shown = |more: &str, streamed: bool| -> serde_json::Value {
        let usage = format!(r#""usage":{{"prompt_tokens":5,"completion_tokens":3{more}}}"#);
        let choice = r#"{"message":{"content":"x"},"finish_reason":"stop"}"#;
        let body = if streamed {
            [&*delta(r#""content":"x""#), &chunk(&format!(r#""choices":[],{usage}"#)), DONE]
                .concat()
        } else {
            format!(r#"{{"choices":[{choice}],{usage}}}"#)
        };
        let out = every_way(&reply(Face::OpenRouter, streamed), &body).out;
        let events: Vec<&str> = out.trim_end().split("\n\n").collect();
        let last = if streamed { &events[events.len() - 2][6..] } else { &*out };
        serde_json::from_str::<serde_json::Value>(last).unwrap()["usage"].clone()
    };
    for streamed in [true, false] {
        let none = shown("", streamed);
        assert!(none.get("server_tool_use_details").is_none());
        assert!(none["completion_tokens_details"].get("accepted_prediction_tokens").is_none());
        for name in ["server_tool_use", "server_tool_use_details"] {
            let searched = shown(&format!(r#","{name}":{{"web_search_requests":3}}"#), streamed);
            let expected = serde_json::json!({"web_search_requests": 3});
            assert_eq!(searched["server_tool_use_details"], expected);
        }
        let details = r#"{"reasoning_tokens":1,"accepted_prediction_tokens":2,"rejected_prediction_tokens":0}"#;
        let told = shown(&format!(r#","completion_tokens_details":{details}"#), streamed);
        let told = &told["completion_tokens_details"];
        assert_eq!(told["accepted_prediction_tokens"], 2);
        assert_eq!(
            (&told["rejected_prediction_tokens"], &told["reasoning_tokens"]),
            (&0.into(), &1.into())
        );
    }
}
