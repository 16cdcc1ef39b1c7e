//! Reasoning that the caller asked not to see.

use super::*;
use serde_json::{Value, json};

const HIDDEN: [&str; 3] = [
    r#""reasoning":"abc""#,
    r#""reasoning_content":"abc""#,
    r#""reasoning_details":[{"type":"reasoning.text","text":"abc"}]"#,
];

fn hiding(streamed: bool) -> Reply {
    Reply { hides_reasoning: true, ..reply(Face::OpenRouter, streamed) }
}

#[test]
fn no_delta_shows_it_and_all_of_it_is_counted() {
    for hidden in HIDDEN {
        for members in [
            hidden.to_owned(),
            format!(r#"{hidden} , "content":"x""#),
            format!(r#""content":"x",{hidden},"refusal":null"#),
            format!(r#"{hidden},"reasoning":null,"content":null"#),
        ] {
            // The second is read by the template of the first.
            let second = delta(&members.replace("abc", "\\\"defg"));
            let body = [&*delta(&members), &second, &finish("stop"), DONE].concat();
            let result = every_way(&hiding(true), &body);
            let shown = every_way(&reply(Face::OpenRouter, true), &body);
            assert!(shown.out.contains("defg"), "{}", shown.out);
            assert_eq!(result.sheet, shown.sheet, "{members}");
            let events = result.out.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
            for event in events.filter(|data| *data != "[DONE]") {
                let event: Value = serde_json::from_str(event).unwrap();
                let delta = event["choices"][0]["delta"].as_object().unwrap();
                assert!(delta.keys().all(|key| !key.starts_with("reasoning")), "{event}");
                assert!(delta["content"].is_string() && delta["role"] == "assistant", "{event}");
            }
        }
    }
}

#[test]
fn no_message_shows_it() {
    for hidden in HIDDEN {
        for members in [format!(r#"{hidden},"content":"x""#), format!(r#""content":"x",{hidden}"#)]
        {
            let body =
                format!(r#"{{"choices":[{{"message":{{{members}}},"finish_reason":"stop"}}]}}"#);
            let result = every_way(&hiding(false), &body);
            let shown: Value = serde_json::from_str(&result.out).unwrap();
            let expected = json!({"role": "assistant", "content": "x", "refusal": null});
            assert_eq!(shown["choices"][0]["message"], expected);
            assert_eq!(result.sheet.delivered.0[0], 4);
        }
    }
}

#[test]
fn the_faithful_face_shows_it() {
    let body = [&*delta(HIDDEN[0]), &finish("stop"), DONE].concat();
    let reply = Reply { hides_reasoning: true, ..reply(Face::Faithful, true) };
    assert_eq!(every_way(&reply, &body).out, body);
}

/// Contract 3.11: what its caller cannot see commits a reply to nothing, however much of it comes.
#[test]
fn hidden_reasoning_releases_nothing() {
    let (mut relay, mut result) = (Relay::new(hiding(true)), Result::default());
    let first = push(&mut relay, delta(HIDDEN[0]).as_bytes(), false, &mut result);
    assert!(first.begun && !first.content && first.event);
    for hidden in HIDDEN {
        let more = delta(&format!("{ROLE},{hidden}")).repeat(HELD_BYTES / 100);
        let step = push(&mut relay, more.as_bytes(), false, &mut result);
        assert!(step.out.is_none() && !step.begun && !relay.has_content());
    }
    assert!(relay.is_between_events(), "a comment may stand there");
    assert_eq!(result.sheet.delivered.0[0], 3 + 9 * (HELD_BYTES / 100) as u64);
    push(&mut relay, b"data: {\"error\":{\"code\":503}}\n\n", false, &mut result);
    assert_eq!((result.fault.unwrap().status, &*result.out), (503, ""));
}

#[test]
fn what_stands_beside_hidden_reasoning_leaves_and_an_event_of_nothing_else_does_not() {
    let annotations = r#""annotations":[{"type":"url_citation"}]"#;
    let beside = delta(&format!("{},{annotations}", HIDDEN[0]));
    let spoken = delta(r#""content":"x""#);
    let body = [&*delta(HIDDEN[0]), &beside, &spoken, &delta(HIDDEN[1]), &finish("stop"), DONE];
    let out = every_way(&hiding(true), &body.concat()).out;
    assert_eq!(out.matches("data: {").count(), 4, "with the last, of usage: {out}");
    assert!(out.contains(annotations));
}

#[test]
fn hidden_reasoning_and_no_reason_to_end_are_no_reply() {
    let body = [&*delta(HIDDEN[0]), DONE].concat();
    assert!(every_way(&hiding(true), &body).empty);
    assert!(
        !every_way(&hiding(true), &[&*delta(HIDDEN[0]), &finish("length"), DONE].concat()).empty
    );
}
