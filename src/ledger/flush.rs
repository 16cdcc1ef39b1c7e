//! The flusher's thread: sealed slots become rows of the spool, and then free.
//!
//! It polls instead of being woken, so that sealing costs no system call; only where durability is
//! strict is it woken. Its only blocking calls are those of slots and spool; the sinks are other
//! threads'. A slot is given up when its record is synced, so a sync that fails loses nothing; and only
//! then do the sinks see the record, so that no recovery finds again what a sink has.

use super::SpoolFull;
use super::depth::{Gate, add};
use super::losses::{self, Loss};
use super::prices::{Priced, Prices};
use super::saved::Saver;
use super::settle::settle;
use super::shared::{Shared, Stop, now_us};
use super::spool::Spool;
use crate::bounds::SINK_BATCH;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Pause between rounds.
const NAP: Duration = Duration::from_millis(50);
/// Pause before a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Flusher {
    shared: Arc<Shared>,
    spool: Spool,
    batch: Vec<Priced>,
    prices: Prices,
    /// Slots of `batch`.
    indices: Vec<u32>,
    /// Sealed slots that say nothing sound, until their loss is noted.
    damaged: Vec<u32>,
    /// Slots whose records are appended and not yet synced.
    appended: Vec<u32>,
    /// When the oldest row that is not synced may have been sealed.
    unsynced: Option<Instant>,
    last_round: Instant,
    saver: Saver,
    /// When slots were saved, and the claims counted then.
    saved: (Instant, u64),
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, spool: Spool, saver: Saver) -> Self {
        let now = Instant::now();
        Self {
            shared,
            spool,
            batch: vec![],
            prices: Prices::default(),
            indices: vec![],
            damaged: vec![],
            appended: vec![],
            unsynced: None,
            last_round: now,
            saver,
            saved: (now, 0),
        }
    }

    /// Runs until stopped; after a failed write or sync it appends nothing more.
    pub(super) fn run(mut self) {
        self.shared.commits.serve();
        loop {
            let stop = self.shared.stopping();
            self.shared.map.header().alive_us.store(now_us(), Relaxed);
            let nap = match self.round() {
                Ok(0) if stop == Stop::Drain => break,
                Ok(SINK_BATCH) => Duration::ZERO,
                Ok(_) => NAP,
                Err(error) if is_full(&error) => {
                    self.refuse(&error);
                    if stop == Stop::Drain {
                        break;
                    }
                    FULL_PAUSE
                }
                Err(error) => return self.fail(&error),
            };
            if stop == Stop::Halt {
                return;
            }
            std::thread::park_timeout(nap);
        }
        if self.shared.stopping() == Stop::Drain
            && let Err(error) = self.sync().and_then(|()| self.spool.finish())
        {
            self.fail(&error);
        }
    }

    /// Appends what is sealed, one batch; says how many rows that were.
    fn round(&mut self) -> io::Result<usize> {
        let previous = std::mem::replace(&mut self.last_round, Instant::now());
        self.collect();
        let rows = self.batch.len();
        let appended = if rows > 0 { self.append(previous) } else { Ok(()) };
        // A row has waited at most one nap for its append: the rest is for its sync.
        let due = self.shared.options.durability.window().saturating_sub(NAP);
        let saves = self.saves();
        let early = saves || self.spool.turns();
        if self.unsynced.is_some_and(|since| early || since.elapsed() >= due) {
            self.sync()?;
        }
        if saves {
            self.save_slots()?;
        }
        appended?;
        self.note_damaged()?;
        self.spool.turn()?;
        let limit = self.shared.options.spool_bytes / 20 * 19;
        let full = self.shared.segments.pending_bytes() >= limit;
        self.shared.set_gate(if full { Gate::Full } else { Gate::Open });
        Ok(rows)
    }

    /// Settles sealed slots, up to a batch of them.
    fn collect(&mut self) {
        self.indices.clear();
        self.batch.clear();
        while self.batch.len() < SINK_BATCH {
            let Some(index) = self.shared.sealed.pop() else { break };
            let image = self.shared.slot(index).and_then(super::slot::Slot::image);
            let node = self.shared.writer.node;
            match image.and_then(|image| settle(node, &image, &mut self.prices)) {
                Some(row) => {
                    self.batch.push(row);
                    self.indices.push(index);
                }
                None => self.damaged.push(index),
            }
        }
    }

    /// Gives damaged slots up, once what they held is noted as lost.
    fn note_damaged(&mut self) -> io::Result<()> {
        let slots = self.damaged.iter().filter_map(|index| self.shared.slot(*index));
        let lost: Vec<_> = slots.map(Loss::of_slot).collect();
        losses::put(self.shared.directory.path(), &lost)?;
        for index in self.damaged.drain(..) {
            tracing::error!(index, "a sealed slot was damaged: its attempt is lost");
            add(&self.shared.counters.lost, 1);
            self.shared.release(index);
        }
        Ok(())
    }

    /// Appends the batch, or leaves its slots sealed. `since`: no row of it was sealed before.
    fn append(&mut self, since: Instant) -> io::Result<()> {
        let put_back = |_: &_| self.indices.iter().for_each(|n| self.shared.sealed.push(*n));
        self.spool.append(&self.batch).inspect_err(put_back)?;
        self.unsynced.get_or_insert(since);
        add(&self.shared.counters.appended, self.batch.len() as u64);
        let mut recent = self.shared.recent.lock();
        let encoded = self.batch.iter().zip(self.spool.appended());
        encoded.for_each(|((record, _), (own, names))| recent.add(record, own, names.clone()));
        drop(recent);
        if let Some(observe) = self.shared.observer.get() {
            self.batch.iter().for_each(|(record, _)| observe(record));
        }
        self.appended.append(&mut self.indices);
        Ok(())
    }

    /// Makes what was appended durable, frees its slots, and only then shows it to the sinks.
    fn sync(&mut self) -> io::Result<()> {
        self.spool.sync()?;
        self.unsynced = None;
        self.shared.map.header().set_spooled(self.spool.spooled());
        self.appended.drain(..).for_each(|index| self.shared.release(index));
        self.spool.publish();
        self.shared.commits.announce();
        Ok(())
    }

    /// Whether slots are to be saved: as often as the mode says, and while there are any.
    fn saves(&self) -> bool {
        let (at, claims) = self.saved;
        let claimed = self.shared.counters.claimed.load(Relaxed);
        let used = claimed != self.shared.counters.released.load(Relaxed);
        let active = used || claimed != claims;
        active && at.elapsed() >= self.shared.options.durability.slot_window() / 2
    }

    /// Makes the slots of open attempts durable; those of synced records are free by now.
    fn save_slots(&mut self) -> io::Result<()> {
        let claimed = self.shared.counters.claimed.load(Relaxed);
        let used = self.shared.high.load(Relaxed) as usize;
        let slots = self.shared.map.slots();
        self.saver.save(slots.get(..used).unwrap_or(slots))?;
        self.saved = (Instant::now(), claimed);
        Ok(())
    }

    fn refuse(&self, error: &io::Error) {
        if self.shared.gate() == Gate::Open {
            let fate = match self.shared.options.spool_full {
                SpoolFull::Refuse => "refused",
                SpoolFull::ServeUnbilled => "served without a record",
            };
            tracing::error!(%error, "no space for the spool: new requests are {fate} until there is");
        }
        self.shared.set_gate(Gate::Full);
    }

    /// Slots and files stay as they are: the next start takes what is in them.
    fn fail(&self, error: &io::Error) {
        tracing::error!(
            %error,
            "the spool cannot be written: new requests are refused; restart once the disk is sound"
        );
        add(&self.shared.counters.io_errors, 1);
        self.shared.set_gate(Gate::Failed);
        self.shared.commits.announce();
        self.spool.abandon();
    }
}

/// Whether an error passes when space is made. Errors of a sync are never of this sort.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
