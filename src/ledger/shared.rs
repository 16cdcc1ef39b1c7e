//! What request threads, flusher and deliverer share.

use super::directory::{Directory, Writer};
use super::index_list::IndexList;
use super::map::Map;
use super::recent::Recent;
use super::record::Record;
use super::settle::settle;
use super::sink::sqlite::Reader;
use super::slot::{CLAIMED, DISPATCHED, FREE, Image, SEALED, Slot, generation_hash};
use super::spool::Segments;
use super::{Found, Observer, Options, codec, intent, record::flag};
use parking_lot::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most slots a file may have: 2.3 GB of them.
pub(super) const SLOTS_MAX: usize = 1 << 20;

/// Whether new attempts are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    Open = 0,
    /// The disk or the spool's share of it is full; opens by itself (F62).
    Full = 1,
    /// A write or sync failed. Only a restart recovers (F63).
    Failed = 2,
}

/// How a thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stop {
    Run = 0,
    /// Once nothing is left to do.
    Drain = 1,
    Halt = 2,
}

/// Gauges and counters since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    pub slots_total: u64,
    /// Slots claimed, open or not yet appended.
    pub slots_used: u64,
    /// Slots sealed and not yet appended.
    pub sealed: u64,
    /// Rows in the spool that the sink has not confirmed.
    pub rows_pending: u64,
    /// Bytes of the spool that the sink has not confirmed.
    pub spool_bytes: u64,
    /// Age of the oldest row waiting for the sink, seconds; 0 while it keeps up.
    pub oldest_seconds: u64,
    /// Rows confirmed by the sink.
    pub rows_flushed: u64,
    /// Rows taken from slots of earlier epochs; of these, `crash_recovered` were cut.
    pub recovered: u64,
    pub crash_recovered: u64,
    pub sink_errors: u64,
    /// Rows the sink had already, as after a lost acknowledgement.
    pub duplicates: u64,
    /// Rows the sink had with other content: an alarm (I3).
    pub conflicts: u64,
    /// Rows lost to damaged slots or spool frames, exactly counted (F65).
    pub rows_lost: u64,
    /// Bytes of torn tails, where a crash or power cut ended a write.
    pub torn_bytes: u64,
    /// Claims refused.
    pub refused: u64,
    pub gate: Gate,
}

/// Counters behind [`Depth`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) claimed: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) sealed: AtomicU64,
    pub(super) appended: AtomicU64,
    /// Rows the deliverer is done with: delivered, there already, or lost.
    pub(super) passed: AtomicU64,
    pub(super) flushed: AtomicU64,
    pub(super) recovered: AtomicU64,
    pub(super) crash_recovered: AtomicU64,
    pub(super) sink_errors: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) torn: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) oldest_us: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
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
    pub(super) observer: OnceLock<Observer>,
    reader: Mutex<Option<Reader>>,
    seq: AtomicU64,
    /// Slots at and above it were never used.
    high: AtomicU32,
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
            observer: OnceLock::new(),
            reader: Mutex::new(None),
            seq: AtomicU64::new(0),
            high: AtomicU32::new(0),
            gate: AtomicU8::new(Gate::Open as u8),
            stop: AtomicU8::new(Stop::Run as u8),
        }
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot> {
        self.map.slots().get(index as usize)
    }

    /// Takes a free slot, if new attempts are admitted at all.
    pub(super) fn take(&self) -> Option<(u32, u64)> {
        let index = if self.gate() == Gate::Open { self.free.pop() } else { None };
        let Some(index) = index else {
            add(&self.counters.refused, 1);
            return None;
        };
        if index >= self.high.load(Relaxed) {
            self.high.fetch_max(index + 1, Relaxed);
        }
        add(&self.counters.claimed, 1);
        Some((index, self.seq.fetch_add(1, Relaxed) + 1))
    }

    /// Gives a slot back whose record is in the spool, or that leaves none.
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

    pub(super) fn depth(&self) -> Depth {
        let counters = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let oldest = get(&counters.oldest_us);
        let released = get(&counters.released);
        Depth {
            slots_total: self.map.slots().len() as u64,
            slots_used: get(&counters.claimed).saturating_sub(released),
            sealed: get(&counters.sealed).saturating_sub(released),
            rows_pending: get(&counters.appended).saturating_sub(get(&counters.passed)),
            spool_bytes: self.segments.pending_bytes(),
            oldest_seconds: if oldest == 0 {
                0
            } else {
                now_us().saturating_sub(oldest) / 1_000_000
            },
            rows_flushed: get(&counters.flushed),
            recovered: get(&counters.recovered),
            crash_recovered: get(&counters.crash_recovered),
            sink_errors: get(&counters.sink_errors),
            duplicates: get(&counters.duplicates),
            conflicts: get(&counters.conflicts),
            rows_lost: get(&counters.lost),
            torn_bytes: get(&counters.torn),
            refused: get(&counters.refused),
            gate: self.gate(),
        }
    }

    pub(super) fn find(&self, generation_id: &str) -> Found {
        let mut rows = Vec::new();
        for image in self.images(generation_hash(generation_id)) {
            let Some(intent) = intent::get(&mut codec::Reader(&image.intent)) else { continue };
            if intent.generation_id != generation_id {
                continue;
            }
            if image.state != SEALED {
                let terminal = image.flags & flag::TERMINAL != 0;
                return Found::InFlight { terminal, workspace: intent.workspace.into_owned() };
            }
            rows.extend(settle(self.writer.node, &image));
        }
        self.recent.lock().find(self.writer.node, generation_id, &mut rows);
        let last = rows.iter().map(|row| usize::from(row.intent.attempt)).max().unwrap_or(0);
        if last == 0 || unique(&mut rows) < last {
            rows.extend(self.stored(generation_id));
            unique(&mut rows);
        }
        if rows.is_empty() { Found::Unknown } else { Found::Rows(rows) }
    }

    /// Copies of the live slots whose generation has this hash.
    fn images(&self, hash: u64) -> impl Iterator<Item = Image> {
        let used = self.high.load(Relaxed) as usize;
        self.map.slots().iter().take(used).filter_map(move |slot| {
            let state = slot.state.load(Acquire);
            let live = matches!(state, CLAIMED | DISPATCHED | SEALED);
            if !live || slot.generation.load(Relaxed) != hash {
                return None;
            }
            let image = slot.image()?;
            // A slot that changed hands meanwhile is not what it was when it was chosen.
            fence(Acquire);
            let same = slot.state.load(Relaxed) == image.state
                && slot.seq.load(Relaxed) == image.identity.seq;
            same.then_some(image)
        })
    }

    fn stored(&self, generation_id: &str) -> Vec<Record> {
        let mut reader = self.reader.lock();
        let found = match reader.as_mut() {
            Some(open) => open.generation(generation_id),
            None => Reader::open(&self.options.sqlite)
                .and_then(|open| reader.insert(open).generation(generation_id)),
        };
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger database could not be read");
            *reader = None;
            Vec::new()
        })
    }
}

/// Sorts by attempt, keeps one of each key, and says how many there are.
fn unique(rows: &mut Vec<Record>) -> usize {
    rows.sort_by_key(|row| (row.intent.attempt, row.key));
    rows.dedup_by_key(|row| row.key);
    rows.len()
}
