//! Reading one spool segment: sound rows in order, damage counted and stepped over.

mod whole;

use super::codec::Reader;
use super::names::Known;
use super::record::Record;
use super::row;
use super::segment::{self, BadHeader, HEADER_BYTES, Header, Piece, Scan};
use super::segments::Segment;
use super::sink::Position;
use crate::price::PriceVersion;
use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use whole::rows_before;

pub(super) use whole::{each_batch, rows_after};

/// What opening a segment found.
pub(super) enum Opened {
    Ready(Box<Reading>),
    /// Another node's: to be set aside.
    Foreign,
    /// Written by a newer version: to be left where it is.
    Newer(u32),
}

/// A segment and how far it has been read.
pub(super) struct Reading {
    id: (u64, u64),
    segment: Arc<Segment>,
    node: [u8; 16],
    file: File,
    /// Bytes from `base` on, of which `used` have been scanned.
    buffer: Vec<u8>,
    base: u64,
    used: usize,
    /// Number of the next row.
    index: u32,
    names: Known,
    /// Rows the node had spooled before this segment: as was expected, or as its start says.
    first: u64,
    started: bool,
    from: Resume,
    seen: Seen,
    /// Room of an earlier step's rows.
    spare: Vec<Record>,
    ended: bool,
    tail: bool,
    damaged: bool,
}

/// What is known of a sink as a segment is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resume {
    pub(super) cursor: Option<Position>,
    /// The cursor as the process began: what is lost before it is no loss to the sink.
    pub(super) resumed: Option<Position>,
    /// How many of the node's rows are accounted for: delivered, or counted as lost.
    pub(super) accounted: Option<u64>,
}

/// What was read of a segment, from its beginning on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Sound rows, delivered before or not.
    pub(super) rows: u64,
    pub(super) lost: u64,
    pub(super) torn: u64,
}

/// One step through a segment.
#[derive(Default)]
pub(super) struct Step {
    pub(super) rows: Vec<Record>,
    pub(super) prices: Vec<PriceVersion>,
    /// Rows that had been delivered before.
    pub(super) skipped: u64,
    /// Rows lost to damage.
    pub(super) lost: u64,
    /// Behind which offset of the segment, and how many.
    pub(super) losses: Vec<(u64, u64)>,
    /// Bytes of a torn tail.
    pub(super) torn: u64,
}

impl Step {
    fn lose(&mut self, offset: u64, rows: u64) {
        if rows > 0 {
            self.lost += rows;
            self.losses.push((offset, rows));
        }
    }
}

impl Reading {
    pub(super) fn open(
        id: (u64, u64),
        segment: Arc<Segment>,
        node: [u8; 16],
    ) -> io::Result<Opened> {
        let file = File::open(&segment.path)?;
        let mut header = [0; HEADER_BYTES];
        let damaged = match file.read_exact_at(&mut header, 0) {
            Ok(()) => match Header::decode(&header) {
                Ok(header) if header.node != node => return Ok(Opened::Foreign),
                Ok(_) => false,
                Err(BadHeader::Newer(version)) => return Ok(Opened::Newer(version)),
                Err(BadHeader::Damaged) => true,
            },
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(error),
        };
        Ok(Opened::Ready(Box::new(Self {
            id,
            segment,
            node,
            file,
            buffer: Vec::new(),
            base: if damaged { 0 } else { HEADER_BYTES as u64 },
            used: 0,
            index: 0,
            names: Known::default(),
            first: 0,
            started: false,
            from: Resume::default(),
            seen: Seen::default(),
            spare: Vec::new(),
            ended: false,
            tail: false,
            damaged,
        })))
    }

    /// Notes that everything scanned so far is in a sink.
    pub(super) fn confirm(&self, sink: usize) {
        if let Some(delivered) = self.segment.delivered.get(sink) {
            delivered.store(self.position().offset, Relaxed);
        }
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
        self.first = from.accounted.unwrap_or(0);
    }

    /// Where the last step ended.
    pub(super) fn position(&self) -> Position {
        let (epoch, segment) = self.id;
        Position { epoch, segment, offset: self.offset(), rows: self.rows() }
    }

    /// Where in the segment that is.
    fn offset(&self) -> u64 {
        self.base + self.used as u64
    }

    /// Rows the node had spooled up to there.
    pub(super) fn rows(&self) -> u64 {
        self.first.saturating_add(self.index.into())
    }

