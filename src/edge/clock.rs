//! The clock of one attempt: a deadline that hooks move and the held session watches.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Milliseconds since the process began, monotonic: the time all live state is told.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The instant that [`now_ms`] will call `ms`. Reads no clock.
#[must_use]
pub fn instant(ms: u64) -> Instant {
    *START.get_or_init(Instant::now) + Duration::from_millis(ms)
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
