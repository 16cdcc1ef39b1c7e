//! A lock-free list of slot numbers, allocated once. Last in, first out: a busy server keeps
//! reusing the few slots that are still in its cache.
//!
//! Treiber's stack. The head carries a tag that grows with every change, so that a number which
//! left and came back in between is noticed. Modelled by loom in `tests/index_list_model.rs`.

use super::atomic::{AtomicU32, AtomicU64, Ordering};

/// Numbers below its capacity, each in the list at most once (the caller's duty).
#[repr(align(64))]
pub(super) struct IndexList {
    /// Tag in the high half; in the low half 0 for empty, else the top number plus one.
    head: AtomicU64,
    next: Box<[AtomicU32]>,
}

fn pack(head: u64, low: u32) -> u64 {
    (head >> 32).wrapping_add(1) << 32 | u64::from(low)
}

impl IndexList {
    /// An empty list for numbers below `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self { head: AtomicU64::new(0), next: (0..capacity).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Adds a number. One beyond the capacity is ignored.
    pub(super) fn push(&self, index: u32) {
        let Some(next) = self.next.get(index as usize) else { return };
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            next.store(head as u32, Ordering::Relaxed);
            let new = pack(head, index + 1);
            match self.head.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes the number added last.
    pub(super) fn pop(&self) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)?;
            let next = self.next.get(index as usize)?.load(Ordering::Relaxed);
            let new = pack(head, next);
            match self.head.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(seen) => head = seen,
            }
        }
    }
}
