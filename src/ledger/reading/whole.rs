//! What is asked of whole segments: their rows, and how many their node had spooled before and behind them.

use super::{Opened, Reading};
use crate::bounds::SINK_BATCH;
use crate::ledger::codec::Reader;
use crate::ledger::record::Record;
use crate::ledger::segment::{self, BadHeader, HEADER_BYTES, Header, Piece, Scan};
use crate::ledger::segments::Segment;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Shows every sound row of these segments, in batches.
pub(in crate::ledger) fn each_batch(
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

/// How many rows the node had spooled before a segment, as far as its start is sound.
pub(in crate::ledger) fn rows_before(segment: &Segment) -> Option<u64> {
    let mut head = [0; HEADER_BYTES + 32];
    let length = File::open(&segment.path).ok()?.read_at(&mut head, 0).ok()?;
    start(&mut Scan::new(head.get(..length)?, HEADER_BYTES, 0))
}

/// How many it had spooled at the segment's end.
pub(in crate::ledger) fn rows_after(segment: &Segment, node: [u8; 16]) -> Option<u64> {
    let bytes = fs::read(&segment.path).ok()?;
    match Header::decode(&bytes) {
        Ok(header) if header.node != node => return None,
        Err(BadHeader::Newer(_)) => return None,
        Ok(_) | Err(BadHeader::Damaged) => {}
    }
    let mut scan = Scan::new(&bytes, HEADER_BYTES, 0);
    let first = start(&mut scan)?;
    scan.by_ref().for_each(drop);
    first.checked_add(scan.index().into())
}

/// How many rows a segment tells of, whoever wrote it.
pub(in crate::ledger) fn rows_in(segment: &Segment) -> u64 {
    let bytes = fs::read(&segment.path).unwrap_or_default();
    let mut scan = Scan::new(&bytes, HEADER_BYTES, 0);
    scan.by_ref().for_each(drop);
    scan.index().into()
}

fn start(scan: &mut Scan<'_>) -> Option<u64> {
    match scan.next()? {
        Piece::Frame { kind: segment::START, payload, .. } => Reader(payload).varint(),
        _ => None,
    }
}
