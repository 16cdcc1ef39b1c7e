//! The upstream body: the caller's bytes with only what must change spliced.

use super::envelope::{Envelope, Member};
use super::keys::Fate;
use super::route::Face;
use crate::catalog::Parameters;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// What one attempt needs changed.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    /// The name the endpoint knows the model by.
    pub upstream_model: &'a str,
    pub face: Face,
    /// Ask for usage where the caller's stream lacks it ([`Envelope::lacks_usage`]).
    pub stream_usage: bool,
    /// Weir's own fields that the endpoint understands and so receives.
    pub declares: &'a [String],
    pub tier: TierEdit<'a>,
    /// Parameters that the endpoint does not honour, and is not to see.
    pub drops: Parameters,
    /// Members of `provider.options` for this endpoint, as [`super::preferences::Options`] has them.
    pub options: &'a [Range<usize>],
    /// Takes the place of `user` under `/api/v1`; under `/v1`, and for `None`, it stays as it came.
    pub hashed_user: Option<&'a str>,
}

/// What becomes of `service_tier`, and of `speed`, which is another word for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TierEdit<'a> {
    /// As it came.
    #[default]
    Keep,
    /// The endpoint serves this tier and is priced for it.
    Set(&'a str),
    /// The endpoint is priced for none, whatever was asked for.
    Remove,
}

/// Bytes to put in place of a range of the body.
struct Splice<'a> {
    range: Range<usize>,
    with: Cow<'a, str>,
}

/// The body for one attempt: exactly one `model`, the endpoint's (S13); Weir's own fields, the forbidden
/// ones and what the endpoint does not honour gone, each with one comma and the space around it; every other byte as it came.
///
/// `envelope` must be [`super::envelope::read`] of the same `body`. Copies at most once.
#[must_use]
pub fn rewrite(body: &Bytes, envelope: &Envelope, edit: &Edit<'_>) -> Bytes {
    let model = quoted(edit.upstream_model);
    let mut splices = Vec::with_capacity(envelope.members.len() + 2);
    let front = front(body, envelope, edit, &model);
    if !front.is_empty() {
        splices.push(Splice { range: envelope.open..envelope.open, with: front.into() });
    }
    let mut removed = 0;
    for member in &envelope.members {
        if goes(member, envelope, edit) {
            let range = if member.ordinal == removed {
                // Nothing before it stays: its comma is the one after it.
                member.span.start..member.tail
            } else {
                member.lead..member.span.end
            };
            splices.push(Splice { range, with: "".into() });
            removed += 1;
        } else if member.key == "prompt" && becomes_messages(envelope, edit) {
            splices.extend(as_messages(member));
        } else {
            splices.extend(change(member, envelope, edit, &model));
        }
    }
    splices.retain(|splice| body.get(splice.range.clone()) != Some(splice.with.as_bytes()));
    if splices.is_empty() { body.clone() } else { apply(body, &splices) }
}

fn goes(member: &Member, envelope: &Envelope, edit: &Edit<'_>) -> bool {
    let by_contract = edit.face == Face::OpenRouter;
    match member.key {
        "service_tier" if edit.tier == TierEdit::Remove => return true,
        "speed" if edit.tier != TierEdit::Keep => return true,
        // Without a stream it means nothing (contract 2.2), and strict servers refuse it.
        "stream_options" if by_contract && !envelope.stream => return true,
        // It is null, and one comes in its place.
        "messages" if becomes_messages(envelope, edit) => return true,
        _ => {}
    }
    match member.fate {
        Fate::Forbidden => true,
        Fate::Shared if !by_contract => false,
        Fate::Consumed | Fate::Shared => {
            !edit.declares.iter().any(|declared| declared == member.key)
        }
        Fate::Steers | Fate::Noted => {
            !member.parameter.is_empty() && edit.drops.has(member.parameter)
        }
    }
}

/// Whether the `prompt` goes up as `messages`, which a chat's upstream reads.
fn becomes_messages(envelope: &Envelope, edit: &Edit<'_>) -> bool {
    envelope.prompted && edit.face == Face::OpenRouter
}

/// The `prompt` of a chat as the message of a user, its bytes as they came (contract 1.3).
fn as_messages<'a>(prompt: &Member) -> [Splice<'a>; 2] {
    let before = prompt.span.start..prompt.value.start;
    let behind = prompt.value.end..prompt.value.end;
    [
        Splice { range: before, with: r#""messages":[{"role":"user","content":"#.into() },
        Splice { range: behind, with: "}]".into() },
    ]
}

/// Members the body lacks, as they go just inside its `{`.
fn front(body: &[u8], envelope: &Envelope, edit: &Edit<'_>, model: &str) -> String {
    let lacks_model = envelope.member("model").is_none();
    let lacks_options = asks(envelope, edit) && envelope.member("stream_options").is_none();
    let mut front = Vec::new();
    if lacks_model {
        front.push(format!("\"model\":{model}"));
    }
    if lacks_options {
        front.push(format!("\"stream_options\":{ASKING}"));
    }
    if let (TierEdit::Set(tier), None) = (edit.tier, envelope.member("service_tier")) {
        front.push(format!("\"service_tier\":{}", quoted(tier)));
    }
    let option = |range: &Range<usize>| std::str::from_utf8(body.get(range.clone())?).ok();
    front.extend(edit.options.iter().filter_map(option).map(str::to_owned));
    if front.is_empty() {
        return String::new();
    }
    let mut front = front.join(",");
    let removed = envelope.members.iter().filter(|member| goes(member, envelope, edit)).count();
    if envelope.count > removed {
        front.push(',');
    }
    front
}

const ASKING: &str = "{\"include_usage\":true}";

fn asks(envelope: &Envelope, edit: &Edit<'_>) -> bool {
    edit.stream_usage && envelope.lacks_usage()
}

/// What changes inside a member that stays.
fn change<'a>(
    member: &Member,
    envelope: &Envelope,
    edit: &Edit<'_>,
    model: &'a str,
) -> Option<Splice<'a>> {
    match member.key {
        "model" => Some(Splice { range: member.value.clone(), with: model.into() }),
        "service_tier" => match edit.tier {
            TierEdit::Set(tier) => {
                Some(Splice { range: member.value.clone(), with: quoted(tier).into() })
            }
            TierEdit::Keep | TierEdit::Remove => None,
        },
        "user" if envelope.user.is_some() && edit.face == Face::OpenRouter => {
            let hashed = quoted(edit.hashed_user?);
            Some(Splice { range: member.value.clone(), with: hashed.into() })
        }
        "stream_options" if asks(envelope, edit) => Some(match &envelope.stream_options {
            None => Splice { range: member.value.clone(), with: ASKING.into() },
            Some(options) => match &options.include_usage {
                Some(value) => Splice { range: value.clone(), with: "true".into() },
                None => {
                    let comma = if options.empty { "" } else { "," };
                    let with = format!("\"include_usage\":true{comma}").into();
                    Splice { range: options.open..options.open, with }
                }
            },
        }),
        _ => None,
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The body with every splice, which lie in order and apart.
fn apply(body: &Bytes, splices: &[Splice<'_>]) -> Bytes {
    let gone: usize = splices.iter().map(|splice| splice.range.len()).sum();
    let come: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut out = Vec::with_capacity((body.len() + come).saturating_sub(gone));
    let mut at = 0;
    for splice in splices {
        out.extend_from_slice(body.get(at..splice.range.start).unwrap_or_default());
        out.extend_from_slice(splice.with.as_bytes());
        at = splice.range.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
