//! Reading one spool segment: sound rows in order, damage counted and stepped over.

use super::codec::Reader;
use super::names::Known;
use super::record::Record;
use super::row;
use super::segment::{self, BadHeader, HEADER_BYTES, Header, Piece, Scan};
use super::segments::Segment;
use super::sink::Position;
use crate::bounds::SINK_BATCH;
use crate::price::PriceVersion;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
    seen: Seen,
    /// Room of an earlier step's rows.
    spare: Vec<Record>,
    /// Rows that end at or below this offset have been delivered before.
    delivered: u64,
    ended: bool,
    tail: bool,
    damaged: bool,
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
    /// Bytes of a torn tail.
    pub(super) torn: u64,
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
            seen: Seen::default(),
            spare: Vec::new(),
            delivered: 0,
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

    /// Tells what the sink has confirmed.
    pub(super) fn skip(&mut self, cursor: Option<Position>) {
        let Some(cursor) = cursor else { return };
        self.delivered = match self.id.cmp(&(cursor.epoch, cursor.segment)) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => cursor.offset,
            std::cmp::Ordering::Greater => 0,
        };
    }

    /// Where the last step ended.
    pub(super) fn position(&self) -> Position {
        let offset = self.base + self.used as u64;
        Position { epoch: self.id.0, segment: self.id.1, offset }
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
        let mut scan = Scan::new(&self.buffer, self.used, self.index);
        while step.rows.len() < limit {
            let Some(piece) = scan.next() else { break };
            match piece {
                Piece::Frame { kind, payload, end } => {
                    self.used = end;
                    match kind {
                        segment::ROW if self.base + end as u64 <= self.delivered => {
                            step.skipped += 1
                        }
                        segment::ROW => match row::get(self.node, payload, &self.names) {
                            Some(record) => step.rows.push(record),
                            None => (step.lost, self.damaged) = (step.lost + 1, true),
                        },
                        segment::PRICE => match price(payload) {
                            Some(price) => step.prices.push(price),
                            None => self.damaged = true,
                        },
                        segment::NAME => self.damaged |= !self.names.learn(payload),
                        segment::END => self.ended = true,
                        segment::START => {}
                        _ => self.damaged = true,
                    }
                }
                Piece::Lost { rows, end } => {
                    self.used = end;
                    step.lost += u64::from(rows);
                    self.damaged = true;
                }
                Piece::Tail { bytes } => {
                    self.used = self.buffer.len();
                    step.torn += bytes as u64;
                    self.tail = true;
                }
            }
        }
        self.index = scan.index();
        self.seen.rows += step.rows.len() as u64 + step.skipped;
        self.seen.lost += step.lost;
        self.seen.torn += step.torn;
        step
    }

    /// Takes the room of a step's rows back: a batch of them is megabytes, which the system would have to
    /// clear each time.
    pub(super) fn reuse(&mut self, step: Step) {
        self.spare = step.rows;
        self.spare.clear();
    }

    /// Whether the segment, read to its end, is damaged: a tail is only torn, not damaged, where
    /// the writer died in it. `followed`: it went on to write the next segment.
    pub(super) fn damaged(&self, followed: bool) -> bool {
        self.damaged || (self.tail && self.ended) || (followed && !self.ended)
    }

    /// The segment before this one in its epoch.
    pub(super) fn before(&self) -> Option<(u64, u64)> {
        self.id.1.checked_sub(1).map(|number| (self.id.0, number))
    }

    /// Rows of the segment before this one, where neither the cursor nor `done`, the last segment
    /// finished, came to it: its file is gone (F65).
    pub(super) fn missing(&self, cursor: Option<Position>, done: Option<(u64, u64)>) -> u64 {
        let Some(before) = self.before() else { return 0 };
        let came = cursor.map(|cursor| (cursor.epoch, cursor.segment)).max(done);
        if came >= Some(before) {
            return 0;
        }
        let rows = self.rows_before();
        tracing::error!(
            epoch = before.0,
            segment = before.1,
            rows,
            "a segment of the spool is missing"
        );
        rows
    }

    /// Rows of the segment before this one.
    pub(super) fn rows_before(&self) -> u64 {
        rows_before(&self.segment).ok().flatten().unwrap_or(0)
    }

    /// Rows that the end of this segment has lost, as the `next` one tells.
    pub(super) fn lost_at_end(&self, next: Option<&Segment>) -> u64 {
        let had = next.filter(|_| !self.ended).and_then(|next| rows_before(next).ok().flatten());
        had.unwrap_or(0).saturating_sub(u64::from(self.index))
    }
}

/// Shows every sound row of these segments, in batches.
pub(super) fn each_batch(
    segments: impl IntoIterator<Item = ((u64, u64), Arc<Segment>)>,
    node: [u8; 16],
    mut take: impl FnMut(&[Record]),
) {
    for (id, segment) in segments {
        let Ok(Opened::Ready(mut reading)) = Reading::open(id, segment, node) else { continue };
        while reading.fill().is_ok() && !reading.at_end() {
            let step = reading.step(SINK_BATCH);
            take(&step.rows);
            reading.reuse(step);
        }
    }
}

/// How many rows the segment before this one has.
fn rows_before(segment: &Segment) -> io::Result<Option<u64>> {
    let mut head = [0; HEADER_BYTES + 32];
    let length = File::open(&segment.path)?.read_at(&mut head, 0)?;
    let frames = head.get(..length).unwrap_or_default();
    Ok(match Scan::new(frames, HEADER_BYTES, 0).next() {
        Some(Piece::Frame { kind: segment::START, payload, .. }) => Reader(payload).varint(),
        _ => None,
    })
}

fn price(payload: &[u8]) -> Option<PriceVersion> {
    let mut reader = Reader(payload);
    let hash: [u8; 32] = reader.array()?;
    let version = PriceVersion::parse(std::str::from_utf8(reader.0).ok()?).ok()?;
    (version.hash() == hash).then_some(version)
}
