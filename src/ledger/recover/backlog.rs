//! What earlier epochs left in the spool is known before anything new is admitted: until then a gauge would say
//! that nothing waits, and a generation that no sink has yet would not be found.

use crate::bounds::RECENT_GENERATIONS;
use crate::ledger::depth::add;
use crate::ledger::reading;
use crate::ledger::segments::Segment;
use crate::ledger::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Counts the rows of earlier epochs as waiting for the sinks, which may have some of them, and makes the
/// newest readable. Reads only the segments that have these, however many there are.
pub(super) fn take(shared: &Shared) {
    let writer = shared.writer;
    let mut left = shared.segments.all();
    left.retain(|(id, _)| id.0 != writer.epoch);
    let rows = count(&left, writer.node);
    add(&shared.counters.appended, rows);
    reading::each_batch(newest(left, RECENT_GENERATIONS as u64), writer.node, |rows| {
        shared.recent.lock().add_all(rows);
    });
}

type Numbered = ((u64, u64), Arc<Segment>);

/// Notes at each segment how many rows it has, and says how many that are.
fn count(segments: &[Numbered], node: [u8; 16]) -> u64 {
    let nexts = segments.iter().skip(1).map(|(_, next)| Some(&**next)).chain([None]);
    let counted = segments.iter().zip(nexts).map(|((_, segment), next)| {
        let rows = reading::rows_of(segment, next, node);
        segment.rows.store(rows, Relaxed);
        rows
    });
    counted.sum()
}

/// The last segments, with at least so many rows.
fn newest(mut segments: Vec<Numbered>, enough: u64) -> Vec<Numbered> {
    let mut rows = 0;
    let first = segments.iter().rposition(|(_, segment)| {
        rows += segment.rows.load(Relaxed);
        rows >= enough
    });
    segments.split_off(first.unwrap_or(0))
}
