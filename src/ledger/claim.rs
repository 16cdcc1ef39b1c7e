//! One attempt's hold on its slot: what a request thread writes while bytes flow.

use super::depth::{Gate, add};
use super::durability::{Durability, SpoolFull};
use super::record::{Intent, flag};
use super::shared::{Shared, now_us};
use super::slot::{self, Basis, DISPATCHED, Identity, SEALED, Slot};
use crate::meter::{Delivered, Estimator, Finish, Tally};
use crate::outcome::Outcome;
use crate::price::Terms;
use crate::usage::Usage;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

/// A claimed slot. Dropping it seals the slot, also while unwinding: a few stores, no allocation,
/// no lock, no system call. One that was never [`Claim::dispatched`] leaves no record.
pub struct Claim {
    shared: Arc<Shared>,
    index: u32,
    /// A slot kept free to follow the reply to another tier.
    spare: Option<u32>,
    /// The slot is this claim's to write: never for one that is served unbilled, and no longer once
    /// it is sealed.
    open: AtomicBool,
}

impl Claim {
    pub(super) fn new(
        shared: &Arc<Shared>,
        intent: &Intent<'_>,
        terms: &Terms,
        estimator: Estimator,
    ) -> Option<Self> {
        let unbilled = shared.options.spool_full == SpoolFull::ServeUnbilled;
        let (shared, open) = (shared.clone(), AtomicBool::new(false));
        let mut claim = Self { shared, index: u32::MAX, spare: None, open };
        if unbilled && claim.shared.gate() == Gate::Full {
            add(&claim.shared.counters.unbilled, 1);
            return Some(claim);
        }
        let (index, seq) = claim.shared.take()?;
        let identity =
            Identity { epoch: claim.shared.writer.epoch, seq, started_us: terms.started_us };
        let basis = Basis { policy: terms.policy, estimator };
        claim.shared.slot(index)?.claim(identity, intent, terms.version.text(), basis);
        claim.index = index;
        *claim.open.get_mut() = true;
        Some(claim)
    }

    /// The reply is of another tier than was asked for (contract 3.8): the record will have this intent, and
    /// the price of these terms. The attempt keeps its number: where a process dies in between, both slots
    /// tell of the same one. False: no slot is free, or its own is sealed, and all stays as it was.
    pub fn serve(&mut self, intent: &Intent<'_>, terms: &Terms, estimator: Estimator) -> bool {
        if self.slot().is_none() {
            return false;
        }
        let spare = self.spare.take().or_else(|| self.shared.take_slot());
        let (Some(old), Some(index)) = (self.slot(), spare) else { return false };
        let Some(new) = self.shared.slot(index) else { return false };
        let (epoch, seq) = (self.shared.writer.epoch, old.seq.load(Relaxed));
        let identity = Identity { epoch, seq, started_us: old.started_us.load(Relaxed) };
        let basis = Basis { policy: terms.policy, estimator };
        new.claim(identity, intent, terms.version.text(), basis);
        new.follow(old);
        new.state.store(old.state.load(Relaxed), Release);
        self.shared.release(std::mem::replace(&mut self.index, index));
        true
    }

    fn slot(&self) -> Option<&Slot> {
        self.shared.slot(self.index).filter(|_| self.open.load(Relaxed))
    }

    fn with(&self, change: impl FnOnce(&Slot)) {
        if let Some(slot) = self.slot() {
            change(slot);
        }
    }

    /// The answer is complete and its last bytes are about to be handed on. Where durability is
    /// strict, seals the attempt and blocks until its record is on disk; what is told of it after
    /// that changes nothing. False: that failed or took longer than `limit`.
    #[must_use]
    pub fn complete(&self, limit: Duration) -> bool {
        let strict = self.shared.options.durability == Durability::Strict;
        let Some(slot) = self.slot().filter(|_| strict) else { return true };
        let seq = slot.seq.load(Relaxed);
        self.seal();
        self.shared.wait_synced(self.index, seq, limit)
    }

