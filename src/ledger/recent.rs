//! The newest records, readable by generation before the sink has them.

use super::record::Record;
use super::row;
use crate::bounds::RECENT_GENERATIONS;
use crate::ledger::slot::generation_hash;
use std::collections::VecDeque;

/// A ring of encoded rows. Lookups walk its hashes: 128 kB at most, and never on the hot path.
#[derive(Default)]
pub(super) struct Recent {
    hashes: VecDeque<u64>,
    rows: VecDeque<Box<[u8]>>,
}

impl Recent {
    pub(super) fn add(&mut self, record: &Record) {
        if self.hashes.len() == RECENT_GENERATIONS {
            self.hashes.pop_front();
            self.rows.pop_front();
        }
        let mut bytes = Vec::new();
        row::put(&mut bytes, record);
        self.hashes.push_back(generation_hash(&record.intent.generation_id));
        self.rows.push_back(bytes.into_boxed_slice());
    }

    /// Adds the rows of one generation to `found`.
    pub(super) fn find(&self, node: [u8; 16], generation_id: &str, found: &mut Vec<Record>) {
        let hash = generation_hash(generation_id);
        let candidates = self.hashes.iter().zip(&self.rows).filter(|(own, _)| **own == hash);
        let rows = candidates.filter_map(|(_, bytes)| row::get(node, bytes));
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
