//! One attempt's hold on its slot: what a request thread writes while bytes flow.

use super::depth::add;
use super::record::{Intent, flag};
use super::shared::{Shared, now_us};
use super::slot::{self, DISPATCHED, Identity, SEALED, Slot};
use crate::meter::{Delivered, Finish, Tally};
use crate::outcome::Outcome;
use crate::price::{Pico, PriceVersion};
use crate::usage::Usage;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// A claimed slot. Dropping it seals the slot, also while unwinding: a few stores, no allocation,
/// no lock, no system call. One that was never [`Claim::dispatched`] leaves no record.
pub struct Claim {
    shared: Arc<Shared>,
    index: u32,
    price: Arc<PriceVersion>,
}

impl Claim {
    pub(super) fn new(
        shared: &Arc<Shared>,
        intent: &Intent<'_>,
        price: Arc<PriceVersion>,
        now_us: u64,
    ) -> Option<Self> {
        let (index, seq) = shared.take()?;
        let identity = Identity { epoch: shared.writer.epoch, seq, started_us: now_us };
        shared.slot(index)?.claim(identity, intent, &price.unit);
        Some(Self { shared: shared.clone(), index, price })
    }

    fn with(&self, change: impl FnOnce(&Slot)) {
        if let Some(slot) = self.shared.slot(self.index) {
            change(slot);
        }
    }

    /// The first request byte is about to be written: from here on there will be a record.
    pub fn dispatched(&self) {
        self.with(|slot| slot.state.store(DISPATCHED, Release));
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

    /// Cost of the usage reported so far, 0 without one.
    #[must_use]
    pub fn reported_cost(&self) -> Pico {
        let usage = self.shared.slot(self.index).and_then(Slot::reported);
        usage.map_or(0, |usage| self.price.cost(&usage))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(slot) = self.shared.slot(self.index) else { return };
        if slot.state.load(Relaxed) != DISPATCHED {
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
        add(&self.shared.counters.sealed, 1);
        self.shared.sealed.push(self.index);
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
}
