//! Rows that were laid aside, offered once more to the database that refused them (F69), and those of a spool
//! segment that delivery passed by (F65).

use super::directory;
use super::losses;
use super::reading::{Opened, Reading, Resume};
use super::record::Record;
use super::review::{Books, ReviewError, Watch};
use super::segment::{BadHeader, HEADER_BYTES, Header};
use super::segments::Segment;
use super::sink::reader::{Base, ReadError};
use super::sink::{Batch, Receipt, Sink, SinkError, Target, dead_letter, poison};
use crate::bounds::SINK_BATCH;
use crate::price::PriceVersion;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// What became of the dead letters of a directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Redelivered {
    pub taken: u64,
    /// The database had them already.
    pub known: u64,
    /// The database has others under the same keys.
    pub conflicts: u64,
    pub refused: u64,
    /// Lines that are no rows, or rows of a segment that cannot be read.
    pub strange: u64,
}

/// Whose rows a file has, where it is a segment of the spool.
fn node_of(path: &Path) -> io::Result<[u8; 16]> {
    let mut head = [0; HEADER_BYTES];
    File::open(path)?.read_exact(&mut head)?;
    let header = Header::decode(&head).map_err(|why| match why {
        BadHeader::Newer(version) => {
            io::Error::other(format!("a newer version wrote it ({version}): use that"))
        }
        BadHeader::Damaged => {
            io::Error::other("it is no segment of the spool, or its header is damaged")
        }
    })?;
    Ok(header.node)
}

/// Offers what can be read of a spool segment to a database, whoever wrote it and whatever was delivered of it.
/// What the state directory of its writer remembers as lost with it is taken back.
///
/// # Errors
/// The file is none, there is no ledger in the books, or it takes no row at all.
pub fn respool(
    path: &Path,
    books: &Books,
    watch: &dyn Watch,
) -> Result<Redelivered, RedeliverError> {
    let base = &books.base;
    let state = |error| RedeliverError::Review(ReviewError::State(error));
    let mut done = Redelivered::default();
    drop(base.open()?);
    let mut sink = Target::from(base).open()?;
    let bytes = fs::metadata(path).map_err(state)?.len();
    let node = node_of(path).map_err(state)?;
    let segment = Arc::new(Segment::left(path.to_owned(), bytes));
    let Opened::Ready(mut reading) = Reading::open((0, 0), segment, node).map_err(state)? else {
        return Err(state(io::Error::from(io::ErrorKind::NotFound)));
    };
    reading.resume(Resume::default());
    reading.fill().map_err(state)?;
    watch.begin("bytes of the segment", bytes);
    let mut lost = Vec::new();
    while !reading.at_end() {
        let from = reading.position().offset;
        let step = reading.step(SINK_BATCH);
        offer(sink.as_mut(), (&step.rows, &step.prices), &mut done)?;
        watch.seen(reading.position().offset - from);
        done.strange += step.lost;
        lost.extend(&step.losses);
        reading.reuse(step);
    }
    if let Some(own) = &books.state
        && directory::writer(own).map_err(state)?.is_some_and(|writer| writer.node == node)
        && let Some(numbers) = reading.numbers().filter(|_| done.refused == 0)
        // It is of the sink that it was lost to, and not any database.
        && sink.cursor(node)?.is_some_and(|at| at.rows >= numbers.end)
    {
        losses::take_back(own, base.name(), &numbers, &lost).map_err(state)?;
    }
    Ok(done)
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
    for name in base.dead_letters() {
        for row in dead_letter::rows(directory, name).map_err(ReviewError::State)? {
            match row.map_err(ReviewError::State)? {
                Some(row) => rows.push(row),
                None => done.strange += 1,
            }
            if rows.len() == SINK_BATCH {
                offer(sink.as_mut(), (&rows, &[]), &mut done)?;
                watch.seen(rows.len() as u64);
                rows.clear();
            }
        }
    }
    offer(sink.as_mut(), (&rows, &[]), &mut done)?;
    Ok(done)
}

fn offer(
    sink: &mut dyn Sink,
    (rows, prices): (&[Record], &[PriceVersion]),
    done: &mut Redelivered,
) -> Result<(), SinkError> {
    let batch = Batch { rows, prices, cursor: None };
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
