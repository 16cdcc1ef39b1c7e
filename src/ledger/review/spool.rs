//! What is in the spool's segments, delivered or not.

use super::{ReviewError, Watch, writer};
use crate::bounds::SINK_BATCH;
use crate::ledger::reading::{Opened, Reading, Resume};
use crate::ledger::record::Record;
use crate::ledger::segments::Segments;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Debug, Default)]
pub struct Spooled {
    pub segments: u64,
    pub rows: u64,
    /// Rows lost to damage, and to what is gone between two segments.
    pub lost: u64,
    /// Segments that are gone though older ones are there.
    pub missing: u64,
    /// Bytes behind the last whole frame.
    pub torn_bytes: u64,
    /// Segments of another node or a newer version.
    pub foreign: u64,
}

/// Reads every segment below a state directory.
///
/// # Errors
/// A file cannot be read.
pub fn spooled(state: &Path, watch: &dyn Watch) -> Result<Spooled, ReviewError> {
    each(state, None, watch, |_, _| Ok(()))
}

/// Reads every segment below a state directory and hands out its rows in batches, which say whether
/// they end at or before a cursor: an epoch, a segment and an offset.
pub(super) fn each(
    state: &Path,
    cursor: Option<(u64, u64, u64)>,
    watch: &dyn Watch,
    mut take: impl FnMut(&[Record], bool) -> Result<(), ReviewError>,
) -> Result<Spooled, ReviewError> {
    let mut found = Spooled::default();
    let segments = Segments::list(state).map_err(ReviewError::State)?.all();
    if segments.is_empty() {
        return Ok(found);
    }
    let node = writer(state)?.node;
    let bytes = segments.iter().map(|(_, segment)| segment.bytes.load(Relaxed));
    watch.begin("bytes of the spool", bytes.sum());
    let (mut before, mut accounted) = (None, None);
    for (id, segment) in segments {
        found.missing += gap(before.replace(id), id);
        found.segments += 1;
        let mut reading = match Reading::open(id, segment, node) {
            Ok(Opened::Ready(reading)) => reading,
            Ok(Opened::Foreign | Opened::Newer(_)) => {
                found.foreign += 1;
                accounted = None;
                continue;
            }
            // Delivered and gone since it was listed.
            Ok(Opened::Gone) => continue,
            Err(error) => return Err(ReviewError::State(error)),
        };
        // Only of the segment in which the cursor is a batch may end on either side of it.
        let parted = cursor.is_some_and(|(epoch, segment, _)| (epoch, segment) == id);
        let limit = if parted { 1 } else { SINK_BATCH };
        reading.resume(Resume { accounted, ..Resume::default() });
        reading.fill().map_err(ReviewError::State)?;
        while !reading.at_end() {
            let start = reading.position().offset;
            let step = reading.step(limit);
            let end = reading.position().offset;
            watch.seen(end - start);
            found.rows += step.rows.len() as u64;
            found.lost += step.lost;
            found.torn_bytes += step.torn;
            take(&step.rows, cursor.is_some_and(|cursor| (id.0, id.1, end) <= cursor))?;
            reading.reuse(step);
        }
        accounted = Some(reading.rows());
    }
    Ok(found)
}

/// How many segments should stand between two.
fn gap(before: Option<(u64, u64)>, id: (u64, u64)) -> u64 {
    let before = before.filter(|before| before.0 == id.0);
    before.map_or(0, |before| id.1.saturating_sub(before.1 + 1))
}
