//! A record as bytes: the payload of a spool row. Version 1; the segment's header says which.

use super::codec::{Put, Reader};
use super::intent;
use super::record::{Record, RecordKey, Source};
use super::settle::finish_from_code;
use crate::outcome::Outcome;
use crate::usage::Usage;
use std::borrow::Cow;

/// Writes a record. Its node stands in the segment's header.
pub(super) fn put(out: &mut Vec<u8>, record: &Record) {
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
    out.signed(record.charge);
    for text in [&*record.estimator, &*record.policy, &record.native_finish, &record.upstream_id] {
        out.text(text);
    }
    intent::put(out, &record.intent);
}

/// Reads what [`put`] wrote. `None` for any other bytes.
pub(super) fn get(node: [u8; 16], payload: &[u8]) -> Option<Record> {
    let mut reader = Reader(payload);
    let record = read(node, &mut reader)?;
    reader.0.is_empty().then_some(record)
}

fn read(node: [u8; 16], from: &mut Reader<'_>) -> Option<Record> {
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
    Some(Record {
        key,
        outcome,
        status,
        finish,
        started_us,
        ended_us,
        first_content_us,
        duration_us: from.varint()?,
        source,
        usage: Usage(from.sparse()?),
        delivered: from.sparse()?,
        committed,
        cost: from.signed()?,
        charge: from.signed()?,
        flags,
        estimator: Cow::Owned(from.text()?.to_owned()),
        policy: Cow::Owned(from.text()?.to_owned()),
        native_finish: from.text()?.to_owned(),
        upstream_id: from.text()?.to_owned(),
        intent: intent::owned(intent::get(from)?),
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

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in testing::records()) {
            let mut out = Vec::new();
            put(&mut out, &record);
            prop_assert_eq!(get(record.key.node, &out), Some(record));
            out.push(0);
            prop_assert_eq!(get([0; 16], &out), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = get([0; 16], &bytes);
        }
    }
}
