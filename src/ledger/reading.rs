//! Reading one spool segment: sound rows in order, damage counted and stepped over.

mod opened;
mod source;
mod step;
mod whole;

use super::codec::Reader;
use super::names::Known;
use super::record::Record;
use super::row;
use super::segment::{self, Piece, Scan};
use super::segments::Segment;
use super::sink::Position;
use crate::price::PriceVersion;
use source::Source;
use std::cmp::Ordering;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) use opened::Opened;
pub(super) use step::{Lost, Resume, Seen, Step};
pub(super) use whole::{each_batch, rows_after, rows_before, rows_in, rows_of};

/// A segment and how far it has been read.
pub(super) struct Reading {
    id: (u64, u64),
    node: [u8; 16],
    source: Source,
    /// Number of the next row.
    index: u32,
    names: Known,
    /// Rows the node had spooled before this segment: as was expected, or as its start says.
    first: u64,
    started: bool,
    /// Of these the sink does not have so many, as far as that is known and was not told.
    gap: u64,
    from: Resume,
    seen: Seen,
    /// A row was before the cursor, and one behind it.
    passed: bool,
    given: bool,
    /// Room of an earlier step's rows.
    spare: Vec<Record>,
    ended: bool,
    tail: bool,
    damaged: bool,
}

impl Reading {
    /// Notes that everything scanned so far is in a sink.
    pub(super) fn confirm(&self, sink: usize) {
        if let Some(delivered) = self.segment().delivered.get(sink) {
            delivered.store(self.position().offset, Relaxed);
        }
    }

    pub(super) fn segment(&self) -> &Segment {
        self.source.segment()
    }

    /// The segment, to be read once more.
    pub(super) fn shared(&self) -> Arc<Segment> {
        self.source.shared()
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    pub(super) fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Tells what the sink has, before the first step.
    pub(super) fn resume(&mut self, from: Resume) {
        self.from = from;
        // What its writer knows needs no start to tell it, which may be damaged.
        match self.segment().first.get() {
            Some(first) => self.start(*first),
            None => self.first = from.accounted.unwrap_or(0),
        }
    }

    /// It is known how many rows the node had spooled before it.
    fn start(&mut self, first: u64) {
        let Resume { cursor, accounted } = self.from;
        if !std::mem::replace(&mut self.started, true) {
            let has = accounted.unwrap_or(first).max(cursor.map_or(0, |at| at.rows));
            self.gap = first.saturating_sub(has);
        }
        self.first = first;
    }

    fn tell_gap(&mut self, step: &mut Step) {
        let gap = std::mem::take(&mut self.gap);
        step.lose(self.lost(gap, self.first));
    }

    /// Where the last step ended.
    pub(super) fn position(&self) -> Position {
        let (epoch, segment) = self.id;
        Position { epoch, segment, offset: self.source.offset(), rows: self.rows() }
    }

    /// Rows the node had spooled up to there.
    pub(super) fn rows(&self) -> u64 {
        self.first.saturating_add(self.index.into())
    }

    /// The rows that were read, by their numbers among all of the node's, where its start tells these.
    pub(super) fn numbers(&self) -> Option<Range<u64>> {
        self.started.then(|| self.first..self.rows())
    }

    /// Whether the cursor is behind all of its rows.
    pub(super) fn is_passed_by(&self) -> bool {
        self.passed && !self.given
    }

    /// Whether reading has come past the sink's cursor: what lies before needs no delivery, and would move the
    /// cursor back.
    pub(super) fn is_ahead(&self) -> bool {
        let Position { epoch, segment, offset, .. } = self.position();
        let ahead = |at: Position| (epoch, segment, offset) > (at.epoch, at.segment, at.offset);
        self.from.cursor.is_none_or(ahead)
    }

    /// How many of these rows, behind the last of which reading is, the cursor has not come to: by their
    /// numbers, or by their end in a segment whose start is damaged.
    fn beyond(&self, rows: &Range<u64>) -> u64 {
        let all = rows.end.saturating_sub(rows.start);
        let Some(cursor) = self.from.cursor else { return all };
        match self.id.cmp(&(cursor.epoch, cursor.segment)) {
            Ordering::Less => 0,
            Ordering::Equal if self.started && cursor.rows > 0 => {
                rows.end.saturating_sub(rows.start.max(cursor.rows))
            }
            Ordering::Equal if self.source.offset() <= cursor.offset => 0,
            Ordering::Equal | Ordering::Greater => all,
        }
    }

    /// Reads what was appended, once all before it has been scanned. True: nothing follows it.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.source.fill()
    }