    /// Whether [`Claim::complete`] would block.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.shared.options.durability == Durability::Strict && self.open.load(Relaxed)
    }

    /// The first request byte is about to be written: from here on there will be a record.
    pub fn dispatched(&self) {
        self.with(|slot| slot.state.store(DISPATCHED, Release));
    }

    /// The prompt has pictures, sound or files.
    pub fn media(&self) {
        self.with(|slot| slot.mark(u64::from(flag::MEDIA)));
    }

    /// The upstream's HTTP status.
    pub fn status(&self, status: u16) {
        self.with(|slot| slot.status.store(u64::from(status), Relaxed));
    }

    /// First content came, `us` microseconds after dispatch. Only the first call counts.
    pub fn first_content(&self, us: u64) {
        self.with(|slot| {
            if slot.first_content.load(Relaxed) == 0 {
                slot.first_content.store(us.saturating_add(1), Relaxed);
            }
        });
    }

    /// Content is about to reach the caller, who pays for this attempt from here on.
    pub fn committed(&self) {
        self.with(|slot| slot.mark(slot::COMMITTED));
    }

    /// The terminal event, or the whole body, was seen.
    pub fn terminal(&self) {
        self.with(|slot| slot.mark(u64::from(flag::TERMINAL)));
    }

    /// How the attempt ends. The last call wins; without one it is [`Outcome::Internal`].
    pub fn outcome(&self, outcome: Outcome) {
        self.with(|slot| slot.outcome.store(outcome as u64, Relaxed));
    }

    /// When it ended: wall clock in Unix microseconds, and monotonic microseconds since dispatch.
    /// Without this call `Drop` takes the wall clock for both.
    pub fn ended(&self, now_us: u64, duration_us: u64) {
        self.with(|slot| {
            slot.duration_us.store(duration_us, Relaxed);
            slot.ended_us.store(now_us, Relaxed);
        });
    }
}

impl Claim {
    fn seal(&self) {
        let Some(slot) = self.slot() else { return };
        if slot.state.load(Relaxed) != DISPATCHED {
            self.open.store(false, Relaxed);
            return self.shared.release(self.index);
        }
        if slot.outcome.load(Relaxed) == 0 {
            slot.outcome.store(Outcome::Internal as u64, Relaxed);
        }
        if slot.ended_us.load(Relaxed) == 0 {
            let now = now_us();
            let since = now.saturating_sub(slot.started_us.load(Relaxed));
            self.ended(now, since);
        }
        slot.state.store(SEALED, Release);
        self.open.store(false, Relaxed);
        add(&self.shared.counters.sealed, 1);
        self.shared.sealed.push(self.index);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.seal();
        if let Some(spare) = self.spare {
            self.shared.release(spare);
        }
    }
}

impl Tally for &Claim {
    fn reported(&mut self, usage: &Usage) {
        self.with(|slot| slot.report(usage));
    }

    fn delivered(&mut self, delivered: &Delivered) {
        self.with(|slot| slot.deliver(&delivered.0));
    }

    fn finish(&mut self, finish: Finish, native: &str) {
        self.with(|slot| slot.finish(finish as u8, native));
    }

    fn upstream_id(&mut self, id: &str) {
        self.with(|slot| slot.name(id));
    }

    fn suspect(&mut self) {
        self.with(|slot| slot.mark(u64::from(flag::SUSPECT_USAGE)));
    }

    fn unreadable(&mut self) {
        self.with(|slot| slot.mark(u64::from(flag::UNREADABLE_USAGE)));
    }
}

impl Tally for Claim {
    fn reported(&mut self, usage: &Usage) {
        (&*self).reported(usage);
    }

    fn delivered(&mut self, delivered: &Delivered) {
        (&*self).delivered(delivered);
    }

    fn finish(&mut self, finish: Finish, native: &str) {
        (&*self).finish(finish, native);
    }

    fn upstream_id(&mut self, id: &str) {
        (&*self).upstream_id(id);
    }

    fn suspect(&mut self) {
        (&*self).suspect();
    }

    fn unreadable(&mut self) {
        (&*self).unreadable();
    }

    fn may_follow(&mut self) -> bool {
        if self.spare.is_none() && self.slot().is_some() {
            self.spare = self.shared.take_slot();
        }
        self.spare.is_some()
    }
}
