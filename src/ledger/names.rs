//! Names of a segment: what many rows have in common, written once and then told by number.
//!
//! Every so often each name in use is written again, so that damage to one takes few rows with it.

use super::codec::{Put, Reader};
use super::record::Record;
use super::{row, segment};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a segment after which names are written again.
const REPEAT_BYTES: u64 = 128 << 10;

/// The bytes of a record's two names.
pub(super) type Pair = [Arc<[u8]>; 2];

/// Numbers given in one segment.
#[derive(Default)]
pub(super) struct Given {
    numbers: HashMap<Arc<[u8]>, Number, RandomState>,
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