    /// How many of these rows, the last of which ends at `end`, a cursor has not come to: by their numbers,
    /// or by their end in a segment whose start is damaged.
    fn beyond(&self, cursor: Option<Position>, rows: Range<u64>, end: u64) -> u64 {
        let all = rows.end.saturating_sub(rows.start);
        let Some(cursor) = cursor else { return all };
        match self.id.cmp(&(cursor.epoch, cursor.segment)) {
            Ordering::Less => 0,
            Ordering::Equal if self.started && cursor.rows > 0 => {
                rows.end.saturating_sub(rows.start.max(cursor.rows))
            }
            Ordering::Equal if end <= cursor.offset => 0,
            Ordering::Equal | Ordering::Greater => all,
        }
    }

    /// Reads what was appended, once all before it has been scanned. True: nothing follows it.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let (bytes, closed) = self.segment.extent();
        if self.used == self.buffer.len() {
            self.base += self.used as u64;
            self.used = 0;
            let fresh =
                usize::try_from(bytes.saturating_sub(self.base)).map_err(io::Error::other)?;
            self.buffer.clear();
            self.buffer.resize(fresh, 0);
            self.file.read_exact_at(&mut self.buffer, self.base)?;
        }
        Ok(closed && self.base + self.buffer.len() as u64 == bytes)
    }

    /// Whether all that was read has been scanned.
    pub(super) fn at_end(&self) -> bool {
        self.used == self.buffer.len()
    }

    /// Scans up to `limit` rows.
    pub(super) fn step(&mut self, limit: usize) -> Step {
        let mut step = Step { rows: std::mem::take(&mut self.spare), ..Step::default() };
        let buffer = std::mem::take(&mut self.buffer);
        let mut scan = Scan::new(&buffer, self.used, self.index);
        while step.rows.len() < limit {
            let Some(piece) = scan.next() else { break };
            self.used = match piece {
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
                    let (offset, resumed) = (self.offset(), self.from.resumed);
                    step.lose(offset, self.beyond(resumed, rows, offset));
                    self.damaged = true;
                }
                Piece::Tail { bytes } => {
                    step.torn += bytes as u64;
                    self.tail = true;
                }
            }
            self.index = scan.index();
            self.align();
        }
        self.buffer = buffer;
        self.seen.rows += step.rows.len() as u64 + step.skipped;
        self.seen.lost += step.lost;
        self.seen.torn += step.torn;
        step
    }

    fn row(&mut self, number: Range<u64>, payload: &[u8], step: &mut Step) {
        let Resume { cursor, resumed, .. } = self.from;
        let end = self.offset();
        if self.beyond(resumed, number.clone(), end) == 0 {
            step.skipped += 1;
            return;
        }
        match row::get(self.node, payload, &self.names) {
            // Delivered since.
            Some(_) if self.beyond(cursor, number, end) == 0 => step.skipped += 1,
            Some(record) => step.rows.push(record),
            None => {
                step.lose(end, 1);
                self.damaged = true;
            }
        }
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
                    let accounted = self.from.accounted.unwrap_or(first);
                    step.lose(self.offset(), first.saturating_sub(accounted));
                    (self.first, self.started) = (first, true);
                }
                None => self.damaged = true,
            },
            segment::END => self.ended = true,
            _ => self.damaged = true,
        }
    }

    /// Where the start of a segment is damaged, the cursor in it tells the numbers of its rows.
    fn align(&mut self) {
        let own = self.from.cursor.filter(|at| (at.epoch, at.segment) == self.id);
        if let Some(cursor) = own.filter(|at| !self.started && at.offset == self.offset()) {
            self.first = cursor.rows.saturating_sub(self.index.into());
        }
    }

    /// Takes the room of a step's rows back: a batch of them is megabytes, which the system would have to
    /// clear each time.
    pub(super) fn reuse(&mut self, step: Step) {
        self.spare = step.rows;
        self.spare.clear();
    }

    /// Whether the segment, read to its end, is damaged, as the `next` one tells: a tail is only torn, not
    /// damaged, where the writer died in it.
    pub(super) fn damaged(&self, next: Option<((u64, u64), Arc<Segment>)>) -> bool {
        let cut = next.is_some_and(|((epoch, _), next)| {
            epoch == self.id.0 || rows_before(&next).is_some_and(|rows| rows > self.rows())
        });
        self.damaged || (self.tail && self.ended) || (cut && !self.ended)
    }
}

fn price(payload: &[u8]) -> Option<PriceVersion> {
    let mut reader = Reader(payload);
    let hash: [u8; 32] = reader.array()?;
    let version = PriceVersion::parse(std::str::from_utf8(reader.0).ok()?).ok()?;
    (version.hash() == hash).then_some(version)
}
