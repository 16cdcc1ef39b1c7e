//! Keys that are written with escapes mean what they mean without.

use super::*;
use serde_json::{Map, Value, json};

/// `value` as JSON; of its keys the letters are escaped for which the next of `escaped` says so.
fn written(value: &Value, escaped: &mut impl Iterator<Item = bool>) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| {
                let key: String = key
                    .chars()
                    .map(|letter| match escaped.next() {
                        Some(true) => format!("\\u{:04x}", u32::from(letter)),
                        _ => letter.to_string(),
                    })
                    .collect();
                format!("\"{key}\":{}", written(value, escaped))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| written(item, escaped)).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

/// Every event that leaves, read.
fn events(out: &str) -> Vec<Value> {
    let said = out.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    said.filter(|data| *data != "[DONE]").map(read).collect()
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Members of these, one by one or not.
fn some_of(members: Value) -> impl Strategy<Value = Value> {
    let Value::Object(members) = members else { panic!("an object: {members}") };
    let members: Vec<_> = members.into_iter().collect();
    let count = members.len();
    prop::sample::subsequence(members, 0..=count)
        .prop_shuffle()
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

fn message() -> impl Strategy<Value = Value> {
    let call =
        json!({"index": 0, "id": "c", "type": null, "function": {"name": "f", "arguments": "{}"}});
    some_of(json!({
        "role": "assistant", "content": "x", "refusal": null, "reasoning_content": "r",
        "reasoning_details": [{"type": "reasoning.text", "text": "r"}], "audio": null,
        "tool_calls": [call],
    }))
    .prop_flat_map(|message| {
        let reasoning = prop::sample::select(vec![None, Some(json!(null)), Some(json!("s"))]);
        (Just(message), reasoning).prop_map(|(mut message, reasoning)| {
            if let Some(reasoning) = reasoning {
                message["reasoning"] = reasoning;
            }
            message
        })
    })
}

proptest! {
    #[test]
    fn any_key_may_be_escaped(
        part in prop::sample::select(vec!["delta", "message", "text"]),
        message in message(),
        choice in some_of(json!({
            "index": 1, "finish_reason": "eos", "native_finish_reason": "x", "logprobs": null,
            "usage": {"prompt_tokens": 1},
        })),
        around in some_of(json!({
            "id": "i", "object": "o", "created": 5, "model": "m", "provider": "p", "error": null,
            "system_fingerprint": "f", "x_groq": {"usage": {"prompt_tokens": 2}}, "obfuscation": "pad",
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
        })),
        escaped in prop::collection::vec(any::<bool>(), 1..40),
        streamed in any::<bool>(),
    ) {
        let (mut choice, mut document) = (choice, around);
        choice[part] = if part == "text" { json!("x") } else { message };
        document["choices"] = json!([choice]);
        let shaped = |json: &str| {
            let body = if streamed { format!("data: {json}\n\n{DONE}") } else { json.to_owned() };
            let out = every_way(&reply(Face::OpenRouter, streamed), &body).out;
            match streamed {
                true => events(&out),
                // Nothing comes of a reply with nothing in it.
                false => Some(&*out).filter(|out| !out.is_empty()).map(read).into_iter().collect(),
            }
        };
        let plain = shaped(&document.to_string());
        let other = written(&document, &mut escaped.into_iter().cycle());
        prop_assert_eq!(plain, shaped(&other), "{}", other);
    }
}
