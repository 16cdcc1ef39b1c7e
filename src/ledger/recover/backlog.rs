//! What earlier epochs left in the spool is known before anything new is admitted: until then a gauge would say
//! that nothing waits, and a generation that no sink has yet would not be found.

use crate::bounds::RECENT_GENERATIONS;
use crate::ledger::depth::add;
use crate::ledger::directory::replace;
use crate::ledger::reading;
use crate::ledger::segments::Segment;
use crate::ledger::shared::Shared;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Counts the rows of earlier epochs as waiting for the sinks, which may have some of them, and makes the
/// newest readable. Reads only the segments that have these, however many there are.
///
/// # Errors
/// The sinks cannot be noted.
pub(super) fn take(shared: &Shared) -> io::Result<()> {
    let writer = shared.writer;
    let mut left = shared.segments.all();
    left.retain(|(id, _)| id.0 != writer.epoch);
    let rows = count(&left, writer.node);
    add(&shared.counters.appended, rows);
    reading::each_batch(newest(left, RECENT_GENERATIONS as u64), writer.node, |rows| {
        shared.recent.lock().add_all(rows);
    });
    sinks(shared, rows)
}

/// Notes which sinks there are. One that was there at the last start and is no longer misses what it did not have
/// yet, and nobody else would say so.
fn sinks(shared: &Shared, waiting: u64) -> io::Result<()> {
    let path = shared.directory.path().join("sinks");
    let names: Vec<_> = shared.options.sinks().map(|sink| sink.name()).collect();
    let now = names.join("\n") + "\n";
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    for gone in before.lines().filter(|name| waiting > 0 && !names.contains(name)) {
        tracing::error!(
            sink = gone,
            rows = waiting,
            "this sink is no longer configured: what it does not have of the rows that wait in the spool it will \
             not get; to deliver them, stop Weir at once, and start it with that sink"
        );
    }
    if before == now { Ok(()) } else { replace(&path, now.as_bytes()) }
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
