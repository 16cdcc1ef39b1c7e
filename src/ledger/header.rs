//! What of the slot file's header is believed: a flipped bit must invent no loss and hide no attempt.
//!
//! A check of 0 was written by the version before, which had none.

use super::directory::Writer;
use super::map::{Header, SLOT_BYTES};
use super::slot::SLOT_VERSION;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// `WEIRSLOT` in the byte order of the file.
const MAGIC: u64 = u64::from_le_bytes(*b"WEIRSLOT");
/// Above the CRC32C of a check, so that none is 0.
const CHECKED: u64 = 1 << 32;
/// A count stands above so many bits of its CRC32C, in one word: no kill leaves one without the other.
const CRC_BITS: u32 = 24;

/// What a header says of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// It is of this version.
    Own,
    /// It is of another: its version and the bytes of its slots.
    Other(u64, u64),
    /// Some of it is not as it was stamped.
    Damaged,
    /// It is no slot file.
    Strange,
}

impl Header {
    /// What the file is, whose length leaves room for so many slots.
    pub(super) fn format(&self, count: u64) -> Format {
        let stamped = self.stamped.load(Relaxed);
        let [version, bytes] = [&self.version, &self.slot_bytes].map(|word| word.load(Relaxed));
        match self.magic.load(Relaxed) == MAGIC {
            _ if stamped != 0 && stamped != self.check() => Format::Damaged,
            false => Format::Strange,
            true if (version, bytes) != (SLOT_VERSION, SLOT_BYTES as u64) => {
                Format::Other(version, bytes)
            }
            true if self.count.load(Relaxed) != count => Format::Damaged,
            true => Format::Own,
        }
    }

    /// Who wrote it.
    pub(super) fn writer(&self) -> Writer {
        let [low, high] = self.node.each_ref().map(|word| word.load(Relaxed));
        let node = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        Writer { node, epoch: self.epoch.load(Relaxed) }
    }

    /// Says what does not change in an epoch.
    pub(super) fn stamp(&self, count: usize, writer: Writer, residence: [u64; 3]) {
        // A kill from here on leaves what the version before would.
        self.stamped.store(0, Release);
        let node = u128::from_le_bytes(writer.node);
        let [low, high] = &self.node;
        low.store(node as u64, Relaxed);
        high.store((node >> 64) as u64, Relaxed);
        self.epoch.store(writer.epoch, Relaxed);
        self.residence.iter().zip(residence).for_each(|(word, value)| word.store(value, Relaxed));
        self.slot_bytes.store(SLOT_BYTES as u64, Relaxed);
        self.count.store(count as u64, Relaxed);
        self.version.store(SLOT_VERSION, Relaxed);
        self.magic.store(MAGIC, Release);
        self.stamped.store(self.check(), Release);
    }

    fn check(&self) -> u64 {
        let Self { magic, version, slot_bytes, count, node, epoch, residence, .. } = self;
        let words = [magic, version, slot_bytes, count, epoch];
        let words = words.into_iter().chain(node).chain(residence);
        let crc = words
            .fold(0, |crc, word| crc32c::crc32c_append(crc, &word.load(Relaxed).to_le_bytes()));
        CHECKED | u64::from(crc)
    }

    /// How many rows were synced. `None`: what it says is not sound.
    pub(super) fn spooled(&self) -> Option<u64> {
        let [spooled, _] = &self.sealed;
        count(&self.spooled, spooled)
    }

    pub(super) fn set_spooled(&self, rows: u64) {
        let [spooled, _] = &self.sealed;
        self.spooled.store(rows, Release);
        spooled.store(seal(rows), Release);
    }

    /// How many every sink has. `None`: what it says is not sound.
    pub(super) fn delivered(&self) -> Option<u64> {
        let [_, delivered] = &self.sealed;
        count(&self.delivered, delivered)
    }

    pub(super) fn set_delivered(&self, rows: u64) {
        let [_, delivered] = &self.sealed;
        self.delivered.store(rows, Relaxed);
        delivered.store(seal(rows), Relaxed);
    }

    /// Every sink has at least so many rows.
    pub(super) fn raise_delivered(&self, rows: u64) {
        let [_, delivered] = &self.sealed;
        self.delivered.fetch_max(rows, Relaxed);
        delivered.fetch_max(seal(rows), Relaxed);
    }
}

fn count(plain: &AtomicU64, sealed: &AtomicU64) -> Option<u64> {
    match sealed.load(Relaxed) {
        0 => Some(plain.load(Relaxed)),
        word => Some(word >> CRC_BITS).filter(|rows| seal(*rows) == word),
    }
}

/// Grows with the count.
fn seal(rows: u64) -> u64 {
    let crc = u64::from(crc32c::crc32c(&rows.to_le_bytes()));
    // No 0: the lowest bit says that it is sealed.
    rows << CRC_BITS | crc & ((1 << CRC_BITS) - 2) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::map::Map;

    const WRITER: Writer = Writer { node: [7; 16], epoch: 4 };

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(Map::file_bytes(3)).unwrap();
        let map = Map::new(&file, 3).unwrap();
        let header = map.header();
        assert_eq!(header.format(3), Format::Strange);
        header.stamp(3, WRITER, [1, 2, 3]);
        assert_eq!((header.format(3), header.writer()), (Format::Own, WRITER));
        assert_eq!(header.format(2), Format::Damaged, "shorter than it was");
        let words = [&header.magic, &header.version, &header.slot_bytes, &header.count];
        let words = words.into_iter().chain(&header.node).chain(&header.residence);
        for word in words.chain([&header.epoch, &header.stamped]) {
            for bit in 0..u64::BITS {
                word.fetch_xor(1 << bit, Relaxed);
                let unchecked = word.load(Relaxed) == 0;
                assert!(unchecked || header.format(3) == Format::Damaged, "{bit}");
                word.fetch_xor(1 << bit, Relaxed);
            }
        }
        header.stamped.store(0, Relaxed);
        assert_eq!(header.format(3), Format::Own, "as the version before wrote it");
        header.version.store(9, Relaxed);
        assert_eq!(header.format(3), Format::Other(9, SLOT_BYTES as u64));
    }

    #[test]
    fn a_count_is_believed_whole_or_not_at_all() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(Map::file_bytes(1)).unwrap();
        let map = Map::new(&file, 1).unwrap();
        let header = map.header();
        header.spooled.store(5, Relaxed);
        assert_eq!(header.spooled(), Some(5), "as the version before wrote it");
        for rows in [0, 1, 77, 123_456_789, 1 << 39] {
            header.set_spooled(rows);
            header.set_delivered(rows / 2);
            header.raise_delivered(rows);
            header.raise_delivered(rows / 3);
            assert_eq!((header.spooled(), header.delivered()), (Some(rows), Some(rows)));
            for bit in 0..u64::BITS {
                header.spooled.fetch_xor(1 << bit, Relaxed);
                assert_eq!(header.spooled(), Some(rows));
                header.sealed[0].fetch_xor(1 << bit, Relaxed);
                assert_eq!(header.spooled(), None, "bit {bit} of {rows}");
                header.set_spooled(rows);
            }
        }
    }
}
