//! Format of a spool segment: a header, then frames. Pure: bytes in, pieces out.
//!
//! header, 64 bytes: magic, version u32, zero u32, node [16], epoch u64, number u64, zero u64,
//! zero u32, CRC32C u32 of what precedes. Frame: length u32 of what follows the CRC, CRC32C u32,
//! index u32, kind u8, payload. All little-endian. The index counts the rows before the frame, so
//! that rows lost to damage are counted exactly wherever any later frame survives.

use super::codec::Reader;

/// Version of segment and row format.
pub(super) const VERSION: u32 = 4;
/// The version before, whose segments only begin with another frame.
const BEFORE: u32 = 3;
pub(super) const HEADER_BYTES: usize = 64;
/// Most bytes after a frame's CRC: an intent, a row's own fields, and room to grow.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 10;
const MAGIC: &[u8; 8] = b"WEIRSPL\n";
const FRAME_BYTES_MIN: usize = 5;
/// Length and CRC.
const PREFIX_BYTES: usize = 8;

/// What a frame holds.
pub(super) const ROW: u8 = 1;
/// A price version: its hash, then its text.
pub(super) const PRICE: u8 = 2;
/// The writer closed the segment here.
pub(super) const END: u8 = 3;
/// What many rows have in common: a number, then its bytes (see `names`).
pub(super) const NAME: u8 = 4;
/// First in every segment: how many rows its node had spooled before it. So what is missing between two
/// segments is known however many are gone.
pub(super) const START: u8 = 6;
/// Its like in version 3, of which nothing is needed.
pub(super) const START_BEFORE: u8 = 5;

/// Who wrote a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) node: [u8; 16],
    pub(super) epoch: u64,
    pub(super) number: u64,
}

/// Why a header is not ours to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged,
    /// Written by a newer Weir.
    Newer(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.node);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let read = || -> Option<(u32, Self)> {
            let (checked, crc) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
            let mut reader = Reader(checked);
            let magic = reader.bytes(MAGIC.len())? == MAGIC;
            let version = u32::from_le_bytes(reader.array()?);
            reader.bytes(4)?;
            let node = reader.array()?;
            let epoch = u64::from_le_bytes(reader.array()?);
            let number = u64::from_le_bytes(reader.array()?);
            let intact = crc32c::crc32c(checked).to_le_bytes() == crc;
            (magic && intact).then_some((version, Self { node, epoch, number }))
        };
        match read() {
            Some((VERSION | BEFORE, header)) => Ok(header),
            Some((version, _)) if version > VERSION => Err(BadHeader::Newer(version)),
            _ => Err(BadHeader::Damaged),
        }
    }
}

/// Appends one frame to `out`; `payload` writes what it holds.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    index: u32,
    kind: u8,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(&index.to_le_bytes());
    out.push(kind);
    payload(out);
    let Some((prefix, body)) =
        out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(PREFIX_BYTES))
    else {
        return;
    };
    let (length, crc) = (body.len() as u32, crc32c::crc32c(body));
    let words = length.to_le_bytes().into_iter().chain(crc.to_le_bytes());
    prefix.iter_mut().zip(words).for_each(|(byte, value)| *byte = value);
}

/// A piece of a segment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// `end` is the offset just behind it.
    Frame { kind: u8, payload: &'a [u8], end: usize },
    /// Damage between sound frames, and how many rows it took.
    Lost { rows: u32, end: usize },
    /// Nothing sound follows: a torn tail, or damage to the last frames.
    Tail { bytes: usize },
}

/// Walks the frames of `bytes` behind the header.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    index: u32,
}

impl<'a> Scan<'a> {
    /// Starts at `at`, behind `index` rows.
    pub(super) fn new(bytes: &'a [u8], at: usize, index: u32) -> Self {
        Self { bytes, at, index }
    }

