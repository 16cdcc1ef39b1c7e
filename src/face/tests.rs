use super::*;
use crate::bounds::{EVENT_BYTES, HELD_BYTES, USAGE_TAIL_BYTES, WHOLE_REPLY_BYTES};
use crate::meter::Family;
use crate::price::{Policy, PriceVersion};
use crate::usage::{KINDS, Kind, Usage};
use proptest::prelude::*;

mod strict;

/// What a tally was told.
#[derive(Debug, Default, Clone, PartialEq)]
struct Sheet {
    usage: Option<Usage>,
    delivered: Delivered,
    finish: Option<(Finish, String)>,
    id: String,
    suspect: bool,
    unreadable: bool,
}

impl Tally for Sheet {
    fn reported(&mut self, usage: &Usage) {
        self.usage = Some(*usage);
    }
    fn delivered(&mut self, delivered: &Delivered) {
        self.delivered = *delivered;
    }
    fn finish(&mut self, finish: Finish, native: &str) {
        self.finish = Some((finish, native.to_owned()));
    }
    fn upstream_id(&mut self, id: &str) {
        self.id = id.to_owned();
    }
    fn suspect(&mut self) {
        self.suspect = true;
    }
    fn unreadable(&mut self) {
        self.unreadable = true;
    }
}

/// Everything a reply came to.
#[derive(Debug, Default, Clone, PartialEq)]
struct Result {
    bytes: Vec<u8>,
    out: String,
    sheet: Sheet,
    fault: Option<InBandFault>,
    empty: bool,
    malformed: bool,
    terminal: bool,
}

const ESTIMATOR: Estimator = Estimator::of(Family::Other);

fn reply(face: Face, streamed: bool) -> Reply {
    Reply {
        face,
        operation: Operation::Chat,
        dialect: Dialect::OpenAiChat,
        streamed,
        generation_id: "gen-1".into(),
        created: 7,
        model: "a/m".into(),
        provider: "P".into(),
        injected_usage: false,
        terms: Terms {
            version: Arc::new(PriceVersion::flat([150_000; KINDS])),
            started_us: 0,
            policy: Policy::Insured,
            earlier: 0,
        },
        routing: None,
        prompt_bytes: 100,
        estimator: ESTIMATOR,
        judged: false,
    }
}

fn injected() -> Reply {
    Reply { injected_usage: true, ..reply(Face::Faithful, true) }
}

fn push(relay: &mut Relay, read: &[u8], end: bool, result: &mut Result) -> Step {
    let mut step = relay.push(Some(Bytes::copy_from_slice(read)), end, &mut result.sheet);
    result.bytes.extend_from_slice(step.out.as_deref().unwrap_or_default());
    result.out = String::from_utf8_lossy(&result.bytes).into_owned();
    result.fault = result.fault.take().or(step.fault.take());
    result.empty |= step.empty;
    result.malformed |= step.malformed;
    result.terminal = relay.is_terminal();
    step
}

fn run(reply: Reply, body: &str, sizes: &[usize]) -> Result {
    let (mut relay, mut result) = (Relay::new(reply), Result::default());
    let mut rest = body.as_bytes();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (read, later) = rest.split_at((*size).clamp(1, rest.len()));
        push(&mut relay, read, false, &mut result);
        rest = later;
    }
    push(&mut relay, b"", true, &mut result);
    result
}

/// The result, which must not depend on how the body is cut.
fn every_way(reply: &Reply, body: &str) -> Result {
    let whole = run(reply.clone(), body, &[usize::MAX]);
    for sizes in [&[1][..], &[2], &[3, 1], &[7, 64]] {
        assert_eq!(whole, run(reply.clone(), body, sizes), "in pieces of {sizes:?}: {body}");
    }
    whole
}

fn chunk(inside: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"up\",{inside}}}\n\n"
    )
}

