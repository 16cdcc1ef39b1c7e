//! The clock of a request: what hooks move and the held session watches.

use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// The instants ([`now_ms`]) at which the current attempt has failed and at which the caller is due
/// a comment.
///
/// Moved by every event and read by a timer that sleeps to the earlier one it last saw, so that an
/// event costs a store for each and no timer work.
#[derive(Debug)]
pub struct Clock {
    deadline: AtomicU64,
    comment: AtomicU64,
    /// Milliseconds of silence that call for a comment.
    silence: u64,
    commented: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            comment: AtomicU64::new(NEVER),
            silence: NEVER,
            commented: AtomicBool::new(false),
        }
    }
}

impl Clock {
    /// A clock that calls for a comment after so much silence, from now on; never after none.
    #[must_use]
    pub fn commenting(now_ms: u64, silence: Duration) -> Self {
        let silence = u64::try_from(silence.as_millis()).unwrap_or(NEVER);
        let clock = Self { silence: if silence == 0 { NEVER } else { silence }, ..Self::default() };
        clock.spoke(now_ms);
        clock
    }

    /// Whether it ever calls for a comment.
    #[must_use]
    pub fn comments(&self) -> bool {
        self.silence != NEVER
    }

    /// The caller hears something now: silence counts from here.
    pub fn spoke(&self, now_ms: u64) {
        self.comment.store(now_ms.saturating_add(self.silence), Ordering::Relaxed);
    }

    /// No comment may come where the reply is now.
    pub fn hush(&self) {
        self.comment.store(NEVER, Ordering::Relaxed);
    }

    /// Comments may come again, if they ever may.
    pub fn unhush(&self, now_ms: u64) {
        if self.comment.load(Ordering::Relaxed) == NEVER {
            self.spoke(now_ms);
        }
    }

    /// The reply has begun with a comment: status and head are beyond recall.
    pub fn begin_with_comment(&self) {
        self.commented.store(true, Ordering::Relaxed);
    }

    /// Whether the reply began with a comment.
    #[must_use]
    pub fn began_with_comment(&self) -> bool {
        self.commented.load(Ordering::Relaxed)
    }

    /// Runs out `after` from now, but not later than `latest` ([`now_ms`]).
    pub fn set(&self, now_ms: u64, after: Duration, latest: Option<u64>) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        let deadline = now_ms.saturating_add(after).min(latest.unwrap_or(NEVER));
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// Never runs out; comments are no matter of it.
    pub fn stop(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
    }

    /// Gives back time in which nobody could read the upstream.
    pub fn forgive(&self, ms: u64) {
        if let Some(deadline) = self.deadline() {
            self.deadline.store(deadline.saturating_add(ms), Ordering::Relaxed);
        }
    }

    /// The instant ([`now_ms`]) at which it runs out; `None` if it is stopped.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::Relaxed)).filter(|deadline| *deadline != NEVER)
    }

    /// The earlier of deadline and comment.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let comment = self.comment.load(Ordering::Relaxed);
        Some(comment.min(self.deadline.load(Ordering::Relaxed))).filter(|due| *due != NEVER)
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

    #[test]
    fn a_comment_is_due_after_silence() {
        let clock = Clock::commenting(1_000, Duration::from_millis(300));
        assert_eq!((clock.due(), clock.deadline()), (Some(1_300), None));
        clock.set(1_000, Duration::from_millis(200), None);
        assert_eq!(clock.due(), Some(1_200));
        clock.stop();
        clock.spoke(1_100);
        assert_eq!(clock.due(), Some(1_400));
        clock.unhush(1_200);
        assert_eq!(clock.due(), Some(1_400), "it was not hushed");
        clock.hush();
        assert_eq!(clock.due(), None);
        clock.unhush(1_500);
        assert_eq!(clock.due(), Some(1_800));
    }

    #[test]
    fn no_comment_is_ever_due_after_no_silence() {
        for clock in [Clock::default(), Clock::commenting(1_000, Duration::ZERO)] {
            clock.spoke(2_000);
            clock.unhush(3_000);
            assert!(!clock.comments());
            assert_eq!(clock.due(), None);
        }
    }
}
