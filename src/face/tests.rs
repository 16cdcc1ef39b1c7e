use super::*;
use crate::bounds::{EVENT_BYTES, HELD_BYTES, USAGE_TAIL_BYTES, WHOLE_REPLY_BYTES};
use crate::meter::Family;
use crate::price::{Policy, PriceVersion};
use crate::usage::{KINDS, Kind, Usage};
use proptest::prelude::*;

mod bounds;
mod calls;
mod content;
mod errors;
mod escapes;
mod openrouter;
mod reasoning;
mod strict;
mod usage;
mod whole;

/// What a tally was told.
#[derive(Debug, Default, Clone, PartialEq)]
struct Sheet {
    usage: Option<Usage>,
    delivered: Delivered,
    finish: Option<(Finish, String)>,
    id: String,
    suspect: bool,
    unreadable: bool,
    /// The record cannot follow the reply to another tier.
    full: bool,
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
    fn may_follow(&mut self) -> bool {
        !self.full
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
        chunks: streamed,
        generation_id: "gen-1".into(),
        created: 7,
        model: "a/m".into(),
        provider: "P".into(),
        injected_usage: false,
        hides_reasoning: false,
        terms: Terms {
            version: Arc::new(PriceVersion::flat([150_000; KINDS])),
            started_us: 0,
            policy: Policy::Insured,
            earlier: 0,
        },
        tier: None,
        tiers: vec![],
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

/// Contract 3.8; where no slot is free for it the record stays, and with it what the caller is told.
#[test]
fn a_reply_costs_what_its_record_says_of_the_tier_that_served_it() {
    let body = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"service_tier":"flex",
        "usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
    let flex = Arc::new(PriceVersion::flat([1_000_000; KINDS]));
    let offered = Reply {
        tiers: vec![(Some(Tier::Flex), flex)],
        chunks: false,
        ..reply(Face::OpenRouter, false)
    };
    for (full, cost) in [(false, "\"cost\":0.000012,"), (true, "\"cost\":0.0000018,")] {
        let sheet = Sheet { full, ..Sheet::default() };
        let (mut relay, mut result) =
            (Relay::new(offered.clone()), Result { sheet, ..Result::default() });
        push(&mut relay, body.as_bytes(), true, &mut result);
        assert!(result.out.contains(cost), "{}", result.out);
        assert_eq!(relay.take_retiered(), !full);
    }
}

/// Contract 4.1, row 44: once in every reply of a chat, in the upstream's word if it has one.
#[test]
fn a_reply_says_at_which_tier_it_was_served() {
    let content = r#"{"content":"Hi"}"#;
    for (said, tier, told) in [
        ("", None, "default"),
        ("", Some(Tier::Flex), "flex"),
        (r#","service_tier":null"#, Some(Tier::Flex), "flex"),
        (r#","service_tier":"""#, None, "default"),
        (r#","service_tier":"on_demand""#, None, "on_demand"),
    ] {
        let choice = format!(r#"[{{"index":0,"delta":{content},"finish_reason":"stop"}}]{said}"#);
        let bodies = [
            format!("data: {{\"choices\":{choice}}}\n\n{DONE}"),
            format!("{{\"choices\":{choice}}}"),
        ];
        for (streamed, body) in [true, false].into_iter().zip(bodies) {
            let out = every_way(&Reply { tier, ..reply(Face::OpenRouter, streamed) }, &body).out;
            assert_eq!(out.matches("service_tier").count(), 1, "{out}");
            assert!(out.contains(&format!(r#""service_tier":"{told}""#)), "{out}");
        }
    }
    let text = Reply { operation: Operation::Completion, ..reply(Face::OpenRouter, false) };
    let out = every_way(&text, r#"{"choices":[{"index":0,"text":"x"}]}"#).out;
    assert!(!out.contains("service_tier"), "{out}");
}
