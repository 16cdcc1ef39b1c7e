//! What the host lets the process have: file descriptors (S9, P6, F77), threads (F80), and in `cgroup`
//! memory (F76).
//!
//! Callers, requests and idle upstream connections have a share of the descriptors each. What is left
//! is for files, the ledger's above all, and for operators: traffic alone cannot use descriptors up.

pub mod cgroup;

use crate::bounds;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, mpsc};
use std::{io, thread};

/// Raises the soft limit to the hard one, and gives it back.
///
/// # Errors
/// The limit cannot be set; what it was stays in force.
pub fn raise_descriptors() -> io::Result<usize> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(descriptors())
}

/// The most the process may have: the hard limit.
#[must_use]
pub fn descriptors() -> usize {
    let most = getrlimit(Resource::Nofile).maximum.and_then(|most| usize::try_from(most).ok());
    most.unwrap_or(usize::MAX).min(bounds::DESCRIPTORS_MAX)
}

/// So many percent of `all`, and at least one.
#[must_use]
pub fn share(all: usize, percent: usize) -> usize {
    (all.saturating_mul(percent) / 100).max(1)
}

/// Has so many threads at once for a moment: Pingora can only panic over one that it does not get.
///
/// # Errors
/// Why there cannot be so many.
pub fn have_threads(count: usize) -> io::Result<()> {
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let mut threads = Vec::with_capacity(count);
    let mut result = Ok(());
    for _ in 0..count {
        let held = Arc::clone(&held);
        // Nothing is ever sent: it ends when `hold` drops.
        let waiting = move || while held.lock().recv().is_ok() {};
        match thread::Builder::new().spawn(waiting) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    drop(hold);
    for thread in threads {
        // It cannot panic.
        drop(thread.join());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_there_for_a_moment() {
        have_threads(20).unwrap();
    }

    #[test]
    fn the_shares_leave_a_tenth_for_files_and_operators() {
        let shares = [
            bounds::CONNECTIONS_PERCENT,
            bounds::REQUESTS_PERCENT,
            bounds::IDLE_UPSTREAM_CONNECTIONS_PERCENT,
        ];
        assert!(shares.iter().sum::<usize>() <= 90);
        assert_eq!((share(1_024, 45), share(1, 45), share(usize::MAX, 45) > 1), (460, 1, true));
    }
}
