//! OpenRouter's shape (contract 4.1 to 4.3), spliced into the upstream's own bytes.

use super::{Core, Reply, usage};
use crate::catalog::Tier;
use crate::dialect::{Lack, Mark, MessageHas, finish};
use crate::meter::{self, Evidence};
use crate::request::route::Operation;
use bytes::BytesMut;
use std::fmt::Write;

/// The one choice of a chunk that says nothing; clients break on an empty array (contract 4.3).
fn idle_choice(operation: Operation) -> &'static str {
    match operation {
        Operation::Completion => {
            r#"{"index":0,"text":"","finish_reason":null,"native_finish_reason":null,"logprobs":null}"#
        }
        Operation::Chat | Operation::Embedding => {
            r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}"#
        }
    }
}

/// How every object of one reply begins: `{"id":...,"object":...,"provider":...,"model":...`, not closed.
pub(super) fn opening(reply: &Reply) -> Vec<u8> {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let object = match reply.operation {
        Operation::Chat if reply.chunks => "chat.completion.chunk",
        Operation::Chat => "chat.completion",
        Operation::Completion => "text_completion",
        Operation::Embedding => "list",
    };
    format!(
        r#"{{"id":{},"object":"{object}","provider":{},"model":{}"#,
        quote(&reply.generation_id),
        quote(&reply.provider),
        quote(&reply.model)
    )
    .into_bytes()
}

/// Writes the observed `json` in OpenRouter's shape, open at the end: more members may follow.
pub(super) fn splice(core: &Core, opening: &[u8], json: &[u8], out: &mut BytesMut) {
    let marks = core.observer.marks();
    let get = |from: usize, to: usize| json.get(from..to).unwrap_or_default();
    out.extend_from_slice(opening);
    let mut from = 0;
    for mark in marks.list() {
        let (start, end) = match mark {
            Mark::Member(at) => {
                out.extend_from_slice(b",");
                from = marks.at(*at);
                continue;
            }
            Mark::End(at) | Mark::Message { at, .. } | Mark::Lacks { at, .. } => (*at, *at),
            Mark::NoChoices(place)
            | Mark::NestedUsage(place)
            | Mark::Cut(place)
            | Mark::Key { key: place, .. }
            | Mark::Finish { value: place, .. } => (place.start, place.end),
        };
        let (start, end) = (marks.at(start), marks.at(end));
        out.extend_from_slice(get(from, start));
        replace(core, mark, get(start, end), out);
        from = end;
    }
    if marks.created().is_none() && core.reply.operation != Operation::Embedding {
        created(core, out);
    }
}