    /// Whether all that was read has been scanned.
    pub(super) fn at_end(&self) -> bool {
        self.source.at_end()
    }

    /// Scans up to `limit` rows.
    pub(super) fn step(&mut self, limit: usize) -> Step {
        self.step_to(limit, u64::MAX)
    }

    /// Scans up to `limit` rows, and not beyond an offset where a frame ends.
    pub(super) fn step_to(&mut self, limit: usize, end: u64) -> Step {
        let mut step = Step { rows: std::mem::take(&mut self.spare), ..Step::default() };
        self.tell_gap(&mut step);
        let buffer = std::mem::take(&mut self.source.buffer);
        let mut scan = Scan::new(&buffer, self.source.used, self.index);
        let end = if end > self.source.offset() { end } else { u64::MAX };
        while step.rows.len() < limit && self.source.offset() < end {
            let Some(piece) = scan.next() else { break };
            self.source.used = match piece {
                Piece::Frame { end, .. } | Piece::Lost { end, .. } => end,
                Piece::Tail { .. } => buffer.len(),
            };
            let rows = self.rows()..self.first.saturating_add(scan.index().into());
            match piece {
                Piece::Frame { kind: segment::ROW, payload, .. } => {
                    self.row(rows, payload, &mut step);
                }
                Piece::Frame { kind, payload, .. } => self.frame(kind, payload, &mut step),
                Piece::Lost { .. } => {
                    step.lose(self.lost(self.beyond(&rows), rows.end));
                    self.damaged = true;
                    self.segment().mark_damaged();
                }
                Piece::Tail { bytes } => {
                    step.torn += bytes as u64;
                    self.tail = true;
                }
            }
            self.index = scan.index();
            self.align();
        }
        self.source.buffer = buffer;
        self.seen.rows += step.rows.len() as u64 + step.skipped;
        self.seen.torn += step.torn;
        step
    }

    fn row(&mut self, number: Range<u64>, payload: &[u8], step: &mut Step) {
        if self.beyond(&number) == 0 {
            step.skipped += 1;
            self.passed = true;
            return;
        }
        self.given = true;
        match row::get(self.node, payload, &self.names) {
            Some(record) => step.rows.push(record),
            None => {
                step.lose(self.lost(1, number.end));
                self.damaged = true;
            }
        }
    }

    fn lost(&self, rows: u64, next: u64) -> Lost {
        Lost { rows, next, offset: self.source.offset() }
    }

    fn frame(&mut self, kind: u8, payload: &[u8], step: &mut Step) {
        match kind {
            segment::PRICE => match price(payload) {
                Some(price) => step.prices.push(price),
                None => self.damaged = true,
            },
            segment::NAME => self.damaged |= !self.names.learn(payload),
            segment::START => match Reader(payload).varint() {
                Some(first) => {
                    self.start(first);
                    self.tell_gap(step);
                }
                None => self.damaged = true,
            },
            segment::END => self.ended = true,
            segment::START_BEFORE => {}
            _ => self.damaged = true,
        }
    }

    /// Where the start of a segment is damaged, the cursor in it tells the numbers of its rows.
    fn align(&mut self) {
        let own = self.from.cursor.filter(|at| (at.epoch, at.segment) == self.id);
        if let Some(cursor) = own.filter(|at| !self.started && at.offset == self.source.offset()) {
            self.first = cursor.rows.saturating_sub(self.index.into());
        }
    }

    /// Takes the room of a step's rows back: a batch of them is megabytes, which the system would have to
    /// clear each time.
    pub(super) fn reuse(&mut self, step: Step) {
        self.spare = step.rows;
        self.spare.clear();
    }

    /// Whether anything in the segment, read to its end, is damaged. A tail is only torn where the writer died
    /// in it: it wrote no end, and the `next` one, of a later epoch, knows of no more rows.
    pub(super) fn damaged(&self, next: Option<((u64, u64), Arc<Segment>)>) -> bool {
        let cut = next.is_some_and(|((epoch, _), next)| {
            epoch == self.id.0 || rows_before(&next).is_some_and(|rows| rows > self.rows())
        });
        self.damaged || (self.tail && (self.ended || cut))
    }
}

fn price(payload: &[u8]) -> Option<PriceVersion> {
    let mut reader = Reader(payload);
    let hash: [u8; 32] = reader.array()?;
    let version = PriceVersion::parse(std::str::from_utf8(reader.0).ok()?).ok()?;
    (version.hash() == hash).then_some(version)
}
