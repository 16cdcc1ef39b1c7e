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
    start(&mut Scan::new(&head(segment)?, HEADER_BYTES, 0))
}

/// How many it had spooled at the segment's end.
pub(in crate::ledger) fn rows_after(segment: &Segment, node: [u8; 16]) -> Option<u64> {
    let bytes = fs::read(&segment.path).ok().filter(|bytes| is_readable(bytes, node))?;
    let mut scan = Scan::new(&bytes, HEADER_BYTES, 0);
    let first = start(&mut scan)?;
    scan.by_ref().for_each(drop);
    first.checked_add(scan.index().into())
}

/// How many of a node's rows a segment has: as its start and that of the `next` one tell, or else counted.
pub(in crate::ledger) fn rows_of(segment: &Segment, next: Option<&Segment>, node: [u8; 16]) -> u64 {
    let is_own = |of: &Segment| head(of).is_some_and(|bytes| is_readable(&bytes, node));
    if !is_own(segment) {
        return 0;
    }
    let after = next.filter(|next| is_own(next)).and_then(rows_before);
    let told =
        after.zip(rows_before(segment)).and_then(|(after, before)| after.checked_sub(before));
    told.unwrap_or_else(|| rows_in(segment))
}

/// How many rows a segment tells of, whoever wrote it.
pub(in crate::ledger) fn rows_in(segment: &Segment) -> u64 {
    let bytes = fs::read(&segment.path).unwrap_or_default();
    let mut scan = Scan::new(&bytes, HEADER_BYTES, 0);
    scan.by_ref().for_each(drop);
    scan.index().into()
}

/// A segment's header and its first frame, as far as they are there.
fn head(segment: &Segment) -> Option<Vec<u8>> {
    let mut head = vec![0; HEADER_BYTES + 32];
    let length = File::open(&segment.path).ok()?.read_at(&mut head, 0).ok()?;
    head.truncate(length);
    Some(head)
}

/// Neither another node's nor a newer version's.
fn is_readable(bytes: &[u8], node: [u8; 16]) -> bool {
    match Header::decode(bytes) {
        Ok(header) => header.node == node,
        Err(BadHeader::Newer(_)) => false,
        Err(BadHeader::Damaged) => true,
    }
}

fn start(scan: &mut Scan<'_>) -> Option<u64> {
    match scan.next()? {
        Piece::Frame { kind: segment::START, payload, .. } => Reader(payload).varint(),
        _ => None,
    }
}
