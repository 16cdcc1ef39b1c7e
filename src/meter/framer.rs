//! SSE framing (WHATWG HTML, section 9.2): incremental, right at every split, in place where it can.
//!
//! A stream is cut into blocks: the bytes up to and with a blank line. A block that came whole in one
//! read is scanned where it lies; only one that spans reads is copied, and at most
//! [`EVENT_BYTES`] of it (F30).

use crate::bounds::EVENT_BYTES;
use memchr::memchr2;

/// What a [`Block`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A whole block, or the unfinished one a stream ended with.
    Whole,
    /// The first piece of a block too large to be read.
    Oversized,
    /// More bytes of the block before: they go where it went.
    Rest,
}

/// A piece of the stream, exactly as it came.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub raw: &'a [u8],
    pub part: Part,
    /// Where `raw` lies in the read, unless it began in an earlier one.
    pub at: Option<usize>,
}

/// Cuts reads into blocks.
#[derive(Debug, Default)]
pub struct Framer {
    /// The unfinished block, when it began in an earlier read.
    partial: Vec<u8>,
    /// `partial` was given out and is to be cleared.
    spent: bool,
    /// The block's bytes pass as [`Part::Rest`] until it ends.
    oversized: bool,
    /// The line being read has bytes.
    in_line: bool,
    /// The block being read has bytes.
    in_block: bool,
    /// The last byte was a CR: a LF after it belongs to the same line end.
    after_cr: bool,
}

impl Framer {
    /// The next block of `read` from `*from` on, which moves past it. `None`: the rest waits in here.
    pub fn next<'a>(&'a mut self, read: &'a [u8], from: &mut usize) -> Option<Block<'a>> {
        if std::mem::take(&mut self.spent) {
            self.partial.clear();
        }
        let rest = read.get(*from..).filter(|rest| !rest.is_empty())?;
        let at = Some(*from);
        if self.after_cr && !self.in_block && rest.first() == Some(&b'\n') {
            self.after_cr = false;
            *from += 1;
            return Some(Block { raw: rest.get(..1).unwrap_or_default(), part: Part::Rest, at });
        }
        let ended = self.block_end(rest);
        let raw = ended.and_then(|end| rest.get(..end)).unwrap_or(rest);
        *from += raw.len();
        self.in_block = ended.is_none();
        if self.oversized {
            self.oversized = ended.is_none();
            return Some(Block { raw, part: Part::Rest, at });
        }
        if self.partial.len() + raw.len() > EVENT_BYTES {
            self.oversized = ended.is_none();
            return Some(self.give(raw, Part::Oversized, at));
        }
        if ended.is_none() {
            self.partial.extend_from_slice(raw);
            return None;
        }
        Some(self.give(raw, Part::Whole, at))
    }

    /// The unfinished block at the end of the stream. By the standard it is no event; its numbers are
    /// read all the same, because clients that do not wait for the blank line exist.
    pub fn finish(&mut self) -> Option<Block<'_>> {
        if std::mem::take(&mut self.spent) {
            self.partial.clear();
        }
        (!self.partial.is_empty()).then(|| self.give(&[], Part::Whole, None))
    }

    /// Bytes of an unfinished block have come.
    #[must_use]
    pub fn in_block(&self) -> bool {
        self.in_block
    }

    /// Part of an unfinished block was given out because it is too large.
    #[must_use]
    pub fn in_oversized(&self) -> bool {
        self.oversized
    }

    fn give<'a>(&'a mut self, raw: &'a [u8], part: Part, at: Option<usize>) -> Block<'a> {
        if self.partial.is_empty() {
            return Block { raw, part, at };
        }
        self.partial.extend_from_slice(raw);
        self.spent = true;
        Block { raw: &self.partial, part, at: None }
    }

    /// Offset past the blank line that ends the block `bytes` continues.
    fn block_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
            at = 1;
        }
        loop {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.in_line = true;
                return None;
            };
            let blank = length == 0 && !self.in_line;
            self.in_line = false;
            at += length + 1;
            if rest.get(length) == Some(&b'\r') {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if blank {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The stream's blocks, pieces of one block glued, when it is read in pieces of the given sizes.
    fn blocks(stream: &[u8], sizes: &[usize]) -> Vec<(Part, Vec<u8>)> {
        let mut framer = Framer::default();
        let mut out: Vec<(Part, Vec<u8>)> = Vec::new();
        let mut put = |block: Block<'_>| match (block.part, out.last_mut()) {
            (Part::Rest, Some(last)) => last.1.extend_from_slice(block.raw),
            (part, _) => out.push((part, block.raw.to_vec())),
        };
        let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap_or(&1)).clamp(1, rest.len());
            let (read, later) = rest.split_at(size);
            let mut from = 0;
            while let Some(block) = framer.next(read, &mut from) {
                put(block);
            }
            rest = later;
        }
        if let Some(block) = framer.finish() {
            put(block);
        }
        out
    }

    fn texts(stream: &str) -> Vec<String> {
        let whole = blocks(stream.as_bytes(), &[usize::MAX]);
        assert_eq!(whole, blocks(stream.as_bytes(), &[1]), "byte by byte: {stream:?}");
        whole.into_iter().map(|(_, raw)| String::from_utf8(raw).unwrap()).collect()
    }

    #[test]
    fn every_line_ending_ends_a_block() {
        assert_eq!(texts("data: a\n\ndata: b\n\n"), ["data: a\n\n", "data: b\n\n"]);
        assert_eq!(texts("data: a\r\n\r\ndata: b\r\n\r\n"), ["data: a\r\n\r\n", "data: b\r\n\r\n"]);
        assert_eq!(texts("data: a\r\rdata: b\r\r"), ["data: a\r\r", "data: b\r\r"]);
        assert_eq!(texts("data: a\n\r\ndata: b\r\n\n"), ["data: a\n\r\n", "data: b\r\n\n"]);
    }

    #[test]
    fn an_unfinished_block_is_given_at_the_end() {
        assert_eq!(texts("\n: c\n\ndata: a\n"), ["\n", ": c\n\n", "data: a\n"]);
    }

    #[test]
    fn a_block_at_the_bound_is_read_and_one_past_it_is_not() {
        for (length, part) in [(EVENT_BYTES, Part::Whole), (EVENT_BYTES + 1, Part::Oversized)] {
            let mut stream = vec![b'x'; length - 2];
            stream.extend_from_slice(b"\n\ndata: b\n\n");
            for sizes in [&[usize::MAX][..], &[4096], &[length - 1], &[1, 70_000]] {
                let parts: Vec<_> = blocks(&stream, sizes).iter().map(|block| block.0).collect();
                assert_eq!(parts, [part, Part::Whole], "{length} in {sizes:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_do_not_depend_on_the_split(
            stream in "(data: ?[a-c]{0,3}|:|event: x|\n|\r|\r\n|\n\n){0,20}",
            sizes in prop::collection::vec(1usize..9, 1..6),
        ) {
            let whole = blocks(stream.as_bytes(), &[usize::MAX]);
            prop_assert_eq!(&whole, &blocks(stream.as_bytes(), &sizes));
            prop_assert_eq!(whole.iter().flat_map(|b| b.1.clone()).collect::<Vec<_>>(), stream.as_bytes());
        }
    }
}
