//! The start: take over what earlier epochs left, before anything new is claimed.

use super::depth::add;
use super::directory::{Directory, Writer, quarantine, sync_directory};
use super::losses::{self, Loss};
use super::map::{Map, SLOT_BYTES};
use super::prices::{Priced, Prices};
use super::reading;
use super::record::{RecordKey, flag};
use super::saved::{self, furthest, residence};
use super::segment::ROW_BYTES_MAX;
use super::segments::{Segment, Segments};
use super::settle::settle;
use super::shared::Shared;
use super::sink::sqlite::Reader;
use super::slot::{DISPATCHED, FREE, SEALED, SLOT_VERSION, Slot};
use super::spool::Spool;
use super::{OpenError, Options};
use crate::bounds::{SEGMENT_BYTES, SEGMENT_BYTES_LEAST, SINK_BATCH, SLOTS_MAX};
use crate::outcome::Outcome;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// `WEIRSLOT` in the byte order of the file.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"WEIRSLOT");

/// What slots of earlier epochs came to.
#[derive(Default)]
struct Found {
    rows: Vec<Priced>,
    cut: u64,
    lost: Vec<Loss>,
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
    let old = open_old(&path)?;
    let newest = segments.newest();
    let spooled = newest.as_ref().map(|(epoch, _)| *epoch);
    let writer = directory.begin(old.as_ref().map(writer_of), spooled)?;
    let old = match old {
        Some(map) if writer_of(&map).node != writer.node => {
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
    let synced = old.as_ref().map_or(0, |map| map.header().spooled.load(Relaxed));
    let there = newest.and_then(|(_, segment)| reading::rows_after(&segment, writer.node));
    let rows = synced.max(there.unwrap_or(0));
    let mut spool =
        Spool::begin(&place, writer, segments.clone(), size, rows).map_err(&appending)?;
    let (mut found, last) = match &old {
        Some(map) if resides(map) => {
            let found = slots(furthest(map.slots(), &[]), last_alive(map), writer);
            // A slot is freed with the first sync behind its row: these would be the last of the spool.
            let last = segments.last(found.rows.len() * ROW_BYTES_MAX);
            (found, last)
        }
        // Nobody knows which pages of the map were written when, so an attempt may long have its row.
        map => {
            let saved = saved::load(&options.directory, writer.node);
            let mapped = map.as_ref().map(Map::slots).unwrap_or_default();
            let alive = map.as_ref().map_or(0, last_alive);
            (slots(furthest(mapped, &saved), alive, writer), segments.all())
        }
    };
    found.leave_out(writer.node, last, &options.sqlite).map_err(&appending)?;
    for batch in found.rows.chunks(SINK_BATCH) {
        spool.append(batch).and_then(|()| spool.turn()).map_err(&appending)?;
    }
    spool.sync().map_err(&appending)?;
    losses::put(&place, &found.lost).map_err(OpenError::io("note losses in", &place))?;
    let map = ready(&path, old, options.slots, (writer, spool.spooled()))?;
    let shared = Shared::new(directory, options, writer, map, segments);
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

fn writer_of(map: &Map) -> Writer {
    let [low, high] = map.header().node.each_ref().map(|word| word.load(Relaxed));
    let node = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
    Writer { node, epoch: map.header().epoch.load(Relaxed) }
}

/// The slot file as an earlier epoch left it.
fn open_old(path: &Path) -> Result<Option<Map>, OpenError> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("open", path)(error)),
    };
    let bytes = file.metadata().map_err(OpenError::io("read", path))?.len();
    let count = bytes.saturating_sub(Map::file_bytes(0)) / SLOT_BYTES as u64;
    let whole = bytes >= Map::file_bytes(0) && count <= SLOTS_MAX as u64;
    let map = if whole {
        Some(Map::new(&file, count as usize).map_err(OpenError::io("map", path))?)
    } else {
        None
    };
    let Some(map) = map.filter(|map| map.header().magic.load(Relaxed) == MAGIC) else {
        tracing::error!(file = %path.display(), "this is no slot file: set aside");
        quarantine(path).map_err(OpenError::io("set aside", path))?;
        return Ok(None);
    };
    let header = map.header();
    let format = (header.version.load(Relaxed), header.slot_bytes.load(Relaxed));
    if format != (SLOT_VERSION, SLOT_BYTES as u64) || header.count.load(Relaxed) != count {
        return Err(OpenError::SlotFormat {
            path: path.to_owned(),
            found: format!("{} ({} bytes)", format.0, format.1),
            expected: format!("{SLOT_VERSION} ({SLOT_BYTES} bytes)"),
        });
    }
    Ok(Some(map))
}

