//! OpenRouter's shape (contract 4.1 to 4.3), spliced into the upstream's own bytes.

use super::{Core, Reply, usage};
use crate::dialect::{Mark, finish};
use crate::meter::estimate;
use crate::request::route::Operation;
use bytes::BytesMut;
use std::ops::Range;

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

/// How every object of one reply begins: `{"id":...,"provider":...,"model":...`, not closed.
pub(super) fn opening(reply: &Reply) -> Vec<u8> {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"{{"id":{},"provider":{},"model":{}"#,
        quote(&reply.generation_id),
        quote(&reply.provider),
        quote(&reply.model)
    )
    .into_bytes()
}

/// Writes the observed `json` in OpenRouter's shape, open at the end: [`close`] it, or add members.
pub(super) fn splice(core: &Core, opening: &[u8], json: &[u8], out: &mut BytesMut) {
    let get = |range: Range<usize>| json.get(range).unwrap_or_default();
    out.extend_from_slice(opening);
    let mut from = 0;
    for mark in core.marks.list() {
        let upto = match mark {
            Mark::Member(at) => {
                out.extend_from_slice(b",");
                from = *at;
                continue;
            }
            Mark::End(at) | Mark::NoFinish { at, .. } | Mark::ReasoningKey(at) => *at,
            Mark::NoChoices(range) | Mark::NestedUsage(range) => range.start,
            Mark::Finish { value, .. } => value.start,
        };
        out.extend_from_slice(get(from..upto));
        from = match mark {
            Mark::Member(at) | Mark::End(at) => *at,
            Mark::NoChoices(range) => {
                out.extend_from_slice(b"[");
                out.extend_from_slice(idle_choice(core.reply.operation).as_bytes());
                out.extend_from_slice(b"]");
                range.end
            }
            Mark::Finish { value, native } => {
                finish_reason(get(value.clone()), *native, out);
                value.end
            }
            Mark::NoFinish { at, members, native } => {
                out.extend_from_slice(if *members { b"," } else { b"" });
                out.extend_from_slice(br#""finish_reason":null"#);
                if !native {
                    out.extend_from_slice(br#","native_finish_reason":null"#);
                }
                *at
            }
            Mark::ReasoningKey(at) => {
                out.extend_from_slice(br#""reasoning""#);
                at + br#""reasoning_content""#.len()
            }
            Mark::NestedUsage(range) => {
                out.extend_from_slice(b"null");
                range.end
            }
        };
    }
    if core.marks.created().is_none() && core.reply.operation != Operation::Embedding {
        out.extend_from_slice(format!(r#","created":{}"#, core.created).as_bytes());
    }
}

/// A finish reason, normalised, and the upstream's own beside it.
fn finish_reason(value: &[u8], has_native: bool, out: &mut BytesMut) {
    let native = value.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    let (reason, native) = match native {
        Some(text) if !text.is_empty() => {
            let reason = finish::normalise(&String::from_utf8_lossy(text));
            (format!(r#""{}""#, reason.as_str()), value)
        }
        _ => ("null".to_owned(), &b"null"[..]),
    };
    out.extend_from_slice(reason.as_bytes());
    if !has_native {
        out.extend_from_slice(br#","native_finish_reason":"#);
        out.extend_from_slice(native);
    }
}

/// The usage object: as reported, else the estimate.
pub(super) fn usage_object(core: &Core) -> String {
    let reply = &core.reply;
    let usage =
        core.account.reported().copied().unwrap_or_else(|| {
            estimate(core.account.delivered(), reply.prompt_bytes, reply.operation)
        });
    usage::object(&usage, &reply.price, reply.operation)
}

/// The last chunk before `[DONE]`, and `[DONE]` (contract 4.3).
pub(super) fn ending(core: &Core, opening: &[u8], out: &mut BytesMut) {
    let object = match core.reply.operation {
        Operation::Completion => "text_completion",
        Operation::Chat | Operation::Embedding => "chat.completion.chunk",
    };
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(opening);
    out.extend_from_slice(
        format!(
            r#","object":"{object}","created":{},"choices":[{}],"usage":{}}}"#,
            core.created,
            idle_choice(core.reply.operation),
            usage_object(core)
        )
        .as_bytes(),
    );
    out.extend_from_slice(b"\n\ndata: [DONE]\n\n");
}