/// Says when the reply was made.
pub(super) fn created(core: &Core, out: &mut BytesMut) {
    number(r#","created":"#, core.created, out);
}

/// Writes what stands on `/api/v1` in the marked place of `old`.
fn replace(core: &Core, mark: &Mark, old: &[u8], out: &mut BytesMut) {
    match mark {
        Mark::Member(_) | Mark::End(_) | Mark::Cut(_) => {}
        Mark::NoChoices(_) => {
            out.extend_from_slice(b"[");
            out.extend_from_slice(idle_choice(core.reply.operation).as_bytes());
            out.extend_from_slice(b"]");
        }
        Mark::Message { has, .. } => message(*has, &core.reply, out),
        Mark::Finish { native, .. } => finish_reason(old, *native, out),
        Mark::Lacks { what, members, .. } => {
            out.extend_from_slice(if *members { b"," } else { b"" });
            lacking(*what, &core.reply, out);
        }
        Mark::Key { name, alone: true, .. } => {
            out.extend_from_slice(b"\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\"");
        }
        Mark::Key { alone: false, .. } => out.extend_from_slice(old),
        Mark::NestedUsage(_) => out.extend_from_slice(b"null"),
    }
}

/// Writes what a delta, or a whole message, lacks (contract 4.1, 4.3).
fn message(has: MessageHas, reply: &Reply, out: &mut BytesMut) {
    let delta = reply.chunks;
    let content = if delta { r#""content":"""# } else { r#""content":null"# };
    let written = [
        (!has.role).then_some(r#""role":"assistant""#),
        (!has.content).then_some(content),
        (!has.refusal && !delta).then_some(r#""refusal":null"#),
        (!has.reasoning && !delta && !reply.hides_reasoning).then_some(r#""reasoning":null"#),
        has.any.then_some(""),
    ];
    let mut separator = "";
    for member in written.into_iter().flatten() {
        out.extend_from_slice(separator.as_bytes());
        out.extend_from_slice(member.as_bytes());
        separator = ",";
    }
}

/// Writes what an object lacks.
fn lacking(what: Lack, reply: &Reply, out: &mut BytesMut) {
    let member = match (what, reply.operation) {
        (Lack::Index(place), _) => {
            number(r#""index":"#, place.into(), out);
            return;
        }
        (Lack::Finish { native: true }, _) => r#""finish_reason":null"#,
        (Lack::Finish { native: false }, _) => {
            r#""finish_reason":null,"native_finish_reason":null"#
        }
        (Lack::Type, _) => r#""type":"function""#,
        (Lack::Logprobs, _) => r#""logprobs":null"#,
        (Lack::Content, Operation::Completion) => r#""text":"""#,
        (Lack::Content, _) if reply.chunks => r#""delta":{"role":"assistant","content":""}"#,
        (Lack::Content, _) if reply.hides_reasoning => {
            r#""message":{"role":"assistant","content":"","refusal":null}"#
        }
        (Lack::Content, _) => {
            r#""message":{"role":"assistant","content":"","refusal":null,"reasoning":null}"#
        }
    };
    out.extend_from_slice(member.as_bytes());
}

/// Writes `before` and a number, in place.
fn number(before: &str, number: u64, out: &mut BytesMut) {
    // Room is made as it is needed, so it cannot fail.
    let _ = write!(out, "{before}{number}");
}

/// A finish reason, normalised, and the upstream's own beside it.
fn finish_reason(old: &[u8], has_native: bool, out: &mut BytesMut) {
    let inside = old.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    let native = match inside {
        Some(text) if !text.is_empty() => {
            out.extend_from_slice(b"\"");
            let reason = finish::normalise(&String::from_utf8_lossy(text));
            out.extend_from_slice(reason.as_str().as_bytes());
            out.extend_from_slice(b"\"");
            old
        }
        _ => {
            out.extend_from_slice(b"null");
            b"null"
        }
    };
    if !has_native {
        out.extend_from_slice(br#","native_finish_reason":"#);
        out.extend_from_slice(native);
    }
}

/// The usage object: as reported, else the estimate.
fn usage_object(core: &Core) -> String {
    let reply = &core.reply;
    // It stands in a reply that has come to its end.
    let known = Evidence { complete: true, content: true, ..core.evidence() };
    let (_, usage) = known.settle();
    let failed = meter::failed(None, core.account.finish(), &usage, reply.operation);
    let spent = usage::Spent { usage: &usage, predictions: core.account.predictions(), failed };
    usage::object(&spent, &reply.terms, reply.operation)
}

/// Writes what a reply ends with: the tier at which it is served and billed, unless its upstream tells
/// (contract 4.1, row 44); usage; how the request was routed, where that is asked for; its brace.
fn last(core: &Core, out: &mut BytesMut) {
    if core.reply.operation == Operation::Chat && !core.names_tier {
        out.extend_from_slice(br#","service_tier":""#);
        out.extend_from_slice(core.reply.tier.map_or("default", Tier::as_str).as_bytes());
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(br#","usage":"#);
    out.extend_from_slice(usage_object(core).as_bytes());
    if let Some(json) = &core.reply.routing {
        out.extend_from_slice(br#","openrouter_metadata":"#);
        out.extend_from_slice(json.as_bytes());
    }
    out.extend_from_slice(b"}");
}

/// What an unstreamed body ends with, as far as it does not have it: when it was made (`dated`), its `fingerprint`,
/// and what any reply ends with.
pub(super) fn closing(core: &Core, (dated, fingerprint): (bool, bool), out: &mut BytesMut) {
    if !dated {
        created(core, out);
    }
    if core.reply.operation == Operation::Chat && !fingerprint {
        out.extend_from_slice(br#","system_fingerprint":null"#);
    }
    last(core, out);
}

/// The last chunk before `[DONE]`, and `[DONE]` (contract 4.3).
pub(super) fn ending(core: &Core, opening: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(opening);
    created(core, out);
    out.extend_from_slice(br#","choices":["#);
    out.extend_from_slice(idle_choice(core.reply.operation).as_bytes());
    out.extend_from_slice(b"]");
    last(core, out);
    out.extend_from_slice(b"\n\ndata: [DONE]\n\n");
}
