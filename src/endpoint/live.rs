//! Health and load of one endpoint: cooldown, outage, ejection, requests in flight.

use super::scope::{self, Scope, scope};
use super::{Calibration, Report, Sample, Saved, Statistics, Window};
use crate::outcome::Outcome;
use crate::selection::Facts;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Cooldown after a 429 that names no time.
const RATE_LIMITED_MS: u64 = 5_000;
/// Cooldown after failures in a row, so that a stumble is not met by more load.
const STUMBLE_MS: u64 = 1_000;
const STUMBLE_AFTER: u32 = 2;
/// Outage (design): in 30 s three counted failures in a row, or five attempts with under half good.
const RECENT_MS: u64 = 30_000;
const OUTAGE_IN_A_ROW: u32 = 3;
const OUTAGE_ATTEMPTS: u64 = 5;
/// Ejection (F10): five counted failures in a row; 30 s, longer each time, up to 300 s.
const EJECT_AFTER: u32 = 5;
const EJECT_MS: u64 = 30_000;
const EJECT_MAX_MS: u64 = 300_000;

/// Live state of one endpoint.
#[derive(Debug)]
pub struct Live {
    in_flight: AtomicU32,
    /// `now_ms` at which it ends.
    cooling_until: AtomicU64,
    /// The same, as far as a 429 asked for it.
    limited_until: AtomicU64,
    ejected_until: AtomicU64,
    /// Ejections in a row: the factor of the next one's length.
    ejections: AtomicU32,
    /// Counted failures since the last success.
    in_a_row: AtomicU32,
    /// The same, but begun anew after an ejection.
    towards_ejection: AtomicU32,
    /// Successes and counted failures of the last 30 s.
    recent: Window<10>,
    /// When [`Self::recent`] holds no failure any more.
    well_from: AtomicU64,
    /// Only an endpoint that was ever used has them.
    statistics: OnceLock<Box<Statistics>>,
    pub calibration: Calibration,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            cooling_until: AtomicU64::new(0),
            limited_until: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            in_a_row: AtomicU32::new(0),
            towards_ejection: AtomicU32::new(0),
            recent: Window::new(RECENT_MS / 10),
            well_from: AtomicU64::new(0),
            statistics: OnceLock::new(),
            calibration: Calibration::default(),
        }
    }
}

impl Live {
    /// Counts a request in flight until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// What selection may know. `down` and a cooldown of all credentials are not known here: the
    /// caller adds them.
    #[must_use]
    pub fn facts(&self, now_ms: u64) -> Facts {
        let cooling_ms = self.cooling_ms(now_ms);
        let mut facts = Facts {
            ejected: now_ms < self.ejected_until.load(Relaxed),
            cooling: cooling_ms > 0,
            cooling_ms: u32::try_from(cooling_ms).unwrap_or(u32::MAX),
            limited: cooling_ms > 0 && self.limited_until.load(Relaxed) >= now_ms + cooling_ms,
            outage: self.outage(now_ms),
            in_flight: self.in_flight.load(Relaxed),
            ..Facts::default()
        };
        if let Some(statistics) = self.statistics.get() {
            statistics.tell(&mut facts, now_ms);
        }
        facts
    }

    /// Takes in what an attempt has shown of the endpoint's speed and reliability.
    pub fn measure(&self, sample: &Sample, now_ms: u64) {
        self.statistics.get_or_init(Box::default).add(sample, now_ms);
    }

    /// Takes in whether the tool calls of a reply were good.
    pub fn judged(&self, good: bool, now_ms: u64) {
        self.statistics.get_or_init(Box::default).judged(good, now_ms);
    }

    /// What is told of the endpoint (contract 1.5); nothing if it was never used.
    #[must_use]
    pub fn report(&self, now_ms: u64) -> Report {
        self.statistics.get().map_or_else(Report::default, |statistics| statistics.report(now_ms))
    }

