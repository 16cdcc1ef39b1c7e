//! The mapped slot file. The only module with `unsafe`: it lends mapped memory as atomics.
//!
//! Layout: one header page, then `count` slots. All access goes through `AtomicU64`, so stores of
//! several threads, or of a process that maps the file by mistake, are never undefined behaviour.
//! The file is preallocated: a store can then not fail for want of disk space (SIGBUS, F62).
#![allow(unsafe_code, reason = "a memory map is lent as atomics here and nowhere else")]

use super::slot::Slot;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

/// Bytes before the first slot.
const HEADER_BYTES: usize = 4096;
/// Bytes of one slot: whole cache lines.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

const _: () = assert!(SLOT_BYTES.is_multiple_of(64) && size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(align_of::<Slot>() == 8 && align_of::<Header>() == 8);

/// First page of the file. Plain atomics without padding: every bit pattern is valid.
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    pub(super) slot_bytes: AtomicU64,
    pub(super) count: AtomicU64,
    pub(super) node: [AtomicU64; 2],
    pub(super) epoch: AtomicU64,
    /// Unix microseconds of the flusher's last round: when a killed process was last alive.
    pub(super) alive_us: AtomicU64,
    /// [`super::saved::residence`] when the epoch began; 0 where it is not known.
    pub(super) residence: [AtomicU64; 3],
    /// Of all rows the node ever spooled, how many are synced: what tells that the newest segment is gone.
    pub(super) spooled: AtomicU64,
    /// Of these, how many every sink had when their segment was removed.
    pub(super) delivered: AtomicU64,
    /// Both again, each in one word with its check: see `header`.
    pub(super) sealed: [AtomicU64; 2],
    /// Check of what does not change in an epoch.
    pub(super) stamped: AtomicU64,
    spare: [AtomicU64; 496],
}

/// A mapped slot file.
pub(super) struct Map {
    raw: MmapRaw,
    file: File,
    count: usize,
}

impl Map {
    /// Bytes of a file with `count` slots.
    pub(super) fn file_bytes(count: usize) -> u64 {
        (HEADER_BYTES + count * SLOT_BYTES) as u64
    }

    /// Maps a file of `count` slots.
    ///
    /// # Errors
    /// The file is shorter than that, or cannot be mapped.
    pub(super) fn new(file: &File, count: usize) -> io::Result<Self> {
        let bytes = Self::file_bytes(count);
        if file.metadata()?.len() < bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "slot file is too short"));
        }
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let raw = MmapOptions::new().len(length).map_raw(file)?;
        Ok(Self { raw, file: file.try_clone()?, count })
    }

    /// The file behind it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The header page.
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the map is page aligned, at least HEADER_BYTES long (checked in `new`) and lives
        // as long as `self`; `Header` is `repr(C)`, made of atomics only, without padding.
        unsafe { &*self.raw.as_mut_ptr().cast::<Header>() }
    }

    /// All slots.
    pub(super) fn slots(&self) -> &[Slot] {
        // SAFETY: as in `header`; `HEADER_BYTES + count * SLOT_BYTES` bytes are mapped, the offset
        // keeps 8-byte alignment, and `Slot` is `repr(C)` atomics without padding.
        unsafe {
            let first = self.raw.as_mut_ptr().add(HEADER_BYTES).cast::<Slot>();
            std::slice::from_raw_parts(first, self.count)
        }
    }
}

/// The words of a slot, in the order of the file.
pub(super) fn words(slot: &Slot) -> &[AtomicU64] {
    // SAFETY: `Slot` is `repr(C)`, made of atomics only, without padding: so many words.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(slot).cast(), SLOT_BYTES / 8) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_map_shows_what_another_map_of_the_file_stored() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(Map::file_bytes(3)).unwrap();
        let (one, two) = (Map::new(&file, 3).unwrap(), Map::new(&file, 3).unwrap());
        one.header().magic.store(7, Relaxed);
        one.slots()[2].seq.store(9, Relaxed);
        assert_eq!(two.header().magic.load(Relaxed), 7);
        assert_eq!((two.slots().len(), two.slots()[2].seq.load(Relaxed)), (3, 9));
        let words = words(&two.slots()[2]);
        assert_eq!((words.len() * 8, words[2].load(Relaxed)), (SLOT_BYTES, 9));
    }

    #[test]
    fn a_short_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(Map::file_bytes(3) - 1).unwrap();
        assert!(Map::new(&file, 3).is_err());
    }
}
