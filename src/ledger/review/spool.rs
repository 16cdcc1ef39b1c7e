//! What is in the spool's segments, delivered or not, and what should be there and is not.

use super::slots::{self, Held};
use super::{Books, ReviewError, Watch, writer};
use crate::bounds::SINK_BATCH;
use crate::ledger::losses::{self, Loss};
use crate::ledger::reading::{Opened, Reading, Resume, Step};
use crate::ledger::record::Record;
use crate::ledger::segments::{Segment, Segments};
use crate::ledger::sink::Position;
use crate::ledger::sink::reader::{self, ReadError, Reader};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a state directory has of its node's rows for one sink.
#[derive(Debug, Default)]
pub struct Spooled {
    pub segments: u64,
    pub rows: u64,
    /// Rows that the sink lacks by its cursor and that are not in the spool: of damaged frames, of segments
    /// that are gone, and of the end that the slot file knows to be written.
    pub lost: u64,
    /// Rows that were lost and that delivery has passed, as `losses.jsonl` remembers.
    pub passed: u64,
    /// Attempts that were lost with damaged slots, as the same file remembers.
    pub slots: u64,
    /// Rows that each other sink lost, as it remembers.
    pub others: BTreeMap<String, u64>,
    /// Lines of that file that are no losses.
    pub strange: u64,
    /// Segments that are gone though older ones are there.
    pub missing: u64,
    /// Bytes behind the last whole frame.
    pub torn_bytes: u64,
    /// Segments of another node.
    pub foreign: u64,
    /// Segments that a newer version wrote, and how many rows these are, as far as what is around them says.
    pub newer: u64,
    pub newer_rows: u64,
    /// Rows in these that the cursor has gone past.
    pub(super) newer_passed: u64,
    /// There is no sound slot file to say how many rows the spool should have.
    pub endless: bool,
    /// What the slot file has of attempts whose rows are not in the spool yet.
    pub(super) held: Held,
}

impl Spooled {
    /// How many things are wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.unread()
            + self.passed
            + self.slots
            + self.others.values().sum::<u64>()
            + self.strange
            + self.missing
            + u64::from(self.endless)
    }

    /// Rows and segments that should be here and cannot be read.
    pub(super) fn unread(&self) -> u64 {
        self.lost + self.foreign + self.newer
    }
}

/// Goes through the spool beside a database; `None` where nobody knows its state directory.
///
/// # Errors
/// A file or the database cannot be read.
pub fn spooled(books: &Books, watch: &dyn Watch) -> Result<Option<Spooled>, ReviewError> {
    let Some(state) = &books.state else { return Ok(None) };
    let mut reader = books.base.open()?;
    let place = (books, state.as_path(), writer(state)?.node);
    walk(place, reader.as_mut(), watch, &mut |_, _, _| Ok(())).map(Some)
}

/// What becomes of the rows that are found, and whether the sink has them by its cursor.
pub(super) type Take<'a> =
    &'a mut dyn FnMut(&mut dyn Reader, &[Record], bool) -> Result<(), ReviewError>;

/// Goes through the spool of a ledger as its sink sees it, and hands out its rows in batches.
///
/// Weir may write and deliver meanwhile. So what should be there is asked before what is there, and how far
/// the sink is afterwards: what was delivered and removed in between is no loss.
///
/// # Errors
/// A file or the database cannot be read.
pub(super) fn walk(
    (books, state, node): (&Books, &Path, [u8; 16]),
    reader: &mut dyn Reader,
    watch: &dyn Watch,
    take: Take<'_>,
) -> Result<Spooled, ReviewError> {
    let held = slots::held(state, node).map_err(ReviewError::State)?;
    let spooled = held.as_ref().and_then(|held| held.spooled);
    let segments = Segments::list(state).map_err(ReviewError::State)?.all();
    let bytes = segments.iter().map(|(_, segment)| segment.bytes.load(Relaxed));
    watch.begin("bytes of the spool", bytes.sum());
    let mut walk = Walk {
        node,
        reader,
        cursor: None,
        floor: held.as_ref().and_then(|held| held.delivered),
        through: None,
        skipped: false,
        found: Spooled { endless: spooled.is_none(), ..Spooled::default() },
    };
    walk.ask()?;
    let mut before = None;
    for (id, segment) in segments {
        if walk.segment(id, segment, watch, take)? {
            walk.found.missing += gap(before.replace(id), id);
        }
    }
    if let (Some(spooled), Some(done)) = (spooled, walk.through.max(walk.floor)) {
        walk.miss(spooled.saturating_sub(done), spooled);
    }
    let Walk { cursor, mut found, .. } = walk;
    let noted = losses::read(state).map_err(ReviewError::State)?;
    noted.strange.iter().for_each(|line| watch.odd(line));
    found.strange = noted.strange.len() as u64;
    (found.passed, found.slots) = passed(&noted.losses, books.base.name(), cursor);
    let others = noted
        .losses
        .iter()
        .filter(|loss| ![books.base.name(), losses::SLOTS].contains(&&*loss.sink));
    for loss in others {
        *found.others.entry(loss.sink.clone()).or_default() += loss.rows;
    }
    found.held = held.unwrap_or_default();
    Ok(found)
}

