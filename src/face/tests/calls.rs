//! Tool calls that are collected to be judged, and replies of which they are not.

use super::{DONE, Sheet, delta, finish, reply};
use crate::face::{Relay, Reply};
use crate::request::route::Face;
use crate::tools::{self, Verdict};
use bytes::Bytes;

const TOOLS: &[u8] = br#"[{"type":"function","function":{"name":"weather","parameters":
    {"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}}}]"#;

/// What is made of the calls of a reply in these reads.
fn verdict(reply: Reply, reads: &[&[u8]]) -> Option<Verdict> {
    let mut relay = Relay::new(Reply { judged: true, ..reply });
    for (nth, read) in reads.iter().enumerate() {
        let end = nth + 1 == reads.len();
        relay.push(Some(Bytes::copy_from_slice(read)), end, &mut Sheet::default());
    }
    relay.take_calls().map(|calls| tools::judge(TOOLS, &calls))
}

#[test]
fn a_stream_is_judged_the_same_at_every_split() {
    let begin =
        r#""tool_calls":[{"index":0,"id":"c","function":{"name":"weather","arguments":"{\"ci"}}]"#;
    let rest = r#""tool_calls":[{"index":0,"function":{"arguments":"ty\":\"Tromsø\"}"}}]"#;
    let body = format!("{}{}{}{DONE}", delta(begin), delta(rest), finish("tool_calls"));
    for face in [Face::Faithful, Face::OpenRouter] {
        for at in 0..=body.len() {
            let (first, second) = body.as_bytes().split_at(at);
            assert_eq!(verdict(reply(face, true), &[first, second]), Some(Verdict::Valid), "{at}");
        }
    }
}

#[test]
fn a_whole_reply_is_judged_too() {
    let body = |arguments: &str, finish: &str| {
        format!(
            r#"{{"choices":[{{"message":{{"content":null,"tool_calls":[{{"id":"c","function":
            {{"name":"weather","arguments":"{arguments}"}}}}]}},"finish_reason":"{finish}"}}]}}"#
        )
    };
    let judged = |body: String| verdict(reply(Face::Faithful, false), &[body.as_bytes()]);
    assert_eq!(judged(body(r#"{\"city\":\"Oslo\"}"#, "tool_calls")), Some(Verdict::Valid));
    assert_eq!(judged(body(r#"{\"city\":7}"#, "stop")), Some(Verdict::SchemaMismatch));
    assert_eq!(judged(body(r#"{\"city\":"#, "stop")), Some(Verdict::InvalidJson));
    assert_eq!(judged(body(r#"{\"city\":"#, "length")), None, "cut by the caller's own limit");
}

#[test]
fn a_reply_that_ends_to_call_tools_and_calls_none_is_bad_and_plain_text_is_no_matter() {
    let text = delta(r#""content":"hi""#);
    let judged = |reason: &str| {
        let body = format!("{text}{}{DONE}", finish(reason));
        verdict(reply(Face::Faithful, true), &[body.as_bytes()])
    };
    assert_eq!(judged("tool_calls"), Some(Verdict::Missing));
    assert_eq!(judged("stop"), None);
}
