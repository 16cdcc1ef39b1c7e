//! The start: take over what earlier epochs left, before anything new is claimed.

mod backlog;
mod file;

use super::depth::add;
use super::directory::{self, Directory, Writer, quarantine};
use super::losses::{self, Loss};
use super::prices::{Priced, Prices};
use super::reading;
use super::record::flag;
use super::saved::{self, furthest};
use super::segments::{Segment, Segments};
use super::settle::settle;
use super::shared::{Shared, now_us};
use super::sink::sqlite::Reader;
use super::slot::{DISPATCHED, SEALED, Slot};
use super::spool::Spool;
use super::{OpenError, Options, Target};
use crate::bounds::{SEGMENT_BYTES, SEGMENT_BYTES_LEAST, SINK_BATCH, SLOTS_MAX};
use crate::outcome::Outcome;
use file::Old;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// What slots of earlier epochs came to.
#[derive(Default)]
struct Found {
    rows: Vec<Priced>,
    cut: u64,
    lost: Vec<Loss>,
}

impl Found {
    /// Leaves out the rows that these segments have.
    fn without(
        mut self,
        segments: impl IntoIterator<Item = ((u64, u64), Arc<Segment>)>,
        node: [u8; 16],
    ) -> Self {
        let mut open: HashSet<_> = self.rows.iter().map(|(record, _)| record.key).collect();
        if !open.is_empty() {
            reading::each_batch(segments, node, |rows| {
                for row in rows {
                    open.remove(&row.key);
                }
            });
        }
        self.rows.retain(|(record, _)| open.contains(&record.key));
        let cut = |(record, _): &&Priced| record.outcome == Outcome::CrashRecovered;
        self.cut = self.rows.iter().filter(cut).count() as u64;
        self
    }
}

/// Begins an epoch: recovers the slots into its first segment, then readies the slot file.
pub(super) fn start(directory: Directory, options: Options) -> Result<(Shared, Spool), OpenError> {
    if !(1..=SLOTS_MAX).contains(&options.slots) {
        return Err(OpenError::Slots(options.slots));
    }
    let place = directory.path().to_owned();
    let path = place.join("slots");
    let segments =
        Segments::scan(&place, options.sinks().count()).map_err(OpenError::io("list", &place))?;
    let old = Old::open(&path)?;
    let newest = segments.newest();
    let spooled = newest.as_ref().map(|(id, _)| id.0);
    let seen = old.as_ref().and_then(Old::writer).or_else(|| segments.writer());
    let is_new = directory::writer(&place).ok().flatten().is_none();
    let writer = directory.begin(seen, spooled, now_us() / 1_000)?;
    let old = match old {
        Some(old) if old.writer().is_some_and(|own| own.node != writer.node) => {
            tracing::error!(file = %path.display(), "the slot file is another node's: set aside");
            quarantine(&path).map_err(OpenError::io("set aside", &path))?;
            None
        }
        other => other,
    };
    let segments = Arc::new(segments);
    let appending = OpenError::io("write the spool in", &place);
    // A small spool in small segments: only whole ones are given back.
    let size = (options.spool_bytes / 4).clamp(SEGMENT_BYTES_LEAST, SEGMENT_BYTES);
    // What the slot file knows to be synced and no segment has is lost with the end of the spool.
    let synced = old.as_ref().and_then(|old| old.map.header().spooled());
    let there = newest.as_ref().and_then(|(_, it)| reading::rows_after(it, writer.node));
    // Without either a sink may still know that there was more.
    let known = synced.or_else(|| if is_new { None } else { known_to_sinks(&options, writer) });
    let rows = known.max(there).unwrap_or(0);
    let delivered = old.as_ref().and_then(|old| old.map.header().delivered());
    let delivered = delivered.unwrap_or_else(|| {
        // What was before the oldest segment was delivered, or it would be there.
        let oldest = segments.first(0).and_then(|(_, segment)| reading::rows_before(&segment));
        oldest.unwrap_or(if segments.is_empty() { rows } else { 0 })
    });
    let mut spool =
        Spool::begin(&place, writer, segments.clone(), size, rows).map_err(&appending)?;
    let found = match &old {
        Some(old) if old.resides() => {
            let found = slots(furthest(old.slots()), old.last_alive(), writer);
            let last = segments.since(old.map.header().writer().epoch);
            // A row that is there gives up its slot: it may not have been synced.
            let synced = last.iter().try_for_each(|(_, segment)| segment.open()?.sync_data());
            synced.map_err(&appending)?;
            found.without(last, writer.node)
        }
        _ => after_a_cut(old.as_ref(), &options, (writer, &segments)),
    };
    for batch in found.rows.chunks(SINK_BATCH) {
        spool.append(batch).map_err(&appending)?;
    }
    spool.sync().map_err(&appending)?;
    losses::put(&place, &found.lost).map_err(OpenError::io("note losses in", &place))?;
    let map = file::ready(&path, old, options.slots, (writer, spool.spooled(), delivered))?;
    let shared = Shared::new(directory, options, writer, map, segments);
    backlog::take(&shared).map_err(OpenError::io("write the list of sinks in", &place))?;
    spool.publish();
    report(&shared, &found);
    Ok((shared, spool))
}

