//! An intent as bytes: what a slot holds from its claim on, and what a spool row ends with.

use super::codec::{Put, Reader};
use super::record::Intent;
use crate::request::route::{Face, Operation};
use std::borrow::Cow;

/// Most bytes kept of each text, in the order they are written. Their sum, with two length bytes
/// each and 89 bytes of other fields, fits `bounds::INTENT_BYTES`; what is longer is cut and the
/// record flagged.
const CAPS: [usize; 12] = [64, 64, 128, 256, 128, 160, 64, 64, 192, 128, 96, 32];
/// Writes an intent; true if a text had to be cut.
pub(super) fn put(out: &mut impl Put, intent: &Intent<'_>) -> bool {
    out.put(&[
        intent.attempt,
        intent.face as u8,
        intent.operation as u8,
        u8::from(intent.streamed),
    ]);
    out.put(&intent.key_hash);
    out.put(&intent.price);
    out.varint(intent.prompt_bytes);
    out.varint128(intent.max_tokens.map_or(0, |tokens| u128::from(tokens) + 1));
    let mut cut = false;
    for (text, cap) in texts(intent).into_iter().zip(CAPS) {
        let kept = &text.get(..text.floor_char_boundary(cap)).unwrap_or_default();
        cut |= kept.len() < text.len();
        out.text(kept);
    }
    cut
}

fn texts<'a>(intent: &'a Intent<'_>) -> [&'a str; 12] {
    [
        &intent.generation_id,
        &intent.workspace,
        &intent.app,
        &intent.session,
        &intent.user,
        &intent.model,
        &intent.provider,
        &intent.provider_name,
        &intent.endpoint,
        &intent.upstream_model,
        &intent.credential,
        &intent.tier,
    ]
}

/// Reads what [`put`] wrote.
pub(super) fn get<'a>(reader: &mut Reader<'a>) -> Option<Intent<'a>> {
    let attempt = reader.u8()?;
    let face = face(reader.u8()?)?;
    let operation = operation(reader.u8()?)?;
    let streamed = reader.bool()?;
    let key_hash = reader.array()?;
    let price = reader.array()?;
    let prompt_bytes = reader.varint()?;
    let max_tokens = max_tokens(reader)?;
    let mut text = || reader.text().map(Cow::Borrowed);
    Some(Intent {
        generation_id: text()?,
        attempt,
        face,
        operation,
        streamed,
        workspace: text()?,
        key_hash,
        app: text()?,
        session: text()?,
        user: text()?,
        model: text()?,
        provider: text()?,
        provider_name: text()?,
        endpoint: text()?,
        upstream_model: text()?,
        credential: text()?,
        tier: text()?,
        price,
        prompt_bytes,
        max_tokens,
    })
}

pub(super) fn face(code: u8) -> Option<Face> {
    [Face::OpenRouter, Face::Faithful].into_iter().find(|face| *face as u8 == code)
}

pub(super) fn operation(code: u8) -> Option<Operation> {
    let all = [Operation::Chat, Operation::Completion, Operation::Embedding];
    all.into_iter().find(|operation| *operation as u8 == code)
}

/// 0 for none, else one more than the number.
pub(super) fn max_tokens(reader: &mut Reader<'_>) -> Option<Option<u64>> {
    match reader.varint128()? {
        0 => Some(None),
        tokens => u64::try_from(tokens - 1).ok().map(Some),
    }
}

/// The same intent with texts of its own.
pub(super) fn owned(intent: Intent<'_>) -> Intent<'static> {
    fn own(text: Cow<'_, str>) -> Cow<'static, str> {
        Cow::Owned(text.into_owned())
    }
    Intent {
        generation_id: own(intent.generation_id),
        workspace: own(intent.workspace),
        app: own(intent.app),
        session: own(intent.session),
        user: own(intent.user),
        model: own(intent.model),
        provider: own(intent.provider),
        provider_name: own(intent.provider_name),
        endpoint: own(intent.endpoint),
        upstream_model: own(intent.upstream_model),
        credential: own(intent.credential),
        tier: own(intent.tier),
        attempt: intent.attempt,
        face: intent.face,
        operation: intent.operation,
        streamed: intent.streamed,
        key_hash: intent.key_hash,
        price: intent.price,
        prompt_bytes: intent.prompt_bytes,
        max_tokens: intent.max_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::INTENT_BYTES;
    use crate::ledger::codec::Fixed;
    use crate::ledger::testing;

    #[test]
    fn an_intent_is_read_as_it_was_written() {
        let intent = testing::intent("gen-1", 2);
        let mut out = Vec::new();
        assert!(!put(&mut out, &intent));
        assert_eq!(get(&mut Reader(&out)), Some(intent));
    }

    #[test]
    fn texts_at_their_cap_fit_and_one_byte_more_is_cut() {
        let mut intent = testing::intent("gen-1", 1);
        intent.prompt_bytes = u64::MAX;
        intent.max_tokens = Some(u64::MAX);
        let [
            gen_id,
            workspace,
            app,
            session,
            user,
            model,
            provider,
            name,
            endpoint,
            upstream,
            credential,
            tier,
        ] = CAPS.map(|cap| Cow::from("x".repeat(cap)));
        intent.generation_id = gen_id;
        intent.workspace = workspace;
        intent.app = app;
        intent.session = session;
        intent.user = user;
        intent.model = model;
        intent.provider = provider;
        intent.provider_name = name;
        intent.endpoint = endpoint;
        intent.upstream_model = upstream;
        intent.credential = credential;
        intent.tier = tier;
        let mut room = Fixed::<INTENT_BYTES>::new();
        assert!(!put(&mut room, &intent) && !room.overflowed());
        assert_eq!(get(&mut Reader(room.as_slice())).unwrap(), intent);

        intent.session = Cow::from(format!("{}é", "x".repeat(255)));
        let mut room = Fixed::<INTENT_BYTES>::new();
        assert!(put(&mut room, &intent) && !room.overflowed());
        assert_eq!(get(&mut Reader(room.as_slice())).unwrap().session.len(), 255);
    }
}
