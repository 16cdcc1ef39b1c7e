//! A record as bytes: the payload of a spool row. What it has in common with many others stands in
//! two names (see `names`): who pays, and what was asked of whom at which price.

use super::codec::{Put, Reader};
use super::intent;
use super::record::{Intent, Record, RecordKey, Source};
use super::settle::finish_from_code;
use crate::outcome::Outcome;
use crate::usage::Usage;
use std::borrow::Cow;

/// Parts of records that are written once and then named by number.
pub(super) trait Names {
    /// The bytes of a name; `None` if they were lost.
    fn get(&self, number: u64) -> Option<&[u8]>;
}

/// Writes the names of a record, who pays and what it was for, over what stands there.
pub(super) fn names(record: &Record, [who, what]: &mut [Vec<u8>; 2]) {
    let intent = &record.intent;
    who.clear();
    what.clear();
    who.put(&intent.key_hash);
    who.text(&intent.workspace);
    what.put(&intent.price);
    for text in [
        &intent.model,
        &intent.provider,
        &intent.provider_name,
        &intent.endpoint,
        &intent.upstream_model,
        &intent.credential,
        &intent.tier,
        &record.policy,
        &record.estimator,
    ] {
        what.text(text);
    }
}

/// Writes what a record has in common with no other: in a row of a segment it stands behind the numbers
/// of the names. The node stands in the segment's header.
pub(super) fn put_own(out: &mut Vec<u8>, record: &Record) {
    out.varint(record.key.epoch);
    out.varint(record.key.seq);
    out.put(&[
        record.outcome as u8,
        record.finish.map_or(0, |finish| finish as u8),
        record.source as u8,
        u8::from(record.committed),
    ]);
    out.varint(u64::from(record.status));
    out.varint(u64::from(record.flags));
    out.varint(record.started_us);
    out.signed(i128::from(record.ended_us) - i128::from(record.started_us));
    out.varint128(record.first_content_us.map_or(0, |time| u128::from(time) + 1));
    out.varint(record.duration_us);
    out.sparse(&record.usage.0);
    out.sparse(&record.delivered);
    out.signed(record.cost);
    out.signed(record.cost.wrapping_sub(record.charge));
    let intent = &record.intent;
    out.put(&[
        intent.attempt,
        intent.face as u8,
        intent.operation as u8,
        u8::from(intent.streamed),
    ]);
    out.varint(intent.prompt_bytes);
    out.varint128(intent.max_tokens.map_or(0, |tokens| u128::from(tokens) + 1));
    for text in [
        &*intent.generation_id,
        &*intent.app,
        &*intent.session,
        &*intent.user,
        &*record.native_finish,
        &*record.upstream_id,
    ] {
        out.text(text);
    }
}

/// Reads a row: two numbers and what [`put_own`] wrote. `None` for any other bytes, and where a name was
/// lost.
pub(super) fn get(node: [u8; 16], payload: &[u8], names: &(impl Names + ?Sized)) -> Option<Record> {
    let mut reader = Reader(payload);
    let who = names.get(reader.varint()?)?;
    let what = names.get(reader.varint()?)?;
    get_own(node, reader.0, [who, what])
}

/// Reads what [`put_own`] wrote.
pub(super) fn get_own(node: [u8; 16], own: &[u8], [who, what]: [&[u8]; 2]) -> Option<Record> {
    let mut reader = Reader(own);
    let record = read(node, &mut reader, Reader(who), Reader(what))?;
    reader.0.is_empty().then_some(record)
}

fn read(
    node: [u8; 16],
    from: &mut Reader<'_>,
    mut who: Reader<'_>,
    mut what: Reader<'_>,
) -> Option<Record> {
    let key = RecordKey { node, epoch: from.varint()?, seq: from.varint()? };
    let outcome = Outcome::from_code(from.u8()?)?;
    let finish = match from.u8()? {
        0 => None,
        code => Some(finish_from_code(code)?),
    };
    let source = source_from_code(from.u8()?)?;
    let committed = from.bool()?;
    let status = from.varint()?.try_into().ok()?;
    let flags = from.varint()?.try_into().ok()?;
    let started_us = from.varint()?;
    let ended_us = i128::from(started_us).checked_add(from.signed()?)?.try_into().ok()?;
    let first_content_us = match from.varint128()? {
        0 => None,
        time => Some(u64::try_from(time - 1).ok()?),
    };
    let duration_us = from.varint()?;
    let (usage, delivered) = (Usage(from.sparse()?), from.sparse()?);
    let cost = from.signed()?;
    let charge = cost.wrapping_sub(from.signed()?);
    let intent = read_intent(from, &mut who, &mut what)?;
    Some(Record {
        key,
        intent,
        outcome,
        status,
        finish,
        started_us,
        ended_us,
        first_content_us,
        duration_us,
        source,
        usage,
        delivered,
        committed,
        cost,
        charge,
        flags,
        policy: own(&mut what)?,
        estimator: own(&mut what)?,
        native_finish: from.text()?.to_owned(),
        upstream_id: from.text()?.to_owned(),
    })
}

fn own(from: &mut Reader<'_>) -> Option<Cow<'static, str>> {
    from.text().map(|text| Cow::Owned(text.to_owned()))
}

fn read_intent(
    from: &mut Reader<'_>,
    who: &mut Reader<'_>,
    what: &mut Reader<'_>,
) -> Option<Intent<'static>> {
    let (attempt, face) = (from.u8()?, intent::face(from.u8()?)?);
    let (operation, streamed) = (intent::operation(from.u8()?)?, from.bool()?);
    let prompt_bytes = from.varint()?;
    let max_tokens = intent::max_tokens(from)?;
    let (key_hash, price) = (who.array()?, what.array()?);
    Some(Intent {
        generation_id: own(from)?,
        attempt,
        face,
        operation,
        streamed,
        workspace: own(who)?,
        key_hash,
        app: own(from)?,
        session: own(from)?,
        user: own(from)?,
        model: own(what)?,
        provider: own(what)?,
        provider_name: own(what)?,
        endpoint: own(what)?,
        upstream_model: own(what)?,
        credential: own(what)?,
        tier: own(what)?,
        price,
        prompt_bytes,
        max_tokens,
    })
}

fn source_from_code(code: u8) -> Option<Source> {
    Source::ALL.iter().map(|(source, _)| *source).find(|source| *source as u8 == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;
    use proptest::prelude::*;

    /// Just the names of one row.
    impl Names for [&[u8]; 2] {
        fn get(&self, number: u64) -> Option<&[u8]> {
            <[_]>::get(self, usize::try_from(number).ok()?).copied()
        }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in testing::records()) {
            let mut out = Vec::new();
            out.put(&[0, 1]);
            put_own(&mut out, &record);
            let mut written = [vec![1], vec![]];
            names(&record, &mut written);
            let [who, what] = written;
            let names = [&who[..], &what];
            prop_assert_eq!(get(record.key.node, &out, &names), Some(record));
            prop_assert_eq!(get([0; 16], &out, &[&who[..], &[]]), None);
            out.push(0);
            prop_assert_eq!(get([0; 16], &out, &names), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = get([0; 16], &bytes, &[&bytes[..], &bytes]);
        }
    }
}
