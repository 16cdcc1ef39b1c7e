//! What leaves before and after content, and what counts as content.

use super::*;

#[test]
fn faithful_streams_pass_as_they_came() {
    let result = every_way(&reply(Face::Faithful, true), &hello());
    assert_eq!(result.out, hello());
    assert!(result.terminal && !result.empty && result.fault.is_none());
    let sheet = result.sheet;
    assert_eq!((sheet.usage.unwrap().prompt(), sheet.usage.unwrap().completion()), (9, 2));
    assert_eq!(sheet.finish, Some((Finish::Stop, "stop".into())));
    assert_eq!((sheet.id.as_str(), sheet.delivered.0[0]), ("c1", 2));
}

#[test]
fn only_the_usage_chunk_weir_asked_for_is_taken_out() {
    let less = hello().replace(&usage_chunk(), "");
    let result = every_way(&injected(), &hello());
    assert_eq!(result.out, less);
    assert_eq!(result.sheet.usage.unwrap().prompt(), 9);
    let crlf = every_way(&injected(), &hello().replace('\n', "\r\n"));
    assert_eq!(crlf.out, less.replace('\n', "\r\n"));
    let cr = every_way(&injected(), &hello().replace('\n', "\r"));
    assert_eq!(cr.out, less.replace('\n', "\r"));
    let riding = hello().replace(r#""choices":[],"#, r#""choices":[{"index":0,"delta":{}}],"#);
    assert_eq!(every_way(&injected(), &riding).out, riding);
    let null = hello().replace(r#"}}],"#, r#"}}],"usage":null,"#);
    assert_eq!(every_way(&injected(), &null).out, null.replace(&usage_chunk(), ""));
}

#[test]
fn nothing_leaves_before_content_and_everything_after_in_the_same_call() {
    for reply in [reply(Face::Faithful, true), injected(), reply(Face::OpenRouter, true)] {
        let (mut relay, mut result) = (Relay::new(reply), Result::default());
        let step = push(&mut relay, delta(ROLE).as_bytes(), false, &mut result);
        assert!(step.out.is_none() && step.event && !step.content && !relay.has_content());
        let step = push(&mut relay, b": note\n\n", false, &mut result);
        assert!(step.out.is_none() && !step.event);
        let step = push(&mut relay, delta(r#""content":"Hi""#).as_bytes(), false, &mut result);
        assert!(step.content && step.out.is_some() && relay.has_content());
        assert!(result.out.contains("assistant") && result.out.contains("Hi"));
        let step = push(&mut relay, delta(r#""content":"!""#).as_bytes(), false, &mut result);
        assert!(!step.content && step.out.is_some());
    }
}

#[test]
fn content_is_more_than_text() {
    let content = [
        r#""reasoning":"r""#,
        r#""reasoning_content":"r""#,
        r#""reasoning_details":[{"type":"reasoning.text","text":"r"}]"#,
        r#""refusal":"no""#,
        r#""tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]"#,
        r#""function_call":{"name":"f","arguments":""}"#,
        r#""audio":{"data":"AAAA"}"#,
        r#""images":[{"type":"image_url","image_url":{"url":"data:"}}]"#,
        r#""content":[{"type":"text","text":"x"}]"#,
    ];
    let none = [
        r#""role":"assistant""#,
        r#""content":"""#,
        r#""content":null,"tool_calls":[]"#,
        r#""reasoning":null,"reasoning_details":[]"#,
        r#""function_call":{"name":"","arguments":""},"audio":{"data":"","id":""}"#,
        r#""annotations":[{"x":"y"}]"#,
    ];
    for (cases, expected) in [(&content[..], true), (&none[..], false)] {
        for inside in cases {
            let mut relay = Relay::new(reply(Face::Faithful, true));
            let mut result = Result::default();
            let step = push(&mut relay, delta(inside).as_bytes(), false, &mut result);
            assert_eq!(step.content, expected, "{inside}");
        }
    }
}

#[test]
fn text_of_every_sort_is_counted_once() {
    let letters =
        |inside: &str| every_way(&reply(Face::Faithful, true), &delta(inside)).sheet.delivered.0[0];
    assert_eq!(letters(r#""content":"a\u0062c","refusal":"d""#), 4);
    assert_eq!(letters(r#""reasoning":"abc","reasoning_content":"abc""#), 3);
    assert_eq!(letters(r#""reasoning":"","reasoning_details":[{"type":"t","text":"abc"}]"#), 3);
    assert_eq!(
        letters(r#""tool_calls":[{"id":"x","function":{"name":"f","arguments":"{\"a\""}}]"#),
        2
    );
    assert_eq!(letters(r#""audio":{"data":"AAAA","transcript":"ab"}"#), 2);
    assert_eq!(
        letters(r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"ab"}]}]"#),
        2
    );
}

#[test]
fn a_call_of_a_tool_is_counted_where_its_name_is() {
    let calls = [
        r#""tool_calls":[{"function":{"name":"f","arguments":""}},{"function":{"name":"g"}}]"#,
        r#""tool_calls":[{"function":{"arguments":"{\"name\":1}"}}]"#,
        r#""function_call":{"name":"","arguments":"x"}"#,
    ];
    let body: String = calls.iter().map(|inside| delta(inside)).collect();
    assert_eq!(every_way(&reply(Face::Faithful, true), &body).sheet.delivered.0[7], 2);
}

#[test]
fn a_reply_without_content_that_finished_is_released_at_its_end() {
    let quiet = [&*delta(ROLE), &finish("stop"), &usage_chunk(), DONE].concat();
    let result = every_way(&reply(Face::Faithful, true), &quiet);
    assert_eq!((&*result.out, result.empty, result.terminal), (&*quiet, false, true));
    let undone = [delta(ROLE), finish("stop")].concat();
    let result = every_way(&reply(Face::Faithful, true), &undone);
    assert_eq!((&*result.out, result.empty, result.terminal), (&*undone, false, true));
}

#[test]
fn a_200_with_nothing_in_it_is_empty() {
    let role_only = delta(ROLE);
    for (body, malformed) in
        [("", false), (": ping\n\n: ping\n\n", false), (DONE, false), (&*role_only, false)]
    {
        for face in [Face::Faithful, Face::OpenRouter] {
            let result = every_way(&reply(face, true), body);
            assert_eq!((result.empty, result.malformed), (true, malformed), "{body}");
            assert_eq!(result.out, "");
        }
    }
}

#[test]
fn what_is_no_event_stream_is_malformed() {
    for body in
        ["<html>\n<body>no</body>", "{\"choices\":[]}", "data: hello\n\n", "data: {\"x\":1\n\n"]
    {
        let faithful = every_way(&reply(Face::Faithful, true), body);
        assert_eq!((faithful.empty, faithful.malformed, &*faithful.out), (true, true, body));
        let shaped = every_way(&reply(Face::OpenRouter, true), body);
        assert_eq!((shaped.empty, shaped.malformed, &*shaped.out), (true, true, ""));
    }
}

#[test]
fn content_nested_past_the_depth_is_not_counted() {
    for (depth, letters) in [(8, 1), (9, 0)] {
        let nested = format!("{}\"x\"{}", "[".repeat(depth), "]".repeat(depth));
        let result = every_way(
            &reply(Face::Faithful, true),
            &[delta(r#""content":"!""#), delta(&format!(r#""content":{nested}"#))].concat(),
        );
        assert_eq!(result.sheet.delivered.0[0], letters, "{depth}");
    }
}
