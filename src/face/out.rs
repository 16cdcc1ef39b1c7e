//! The output of one read: a slice of it where nothing was cut out, one buffer otherwise.

use crate::meter::Block;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Collects what of a read may leave.
#[derive(Debug)]
pub(super) struct Out<'a> {
    read: &'a Bytes,
    /// Part of the read that follows what is in `buffer`.
    run: Range<usize>,
    buffer: BytesMut,
}

impl<'a> Out<'a> {
    pub(super) fn new(read: &'a Bytes) -> Self {
        Self { read, run: 0..0, buffer: BytesMut::new() }
    }

    /// Makes room for the read re-shaped, so that one buffer is enough.
    pub(super) fn reserve(&mut self) {
        self.buffer.reserve(self.read.len() + self.read.len() / 2 + 256);
    }

    /// Where to write what comes next.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.flush();
        &mut self.buffer
    }

    /// The whole read as it came.
    pub(super) fn all(&mut self) {
        self.run = 0..self.read.len();
    }

    /// A block as it came.
    pub(super) fn keep(&mut self, block: &Block<'_>) {
        match block.at {
            Some(at) if at == self.run.end && !self.run.is_empty() => {
                self.run.end += block.raw.len();
            }
            Some(at) => {
                self.flush();
                self.run = at..at + block.raw.len();
            }
            None => {
                self.flush();
                self.buffer.extend_from_slice(block.raw);
            }
        }
    }

    /// Everything collected, after `held`.
    pub(super) fn after(mut self, mut held: BytesMut) -> Bytes {
        if held.is_empty() && self.buffer.is_empty() {
            return self.read.slice(self.run);
        }
        self.flush();
        if held.is_empty() {
            return self.buffer.freeze();
        }
        held.extend_from_slice(&self.buffer);
        held.freeze()
    }

    /// Puts everything collected behind what is in `held`.
    pub(super) fn into_held(mut self, held: &mut BytesMut) {
        if self.buffer.is_empty() {
            held.extend_from_slice(self.read.get(self.run).unwrap_or_default());
        } else {
            self.flush();
            held.extend_from_slice(&self.buffer);
        }
    }

    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.buffer.extend_from_slice(self.read.get(run).unwrap_or_default());
    }
}
