//! Events and replies at their bounds and past them.

use super::*;

#[test]
fn what_follows_an_oversized_event_in_the_same_read_follows_it_in_the_reply() {
    let delta =
        |text: &str| chunk(&format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]"#));
    let large = format!("data: {}\n\n", "x".repeat(EVENT_BYTES));
    let body = format!("{}{large}{}data: [DONE]\n\n", delta("first"), delta("last"));
    for size in [usize::MAX, EVENT_BYTES, 1_000] {
        let out = run(reply(Face::OpenRouter, true), &body, &[size]).out;
        let places = ["first", &large, "last", "data: [DONE]"].map(|part| out.find(part));
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "in pieces of {size}: {places:?}"
        );
    }
}

#[test]
fn an_event_at_the_bound_is_read_and_one_past_it_passes_unread() {
    let frame = delta(r#""content":"""#).len();
    for (length, read) in [(EVENT_BYTES, true), (EVENT_BYTES + 1, false)] {
        let large = delta(&format!(r#""content":"{}""#, "x".repeat(length - frame)));
        assert_eq!(large.len(), length);
        let body = [&*delta(r#""content":"Hi""#), &large, &usage_chunk(), DONE].concat();
        for reply in [reply(Face::Faithful, true), injected()] {
            for sizes in [&[usize::MAX][..], &[16_384], &[7, 100_000]] {
                let result = run(reply.clone(), &body, sizes);
                let sheet = result.sheet;
                assert_eq!(sheet.unreadable, !read);
                assert_eq!(sheet.delivered.0[0], if read { length - frame + 2 } else { 2 } as u64);
                assert_eq!(sheet.usage.unwrap().prompt(), 9);
                let expected = if reply.injected_usage {
                    body.replace(&usage_chunk(), "")
                } else {
                    body.clone()
                };
                assert!(result.out == expected, "{length} in {sizes:?}");
            }
        }
    }
}

#[test]
fn what_follows_an_oversized_event_in_the_same_read_stays_behind_it() {
    let long = delta(&format!(r#""content":"{}""#, "x".repeat(EVENT_BYTES)));
    let result =
        every_way(&reply(Face::OpenRouter, true), &[&long, &*usage_chunk(), DONE].concat());
    let (first, rest) = result.out.split_once("\n\n").unwrap();
    assert!(first.len() > EVENT_BYTES && rest.starts_with("data: {") && rest.ends_with(DONE));
}

#[test]
fn a_line_without_end_flows_through() {
    let (mut relay, mut result) = (Relay::new(reply(Face::OpenRouter, true)), Result::default());
    let read = [b'x'; 32_768];
    push(&mut relay, b"data: ", false, &mut result);
    for _ in 0..64 {
        push(&mut relay, &read, false, &mut result);
    }
    assert_eq!((result.out.len(), relay.has_content()), (6 + 64 * read.len(), true));
    assert!(relay.fail(&Error::upstream(502, "cut")).starts_with(b"\n\ndata: {"));
}

#[test]
fn no_more_than_the_bound_is_held_before_content() {
    let ping = ": ping\n\n";
    for (count, released) in [(HELD_BYTES / ping.len(), false), (HELD_BYTES / ping.len() + 1, true)]
    {
        let result = run(injected(), &ping.repeat(count), &[4096]);
        assert_eq!((result.out.is_empty(), result.empty), (!released, !released), "{count}");
    }
}

#[test]
fn a_comment_has_no_place_in_an_event_too_long_to_be_held() {
    let mut relay = Relay::new(reply(Face::OpenRouter, true));
    let mut sheet = Sheet::default();
    let mut push = |bytes: Vec<u8>| {
        let out = relay.push(Some(bytes.into()), false, &mut sheet).out;
        (out.is_some(), relay.is_between_events())
    };
    assert_eq!(push(b"data: {\"choices\":[{\"index\":0,".to_vec()), (false, true), "held");
    assert_eq!(push(vec![b' '; EVENT_BYTES]), (true, false), "half sent");
    assert_eq!(push(b"\"delta\":{}}]}\n\n".to_vec()), (true, true));
    assert!(!Relay::new(reply(Face::OpenRouter, false)).is_between_events());
}

/// What is inside of its choices leaves as it came: a picture, say.
#[test]
fn an_event_past_the_bound_has_the_members_of_openrouter() {
    let url = format!("data:image/png;base64,{}", "A".repeat(EVENT_BYTES));
    let choices =
        format!(r#"[{{"index":0,"delta":{{"images":[{{"image_url":{{"url":"{url}"}}}}]}}}}]"#);
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#;
    for ending in ["\n", "\r\n", "\r"] {
        let large = format!(
            "event: x\ndata: {{\"id\":\"c\",\"model\":\"up\",\ndata:\"choices\":{choices},{usage}}}\n\n"
        );
        let body = [&*large, &finish("stop"), DONE].concat().replace('\n', ending);
        for sizes in [&[usize::MAX][..], &[16_384], &[7, 100_000]] {
            let result = run(reply(Face::OpenRouter, true), &body, sizes);
            let events: Vec<_> = result.out.split_terminator("\n\n").collect();
            let [first, _, _, "data: [DONE]"] = &events[..] else { panic!("{}", events.len()) };
            let first: serde_json::Value =
                serde_json::from_str(first.strip_prefix("data: ").unwrap()).unwrap();
            let members: Vec<_> = first.as_object().unwrap().keys().collect();
            assert_eq!(members, ["choices", "created", "id", "model", "object", "provider"]);
            assert_eq!((&first["id"], &first["model"]), (&"gen-1".into(), &"a/m".into()));
            assert_eq!(first["choices"].to_string().len(), choices.len());
            assert_eq!(result.sheet.usage.unwrap().prompt(), 9);
            assert!(result.terminal && result.sheet.unreadable);
        }
    }
}

#[test]
fn an_event_past_the_bound_that_is_cut_is_closed_and_one_behind_the_end_goes_nowhere() {
    let long = format!("data: {{\"choices\":[{}1]}}", "1,".repeat(EVENT_BYTES / 2));
    let cut = run(reply(Face::OpenRouter, true), &[&*finish("stop"), &long].concat(), &[65_536]);
    assert!(
        cut.out.ends_with(&format!("}}\n\n{DONE}"))
            && cut.out.contains("1],\"created\":5}\n\ndata: {")
    );
    let late = run(reply(Face::OpenRouter, true), &[&*hello(), &long, "\n\n"].concat(), &[65_536]);
    assert_eq!(late.out, every_way(&reply(Face::OpenRouter, true), &hello()).out);
    let comment = format!(": {}\n\n", "x".repeat(EVENT_BYTES));
    let silent = run(reply(Face::OpenRouter, true), &comment, &[65_536]);
    assert!(silent.empty && silent.out.is_empty() && !silent.sheet.unreadable);
}
