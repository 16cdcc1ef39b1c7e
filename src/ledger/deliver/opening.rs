//! Which segment a sink needs next, and what it has of it.

use super::StepError;
use super::tally::Tally;
use crate::ledger::losses;
use crate::ledger::reading::{Opened, Reading, Resume, rows_in};
use crate::ledger::record::RecordKey;
use crate::ledger::shared::Shared;
use crate::ledger::sink::{Position, Sink};
use std::ops::Range;

/// What a sink has of all that its node ever spooled.
#[derive(Default)]
pub(super) struct Standing {
    /// The sink was asked where it stands.
    asked: bool,
    /// That another writes under this node's name was told.
    told: bool,
    /// Where it said that it stands, or was brought since.
    at: Option<Position>,
    /// The newest row that it was given.
    last: Option<RecordKey>,
    /// How many of the node's rows it has, or has been found to miss; `None`: that is not known.
    accounted: Option<u64>,
}

impl Standing {
    /// From where its cursor goes on.
    pub(super) fn at(&self) -> Option<Position> {
        self.at
    }

    /// Its cursor was moved, with rows of which this is the last.
    pub(super) fn moved(&mut self, to: Position, last: Option<RecordKey>) {
        self.at = Some(to);
        self.last = last.or(self.last);
    }

    /// Asks a sink where it stands, and says where it is to be resumed.
    ///
    /// # Errors
    /// It does not answer, or what was noted as lost cannot be read.
    fn resume(
        &mut self,
        shared: &Shared,
        tally: &mut Tally,
        sink: &mut dyn Sink,
    ) -> Result<Resume, StepError> {
        let own = tally.own;
        let given = self.at.map_or(0, |at| at.rows);
        self.at = sink.cursor(shared.writer.node)?;
        // Whoever wrote that is not of this directory: only keys tell what the sink has.
        let cursor = self.at.filter(|at| {
            let is_own = at.epoch <= shared.writer.epoch;
            if !is_own && !std::mem::replace(&mut self.told, true) {
                tracing::error!(
                    own,
                    "a sink has rows of a later start of this node: another Weir runs on a copy of the state \
                     directory, or this is an old copy; nothing is lost, but end one of them, and empty its \
                     state directory once its spool is delivered"
                );
            }
            is_own
        });
        if self.asked {
            self.accounted = self.accounted.map(|rows| rows.max(given));
            self.put_back(shared, (tally, sink), cursor)?;
        }
        if !std::mem::replace(&mut self.asked, true) {
            let rows = shared.map.header().delivered().unwrap_or(0);
            if cursor.is_none() && rows > 0 {
                tracing::warn!(own, rows, "a sink is new to this node: earlier rows are not in it");
            }
            self.accounted = cursor.map_or(Some(rows), |cursor| {
                // One that an earlier version wrote does not tell.
                (cursor.rows > 0).then_some(cursor.rows)
            });
        }
        Ok(Resume { cursor, accounted: self.accounted })
    }

    /// A sink that was put back to an earlier state, or lost everything, misses what it had been given since. One
    /// that has the last of its rows lost its cursor alone.
    fn put_back(
        &mut self,
        shared: &Shared,
        (tally, sink): (&mut Tally, &mut dyn Sink),
        cursor: Option<Position>,
    ) -> Result<(), StepError> {
        let now = match cursor {
            // One that an earlier version wrote does not tell.
            Some(cursor) if cursor.rows == 0 => return Ok(()),
            cursor => cursor.map_or(0, |cursor| cursor.rows),
        };
        let Some(before) = self.accounted.filter(|before| *before > now && !self.told) else {
            return Ok(());
        };
        let own = tally.own;
        let last = self.last.as_ref().map(|last| sink.has(last)).transpose()?.flatten();
        if last == Some(true) {
            tracing::warn!(own, before, now, "a sink has this node's rows and not its cursor");
            return Ok(());
        }
        tracing::error!(own, before, now, "a sink has fewer of this node's rows than it had");
        tally.again(shared)?;
        self.accounted = Some(now);
        Ok(())
    }

    /// A segment that ends behind so many of the node's rows was read to its end.
    pub(super) fn passed(&mut self, rows: u64) {
        self.accounted = self.accounted.max(Some(rows));
    }
}

pub(super) enum Next {
    Reading(Box<Reading>),
    /// It is gone, was set aside, or left to a newer version.
    Another,
    Nothing,
}

/// Opens the oldest segment that the sink still needs.
pub(super) fn open_first(
    shared: &Shared,
    tally: &mut Tally,
    sink: &mut dyn Sink,
    standing: &mut Standing,
) -> Result<Next, StepError> {
    let (own, node) = (tally.own, shared.writer.node);
    if shared.segments.first(own).is_none() {
        return Ok(Next::Nothing);
    }
    let resume = standing.resume(shared, tally, sink)?;
    let Some((id, segment)) = shared.segments.first(own) else { return Ok(Next::Nothing) };
    match Reading::open(id, segment.clone(), node)? {
        Opened::Ready(mut reading) => {
            reading.resume(resume);
            Ok(Next::Reading(reading))
        }
        Opened::Gone => {
            segment.mark_taken();
            tally.done(shared, &segment);
            shared.segments.retire(id, own, false)?;
            Ok(Next::Another)
        }
        Opened::Foreign => {
            let (file, rows) = (segment.path.display(), rows_in(&segment));
            tracing::error!(
                %file,
                rows,
                "this spool segment is another node's: it is set aside; `weir ledger redeliver --segment` offers \
                 its rows to a database"
            );
            shared.segments.retire(id, own, true)?;
            Ok(Next::Another)
        }
        Opened::Newer(version) => {
            let file = segment.path.display();
            tracing::error!(%file, version, "a newer version must deliver this spool segment");
            shared.segments.forget(id);
            standing.accounted = None;
            Ok(Next::Another)
        }
    }
}

/// A segment to be read once more: the sink is past all its rows, and is known to lack some of them. Somebody took
/// it away, and put it back once delivery had gone on without it (F65). Only where rows are told by their keys.
///
/// # Errors
/// The sink does not answer, or what is noted as lost, or the segment, cannot be read.
pub(super) fn passed_by(
    shared: &Shared,
    reading: &Reading,
    (sink, name): (&mut dyn Sink, &str),
) -> Result<Option<Box<Reading>>, StepError> {
    let Some(numbers) = reading.numbers().filter(|_| reading.is_passed_by()) else {
        return Ok(None);
    };
    let lacking = losses::lacking(shared.directory.path(), name)?;
    let overlaps = |lost: &Range<u64>| lost.start < numbers.end && numbers.start < lost.end;
    if !lacking.iter().any(overlaps) || !sink.tells_keys() {
        return Ok(None);
    }
    let file = reading.segment().path.display();
    tracing::warn!(
        %file,
        "a sink is past this spool segment and lacks rows of it: they are delivered, as far as their keys are not \
         there"
    );
    match Reading::open(reading.id(), reading.shared(), shared.writer.node)? {
        Opened::Ready(mut again) => {
            again.resume(Resume::default());
            Ok(Some(again))
        }
        Opened::Gone | Opened::Foreign | Opened::Newer(_) => Ok(None),
    }
}
