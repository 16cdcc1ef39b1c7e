//! What strict clients refuse, on its way through `/api/v1`: nulls where they know none, and what they
//! require and upstreams leave out.

use super::{DONE, delta, every_way, reply};
use crate::face::Reply;
use crate::request::route::{Face, Operation};
use serde_json::{Value, json};

/// The first event of a stream of this one, as it leaves.
fn shaped(event: &Value) -> Value {
    let body = format!("data: {event}\n\n{}{DONE}", delta(r#""content":"more""#));
    let out = every_way(&reply(Face::OpenRouter, true), &body).out;
    let first = out.split("\n\n").next().unwrap();
    serde_json::from_str(first.strip_prefix("data: ").unwrap()).unwrap_or_else(|error| {
        panic!("{error}: {first}");
    })
}

fn whole(operation: Operation, body: &Value) -> Value {
    let reply = Reply { operation, ..reply(Face::OpenRouter, false) };
    serde_json::from_str(&every_way(&reply, &body.to_string()).out).unwrap()
}

#[test]
fn a_delta_keeps_no_null_that_strict_clients_do_not_know() {
    let nulls = ["audio", "tool_calls", "function_call", "role"];
    // Every place of the nulls among other members: first, last, between, alone.
    for pattern in 0..16_u32 {
        for kept in 0..3_usize {
            let mut delta = String::new();
            let mut put = |member: &str| {
                let separator = if delta.is_empty() { "" } else { " , " };
                delta = format!("{delta}{separator}{member}");
            };
            for (place, null) in nulls.iter().enumerate() {
                if place == kept {
                    put(r#""content" : "hi""#);
                }
                if pattern & 1 << place != 0 {
                    put(&format!(r#""{null}" : null"#));
                }
            }
            let text = format!(
                "data: {{\"system_fingerprint\":null,\"choices\":[{{\"index\":0,\"delta\":{{ {delta} }}}}]}}\n\n{DONE}"
            );
            let out = every_way(&reply(Face::OpenRouter, true), &text).out;
            let first = out.split("\n\n").next().unwrap().strip_prefix("data: ").unwrap();
            let event: Value = serde_json::from_str(first).unwrap();
            assert_eq!(
                event["choices"][0]["delta"],
                json!({"role": "assistant", "content": "hi"}),
                "{first}"
            );
            assert!(event.get("system_fingerprint").is_none(), "{first}");
        }
    }
}

#[test]
fn nulls_that_openrouter_sends_itself_stay() {
    let event = json!({"choices": [{"index": 0, "delta":
        {"role": "assistant", "content": "", "refusal": null, "reasoning": "r"}}]});
    assert_eq!(shaped(&event)["choices"][0]["delta"], event["choices"][0]["delta"]);
    let message = json!({"role": "assistant", "content": null, "refusal": null, "reasoning": null});
    let body = json!({"choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}]});
    assert_eq!(whole(Operation::Chat, &body)["choices"][0]["message"], message);
}

#[test]
fn tool_calls_lose_their_nulls_and_whole_ones_say_their_type() {
    let call = json!({"index": 0, "id": null, "type": null,
                      "function": {"name": null, "arguments": "{\"a\":null}"}});
    let delta = shaped(&json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}));
    let function = json!({"arguments": "{\"a\":null}"});
    assert_eq!(
        delta["choices"][0]["delta"]["tool_calls"],
        json!([{"index": 0, "function": function}])
    );
    let calls = json!([{"id": "c", "function": function}, {"id": "d", "type": "custom"}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls, "audio": null});
    let body =
        json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]});
    let message = whole(Operation::Chat, &body)["choices"][0]["message"].clone();
    assert_eq!(
        message,
        json!({"role": "assistant", "content": null, "refusal": null, "reasoning": null, "tool_calls": [
            {"id": "c", "function": function, "type": "function"}, {"id": "d", "type": "custom"}]})
    );
}

#[test]
fn a_choice_has_what_its_kind_holds() {
    let filtered =
        json!({"choices": [{"index": 0, "finish_reason": "content_filter", "message": null}]});
    let choice = whole(Operation::Chat, &filtered)["choices"][0].clone();
    let nothing = json!({"role": "assistant", "content": "", "refusal": null, "reasoning": null});
    assert_eq!(choice["message"], nothing);
    assert_eq!(choice["finish_reason"], "content_filter");
    let event =
        shaped(&json!({"choices": [{"index": 0, "delta": null, "content_filter_offsets": {}}]}));
    assert_eq!(event["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(event["choices"][0]["finish_reason"], Value::Null);
}

#[test]
fn a_whole_reply_always_has_a_fingerprint_and_every_reply_its_object() {
    let chat = |extra: &str| -> Value {
        let body = format!(r#"{{"choices":[{{"index":0,"message":{{"content":"x"}}}}]{extra}}}"#);
        whole(Operation::Chat, &serde_json::from_str(&body).unwrap())
    };
    assert_eq!(chat("")["system_fingerprint"], Value::Null);
    assert_eq!(chat(r#","system_fingerprint":null"#)["system_fingerprint"], Value::Null);
    assert_eq!(chat(r#","system_fingerprint":"fp""#)["system_fingerprint"], "fp");
    assert!(chat("").as_object().unwrap().contains_key("system_fingerprint"));
    assert_eq!(chat(r#","object":"""#)["object"], "chat.completion");
    let text = whole(Operation::Completion, &json!({"choices": [{"index": 0, "text": "x"}]}));
    assert_eq!(text["object"], "text_completion");
    assert!(text.get("system_fingerprint").is_none());
    let chunk =
        shaped(&json!({"object": "", "choices": [{"index": 0, "delta": {"content": "x"}}]}));
    assert_eq!(chunk["object"], "chat.completion.chunk");
}

#[test]
fn a_choice_without_a_number_for_its_index_has_that_of_its_place() {
    let choices = |event: &Value| -> Vec<Value> {
        event["choices"].as_array().unwrap().iter().map(|choice| choice["index"].clone()).collect()
    };
    for (part, shape) in [
        ("delta", shaped as fn(&Value) -> Value),
        ("message", |event| whole(Operation::Chat, event)),
    ] {
        let some = |index: Value| json!({"index": index, part: {"content": "x"}});
        let cases = [
            (json!([{part: {"content": "x"}}]), json!([0])),
            (json!([{}, {part: {"content": "x"}}, {"finish_reason": "stop"}]), json!([0, 1, 2])),
            (
                json!([some(json!(3)), some(json!(null)), some(json!("0")), some(json!(-1))]),
                json!([3, 1, 2, 3]),
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(json!(choices(&shape(&json!({"choices": given})))), expected, "{given}");
        }
    }
    let text = whole(Operation::Completion, &json!({"choices": [{"text": "x"}, {"text": "y"}]}));
    assert_eq!(choices(&text), [json!(0), json!(1)]);
}

#[test]
fn an_event_without_choices_is_shown_to_nobody_and_its_usage_counts() {
    let word = delta(r#""content":"more""#);
    let bare = every_way(&reply(Face::OpenRouter, true), &format!("{word}{DONE}"));
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":1}"#;
    for (event, counted) in [
        (r#"{"type":"ping"}"#.to_owned(), false),
        (r#"{"id":"x","choices":null,"created":5}"#.to_owned(), false),
        (r#"{"choices":{},"created":5}"#.to_owned(), false),
        ("{}".to_owned(), false),
        (format!("{{{usage}}}"), true),
        (format!(r#"{{"choices":null,{usage}}}"#), true),
    ] {
        let body = format!("{word}data: {event}\n\n{DONE}");
        let result = every_way(&reply(Face::OpenRouter, true), &body);
        assert_eq!(result.sheet.usage.map(|usage| usage.prompt()), counted.then_some(3), "{event}");
        assert_eq!(result.out.matches("data: ").count(), 3, "{event}: {}", result.out);
        assert!(counted || result.out == bare.out, "{event}");
        assert_eq!(every_way(&reply(Face::Faithful, true), &body).out, body);
    }
}

#[test]
fn a_message_has_every_member_that_openrouter_gives_it() {
    let choice =
        |choice: Value| whole(Operation::Chat, &json!({"choices": [choice]}))["choices"][0].clone();
    let call =
        json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let called = choice(json!({"message": {"tool_calls": call}, "finish_reason": "tool_calls"}));
    let message = json!({"role": "assistant", "content": null, "refusal": null, "reasoning": null,
        "tool_calls": call});
    let full = json!({"index": 0, "message": message, "finish_reason": "tool_calls",
        "native_finish_reason": "tool_calls", "logprobs": null});
    assert_eq!(called, full);
    let given = json!({"index": 0, "message": {"role": "assistant", "content": "x", "refusal": "no",
        "reasoning": "r"}, "finish_reason": "stop", "native_finish_reason": "s", "logprobs": {}});
    assert_eq!(choice(given.clone()), given);
    let text = whole(Operation::Completion, &json!({"choices": [{"text": "x"}]}));
    assert_eq!(text["choices"][0]["logprobs"], Value::Null);
}

#[test]
fn a_delta_has_a_string_for_its_content() {
    let call = json!([{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]);
    for delta in [json!({"content": null, "tool_calls": call}), json!({"tool_calls": call})] {
        let event = shaped(&json!({"choices": [{"index": 0, "delta": delta}]}));
        let expected = json!({"role": "assistant", "content": "", "tool_calls": call});
        assert_eq!(event["choices"][0]["delta"], expected, "{delta}");
    }
}

#[test]
fn a_null_is_no_reasoning_beside_another_name_of_it() {
    let null = r#""reasoning":null"#;
    let other = r#""reasoning_content":"r""#;
    for members in [format!("{null},{other}"), format!("{other},{null}"), other.to_owned()] {
        for (part, streamed) in [("delta", true), ("message", false)] {
            let json = format!(r#"{{"choices":[{{"index":0,"{part}":{{{members}}}}}]}}"#);
            let event: Value = serde_json::from_str(&json).unwrap();
            // A map would hide the order that is tested here.
            let body = if streamed { format!("data: {json}\n\n{DONE}") } else { json.clone() };
            let out = every_way(&reply(Face::OpenRouter, streamed), &body).out;
            assert_eq!(out.matches(r#""reasoning":"r""#).count(), 1, "{event}: {out}");
            assert!(!out.contains(null) && !out.contains("reasoning_content"), "{event}: {out}");
        }
    }
}

#[test]
fn a_part_by_the_wrong_name_gets_the_right_one_unless_both_are_there() {
    let message = json!({"role": "assistant", "content": "x"});
    let event = shaped(&json!({"choices": [{"index": 0, "message": message}]}));
    assert_eq!(event["choices"][0]["delta"], message);
    let body = whole(Operation::Chat, &json!({"choices": [{"index": 0, "delta": message}]}));
    assert_eq!(body["choices"][0]["message"]["content"], "x");
    assert!(
        body["choices"][0].get("delta").is_none() && event["choices"][0].get("message").is_none()
    );
    // Perplexity sends what came so far beside what is new.
    let so_far = json!({"role": "assistant", "content": "so far"});
    for choice in [
        json!({"index": 0, "delta": message, "message": so_far}),
        json!({"index": 0, "delta": null, "message": message}),
    ] {
        let event = shaped(&json!({"choices": [choice]}));
        assert_eq!(event["choices"][0]["delta"], message);
    }
}
