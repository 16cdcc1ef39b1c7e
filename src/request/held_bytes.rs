//! What all request bodies together may take (`limits.buffered_bytes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes reserved at once while a body arrives: a declared length that lies costs no more.
const STEP: usize = 64 << 10;

/// Bytes reserved by all requests of the process.
#[derive(Debug, Default)]
pub struct HeldBytes(AtomicUsize);

impl HeldBytes {
    /// Reserves nothing yet.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { all: Arc::clone(self), bytes: 0 }
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize, most: usize) -> bool {
        let sum = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

/// The share of one body, given back on drop.
#[derive(Debug)]
pub struct Held {
    all: Arc<HeldBytes>,
    bytes: usize,
}

impl Held {
    /// Makes room for `bytes` in all, in steps, never past what was declared unless more has come.
    /// False, and nothing changed, where all bodies together would take more than `most`.
    #[must_use]
    pub fn cover(&mut self, bytes: usize, declared: Option<usize>, most: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let step = bytes.checked_next_multiple_of(STEP).unwrap_or(bytes);
        let ahead = step.min(declared.unwrap_or(step)).max(bytes);
        // Near the bound what is needed may fit where the step does not.
        let fits = [ahead, bytes].into_iter().find(|to| self.all.add(to - self.bytes, most));
        self.bytes = fits.unwrap_or(self.bytes);
        fits.is_some()
    }

    /// The body is whole: gives back what it did not need.
    pub fn settle(&mut self, bytes: usize) {
        let over = self.bytes.saturating_sub(bytes);
        self.bytes -= over;
        self.all.0.fetch_sub(over, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_byte_fits_and_one_more_does_not() {
        let all = Arc::new(HeldBytes::default());
        let (mut first, mut second) = (all.hold(), all.hold());
        assert!(first.cover(600, Some(600), 1_000));
        assert!(!second.cover(401, Some(401), 1_000));
        assert!(!second.cover(401, None, 1_000));
        assert_eq!(all.bytes(), 600, "a refusal reserves nothing");
        assert!(second.cover(400, None, 1_000), "though a whole step does not fit");
        drop(first);
        assert_eq!(all.bytes(), 400);
        drop(second);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn a_length_that_lies_reserves_one_step() {
        let all = Arc::new(HeldBytes::default());
        let mut liar = all.hold();
        assert!(liar.cover(1, Some(1 << 30), 1 << 20));
        assert_eq!(all.bytes(), STEP);
        assert!(liar.cover(STEP + 1, None, 1 << 20));
        assert_eq!(all.bytes(), 2 * STEP);
        liar.settle(STEP + 1);
        assert_eq!(all.bytes(), STEP + 1);
    }

    proptest! {
        #[test]
        fn never_over_and_nothing_left(bodies in prop::collection::vec((1_usize..300_000, any::<bool>()), 1..20)) {
            const MOST: usize = 1 << 20;
            let all = Arc::new(HeldBytes::default());
            let mut kept = Vec::new();
            for (bytes, declared) in bodies {
                let mut held = all.hold();
                let declared = declared.then_some(bytes);
                let whole = (1..=bytes).step_by(10_000).chain([bytes]).all(|so_far| held.cover(so_far, declared, MOST));
                prop_assert!(all.bytes() <= MOST);
                if whole {
                    held.settle(bytes);
                    kept.push((held, bytes));
                }
                let sum: usize = kept.iter().map(|(_, bytes)| bytes).sum();
                prop_assert!(all.bytes() >= sum);
            }
            drop(kept);
            prop_assert_eq!(all.bytes(), 0);
        }
    }
}
