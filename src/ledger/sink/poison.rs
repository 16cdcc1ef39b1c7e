//! Delivery around rows that a sink will never take (F69).

use super::fault::Fault;
use super::{Batch, Receipt, Sink, SinkError};
use crate::ledger::record::Record;
use std::io;

/// Keeps a refused row somewhere, with the sink's reason.
pub(in crate::ledger) type LayAside<'a> = &'a mut dyn FnMut(&Record, &str) -> io::Result<()>;

/// Delivers a batch. Rows that are refused are found by halving it, and laid aside if they are refused again
/// once others were taken; the cursor moves behind all of it or not at all.
///
/// # Errors
/// The batch is to be delivered again: the fault is the sink's, or it may be, because it takes no row at all.
pub(in crate::ledger) fn deliver(
    sink: &mut dyn Sink,
    batch: &Batch<'_>,
    lay_aside: LayAside<'_>,
) -> Result<Receipt, SinkError> {
    let why = match sink.deliver(batch) {
        Err(error) if error.fault() == Fault::Row && !batch.rows.is_empty() => error,
        other => return other,
    };
    tracing::error!(%why, "a row is refused: looking for it");
    let apart = Batch { cursor: None, ..*batch };
    let (mut taken, mut refused) = (Receipt::default(), Vec::new());
    part(sink, &apart, &mut taken, &mut refused)?;
    if let Some(newest) = refused.last().filter(|_| taken.inserted == 0)
        && !sink.works(newest)?
    {
        return Err(why);
    }
    for row in refused {
        match sink.deliver(&Batch { rows: std::slice::from_ref(row), ..apart }) {
            Ok(receipt) => taken += receipt,
            Err(error) if error.fault() == Fault::Row => lay_aside(row, &error.to_string())?,
            Err(error) => return Err(error),
        }
    }
    sink.deliver(&Batch { rows: &[], prices: &[], ..*batch })?;
    Ok(taken)
}

/// Delivers what is taken of a batch, and collects what is refused alone.
fn part<'a>(
    sink: &mut dyn Sink,
    batch: &Batch<'a>,
    taken: &mut Receipt,
    refused: &mut Vec<&'a Record>,
) -> Result<(), SinkError> {
    match (sink.deliver(batch), batch.rows) {
        (Ok(receipt), _) => *taken += receipt,
        (Err(error), _) if error.fault() != Fault::Row => return Err(error),
        (Err(_), [row]) => refused.push(row),
        (Err(_), rows) => {
            let (first, second) = rows.split_at(rows.len() / 2);
            part(sink, &Batch { rows: first, ..*batch }, taken, refused)?;
            part(sink, &Batch { rows: second, ..*batch }, taken, refused)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sink::{Advance, Position};
    use crate::ledger::testing;

    /// Takes every row whose number is not in `refuses`, and works unless it refuses all.
    #[derive(Default)]
    struct Choosy {
        refuses: Vec<u64>,
        broken: bool,
        /// Refuses one more delivery, whatever it holds.
        moody: bool,
        taken: Vec<u64>,
        cursors: Vec<Position>,
    }

    impl Sink for Choosy {
        fn cursor(&mut self, _: [u8; 16]) -> Result<Option<Position>, SinkError> {
            Ok(self.cursors.last().copied())
        }

        fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
            let seqs = batch.rows.iter().map(|row| row.key.seq);
            if batch.rows.len() == 1 && std::mem::take(&mut self.moody) {
                return Err(SinkError::Refused("in a mood".to_owned()));
            }
            if let Some(bad) = seqs.clone().find(|seq| self.refuses.contains(seq)) {
                return Err(SinkError::Refused(format!("{bad} is bad")));
            }
            self.taken.extend(seqs);
            self.cursors.extend(batch.cursor.map(|cursor| cursor.to));
            Ok(Receipt { inserted: batch.rows.len() as u64, ..Receipt::default() })
        }

        fn works(&mut self, _: &Record) -> Result<bool, SinkError> {
            Ok(!self.broken)
        }
    }

    const AT: Position = Position { epoch: 1, segment: 0, offset: 9, rows: 20 };
    const CURSOR: Advance = Advance { node: [7; 16], from: None, to: AT };

    /// What is laid aside of twenty rows, and how it went.
    fn delivered(sink: &mut Choosy) -> (Vec<u64>, Result<Receipt, SinkError>) {
        let rows: Vec<_> = (1..=20).map(testing::record).collect();
        let batch = Batch { rows: &rows, prices: &[], cursor: Some(CURSOR) };
        let mut aside = Vec::new();
        let receipt = deliver(sink, &batch, &mut |row, why| {
            assert!(why.ends_with(&format!("{} is bad", row.key.seq)));
            aside.push(row.key.seq);
            Ok(())
        });
        (aside, receipt)
    }

    #[test]
    fn only_the_refused_rows_are_laid_aside_and_the_cursor_moves_once() {
        for refuses in [vec![], vec![1], vec![7, 8], vec![20], (1..=20).collect()] {
            let mut sink = Choosy { refuses: refuses.clone(), ..Choosy::default() };
            let (aside, receipt) = delivered(&mut sink);
            assert_eq!(aside, refuses);
            assert_eq!(receipt.unwrap().inserted, 20 - refuses.len() as u64);
            assert!(sink.taken.iter().all(|seq| !refuses.contains(seq)));
            assert_eq!((sink.taken.len(), sink.cursors), (20 - refuses.len(), vec![AT]));
        }
    }

    #[test]
    fn a_sink_that_refuses_every_row_is_at_fault_itself() {
        let mut sink = Choosy { refuses: (1..=20).collect(), broken: true, ..Choosy::default() };
        let (aside, receipt) = delivered(&mut sink);
        assert!(aside.is_empty() && sink.cursors.is_empty());
        assert!(matches!(receipt, Err(SinkError::Refused(_))));
    }

    #[test]
    fn a_row_that_is_taken_when_asked_again_is_not_laid_aside() {
        let mut sink = Choosy { refuses: vec![7], moody: true, ..Choosy::default() };
        let (aside, receipt) = delivered(&mut sink);
        assert_eq!((aside, receipt.unwrap().inserted), (vec![7], 19));
    }

    #[test]
    fn a_row_that_cannot_be_laid_aside_stays() {
        let rows = [testing::record(1)];
        let mut sink = Choosy { refuses: vec![1], ..Choosy::default() };
        let batch = Batch { rows: &rows, prices: &[], cursor: Some(CURSOR) };
        let failed = deliver(&mut sink, &batch, &mut |_, _| Err(io::Error::other("full")));
        assert!(matches!(failed, Err(SinkError::File(_))) && sink.cursors.is_empty());
    }
}
