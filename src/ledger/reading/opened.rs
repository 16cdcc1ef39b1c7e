//! Opening a segment: whose it is, and whether it is there.

use super::source::Source;
use super::{Reading, Resume, Seen};
use crate::ledger::names::Known;
use crate::ledger::segment::{BadHeader, HEADER_BYTES, Header};
use crate::ledger::segments::Segment;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What opening a segment found.
pub(in crate::ledger) enum Opened {
    Ready(Box<Reading>),
    /// Removed by somebody.
    Gone,
    /// Another node's: to be set aside.
    Foreign,
    /// Written by a newer version: to be left where it is.
    Newer(u32),
}

impl Reading {
    /// Opens a segment of this node's, at its beginning.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(in crate::ledger) fn open(
        id: (u64, u64),
        segment: Arc<Segment>,
        node: [u8; 16],
    ) -> io::Result<Opened> {
        let file = match segment.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone),
            Err(error) => return Err(error),
        };
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
        let start = if damaged { 0 } else { HEADER_BYTES as u64 };
        Ok(Opened::Ready(Box::new(Self {
            id,
            node,
            source: Source::new(segment, file, start),
            index: 0,
            names: Known::default(),
            first: 0,
            started: false,
            gap: 0,
            from: Resume::default(),
            seen: Seen::default(),
            passed: false,
            given: false,
            spare: Vec::new(),
            ended: false,
            tail: false,
            damaged,
        })))
    }
}
