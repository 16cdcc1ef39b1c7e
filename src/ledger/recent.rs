//! The newest records, readable by generation before the sink has them.

use super::names::{Given, Pair};
use super::record::Record;
use super::row;
use crate::bounds::RECENT_GENERATIONS;
use crate::ledger::slot::generation_hash;
use std::collections::VecDeque;

/// A ring of encoded rows, each with its names. Lookups walk its hashes: 128 kB at most, and never on the hot path.
#[derive(Default)]
pub(super) struct Recent {
    hashes: VecDeque<u64>,
    rows: VecDeque<Encoded>,
}

struct Encoded {
    own: Box<[u8]>,
    names: Pair,
}

impl Recent {
    /// Adds records that were encoded nowhere yet.
    pub(super) fn add_all<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        let (mut given, mut own) = (Given::default(), Vec::new());
        for record in records {
            own.clear();
            row::put_own(&mut own, record);
            let (_, names) = given.put(&mut Vec::new(), 0, record);
            self.add(record, &own, names);
        }
    }

    /// Adds a record that was encoded as these bytes of its own and these names.
    pub(super) fn add(&mut self, record: &Record, own: &[u8], names: Pair) {
        if self.hashes.len() == RECENT_GENERATIONS {
            self.hashes.pop_front();
            self.rows.pop_front();
        }
        self.hashes.push_back(generation_hash(&record.intent.generation_id));
        self.rows.push_back(Encoded { own: own.into(), names });
    }

    /// The newest `count` rows.
    pub(super) fn newest(&self, node: [u8; 16], count: usize) -> Vec<Record> {
        let rows = self.rows.iter().rev().take(count);
        rows.filter_map(|row| read(node, row)).collect()
    }

    /// Adds the rows of one generation to `found`.
    pub(super) fn find(&self, node: [u8; 16], generation_id: &str, found: &mut Vec<Record>) {
        let hash = generation_hash(generation_id);
        let candidates = self.hashes.iter().zip(&self.rows).filter(|(own, _)| **own == hash);
        let rows = candidates.filter_map(|(_, row)| read(node, row));
        found.extend(rows.filter(|row| row.intent.generation_id == generation_id));
    }
}

fn read(node: [u8; 16], row: &Encoded) -> Option<Record> {
    row::get_own(node, &row.own, row.names.each_ref().map(|name| &**name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;

    #[test]
    fn the_bound_holds_and_one_more_pushes_the_oldest_out() {
        let mut recent = Recent::default();
        let rows: Vec<_> = (0..=RECENT_GENERATIONS as u64).map(testing::record).collect();
        recent.add_all(&rows);
        let mut found = Vec::new();
        recent.find([7; 16], "gen-0", &mut found);
        assert_eq!((found.len(), recent.rows.len()), (0, RECENT_GENERATIONS));
        recent.find([7; 16], "gen-1", &mut found);
        assert_eq!(found, vec![testing::record(1)]);
    }
}
