//! How long a delivering thread waits.

use std::time::Duration;

/// Pause once the spool is read to its end: rows are collected meanwhile, one commit for all. From the
/// first to the second, doubling while rows keep coming: a commit costs as much as many rows.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// Pause after an error of the sink: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

pub(super) struct Pace {
    /// Consecutive failed steps, and what the last of them said.
    failed: u32,
    said: String,
    pause: Duration,
    /// Rows were delivered since the last pause.
    busy: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { failed: 0, said: String::new(), pause: PAUSE.0, busy: false }
    }

    pub(super) fn delivered(&mut self) {
        self.busy = true;
    }

    /// How long to wait for more rows.
    pub(super) fn collecting(&mut self) -> Duration {
        let longer = (self.pause * 2).min(PAUSE.1);
        self.pause = if std::mem::take(&mut self.busy) { longer } else { PAUSE.0 };
        self.pause
    }

    /// A step succeeded. Says whether the one before it failed.
    pub(super) fn accepted(&mut self) -> bool {
        std::mem::take(&mut self.failed) > 0
    }

    /// A step failed. Says whether it did not say so before, and how long to wait: not as long as other
    /// nodes that saw it too.
    pub(super) fn refused(&mut self, said: String) -> (bool, Duration) {
        let news = self.failed == 0 || self.said != said;
        let pause = BACKOFF.0.saturating_mul(1 << self.failed.min(10)).min(BACKOFF.1);
        self.failed = self.failed.saturating_add(1);
        self.said = said;
        (news, pause.mul_f64(rand::random_range(0.5..1.0)))
    }
}
