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
        {"role": "assistant", "content": null, "refusal": null, "reasoning": "r"}}]});
    assert_eq!(shaped(&event)["choices"][0]["delta"], event["choices"][0]["delta"]);
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
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "function": function, "type": "function"}, {"id": "d", "type": "custom"}]})
    );
}

#[test]
fn a_choice_has_what_its_kind_holds() {
    let filtered =
        json!({"choices": [{"index": 0, "finish_reason": "content_filter", "message": null}]});
    let choice = whole(Operation::Chat, &filtered)["choices"][0].clone();
    assert_eq!(choice["message"], json!({"role": "assistant", "content": ""}));
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
