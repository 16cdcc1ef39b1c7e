//! The newest records, readable by generation before the sink has them.

use super::record::Record;
use super::row;
use crate::bounds::RECENT_GENERATIONS;
use crate::ledger::slot::generation_hash;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows among which one with the same names is looked for.
const NAMES_TRIED: usize = 8;

/// A ring of encoded rows, each with its names. Lookups walk its hashes: 128 kB at most, and never on the hot path.
#[derive(Default)]
pub(super) struct Recent {
    hashes: VecDeque<u64>,
    rows: VecDeque<Encoded>,
}

struct Encoded {
    bytes: Box<[u8]>,
    names: [Arc<[u8]>; 2],
}

impl Recent {
    /// The newest row's copy of a name, if it has the same one.
    fn shared_name(&self, name: Vec<u8>) -> Arc<[u8]> {
        let newest = self.rows.iter().rev().take(NAMES_TRIED).flat_map(|row| &row.names);
        let same = newest.into_iter().find(|known| known[..] == name[..]);
        same.cloned().unwrap_or_else(|| name.into())
    }

    pub(super) fn add(&mut self, record: &Record) {
        if self.hashes.len() == RECENT_GENERATIONS {
            self.hashes.pop_front();
            self.rows.pop_front();
        }
        let mut bytes = Vec::new();
        row::put(&mut bytes, record, [0, 1]);
        let names = row::names(record).map(|name| self.shared_name(name));
        self.hashes.push_back(generation_hash(&record.intent.generation_id));
        self.rows.push_back(Encoded { bytes: bytes.into_boxed_slice(), names });
    }

    /// Adds the rows of one generation to `found`.
    pub(super) fn find(&self, node: [u8; 16], generation_id: &str, found: &mut Vec<Record>) {
        let hash = generation_hash(generation_id);
        let candidates = self.hashes.iter().zip(&self.rows).filter(|(own, _)| **own == hash);
        let rows = candidates.filter_map(|(_, row)| {
            row::get(node, &row.bytes, &row.names.each_ref().map(|name| &**name))
        });
        found.extend(rows.filter(|row| row.intent.generation_id == generation_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;

    #[test]
    fn the_bound_holds_and_one_more_pushes_the_oldest_out() {
        let mut recent = Recent::default();
        (0..=RECENT_GENERATIONS as u64).for_each(|seq| recent.add(&testing::record(seq)));
        let mut found = Vec::new();
        recent.find([7; 16], "gen-0", &mut found);
        assert_eq!((found.len(), recent.rows.len()), (0, RECENT_GENERATIONS));
        recent.find([7; 16], "gen-1", &mut found);
        assert_eq!(found, vec![testing::record(1)]);
    }
}
