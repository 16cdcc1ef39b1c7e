//! What a power cut may cost, and waiting for what must not be lost (reliability 4.1).

use super::depth::Gate;
use super::shared::Shared;
use super::slot::SEALED;
use parking_lot::{Condvar, Mutex};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// When a record is safe from a power cut. From `kill -9` it is safe from its claim on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before the caller sees the end of the answer.
    Strict,
    /// 100 ms after its end.
    #[default]
    CrashSafe,
    /// A second after its end.
    Relaxed,
}

impl Durability {
    /// Every mode with its name in configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("strict", Self::Strict), ("crash-safe", Self::CrashSafe), ("relaxed", Self::Relaxed)];

    /// How long a sealed record may wait for its fdatasync.
    #[must_use]
    pub fn window(self) -> Duration {
        match self {
            Self::Strict => Duration::ZERO,
            Self::CrashSafe => Duration::from_millis(100),
            Self::Relaxed => Duration::from_secs(1),
        }
    }

    /// How old the slots of open attempts may be on disk.
    pub(super) fn slot_window(self) -> Duration {
        self.window().max(Self::CrashSafe.window())
    }
}

/// What becomes of attempts that the spool has no room for (F62).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpoolFull {
    /// They are not made: 503.
    #[default]
    Refuse,
    /// They are made, leave no record and are counted.
    ServeUnbilled,
}

impl SpoolFull {
    /// Every policy with its name in configuration.
    pub const ALL: [(&'static str, Self); 2] =
        [("refuse", Self::Refuse), ("serve-unbilled", Self::ServeUnbilled)];
}

/// Where request threads wait for the flusher's group commit.
#[derive(Default)]
pub(super) struct Commits {
    lock: Mutex<()>,
    done: Condvar,
    /// To be woken: it naps otherwise.
    flusher: OnceLock<Thread>,
}

impl Commits {
    /// The calling thread is the one that commits.
    pub(super) fn serve(&self) {
        self.flusher.get_or_init(std::thread::current);
    }

    /// Slots were given up, or never will be.
    pub(super) fn announce(&self) {
        // Whoever has looked at its slot before this holds the lock until it waits.
        drop(self.lock.lock());
        self.done.notify_all();
    }
}

impl Shared {
    /// Blocks until a sealed slot has been given up, which follows the sync of its record. False:
    /// writing failed, or it took longer than `limit`.
    pub(super) fn wait_synced(&self, index: u32, seq: u64, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        if let Some(flusher) = self.commits.flusher.get() {
            flusher.unpark();
        }
        let mut guard = self.commits.lock.lock();
        loop {
            let waits = self.slot(index).is_some_and(|slot| {
                slot.state.load(Acquire) == SEALED && slot.seq.load(Relaxed) == seq
            });
            if !waits {
                return true;
            }
            if self.gate() == Gate::Failed || Instant::now() >= deadline {
                return false;
            }
            self.commits.done.wait_until(&mut guard, deadline);
        }
    }
}
