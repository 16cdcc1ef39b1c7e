//! Bytes and short texts in the words of a slot.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A short text: its length is stored last, so that a half-written text reads as none.
#[repr(C)]
pub(super) struct Text<const WORDS: usize> {
    pub(super) len: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Default for Text<WORDS> {
    fn default() -> Self {
        Self { len: AtomicU64::default(), words: std::array::from_fn(|_| AtomicU64::default()) }
    }
}

impl<const WORDS: usize> Text<WORDS> {
    pub(super) fn store(&self, text: &str) {
        let kept = text.get(..text.floor_char_boundary(WORDS * 8)).unwrap_or_default();
        self.len.store(0, Release);
        store_bytes(&self.words, kept.as_bytes());
        self.len.store(kept.len() as u64, Release);
    }

    pub(super) fn load(&self) -> String {
        let mut bytes = Vec::new();
        load_bytes(&self.words, self.len.load(Acquire), &mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }
}

pub(super) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut value = [0; 8];
        if let Some(room) = value.get_mut(..chunk.len()) {
            room.copy_from_slice(chunk);
        }
        word.store(u64::from_le_bytes(value), Relaxed);
    }
}

pub(super) fn load_bytes(words: &[AtomicU64], len: u64, out: &mut Vec<u8>) {
    let len = usize::try_from(len).unwrap_or(0).min(words.len() * 8);
    out.extend(words.iter().take(len.div_ceil(8)).flat_map(|w| w.load(Relaxed).to_le_bytes()));
    out.truncate(len);
}
