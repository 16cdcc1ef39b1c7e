//! What request threads, flusher and deliverer share.

use super::depth::{Counters, Gate, add};
use super::directory::{Directory, Writer};
use super::durability::Commits;
use super::index_list::IndexList;
use super::map::Map;
use super::recent::Recent;
use super::segments::Segments;
use super::sink::sqlite::Reader;
use super::slot::{FREE, Slot};
use super::{Observer, Options};
use parking_lot::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stop {
    Run = 0,
    /// Once nothing is left to do.
    Drain = 1,
    Halt = 2,
}

/// Unix microseconds.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) options: Options,
    pub(super) writer: Writer,
    pub(super) map: Map,
    pub(super) free: IndexList,
    pub(super) sealed: IndexList,
    pub(super) segments: Arc<Segments>,
    pub(super) recent: Mutex<Recent>,
    pub(super) counters: Counters,
    pub(super) commits: Commits,
    pub(super) observer: OnceLock<Observer>,
    /// Opened by the first search that needs it.
    pub(super) reader: Mutex<Option<Reader>>,
    /// The same for searches that take long.
    pub(super) searcher: Mutex<Option<Reader>>,
    seq: AtomicU64,
    /// Slots at and above it were never used.
    pub(super) high: AtomicU32,
    gate: AtomicU8,
    stop: AtomicU8,
}

impl Shared {
    pub(super) fn new(
        directory: Directory,
        options: Options,
        writer: Writer,
        map: Map,
        segments: Arc<Segments>,
    ) -> Self {
        let slots = map.slots().len();
        let free = IndexList::new(slots);
        (0..slots as u32).rev().for_each(|index| free.push(index));
        Self {
            directory,
            options,
            writer,
            map,
            free,
            sealed: IndexList::new(slots),
            segments,
            recent: Mutex::new(Recent::default()),
            counters: Counters::default(),
            commits: Commits::default(),
            observer: OnceLock::new(),
            reader: Mutex::new(None),
            searcher: Mutex::new(None),
            seq: AtomicU64::new(0),
            high: AtomicU32::new(0),
            gate: AtomicU8::new(Gate::Open as u8),
            stop: AtomicU8::new(Stop::Run as u8),
        }
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot> {
        self.map.slots().get(index as usize)
    }

    /// Takes a free slot and a number, if new attempts are admitted at all.
    pub(super) fn take(&self) -> Option<(u32, u64)> {
        let index = if self.gate() == Gate::Open { self.take_slot() } else { None };
        if index.is_none() {
            add(&self.counters.refused, 1);
        }
        Some((index?, self.seq.fetch_add(1, Relaxed) + 1))
    }

    /// Takes a free slot.
    pub(super) fn take_slot(&self) -> Option<u32> {
        let index = self.free.pop()?;
        if index >= self.high.load(Relaxed) {
            self.high.fetch_max(index + 1, Relaxed);
        }
        add(&self.counters.claimed, 1);
        Some(index)
    }

    /// Gives a slot back whose record is safe in the spool, or that leaves none.
    pub(super) fn release(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.state.store(FREE, Release);
        }
        add(&self.counters.released, 1);
        self.free.push(index);
    }

    pub(super) fn gate(&self) -> Gate {
        match self.gate.load(Relaxed) {
            0 => Gate::Open,
            1 => Gate::Full,
            _ => Gate::Failed,
        }
    }

    /// Sets the gate; one that failed stays failed.
    pub(super) fn set_gate(&self, gate: Gate) {
        let from = match gate {
            Gate::Open => Gate::Full,
            Gate::Full => Gate::Open,
            Gate::Failed => return self.gate.store(gate as u8, Relaxed),
        };
        // Anything else than `from` is already as asked, or failed.
        let _ = self.gate.compare_exchange(from as u8, gate as u8, Relaxed, Relaxed);
    }

    pub(super) fn stopping(&self) -> Stop {
        match self.stop.load(Acquire) {
            0 => Stop::Run,
            1 => Stop::Drain,
            _ => Stop::Halt,
        }
    }

    pub(super) fn stop(&self, how: Stop) {
        self.stop.fetch_max(how as u8, Release);
    }
}