fn delta(inside: &str) -> String {
    chunk(&format!(r#""choices":[{{"index":0,"delta":{{{inside}}},"finish_reason":null}}]"#))
}

const ROLE: &str = r#""role":"assistant","content":"""#;
const DONE: &str = "data: [DONE]\n\n";

fn finish(reason: &str) -> String {
    chunk(&format!(r#""choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]"#))
}

fn usage_chunk() -> String {
    chunk(r#""choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#)
}

fn hello() -> String {
    [&*delta(ROLE), &delta(r#""content":"Hi""#), &finish("stop"), &usage_chunk(), DONE].concat()
}

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
fn openrouter_chunks_are_spliced() {
    let result = every_way(&reply(Face::OpenRouter, true), &hello());
    insta::assert_snapshot!(result.out, @r#"
data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"stop"}]}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0000018,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000135,"upstream_inference_completions_cost":0.0000003},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}

data: [DONE]
"#);
}

#[test]
fn openrouter_chunks_of_every_odd_shape() {
    let odd = [
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"prompt_filter_results\":[1]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"r\",\"extra\":1},\"index\":0}],\"x_groq\":{\"id\":\"q\",\"usage\":{\"prompt_tokens\":1}}}\r\n\r\n",
        "data: { \"usage\" : null , \"choices\" : [ { } ] , \"z\" : [ 1 , { \"usage\" : 2 } ] }\n\n",
        "data: {\"choices\":[{\"finish_reason\":\"MAX_TOKENS\",\"native_finish_reason\":\"x\",\"delta\":{}},{\"finish_reason\":\"\",\"usage\":{}}]}\n\n",
        "data: {\"model\":\"up\",\ndata: \"choices\":[]}\n\n",
        "id: 3\n\n",
        "data: not json\n\n",
    ]
    .concat();
    let result = every_way(&reply(Face::OpenRouter, true), &odd);
    insta::assert_snapshot!(result.out, @r#"
data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"prompt_filter_results":[1],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"delta":{"role":"assistant","content":"","reasoning":"r","extra":1},"index":0,"finish_reason":null,"native_finish_reason":null}],"x_groq":{"id":"q","usage":null},"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices" : [ { "finish_reason":null,"native_finish_reason":null,"delta":{"role":"assistant","content":""}} ],"z" : [ 1 , { "usage" : 2 } ],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"finish_reason":"length","native_finish_reason":"x","delta":{"role":"assistant","content":""}},{"finish_reason":null,"native_finish_reason":null,"usage":null,"delta":{"role":"assistant","content":""}}],"created":7}

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"created":7}

data: not json

data: {"id":"gen-1","object":"chat.completion.chunk","provider":"P","model":"a/m","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}],"usage":{"prompt_tokens":1,"completion_tokens":0,"total_tokens":1,"cost":0.0000003,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000015,"upstream_inference_completions_cost":0},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}

data: [DONE]
"#);
    for line in result.out.lines().filter(|line| line.starts_with("data: {")) {
        serde_json::from_str::<serde_json::Value>(&line[6..]).unwrap();
    }
}