fn report(shared: &Shared, found: &Found) {
    let rows = found.rows.len() as u64;
    add(&shared.counters.appended, rows);
    add(&shared.counters.recovered, rows);
    add(&shared.counters.crash_recovered, found.cut);
    let (cut, lost) = (found.cut, found.lost.len() as u64);
    add(&shared.counters.lost, lost);
    shared.recent.lock().add_all(found.rows.iter().map(|(record, _)| record));
    if rows + lost > 0 {
        tracing::warn!(rows, cut, lost, "attempts of an earlier run were recovered");
    }
}

/// How many rows of a node's any sink has come past.
fn known_to_sinks(options: &Options, writer: Writer) -> Option<u64> {
    let cursor = |target: Target| target.open().ok()?.cursor(writer.node).ok()?;
    options.sinks().filter_map(cursor).map(|at| at.rows).max()
}

/// What is left of the slots where the host may have lost power. Nobody knows which pages of the map
/// were written when, so an attempt may long have its row: what spool or database has is left out.
fn after_a_cut(
    old: Option<&Old>,
    options: &Options,
    (writer, segments): (Writer, &Segments),
) -> Found {
    let saved = saved::load(&options.directory, writer.node);
    let mapped = old.into_iter().flat_map(Old::slots);
    let mut found = slots(furthest(mapped.chain(&saved)), old.map_or(0, Old::last_alive), writer);
    if let Ok(reader) = Reader::open(&options.sqlite) {
        found.rows.retain(|(record, _)| !reader.has(&record.key).unwrap_or(false));
    }
    found.without(segments.all(), writer.node)
}

/// Settles slots that hold an attempt. They keep saying the same until they are freed, so that a
/// recovery that is itself killed is repeated with the same result.
fn slots(used: Vec<&Slot>, alive_us: u64, writer: Writer) -> Found {
    let (mut found, mut prices) = (Found::default(), Prices::default());
    for slot in used {
        if slot.state.load(Relaxed) == DISPATCHED {
            found.cut += u64::from(close(slot, alive_us) == Outcome::CrashRecovered as u64);
        }
        let row = slot.image().and_then(|image| settle(writer.node, &image, &mut prices));
        match row {
            Some(row) => found.rows.push(row),
            None => found.lost.push(Loss::of_slot(slot)),
        }
    }
    found
}

/// Seals a slot in place of its process, which was last seen alive at `alive_us`; gives the outcome.
///
/// A process that died between the terminal event and its seal leaves a complete attempt: the caller
/// may have all of it (reliability 4.4).
fn close(slot: &Slot, alive_us: u64) -> u64 {
    let started = slot.started_us.load(Relaxed);
    if slot.ended_us.load(Relaxed) == 0 {
        let ended = alive_us.max(started);
        slot.duration_us.store(ended - started, Relaxed);
        slot.ended_us.store(ended, Relaxed);
    }
    let terminal = slot.marks.load(Relaxed) & u64::from(flag::TERMINAL) != 0;
    let outcome = match slot.outcome.load(Relaxed) {
        0 if terminal => Outcome::Ok as u64,
        0 => Outcome::CrashRecovered as u64,
        known => known,
    };
    slot.outcome.store(outcome, Relaxed);
    slot.mark(u64::from(flag::CRASH_RECOVERED));
    slot.state.store(SEALED, Release);
    outcome
}