    /// What is kept of its statistics over a restart; `None` if it was never used.
    #[must_use]
    pub fn save(&self, now_ms: u64) -> Option<Saved> {
        self.statistics.get().map(|statistics| statistics.save(now_ms))
    }

    /// Takes in statistics that were saved `gap_ms` ago.
    pub fn restore(&self, saved: &Saved, now_ms: u64, gap_ms: u64) {
        self.statistics.get_or_init(Box::default).restore(saved, now_ms, gap_ms);
    }

    /// Milliseconds until the cooldown ends, 0 if there is none.
    #[must_use]
    pub fn cooling_ms(&self, now_ms: u64) -> u64 {
        self.cooling_until.load(Relaxed).saturating_sub(now_ms)
    }

    /// Takes in how an attempt ended. `retry_after` is the upstream's, in seconds.
    ///
    /// Outcomes of another scope (credential, address, caller) change nothing here. Tells whether
    /// this one ejected the endpoint.
    pub fn record(&self, outcome: Outcome, now_ms: u64, retry_after: Option<u32>) -> bool {
        match scope(outcome) {
            Scope::Success => self.succeeded(now_ms),
            Scope::Throttle => {
                let ms = retry_after.map_or(RATE_LIMITED_MS, scope::asked_ms);
                self.limited_until.fetch_max(now_ms.saturating_add(ms), Relaxed);
                self.cool(now_ms, ms);
            }
            Scope::Failure => return self.failed(now_ms, retry_after),
            Scope::Credential | Scope::Address | Scope::Nobody => {}
        }
        false
    }

    fn succeeded(&self, now_ms: u64) {
        self.recent.add(now_ms, 1, 0);
        self.in_a_row.store(0, Relaxed);
        self.towards_ejection.store(0, Relaxed);
        // Good for as long as the longest ejection lasts: the next one is a first one again.
        if now_ms >= self.ejected_until.load(Relaxed).saturating_add(EJECT_MAX_MS) {
            self.ejections.store(0, Relaxed);
        }
    }

    fn failed(&self, now_ms: u64, retry_after: Option<u32>) -> bool {
        self.recent.add(now_ms, 0, 1);
        self.well_from.fetch_max(now_ms.saturating_add(RECENT_MS), Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        // A 503 or 529 that names a time wants what a 429 wants (F17).
        let asked = retry_after.map(scope::asked_ms);
        let stumble = (in_a_row >= STUMBLE_AFTER).then_some(STUMBLE_MS);
        if let Some(ms) = asked.or(stumble) {
            self.cool(now_ms, ms);
        }
        // Those that were in flight when the endpoint was ejected say nothing new.
        let ejected = now_ms < self.ejected_until.load(Relaxed);
        let ejects = !ejected && self.towards_ejection.fetch_add(1, Relaxed) + 1 == EJECT_AFTER;
        if ejects {
            let times = u64::from(self.ejections.fetch_add(1, Relaxed)).saturating_add(1);
            let ms = EJECT_MS.saturating_mul(times).min(EJECT_MAX_MS);
            self.ejected_until.fetch_max(now_ms.saturating_add(ms), Relaxed);
            self.towards_ejection.store(0, Relaxed);
        }
        ejects
    }

    fn cool(&self, now_ms: u64, ms: u64) {
        self.cooling_until.fetch_max(now_ms.saturating_add(ms), Relaxed);
    }

    fn outage(&self, now_ms: u64) -> bool {
        if now_ms >= self.well_from.load(Relaxed) {
            return false;
        }
        let (good, bad) = self.recent.sums(now_ms);
        // If the last three outcomes failed and the window holds three failures, it holds those.
        let row = u64::from(OUTAGE_IN_A_ROW);
        (bad >= row && self.in_a_row.load(Relaxed) >= OUTAGE_IN_A_ROW)
            || (good + bad >= OUTAGE_ATTEMPTS && good < bad)
    }
}

/// One request in flight to an endpoint; leaves when dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Live>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