#[test]
fn an_openrouter_stream_always_ends_with_usage_and_done() {
    let undone = [delta(r#""content":"Hi""#), finish("stop")].concat();
    for body in [undone.clone(), [&*undone, DONE].concat(), [&*undone, DONE, DONE].concat()] {
        let result = every_way(&reply(Face::OpenRouter, true), &body);
        assert!(result.terminal && result.sheet.usage.is_none(), "an estimate is no report");
        assert_eq!(result.out.matches("[DONE]").count(), 1);
        let events: Vec<&str> = result.out.trim_end().split("\n\n").collect();
        let usage: serde_json::Value =
            serde_json::from_str(&events[events.len() - 2][6..]).unwrap();
        let expected = ESTIMATOR.estimate(&result.sheet.delivered, 100, Operation::Chat);
        assert_eq!(usage["usage"]["completion_tokens"], expected.completion());
        assert_eq!(usage["usage"]["prompt_tokens"], expected.prompt());
    }
    let cut = every_way(&reply(Face::OpenRouter, true), &delta(r#""content":"Hi""#));
    assert!(!cut.terminal && !cut.out.contains("[DONE]") && !cut.out.contains("usage"));
}

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
fn an_event_without_data_is_for_nobody_on_api_v1() {
    let body = format!(
        "data\n\ndata: \n\n{}data:\n\n",
        chunk(r#""choices":[{"index":0,"delta":{"content":"a"}}]"#)
    );
    let result = every_way(&reply(Face::OpenRouter, true), &body);
    assert_eq!(
        (result.out.matches("data:").count(), result.sheet.unreadable),
        (1, false),
        "{}",
        result.out
    );
    assert_eq!(every_way(&reply(Face::Faithful, true), &body).out, body);
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
    let rest = result.out.strip_prefix(&*long).unwrap();
    assert!(rest.starts_with("data: {") && rest.ends_with(DONE), "{rest}");
}

#[test]
fn a_line_without_end_flows_through() {
    let (mut relay, mut result) = (Relay::new(reply(Face::OpenRouter, true)), Result::default());
    let read = [b'x'; 32_768];
    for _ in 0..64 {
        push(&mut relay, &read, false, &mut result);
    }
    assert_eq!((result.out.len(), relay.has_content()), (64 * read.len(), true));
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
    insta::assert_snapshot!(shaped.out, @r#"{"id":"gen-1","object":"chat.completion","provider":"P","model":"a/m","created":5,"choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning":"r"},"finish_reason":"stop","native_finish_reason":"eos","logprobs":null}],"system_fingerprint":null,"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0000018,"is_byok":false,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.00000135,"upstream_inference_completions_cost":0.0000003},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}"#);
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
    for (length, shaped) in [(WHOLE_REPLY_BYTES, true), (WHOLE_REPLY_BYTES + 1, false)] {
        let head = r#"{"data":[1],"z":{"p":""#;
        let body = [head, &"A".repeat(length - head.len() - tail.len()), tail].concat();
        for sizes in [&[usize::MAX][..], &[65_536]] {
            let result = run(reply(Face::OpenRouter, false), &body, sizes);
            assert_eq!(result.out != body, shaped, "{length}");
            assert_eq!(result.sheet.usage.unwrap().prompt(), 8);
            assert!(result.terminal);
        }
    }
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

proptest! {
    #[test]
    fn any_split_gives_the_same_bytes_and_the_same_numbers(
        events in prop::collection::vec(prop::sample::select(vec![
            delta(ROLE), delta(r#""content":"Hé\n\"""#), delta(r#""reasoning_content":"😀""#),
            finish("stop"), usage_chunk(), usage_chunk().replace('2', "3"), DONE.to_owned(),
            ": note\n\n".to_owned(), "data: {\n\n".to_owned(), "event: x\nid: 1\n".to_owned(),
            "data: {\"choices\":\ndata:[]}\n\n".to_owned(), "\n".to_owned(),
            "data: {\"error\":{\"code\":429}}\n\n".to_owned(),
        ]), 0..8),
        ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        sizes in prop::collection::vec(1usize..40, 1..8),
        mode in 0..3,
    ) {
        let body = events.concat().replace('\n', ending);
        let reply = match mode {
            0 => reply(Face::Faithful, true),
            1 => injected(),
            _ => reply(Face::OpenRouter, true),
        };
        prop_assert_eq!(run(reply.clone(), &body, &[usize::MAX]), run(reply, &body, &sizes));
    }

    #[test]
    fn no_bytes_break_a_relay(body in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        for reply in [reply(Face::OpenRouter, true), injected(), reply(Face::OpenRouter, false)] {
            let (mut relay, mut sheet) = (Relay::new(reply), Sheet::default());
            for read in body.chunks(size) {
                relay.push(Some(Bytes::copy_from_slice(read)), false, &mut sheet);
            }
            relay.push(None, true, &mut sheet);
        }
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