    /// Number of the next row.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// The sound frame at `at`, if there is one: its number, kind, payload and end.
    fn frame(&self, at: usize) -> Option<(u32, u8, &'a [u8], usize)> {
        let mut reader = Reader(self.bytes.get(at..)?);
        let length = u32::from_le_bytes(reader.array()?) as usize;
        let crc = u32::from_le_bytes(reader.array()?);
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
            return None;
        }
        let body = reader.bytes(length)?;
        if crc32c::crc32c(body) != crc {
            return None;
        }
        let mut reader = Reader(body);
        let index = u32::from_le_bytes(reader.array()?);
        Some((index, reader.u8()?, reader.0, at + PREFIX_BYTES + length))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if let Some((index, kind, payload, end)) = self.frame(self.at)
            && index == self.index
        {
            (self.at, self.index) = (end, index.saturating_add(u32::from(kind == ROW)));
            return Some(Piece::Frame { kind, payload, end });
        }
        let found = (self.at..self.bytes.len())
            .find_map(|at| self.frame(at).filter(|f| f.0 >= self.index).map(|f| (at, f.0)));
        let Some((at, index)) = found else {
            let bytes = self.bytes.len() - self.at;
            self.at = self.bytes.len();
            return Some(Piece::Tail { bytes });
        };
        let rows = index - self.index;
        (self.at, self.index) = (at, index);
        Some(Piece::Lost { rows, end: at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `count` frames whose payloads are their numbers, and the offset behind each.
    fn frames(count: u32) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let ends = (0..count).map(|n| {
            put_frame(&mut bytes, n, ROW, |out| {
                (0..n % 7 + 1).for_each(|_| out.extend_from_slice(&n.to_le_bytes()));
            });
            bytes.len()
        });
        let ends = ends.collect();
        (bytes, ends)
    }

    /// Numbers of the sound frames, frames counted as lost, bytes of the tail.
    fn walk(bytes: &[u8]) -> (Vec<u32>, u32, usize) {
        let (mut sound, mut lost, mut tail) = (vec![], 0, 0);
        for piece in Scan::new(bytes, 0, 0) {
            match piece {
                Piece::Frame { payload, .. } => {
                    let number = u32::from_le_bytes(payload[..4].try_into().unwrap());
                    assert!(payload.chunks(4).all(|part| part == number.to_le_bytes()));
                    sound.push(number);
                }
                Piece::Lost { rows, .. } => lost += rows,
                Piece::Tail { bytes } => tail = bytes,
            }
        }
        (sound, lost, tail)
    }

    #[test]
    fn a_header_is_read_as_written_and_a_newer_one_is_named() {
        let header = Header { node: [5; 16], epoch: 3, number: 9 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        bytes[20] ^= 1;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged));
        let mut newer = header.encode();
        newer[8] = VERSION as u8 + 1;
        let crc = crc32c::crc32c(&newer[..60]).to_le_bytes();
        newer[60..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&newer), Err(BadHeader::Newer(VERSION + 1)));
        assert_eq!(Header::decode(&newer[..63]), Err(BadHeader::Damaged));
    }

    #[test]
    fn a_cut_at_any_byte_leaves_the_whole_frames_and_a_tail() {
        let (bytes, ends) = frames(12);
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (sound, lost, tail) = walk(&bytes[..cut]);
            assert_eq!(sound, (0..whole as u32).collect::<Vec<_>>());
            assert_eq!((lost, tail), (0, cut - ends[..whole].last().unwrap_or(&0)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// G4: no panic, nothing invented, and the loss is counted exactly.
        #[test]
        fn mutations_lose_only_what_they_touch(
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), 1u8..), 1..6),
        ) {
            let (sound, ends) = frames(40);
            let mut bytes = sound.clone();
            for (at, change) in edits {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
            }
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let kept: Vec<u32> = starts
                .zip(&ends)
                .zip(0..)
                .filter(|((start, end), _)| bytes[*start..**end] == sound[*start..**end])
                .map(|(_, n)| n)
                .collect();
            let (read, lost, _) = walk(&bytes);
            prop_assert_eq!(&read, &kept);
            let last = kept.last().map_or(0, |n| n + 1);
            prop_assert_eq!(lost as usize, last as usize - kept.len());
        }

        #[test]
        fn inserted_and_removed_bytes_invent_nothing(
            at in any::<proptest::sample::Index>(),
            cut in 0usize..50,
            junk in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let (mut bytes, _) = frames(40);
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, junk);
            let (read, lost, _) = walk(&bytes);
            prop_assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
            let last = read.last().map_or(0, |n| n + 1);
            prop_assert_eq!(lost as usize + read.len(), last as usize);
        }
    }
}
