//! The clock of a request: what hooks move and the held session watches.

use crate::bounds::ABANDONED_TIME;
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

/// A timer that fires so much later than it was set for shows that the process did not run: it was
/// stopped, or its machine was.
const STALL_MS: u64 = 1_000;
/// What an attempt gets to show that its upstream has spoken meanwhile.
const AFTER_STALL: Duration = Duration::from_secs(1);

/// Deadlines put off by all clocks.
static STALLS: AtomicU64 = AtomicU64::new(0);

/// How many deadlines were put off because the process had not run (F78).
#[must_use]
pub fn stalls() -> u64 {
    STALLS.load(Ordering::Relaxed)
}

/// The instants ([`now_ms`]) at which the current attempt has failed and at which the caller is due
/// a comment.
///
/// Moved by every event and read by a timer that sleeps to the earlier one it last saw, so that an
/// event costs a store for each and no timer work.
#[derive(Debug)]
pub struct Clock {
    deadline: AtomicU64,
    comment: AtomicU64,
    /// No deadline is later than this.
    latest: AtomicU64,
    /// Milliseconds of silence that call for a comment.
    silence: u64,
    commented: AtomicBool,
    drains: AtomicBool,
    left: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            comment: AtomicU64::new(NEVER),
            latest: AtomicU64::new(NEVER),
            silence: NEVER,
            commented: AtomicBool::new(false),
            drains: AtomicBool::new(false),
            left: AtomicBool::new(false),
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
        if self.has_left() {
            return;
        }
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
        let latest = latest.unwrap_or(NEVER).min(self.latest.load(Ordering::Relaxed));
        let deadline = now_ms.saturating_add(after).min(latest);
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// Whether the attempt that begins is read to its end when its caller leaves (I13).
    pub fn drain(&self, drains: bool) {
        self.drains.store(drains, Ordering::Relaxed);
    }

    /// The caller has left. Tells whether the attempt goes on without one, for a bounded time.
    pub fn leave(&self, now_ms: u64) -> bool {
        if !self.drains.load(Ordering::Relaxed) {
            return false;
        }
        let most = u64::try_from(ABANDONED_TIME.as_millis()).unwrap_or(NEVER);
        let latest = now_ms.saturating_add(most);
        self.latest.store(latest, Ordering::Relaxed);
        self.deadline.fetch_min(latest, Ordering::Relaxed);
        self.left.store(true, Ordering::Relaxed);
        self.hush();
        true
    }

    /// Whether the attempt goes on without its caller.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
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

    /// Whether the deadline has come, a tick early or later. One that passed while the process itself
    /// did not run says nothing of the upstream, and is put off once (F78).
    #[must_use]
    pub fn has_run_out(&self, now_ms: u64) -> bool {
        let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now_ms + TICK_MS)
        else {
            return false;
        };
        if now_ms < deadline.saturating_add(STALL_MS) {
            return true;
        }
        STALLS.fetch_add(1, Ordering::Relaxed);
        self.set(now_ms, AFTER_STALL, None);
        false
    }

    /// The instant ([`now_ms`]) at which it runs out; `None` if it is stopped.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::Relaxed)).filter(|deadline| *deadline != NEVER)
    }

    /// Whether a comment is due, or will be within a tick.
    #[must_use]
    pub fn wants_comment(&self, now_ms: u64) -> bool {
        self.comment.load(Ordering::Relaxed) <= now_ms.saturating_add(TICK_MS)
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
    fn a_deadline_slept_through_is_put_off_and_one_that_is_a_little_late_is_not() {
        let clock = Clock::default();
        assert!(!clock.has_run_out(1_000));
        clock.set(1_000, Duration::from_millis(500), None);
        assert!(!clock.has_run_out(1_500 - TICK_MS - 1));
        assert!(clock.has_run_out(1_500 - TICK_MS) && clock.has_run_out(1_500 + STALL_MS - 1));
        let before = stalls();
        assert!(!clock.has_run_out(1_500 + STALL_MS));
        assert!(stalls() > before);
        assert_eq!(clock.deadline(), Some(1_500 + STALL_MS + 1_000));
        assert!(clock.has_run_out(1_500 + STALL_MS + 1_000));
    }

    #[test]
    fn without_its_caller_an_attempt_has_a_bounded_time_and_no_comment() {
        let clock = Clock::commenting(0, Duration::from_millis(300));
        clock.set(0, Duration::from_secs(3_600), None);
        assert!(!clock.leave(0), "not unless it is to be drained");
        clock.drain(true);
        assert!(clock.leave(1_000) && clock.has_left());
        let latest = 1_000 + u64::try_from(ABANDONED_TIME.as_millis()).unwrap();
        assert_eq!((clock.deadline(), clock.due()), (Some(latest), Some(latest)));
        clock.set(2_000, Duration::from_secs(3_600), None);
        clock.spoke(2_000);
        clock.unhush(2_000);
        assert_eq!(clock.due(), Some(latest));
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