/// Whether the map says what was stored last: its pages have not left memory since.
fn resides(map: &Map) -> bool {
    let then = map.header().residence.each_ref().map(|word| word.load(Relaxed));
    residence(map.file()) == Some(then)
}

fn last_alive(map: &Map) -> u64 {
    map.header().alive_us.load(Relaxed)
}

impl Found {
    /// Leaves out attempts that have their row: in these segments, which are made durable in place of their
    /// slots, or in the database. So that a row is spooled once, and its number tells it.
    fn leave_out(
        &mut self,
        node: [u8; 16],
        segments: Vec<((u64, u64), Arc<Segment>)>,
        sqlite: &Path,
    ) -> io::Result<()> {
        let mut open: HashSet<RecordKey> = self.rows.iter().map(|(row, _)| row.key).collect();
        if open.is_empty() {
            return Ok(());
        }
        for (_, segment) in &segments {
            File::open(&segment.path)?.sync_data()?;
        }
        reading::each_batch(segments, node, |rows| {
            for row in rows {
                open.remove(&row.key);
            }
        });
        if let Ok(reader) = Reader::open(sqlite) {
            open.retain(|key| !reader.has(key).unwrap_or(false));
        }
        self.rows.retain(|(row, _)| open.contains(&row.key));
        let cut = |(row, _): &&Priced| row.outcome == Outcome::CrashRecovered;
        self.cut = self.rows.iter().filter(cut).count() as u64;
        Ok(())
    }
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

/// The slot file for this epoch, all slots free: the old one if its size is right, else a new one.
/// Before any is given up it says how many rows the spool has.
fn ready(
    path: &Path,
    old: Option<Map>,
    count: usize,
    (writer, spooled): (Writer, u64),
) -> Result<Map, OpenError> {
    match old {
        Some(map) if map.slots().len() == count => {
            map.header().spooled.store(spooled, Release);
            let used = map.slots().iter().filter(|slot| slot.state.load(Relaxed) != FREE);
            used.for_each(|slot| slot.state.store(FREE, Relaxed));
            stamp(&map, count, writer);
            Ok(map)
        }
        old => {
            let delivered = old.map_or(0, |map| map.header().delivered.load(Relaxed));
            create(path, count, (writer, spooled, delivered)).map_err(OpenError::io("create", path))
        }
    }
}

/// Preallocates a new file beside the old one, then takes its place.
fn create(
    path: &Path,
    count: usize,
    (writer, spooled, delivered): (Writer, u64, u64),
) -> io::Result<Map> {
    let fresh = path.with_extension("new");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&fresh)?;
    let bytes = Map::file_bytes(count);
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut &file)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    let map = Map::new(&file, count)?;
    map.header().spooled.store(spooled, Relaxed);
    map.header().delivered.store(delivered, Relaxed);
    stamp(&map, count, writer);
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory(path.parent().unwrap_or(path))?;
    Ok(map)
}

fn stamp(map: &Map, count: usize, writer: Writer) {
    let header = map.header();
    let node = u128::from_le_bytes(writer.node);
    let [low, high] = &header.node;
    low.store(node as u64, Relaxed);
    high.store((node >> 64) as u64, Relaxed);
    header.epoch.store(writer.epoch, Relaxed);
    header.alive_us.store(super::shared::now_us(), Relaxed);
    let here = residence(map.file()).unwrap_or_default();
    header.residence.iter().zip(here).for_each(|(word, value)| word.store(value, Relaxed));
    header.slot_bytes.store(SLOT_BYTES as u64, Relaxed);
    header.count.store(count as u64, Relaxed);
    header.version.store(SLOT_VERSION, Relaxed);
    header.magic.store(MAGIC, Release);
}
