//! Replies that are no streams.

use super::*;

const BODY: &str = r#"{"id":"c1","object":"chat.completion","created":5,"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning_content":"r"},"finish_reason":"eos","logprobs":null}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}}}"#;

#[test]
fn a_whole_body_is_read_then_passes() {
    let result = every_way(&reply(Face::Faithful, false), BODY);
    assert_eq!((&*result.out, result.terminal), (BODY, true));
    let usage = result.sheet.usage.unwrap();
    assert_eq!((usage.prompt(), usage.get(Kind::CacheRead), usage.completion()), (9, 4, 2));
    assert_eq!(result.sheet.finish, Some((Finish::Stop, "eos".into())));
    let shaped = every_way(&reply(Face::OpenRouter, false), BODY);
    assert_eq!(shaped.sheet, result.sheet);
    insta::assert_snapshot!(shaped.out, @r#"{"id":"gen-1","object":"chat.completion","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"message":{"refusal":null,"role":"assistant","content":"Hi","reasoning":"r"},"finish_reason":"stop","native_finish_reason":"eos","logprobs":null}],"system_fingerprint":null,"service_tier":"default","usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0000018,"is_byok":false,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000135,"upstream_inference_completions_cost":0.0000003},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}"#);
}

#[test]
fn whole_and_streamed_make_the_same_row() {
    let whole = every_way(
        &reply(Face::Faithful, false),
        &BODY.replace("eos", "stop").replace(r#","reasoning_content":"r""#, ""),
    );
    let streamed = every_way(
        &reply(Face::Faithful, true),
        &hello().replace("\"total_tokens\":11", "\"prompt_tokens_details\":{\"cached_tokens\":4}"),
    );
    assert_eq!(whole.sheet, streamed.sheet);
}

#[test]
fn an_embedding_body_has_its_own_usage() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let reply = Reply { operation: Operation::Embedding, ..reply(Face::OpenRouter, false) };
    insta::assert_snapshot!(every_way(&reply, body).out, @r#"{"id":"gen-1","object":"list","provider":"P","model":"a/m","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8,"cost":0.00000135}}"#);
}

#[test]
fn a_body_that_is_no_reply_is_told_apart() {
    let cases = [
        ("", true, false, None),
        (" \n", true, false, None),
        ("<html></html>", true, true, None),
        ("{\"choices\":[", true, true, None),
        ("[1]", true, true, None),
        ("{\"hello\":1}", true, true, None),
        (r#"{"error":{"message":"m","code":429}}"#, false, false, Some(429)),
        (r#"{"error":"m","choices":[]}"#, false, false, Some(502)),
        (r#"{"choices":[]}"#, true, false, None),
        (r#"{"object":"error","message":"m","code":400}"#, false, false, Some(400)),
    ];
    for (body, empty, malformed, fault) in cases {
        for face in [Face::Faithful, Face::OpenRouter] {
            let result = every_way(&reply(face, false), body);
            assert_eq!((result.empty, result.malformed), (empty, malformed), "{body}");
            assert_eq!(result.fault.map(|fault| fault.status), fault, "{body}");
            let passes = malformed && face == Face::Faithful;
            assert_eq!(result.out, if passes { body } else { "" });
        }
    }
}

#[test]
fn partial_content_with_an_error_in_its_choice_passes() {
    let body = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"error","error":{"code":502}}]}"#;
    let result = every_way(&reply(Face::Faithful, false), body);
    assert_eq!((&*result.out, result.fault), (body, None));
}

#[test]
fn a_body_past_the_bound_passes_with_its_usage_read_from_the_tail() {
    let tail = r#"","usage":"x"},"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    for length in [WHOLE_REPLY_BYTES, WHOLE_REPLY_BYTES + 1] {
        let head = r#"{"data":[1],"z":{"p":""#;
        let body = [head, &"A".repeat(length - head.len() - tail.len()), tail].concat();
        for sizes in [&[usize::MAX][..], &[65_536]] {
            let result = run(reply(Face::Faithful, false), &body, sizes);
            assert!(result.out == body && result.terminal);
            assert_eq!(result.sheet.usage.unwrap().prompt(), 8);
        }
    }
}

/// Wherever its members stand, its caller is told what it cost; what is inside of them leaves as it came.
#[test]
fn a_body_past_the_bound_has_the_members_of_openrouter() {
    let filler = "7,".repeat(WHOLE_REPLY_BYTES / 2);
    let data = format!(r#""data":[{{"object":"embedding","index":0,"embedding":[{filler}7]}}]"#);
    let usage = r#""usage":{"prompt_tokens":8,"total_tokens":8}"#;
    let own = r#""object":"list","model":"up","id":"e""#;
    let cases: [([&str; 3], &[usize]); 3] = [
        ([own, &data, usage], &[usize::MAX]),
        ([usage, own, &data], &[65_536]),
        ([&data, usage, own], &[WHOLE_REPLY_BYTES, 3]),
    ];
    for (members, sizes) in cases {
        let body = format!("{{{}}}\n", members.join(", "));
        let operation = Operation::Embedding;
        let result = run(Reply { operation, ..reply(Face::OpenRouter, false) }, &body, sizes);
        assert!(result.terminal && result.out.contains(&data));
        assert_eq!(result.sheet.usage.unwrap().prompt(), 8);
        let shown: serde_json::Value = serde_json::from_str(&result.out).unwrap();
        assert_eq!((&shown["id"], &shown["provider"]), (&"gen-1".into(), &"P".into()));
        assert_eq!((&shown["model"], &shown["usage"]["prompt_tokens"]), (&"a/m".into(), &8.into()));
        assert_eq!(shown["usage"]["cost"].to_string(), "0.00000135");
    }
    for said in ["", r#","service_tier":"default""#] {
        let body = format!(r#"{{"choices":[],"pad":"{filler}"{said}}}"#);
        let out = run(reply(Face::OpenRouter, false), &body, &[usize::MAX]).out;
        assert_eq!(out.matches(r#""service_tier":"default""#).count(), 1);
    }
    let cut = run(reply(Face::OpenRouter, false), &format!("{{{data}"), &[usize::MAX]);
    assert!(!cut.terminal && cut.sheet.unreadable);
}

#[test]
fn usage_is_looked_for_in_the_held_tail_only() {
    let usage = r#""usage":{"prompt_tokens":8}"#;
    let after = USAGE_TAIL_BYTES - usage.len() - r#","z":""}"#.len();
    for (length, found) in [(after, true), (after + 1, false)] {
        let tail = format!(r#"{usage},"z":"{}"}}"#, "A".repeat(length));
        let head = format!(r#"{{"data":["{}"],"#, "A".repeat(WHOLE_REPLY_BYTES));
        let result = run(reply(Face::Faithful, false), &(head + &tail), &[100_000]);
        assert_eq!((result.sheet.usage.is_some(), result.sheet.unreadable), (found, !found));
    }
}

/// A caller on `/api/v1` that asked for a stream gets one, also of an upstream that does not stream.
#[test]
fn a_whole_reply_to_who_reads_a_stream_is_one_event_of_it() {
    let reply = || Reply { chunks: true, ..reply(Face::OpenRouter, false) };
    let body = r#"{"id":"c","object":"chat.completion","created":9,"model":"m","choices":[{"index":0,
        "message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#;
    let found = every_way(&reply(), body);
    let events: Vec<_> = found.out.split_terminator("\n\n").collect();
    let [first, usage, "data: [DONE]"] = &events[..] else { panic!("{events:?}") };
    let read = |event: &str| -> serde_json::Value {
        serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()
    };
    assert!(!first.contains('\n'), "{first}");
    let (first, usage) = (read(first), read(usage));
    assert_eq!((&first["created"], &usage["created"]), (&9.into(), &9.into()));
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(first["choices"][0]["delta"]["content"], "hi");
    assert_eq!(first["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["usage"]["total_tokens"], 6);
    assert!(found.terminal);
    let calls = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},
        {"id":"b","function":{"name":"g","arguments":"{\"index\":7}"},"index":null},{},
        {"id":"c","index":9}]},"finish_reason":"tool_calls"}]}"#;
    let found = every_way(&reply(), calls);
    let first = read(found.out.split("\n\n").next().unwrap());
    let calls = first["choices"][0]["delta"]["tool_calls"].as_array().unwrap();
    let told: Vec<_> = calls.iter().map(|call| (&call["index"], &call["type"])).collect();
    let function = serde_json::Value::from("function");
    let number = |at: u64| serde_json::Value::from(at);
    let places = [0, 1, 2, 9].map(number);
    assert_eq!(told, places.iter().map(|at| (at, &function)).collect::<Vec<_>>());
    assert_eq!(calls[1]["function"]["arguments"], "{\"index\":7}");
}
