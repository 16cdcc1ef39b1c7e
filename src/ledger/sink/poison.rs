//! Delivery around rows that a sink will never take (F69).

use super::{Batch, Receipt, Sink, SinkError};
use crate::ledger::record::Record;
use std::io;

/// Keeps a refused row somewhere, with the sink's reason.
pub(in crate::ledger) type LayAside<'a> = &'a mut dyn FnMut(&Record, &str) -> io::Result<()>;

/// Delivers a batch. Rows that are refused for good are found by halving it and laid aside; the
/// cursor moves behind all of it or not at all.
///
/// # Errors
/// Of any other sort: the batch is to be delivered again.
pub(in crate::ledger) fn deliver(
    sink: &mut dyn Sink,
    batch: &Batch<'_>,
    lay_aside: LayAside<'_>,
) -> Result<Receipt, SinkError> {
    match sink.deliver(batch) {
        Err(SinkError::Poison(why)) => {
            tracing::error!(why, "a row is refused: looking for it");
            let receipt = part(sink, &Batch { cursor: None, ..*batch }, lay_aside)?;
            sink.deliver(&Batch { rows: &[], prices: &[], ..*batch })?;
            Ok(receipt)
        }
        other => other,
    }
}

fn part(
    sink: &mut dyn Sink,
    batch: &Batch<'_>,
    lay_aside: LayAside<'_>,
) -> Result<Receipt, SinkError> {
    match (sink.deliver(batch), batch.rows) {
        (Err(SinkError::Poison(why)), [row]) => {
            lay_aside(row, &why)?;
            Ok(Receipt::default())
        }
        (Err(SinkError::Poison(_)), rows @ [_, _, ..]) => {
            let (first, second) = rows.split_at(rows.len() / 2);
            let mut receipt = part(sink, &Batch { rows: first, ..*batch }, lay_aside)?;
            receipt += part(sink, &Batch { rows: second, ..*batch }, lay_aside)?;
            Ok(receipt)
        }
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sink::Position;
    use crate::ledger::testing;

    /// Takes every row whose number is not in `refuses`.
    #[derive(Default)]
    struct Choosy {
        refuses: Vec<u64>,
        taken: Vec<u64>,
        cursors: Vec<Position>,
    }

    impl Sink for Choosy {
        fn cursor(&mut self, _: [u8; 16]) -> Result<Option<Position>, SinkError> {
            Ok(self.cursors.last().copied())
        }

        fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
            let seqs = batch.rows.iter().map(|row| row.key.seq);
            if let Some(bad) = seqs.clone().find(|seq| self.refuses.contains(seq)) {
                return Err(SinkError::Poison(format!("{bad} is bad")));
            }
            self.taken.extend(seqs);
            self.cursors.extend(batch.cursor.map(|(_, at)| at));
            Ok(Receipt { inserted: batch.rows.len() as u64, ..Receipt::default() })
        }
    }

    #[test]
    fn only_the_refused_rows_are_laid_aside_and_the_cursor_moves_once() {
        let rows: Vec<_> = (1..=20).map(testing::record).collect();
        let at = Position { epoch: 1, segment: 0, offset: 9, rows: 20 };
        for refuses in [vec![], vec![1], vec![7, 8], vec![20], (1..=20).collect()] {
            let mut sink = Choosy { refuses: refuses.clone(), ..Choosy::default() };
            let batch = Batch { rows: &rows, prices: &[], cursor: Some(([7; 16], at)) };
            let mut aside = Vec::new();
            let receipt = deliver(&mut sink, &batch, &mut |row, why| {
                assert_eq!(why, format!("{} is bad", row.key.seq));
                aside.push(row.key.seq);
                Ok(())
            });
            assert_eq!(aside, refuses);
            assert_eq!(receipt.unwrap().inserted, 20 - refuses.len() as u64);
            assert!(sink.taken.iter().all(|seq| !refuses.contains(seq)));
            assert_eq!((sink.taken.len(), sink.cursors), (20 - refuses.len(), vec![at]));
        }
    }

    #[test]
    fn a_row_that_cannot_be_laid_aside_stays() {
        let rows = [testing::record(1)];
        let mut sink = Choosy { refuses: vec![1], ..Choosy::default() };
        let at = Position { epoch: 1, segment: 0, offset: 9, rows: 20 };
        let batch = Batch { rows: &rows, prices: &[], cursor: Some(([7; 16], at)) };
        let failed = deliver(&mut sink, &batch, &mut |_, _| Err(io::Error::other("full")));
        assert!(matches!(failed, Err(SinkError::File(_))) && sink.cursors.is_empty());
    }
}
