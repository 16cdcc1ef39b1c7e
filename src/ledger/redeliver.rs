//! Rows that were laid aside, offered once more to the database that refused them (F69).

use super::record::Record;
use super::review::{ReviewError, Watch};
use super::sink::reader::{Base, ReadError};
use super::sink::{Batch, Receipt, Sink, SinkError, Target, dead_letter, poison};
use crate::bounds::SINK_BATCH;
use std::path::Path;

/// What became of the dead letters of a directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Redelivered {
    pub taken: u64,
    /// The database had them already.
    pub known: u64,
    /// The database has others under the same keys.
    pub conflicts: u64,
    pub refused: u64,
    /// Lines that are no rows.
    pub strange: u64,
}

/// Why they cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum RedeliverError {
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// And what to do about it.
    #[error("{0}: {remedy}", remedy = .0.remedy())]
    Sink(#[from] SinkError),
}

impl From<ReadError> for RedeliverError {
    fn from(error: ReadError) -> Self {
        Self::Review(error.into())
    }
}

/// Offers the rows in a directory's dead letters to the database that refused them. The file stays as it
/// is: reports do not count what the database has as well.
///
/// # Errors
/// The file cannot be read, there is no ledger at `base`, or it takes no row at all.
pub fn redeliver(
    directory: &Path,
    base: &Base,
    watch: &dyn Watch,
) -> Result<Redelivered, RedeliverError> {
    let mut done = Redelivered::default();
    // Reading first: a sink would make a new database where there is none.
    drop(base.open()?);
    let mut sink = Target::from(base).open()?;
    watch.begin("rows laid aside", 0);
    let mut rows = Vec::new();
    for row in dead_letter::rows(directory, base.name()).map_err(ReviewError::State)? {
        match row.map_err(ReviewError::State)? {
            Some(row) => rows.push(row),
            None => done.strange += 1,
        }
        if rows.len() == SINK_BATCH {
            offer(sink.as_mut(), &rows, &mut done)?;
            watch.seen(rows.len() as u64);
            rows.clear();
        }
    }
    offer(sink.as_mut(), &rows, &mut done)?;
    Ok(done)
}

fn offer(sink: &mut dyn Sink, rows: &[Record], done: &mut Redelivered) -> Result<(), SinkError> {
    let batch = Batch { rows, prices: &[], cursor: None };
    let Receipt { inserted, duplicates, conflicts } =
        poison::deliver(sink, &batch, &mut |_, _| {
            done.refused += 1;
            Ok(())
        })?;
    done.taken += inserted;
    done.known += duplicates;
    done.conflicts += conflicts;
    Ok(())
}
