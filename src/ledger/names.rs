//! Names of a segment: what many rows have in common, written once and then told by number.
//!
//! Every so often each name in use is written again, so that damage to one takes few rows with it.

use super::codec::{Put, Reader};
use super::record::Record;
use super::{row, segment};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a segment after which names are written again.
const REPEAT_BYTES: u64 = 128 << 10;

/// The bytes of a record's two names.
pub(super) type Pair = [Arc<[u8]>; 2];

/// Numbers given in one segment.
#[derive(Default)]
pub(super) struct Given {
    numbers: HashMap<Arc<[u8]>, Number>,
    /// Names of the record at hand.
    own: [Vec<u8>; 2],
    /// Which stretch of [`REPEAT_BYTES`] is being written; 0 stands for none.
    stretch: u64,
}

struct Number {
    name: Arc<[u8]>,
    number: u64,
    written: u64,
}

impl Given {
    /// Rows from here on stand at this offset of the segment.
    pub(super) fn at(&mut self, offset: u64) {
        self.stretch = offset / REPEAT_BYTES + 1;
    }

    /// The numbers of a record's names, and these; those that rows here cannot rely on yet are
    /// written to `out` first.
    pub(super) fn put(
        &mut self,
        out: &mut Vec<u8>,
        index: u32,
        record: &Record,
    ) -> ([u64; 2], Pair) {
        let Self { numbers, own, stretch } = self;
        row::names(record, own);
        let [who, what] = own.each_ref().map(|name| {
            let next = numbers.len() as u64;
            if !numbers.contains_key(&name[..]) {
                let name: Arc<[u8]> = name[..].into();
                numbers.insert(name.clone(), Number { name, number: next, written: 0 });
            }
            let Some(given) = numbers.get_mut(&name[..]) else { return (next, Arc::default()) };
            if given.written != *stretch {
                given.written = *stretch;
                segment::put_frame(out, index, segment::NAME, |frame| {
                    frame.varint(given.number);
                    frame.put(name);
                });
            }
            (given.number, given.name.clone())
        });
        ([who.0, what.0], [who.1, what.1])
    }

    /// What was put last did not get into the segment.
    pub(super) fn forget(&mut self) {
        self.numbers.values_mut().for_each(|name| name.written = 0);
    }
}

/// Names read from a segment.
#[derive(Default)]
pub(super) struct Known(HashMap<u64, Box<[u8]>>);

impl Known {
    /// Learns the name in a frame. False if there is none.
    pub(super) fn learn(&mut self, payload: &[u8]) -> bool {
        let mut reader = Reader(payload);
        let Some(number) = reader.varint() else { return false };
        self.0.insert(number, reader.0.into());
        true
    }
}

impl row::Names for Known {
    fn get(&self, number: u64) -> Option<&[u8]> {
        self.0.get(&number).map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{segment, testing};
    use crate::usage::{Kind, Usage};

    /// One of many small answers.
    fn answer(seq: u64) -> Record {
        let mut record = testing::record(1_000_000 + seq);
        let intent = &mut record.intent;
        intent.generation_id = format!("gen-1763700000-{seq:020}").into();
        intent.app = "https://editor.example/".into();
        intent.key_hash = [(seq % 50) as u8; 32];
        intent.model = format!("openai/gpt-4o-mini-{}", seq % 7).into();
        intent.prompt_bytes = 4_000 + seq;
        record.upstream_id = format!("chatcmpl-{seq:029}");
        record.usage = Usage::ZERO.with(Kind::Input, 1_000 + seq).with(Kind::Output, 200);
        (record.first_content_us, record.duration_us) = (Some(350_000), 1_500_000);
        record.ended_us = record.started_us + 1_500_000;
        (record.cost, record.charge) = (180_000_000, 180_000_000);
        record
    }

    #[test]
    fn a_row_of_an_ordinary_answer_takes_at_most_200_bytes_of_the_spool() {
        let (mut given, mut out, mut sizes) = (Given::default(), Vec::new(), Vec::new());
        for seq in 0..5_000 {
            let (record, before) = (answer(seq), out.len());
            given.at(before as u64);
            let (numbers, _) = given.put(&mut out, 0, &record);
            segment::put_frame(&mut out, 0, segment::ROW, |frame| {
                numbers.into_iter().for_each(|number| frame.varint(number));
                row::put_own(frame, &record);
            });
            sizes.push(out.len() - before);
        }
        sizes.sort_unstable();
        let (median, mean) = (sizes[sizes.len() / 2], out.len() / sizes.len());
        assert!(median <= 200 && mean <= 250, "median {median}, mean with names {mean}");
    }
}
