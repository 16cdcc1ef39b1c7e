//! Live state per endpoint and per credential: what outlives a snapshot.
//!
//! Written at the end of each attempt, read as [`Facts`] by selection. Atomics only, no lock and no
//! clock: `now_ms` is milliseconds since a monotonic start the caller chooses once.

mod calibration;
mod credential;
mod histogram;
mod registry;
mod saved;
mod scope;
mod statistics;
mod sticky;
mod throttle;
mod uptime;
mod window;

pub use calibration::Calibration;
pub use credential::CredentialLive;
pub use registry::Registry;
pub use saved::Saved;
pub use scope::{Scope, scope};
pub use statistics::{ErrorClass, Report, Sample, Statistics};
pub use sticky::{Stickiness, fingerprint};
pub use throttle::Throttle;
pub use window::Window;

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
        let mut facts = Facts {
            ejected: now_ms < self.ejected_until.load(Relaxed),
            cooling: self.cooling_ms(now_ms) > 0,
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
                self.cool(now_ms, retry_after.map_or(RATE_LIMITED_MS, scope::asked_ms))
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
mod tests {
    use super::*;

    fn fail(live: &Live, times: usize, now_ms: u64) {
        for _ in 0..times {
            live.record(Outcome::ServerError, now_ms, None);
        }
    }

    #[test]
    fn in_flight_is_counted_until_the_guard_goes() {
        let live = Arc::new(Live::default());
        let first = live.enter();
        let second = live.enter();
        assert_eq!(live.facts(0).in_flight, 2);
        drop((first, second));
        assert_eq!(live.facts(0).in_flight, 0);
    }

    #[test]
    fn a_429_cools_for_as_long_as_it_says_and_is_no_failure() {
        let live = Live::default();
        live.record(Outcome::RateLimited, 1_000, Some(7));
        assert!(live.facts(7_999).cooling);
        assert_eq!(live.cooling_ms(7_999), 1);
        assert_eq!(live.facts(8_000), Facts::default());
        live.record(Outcome::RateLimited, 10_000, None);
        assert!(live.facts(14_999).cooling && !live.facts(15_000).cooling);
        for _ in 0..20 {
            live.record(Outcome::RateLimited, 20_000, Some(0));
        }
        assert_eq!(live.facts(21_000), Facts::default());
    }

    #[test]
    fn a_shorter_cooldown_never_ends_a_longer_one() {
        let live = Live::default();
        live.record(Outcome::RateLimited, 0, Some(60));
        live.record(Outcome::RateLimited, 1_000, Some(1));
        assert!(live.facts(59_999).cooling);
    }

    #[test]
    fn two_failures_in_a_row_give_a_short_cooldown_and_one_does_not() {
        let live = Live::default();
        fail(&live, 1, 0);
        assert!(!live.facts(0).cooling);
        fail(&live, 1, 100);
        assert!(live.facts(1_099).cooling && !live.facts(1_100).cooling);
    }

    #[test]
    fn an_overload_that_names_a_time_cools_at_once() {
        let live = Live::default();
        live.record(Outcome::ServerError, 0, Some(9));
        assert_eq!(live.cooling_ms(0), 9_000);
    }

    #[test]
    fn three_failures_in_a_row_are_an_outage_for_thirty_seconds() {
        let live = Live::default();
        fail(&live, 2, 0);
        assert!(!live.facts(0).outage);
        fail(&live, 1, 0);
        assert!(live.facts(0).outage && live.facts(29_999).outage);
        assert!(!live.facts(30_000).outage);
    }

    #[test]
    fn three_failures_in_a_row_across_more_than_thirty_seconds_are_none() {
        let live = Live::default();
        fail(&live, 2, 0);
        fail(&live, 1, 31_000);
        assert!(!live.facts(31_000).outage);
    }

    #[test]
    fn under_half_good_of_five_is_an_outage_and_half_good_is_not() {
        let live = Live::default();
        let outcomes = [Outcome::Reset, Outcome::Ok, Outcome::Empty, Outcome::InBand, Outcome::Ok];
        for outcome in outcomes {
            assert!(!live.facts(0).outage);
            live.record(outcome, 0, None);
        }
        assert!(live.facts(0).outage, "two of five");
        live.record(Outcome::Ok, 0, None);
        assert!(!live.facts(0).outage, "three of six");
    }

    #[test]
    fn five_failures_in_a_row_eject_longer_each_time_up_to_a_cap() {
        let live = Live::default();
        let mut now = 0;
        for times in 1..=12_u64 {
            fail(&live, 4, now);
            assert!(!live.facts(now).ejected);
            fail(&live, 1, now);
            let length = (30_000 * times).min(300_000);
            assert!(live.facts(now + length - 1).ejected, "ejection {times}");
            now += length;
            assert!(!live.facts(now).ejected, "ejection {times}");
        }
    }

    #[test]
    fn failures_of_requests_already_in_flight_do_not_lengthen_an_ejection() {
        let live = Live::default();
        fail(&live, 500, 0);
        assert!(!live.facts(30_000).ejected);
        fail(&live, 5, 30_000);
        assert!(live.facts(89_999).ejected && !live.facts(90_000).ejected);
    }

    #[test]
    fn a_long_good_time_makes_the_next_ejection_a_first_one() {
        let live = Live::default();
        fail(&live, 5, 0);
        live.record(Outcome::Ok, 30_000 + 300_000, None);
        fail(&live, 5, 400_000);
        assert!(!live.facts(430_000).ejected);
    }

    #[test]
    fn callers_credentials_and_addresses_never_count() {
        let live = Live::default();
        for (outcome, _) in Outcome::ALL {
            if !matches!(scope(outcome), Scope::Failure | Scope::Throttle) {
                for _ in 0..10 {
                    live.record(outcome, 0, Some(60));
                }
            }
        }
        assert_eq!(live.facts(0), Facts::default());
    }
}