/// Rows lost to a sink that delivery has passed, and attempts lost with damaged slots. A loss is noted before
/// the cursor goes past it.
pub(super) fn passed(losses: &[Loss], sink: &str, cursor: Option<Position>) -> (u64, u64) {
    let end = cursor.map(|cursor| (cursor.epoch, cursor.segment, cursor.offset));
    let (mut passed, mut slots) = (0, 0);
    for loss in losses {
        let is_passed = Some((loss.epoch, loss.segment, loss.offset)) <= end;
        match loss.sink.as_str() {
            losses::SLOTS => slots += loss.rows,
            name if name == sink && is_passed => passed += loss.rows,
            _ => {}
        }
    }
    (passed, slots)
}

struct Walk<'a> {
    node: [u8; 16],
    reader: &'a mut dyn Reader,
    cursor: Option<Position>,
    /// How many of the node's rows the sink is done with; `None`: an earlier version did not say.
    floor: Option<u64>,
    /// How many the node had spooled at the end of the last segment that was read.
    through: Option<u64>,
    /// A newer version wrote what follows that.
    skipped: bool,
    found: Spooled,
}

impl Walk<'_> {
    /// How far the sink is at this moment.
    fn ask(&mut self) -> Result<(), ReadError> {
        if let Some(cursor) = reader::cursor(self.reader, self.node)? {
            self.floor = (cursor.rows > 0).then_some(cursor.rows);
            self.cursor = Some(cursor);
        }
        Ok(())
    }

    /// Goes through a segment; false if it is there no more.
    fn segment(
        &mut self,
        id: (u64, u64),
        segment: Arc<Segment>,
        watch: &dyn Watch,
        take: Take<'_>,
    ) -> Result<bool, ReviewError> {
        let mut reading = match Reading::open(id, segment, self.node) {
            Ok(Opened::Ready(reading)) => reading,
            Ok(Opened::Foreign) => {
                self.found.foreign += 1;
                return Ok(true);
            }
            Ok(Opened::Newer(_)) => {
                self.found.newer += 1;
                self.skipped = true;
                return Ok(true);
            }
            // Delivered and removed since it was listed.
            Ok(Opened::Gone) => {
                self.ask()?;
                return Ok(false);
            }
            Err(error) => return Err(ReviewError::State(error)),
        };
        self.found.segments += 1;
        // No step goes over the cursor: its rows are on one side of it.
        let cursor = self.cursor.filter(|cursor| (cursor.epoch, cursor.segment) == id);
        let parted = cursor.map_or(u64::MAX, |cursor| cursor.offset);
        let limit = if self.skipped { 1 } else { SINK_BATCH };
        let accounted = self.through.or(self.floor);
        reading.resume(Resume { accounted, ..Resume::default() });
        reading.fill().map_err(ReviewError::State)?;
        while !reading.at_end() {
            let start = reading.position().offset;
            let step = reading.step_to(limit, parted);
            let end = reading.position();
            watch.seen(end.offset - start);
            let is_delivered = self.cursor.is_some_and(|cursor| {
                (id.0, id.1, end.offset) <= (cursor.epoch, cursor.segment, cursor.offset)
            });
            self.count(&step, end.rows, is_delivered);
            take(self.reader, &step.rows, is_delivered)?;
            reading.reuse(step);
        }
        self.through = Some(reading.rows());
        Ok(true)
    }

    /// Counts what a step found; behind it the node had spooled so many rows.
    fn count(&mut self, step: &Step, behind: u64, is_delivered: bool) {
        let rows = step.rows.len() as u64;
        self.found.rows += rows;
        self.found.torn_bytes += step.torn;
        if self.skipped || !is_delivered {
            self.miss(step.lost, behind.saturating_sub(rows));
        }
        self.skipped = false;
    }

    /// Counts rows, the last of which has this number, that are not to be read. What the sink has come past
    /// is no loss to it.
    fn miss(&mut self, rows: u64, last: u64) {
        let ahead = self.floor.map_or(rows, |floor| rows.min(last.saturating_sub(floor)));
        if self.skipped {
            self.found.newer_rows += rows;
            self.found.newer_passed += rows - ahead;
        } else {
            self.found.lost += ahead;
        }
    }
}

/// How many segments should stand between two.
fn gap(before: Option<(u64, u64)>, id: (u64, u64)) -> u64 {
    let before = before.filter(|before| before.0 == id.0);
    before.map_or(0, |before| id.1.saturating_sub(before.1 + 1))
}
