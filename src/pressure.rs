//! Memory pressure: what is still begun when the control group is nearly out of memory (F76).
//!
//! Its usage is read ten times a second by a service of its own; requests see the result in an atomic.
//! Between two readings only bodies grow fast, so they get a budget that fits.

use crate::bounds::{MEMORY_CALM_PERCENT, MEMORY_CLOSE_PERCENT, MEMORY_SHED_PERCENT};
use crate::host::cgroup::{Cgroup, Usage};
use crate::state::State;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(100);

/// How much is left, each level worse than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything is served.
    Calm,
    /// Requests that would begin are refused.
    Shedding,
    /// And connections are closed before a byte is read.
    Closing,
}

impl Level {
    fn of(usage: Usage, sheds: bool) -> Self {
        let reaches = |percent| usage.used >= usage.at(percent);
        let shed = if sheds { MEMORY_CALM_PERCENT } else { MEMORY_SHED_PERCENT };
        if reaches(MEMORY_CLOSE_PERCENT) {
            Self::Closing
        } else if reaches(shed) {
            Self::Shedding
        } else {
            Self::Calm
        }
    }
}

/// The last reading, for those that serve.
#[derive(Debug)]
pub struct Pressure {
    level: AtomicU8,
    /// Bytes all bodies together may take.
    bodies: AtomicUsize,
}

impl Default for Pressure {
    /// Without a limit.
    fn default() -> Self {
        Self { level: AtomicU8::new(Level::Calm as u8), bodies: AtomicUsize::new(usize::MAX) }
    }
}

impl Pressure {
    /// Whether no request may begin.
    #[must_use]
    pub fn sheds(&self) -> bool {
        self.level.load(Ordering::Relaxed) >= Level::Shedding as u8
    }

    /// Whether no connection may begin.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.level.load(Ordering::Relaxed) >= Level::Closing as u8
    }

    /// What all request bodies together may take, of so many bytes that are configured.
    #[must_use]
    pub fn bodies(&self, most: usize) -> usize {
        self.bodies.load(Ordering::Relaxed).min(most)
    }

    /// Takes a reading of every limit; `held` are the bytes of bodies in it. The new level, if it is
    /// another.
    fn take(&self, usages: &[Usage], held: usize) -> Option<Level> {
        // A body may be held twice: as it came, and as it is sent.
        let room = |usage: &Usage| usage.at(MEMORY_SHED_PERCENT).saturating_sub(usage.used) / 2;
        let room = usages.iter().map(room).min().and_then(|room| usize::try_from(room).ok());
        let bodies = room.map_or(usize::MAX, |room| held.saturating_add(room));
        self.bodies.store(bodies, Ordering::Relaxed);
        let before = self.level.load(Ordering::Relaxed);
        let sheds = before >= Level::Shedding as u8;
        let levels = usages.iter().map(|usage| Level::of(*usage, sheds));
        let level = levels.max().unwrap_or(Level::Calm);
        self.level.store(level as u8, Ordering::Relaxed);
        (level as u8 != before).then_some(level)
    }
}

/// The service that reads.
pub struct Gauge {
    cgroup: Cgroup,
    state: Arc<State>,
}

impl Gauge {
    /// Reads for the first time. `None` where memory has no control group.
    #[must_use]
    pub fn begin(state: &Arc<State>) -> Option<Self> {
        let cgroup = Cgroup::of_this_process(Path::new("/"))?;
        let gauge = Self { cgroup, state: Arc::clone(state) };
        if let Usage { limit: limit @ 1.., used } = gauge.read() {
            tracing::info!(limit, used, "memory of the control group");
        }
        Some(gauge)
    }

    /// The limit that is nearest; zeros without one. Limits can come and go.
    fn read(&self) -> Usage {
        let Self { cgroup, state } = self;
        let usages = cgroup.usages();
        let level = state.pressure.take(&usages, state.bodies.bytes());
        let nearest = usages.into_iter().min_by_key(|usage| usage.limit.saturating_sub(usage.used));
        let Usage { limit, used } = nearest.unwrap_or(Usage { limit: 0, used: 0 });
        match level {
            None => {}
            Some(Level::Calm) => tracing::info!(limit, used, "memory suffices again"),
            Some(level) => tracing::warn!(limit, used, ?level, "memory runs out"),
        }
        let shown = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        state.metrics.memory_limit.set(shown(limit));
        state.metrics.memory_used.set(shown(used));
        Usage { limit, used }
    }
}

#[async_trait]
impl BackgroundService for Gauge {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while tokio::time::timeout(EVERY, shutdown.changed()).await.is_err() {
            self.read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(used: u64) -> [Usage; 2] {
        [Usage { limit: 10_000, used: 0 }, Usage { limit: 1_000, used }]
    }

    #[test]
    fn f76_each_level_begins_at_its_share_and_ends_below_it() {
        let pressure = Pressure::default();
        let mut seen = Vec::new();
        for used in [0, 849, 850, 949, 950, 949, 800, 799, 849, 950, 0] {
            seen.push((used, pressure.take(&of(used), 0), pressure.sheds(), pressure.closes()));
        }
        let (calm, shed, close) = (Some(Level::Calm), Some(Level::Shedding), Some(Level::Closing));
        let expected = [
            (0, None, false, false),
            (849, None, false, false),
            (850, shed, true, false),
            (949, None, true, false),
            (950, close, true, true),
            (949, shed, true, false),
            (800, None, true, false),
            (799, calm, false, false),
            (849, None, false, false),
            (950, close, true, true),
            (0, calm, false, false),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn f76_bodies_may_take_half_of_what_the_nearest_limit_leaves() {
        let pressure = Pressure::default();
        assert_eq!(pressure.bodies(7), 7, "as configured, without a limit");
        pressure.take(&of(450), 30);
        assert_eq!((pressure.bodies(1_000), pressure.bodies(7)), (230, 7));
        pressure.take(&of(999), 30);
        assert_eq!(pressure.bodies(1_000), 30, "those that are there stay, and none grows");
        assert_eq!(pressure.take(&[], 30), Some(Level::Calm), "the limit was lifted");
        assert_eq!(pressure.bodies(1_000), 1_000);
    }
}
