//! How many requests of one key may be under way (S9).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests of one key under way. Reloads keep it as long as the key is listed.
#[derive(Debug, Default)]
pub struct Requests(AtomicUsize);

impl Requests {
    /// Counts one more until it drops, if fewer than `most` are under way.
    #[must_use]
    pub fn admit(self: &Arc<Self>, most: usize) -> Option<Admitted> {
        let under_way = self.0.fetch_add(1, Ordering::Relaxed);
        // Dropped at once where there is no place.
        let admitted = Admitted(Arc::clone(self));
        (under_way < most).then_some(admitted)
    }
}

/// One request under way.
#[derive(Debug)]
pub struct Admitted(Arc<Requests>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
