//! Errors inside a stream, and streams that are cut.

use super::*;

#[test]
fn an_error_event_before_content_lets_nothing_out() {
    let events = [
        (r#"data: {"error":{"message":"slow down","code":429}}"#, 429),
        (r#"data: {"error":{"message":"slow down","type":"overloaded_error","code":529}}"#, 503),
        ("event: error\ndata: {\"message\":\"slow down\",\"status\":500}", 500),
        (r#"data: {"object":"error","message":"slow down","code":400}"#, 400),
        (
            r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"message":"slow down"}}]}"#,
            502,
        ),
    ];
    for (event, status) in events {
        for reply in [reply(Face::Faithful, true), injected(), reply(Face::OpenRouter, true)] {
            let result = every_way(&reply, &format!("{}{event}\n\n{DONE}", delta(ROLE)));
            let fault = result.fault.unwrap();
            assert_eq!((fault.status, &*fault.message), (status, "slow down"), "{event}");
            assert_eq!((&*result.out, result.terminal, result.empty), ("", false, false));
        }
    }
}

#[test]
fn content_beside_an_error_is_no_content_before_any_other() {
    let error = r#""error":{"message":"slow down","code":429}"#;
    let word = r#""choices":[{"index":0,"delta":{"content":"x"}}]"#;
    let streams =
        [format!("data: {{{error},{word}}}\n\n"), format!("event: error\ndata: {{{word}}}\n\n")];
    let whole = format!(r#"{{{error},"data":[{{"embedding":[1]}}]}}"#);
    for face in [Face::Faithful, Face::OpenRouter] {
        for (streamed, body) in [(true, &streams[0]), (true, &streams[1]), (false, &whole)] {
            let (mut relay, mut result) = (Relay::new(reply(face, streamed)), Result::default());
            let step = push(&mut relay, body.as_bytes(), true, &mut result);
            assert!(result.fault.is_some(), "{body}");
            assert!(!step.content && !relay.has_content() && step.out.is_none(), "{body}");
            assert!(result.sheet.delivered.is_empty(), "{body}");
        }
        // Behind content it is what the caller gets, and is counted.
        let after =
            run(reply(face, true), &(delta(r#""content":"Hi""#) + &streams[0]), &[usize::MAX]);
        assert!(after.fault.is_some() && !after.out.is_empty());
    }
}

#[test]
fn an_error_event_after_content_is_told_to_the_caller_and_ends_the_stream() {
    let event = "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":400}}\n\n";
    let body = [&*delta(r#""content":"Hi""#), event].concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((&*result.out, result.fault.unwrap().status, result.terminal), (&*body, 400, false));
    let result = every_way(&reply(Face::OpenRouter, true), &[&body, DONE].concat());
    let (_, last) = result.out.trim_end().rsplit_once("\n\ndata: ").unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["message"], "Provider returned error");
    assert_eq!(last["choices"][0]["finish_reason"], "error");
    assert_eq!(last["error"]["metadata"]["raw"], r#"{"message":"m","code":400}"#);
    assert!(!result.out.contains("[DONE]"));
}

#[test]
fn words_inside_content_are_no_members() {
    let body = [
        &*delta(
            r#""content":"\"usage\":{\"prompt_tokens\":1} \"error\":{} [DONE]\n\ndata: [DONE]""#,
        ),
        &delta(r#""tool_calls":[{"function":{"arguments":"{\"error\":{\"code\":500}}"}}]"#),
        &finish("stop"),
        DONE,
    ]
    .concat();
    let result = every_way(&reply(Face::Faithful, true), &body);
    assert_eq!((result.sheet.usage, result.fault, result.terminal), (None, None, true));
}

#[test]
fn the_last_event_of_a_cut_stream_stands_alone() {
    let error = Error::upstream(502, "Provider disconnected");
    let sent = delta(r#""content":"Hi""#);
    let cases = [
        (reply(Face::Faithful, true), sent.clone(), ""),
        (reply(Face::Faithful, true), sent.clone() + "data: {\"id\":\"c", "\n\n"),
        (reply(Face::Faithful, true), sent.clone() + "data: {}\n", "\n\n"),
        (injected(), sent.clone() + "data: {\"id\":\"c", ""),
        (reply(Face::OpenRouter, true), sent + "data: {\"id\":\"c", ""),
    ];
    for (reply, body, separator) in cases {
        let (mut relay, mut result) = (Relay::new(reply), Result::default());
        push(&mut relay, body.as_bytes(), false, &mut result);
        let last = String::from_utf8(relay.fail(&error).to_vec()).unwrap();
        let json =
            last.strip_prefix(separator).and_then(|text| text.strip_prefix("data: ")).unwrap();
        let json: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!((&json["id"], &json["error"]["code"]), (&"gen-1".into(), &502.into()));
        assert_eq!(json["choices"][0]["finish_reason"], "error");
        assert!(last.ends_with("}\n\n") && relay.fail(&error).is_empty());
    }
}

#[test]
fn a_stream_that_ends_in_an_event_is_no_terminal_and_its_half_is_set_apart() {
    let body = delta(r#""content":"Hi""#) + "data: {\"id\":\"c";
    let faithful = (&*body, "\n\ndata: {");
    let shaped = ("}\n\n", "data: {");
    for (reply, (sent, last)) in [
        (reply(Face::Faithful, true), faithful),
        (injected(), faithful),
        (reply(Face::OpenRouter, true), shaped),
    ] {
        let (mut relay, mut result) = (Relay::new(reply), Result::default());
        push(&mut relay, body.as_bytes(), false, &mut result);
        push(&mut relay, b"", true, &mut result);
        assert!(result.out.ends_with(sent) && !result.terminal && result.sheet.unreadable);
        assert!(relay.fail(&Error::upstream(502, "cut")).starts_with(last.as_bytes()));
    }
}
