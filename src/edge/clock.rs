//! The clock of one attempt: a deadline that hooks move and the held session watches.

use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The beginning on both clocks: the fine one, and the coarse one in milliseconds.
static START: OnceLock<(Instant, i64)> = OnceLock::new();

/// How far [`now_ms`] may lag: a tick of the slowest kernels.
pub const TICK_MS: u64 = 10;

/// Milliseconds since the process began, monotonic: the time all live state is told. Read once per
/// event, so it is the kernel's coarse clock, which costs a fifth of the fine one.
#[must_use]
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let ms = now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000);
    let begun = START.get_or_init(|| (Instant::now(), ms)).1;
    u64::try_from(ms.saturating_sub(begun)).unwrap_or(0)
}

/// The instant that [`now_ms`] will call `ms`. Reads no clock.
#[must_use]
pub fn instant(ms: u64) -> Instant {
    let _begun = now_ms();
    START.get().map_or_else(Instant::now, |(start, _)| *start + Duration::from_millis(ms))
}

/// Microseconds of the wall clock since the Unix epoch, for records.
#[must_use]
pub fn wall_us() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

const NEVER: u64 = u64::MAX;

/// The instant ([`now_ms`]) at which the current attempt has failed.
///
/// Moved by every event and read by a timer that sleeps to the deadline it last saw, so that an
/// event costs one store and no timer work.
#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Default for Clock {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Clock {
    /// Runs out `after` from now, but not later than `latest` ([`now_ms`]).
    pub fn set(&self, now_ms: u64, after: Duration, latest: Option<u64>) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        let deadline = now_ms.saturating_add(after).min(latest.unwrap_or(NEVER));
        self.0.store(deadline, Ordering::Relaxed);
    }

    /// Never runs out.
    pub fn stop(&self) {
        self.0.store(NEVER, Ordering::Relaxed);
    }

    /// Gives back time in which nobody could read the upstream.
    pub fn forgive(&self, ms: u64) {
        if let Some(deadline) = self.deadline() {
            self.0.store(deadline.saturating_add(ms), Ordering::Relaxed);
        }
    }

    /// The instant ([`now_ms`]) at which it runs out; `None` if it is stopped.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|deadline| *deadline != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_clock_and_limit_counts() {
        let clock = Clock::default();
        assert_eq!(clock.deadline(), None);
        clock.set(1_000, Duration::from_millis(500), Some(1_200));
        assert_eq!(clock.deadline(), Some(1_200));
        clock.set(1_000, Duration::from_millis(100), Some(1_200));
        assert_eq!(clock.deadline(), Some(1_100));
        clock.stop();
        assert_eq!(clock.deadline(), None);
    }
}
