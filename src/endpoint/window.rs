//! Two counters over a sliding window, without a lock.

use super::saved::Counts;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of one count; it stops there instead of wrapping into its neighbour.
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// Bits of the bucket's turn: with 1 s buckets it repeats after 194 days, and a bucket untouched for
/// exactly that long is then read once as fresh.
const TURN_MAX: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// Counts of the last `BUCKETS` buckets, the current one included: the window covers between
/// `BUCKETS - 1` and `BUCKETS` times the bucket's length.
#[derive(Debug)]
pub struct Window<const BUCKETS: usize> {
    bucket_ms: u64,
    /// Turn, first count, second count, packed so that one compare-and-swap keeps them together.
    cells: [AtomicU64; BUCKETS],
}

impl<const BUCKETS: usize> Window<BUCKETS> {
    #[must_use]
    pub const fn new(bucket_ms: u64) -> Self {
        Self { bucket_ms, cells: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    /// Adds to both counts of the current bucket.
    pub fn add(&self, now_ms: u64, first: u64, second: u64) {
        self.add_to(self.turn(now_ms), first, second);
    }

    fn add_to(&self, turn: u64, first: u64, second: u64) {
        let Some(cell) = self.cells.get(Self::position(turn)) else { return };
        let add = |packed: u64| {
            let (of, a, b) = unpack(packed);
            let (a, b) = if of == turn { (a, b) } else { (0, 0) };
            Some(pack(turn, a.saturating_add(first), b.saturating_add(second)))
        };
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Both sums over the window.
    #[must_use]
    pub fn sums(&self, now_ms: u64) -> (u64, u64) {
        let now = self.turn(now_ms);
        self.cells.iter().fold((0, 0), |(first, second), cell| {
            let (turn, a, b) = unpack(cell.load(Ordering::Relaxed));
            let age = now.wrapping_sub(turn) & TURN_MAX;
            if age < BUCKETS as u64 { (first + a, second + b) } else { (first, second) }
        })
    }

    /// What is in every bucket, by age.
    pub(super) fn save(&self, now_ms: u64) -> Counts {
        let now = self.turn(now_ms);
        let filled = |cell: &AtomicU64| {
            let (turn, first, second) = unpack(cell.load(Ordering::Relaxed));
            let age = now.wrapping_sub(turn) & TURN_MAX;
            (age < BUCKETS as u64 && first + second > 0).then_some((age, first, second))
        };
        let mut counts: Counts = self.cells.iter().filter_map(filled).collect();
        counts.sort_unstable();
        counts
    }

    /// Takes in what was saved `gap_ms` ago; what has become too old is left out.
    pub(super) fn restore(&self, saved: &Counts, now_ms: u64, gap_ms: u64) {
        for (age, first, second) in saved {
            let age = age.saturating_add(gap_ms / self.bucket_ms.max(1));
            if age < BUCKETS as u64 {
                self.add_to(self.turn(now_ms).wrapping_sub(age) & TURN_MAX, *first, *second);
            }
        }
    }

    /// Turns start at 1, so that an untouched cell is not taken for the first bucket.
    fn turn(&self, now_ms: u64) -> u64 {
        (now_ms / self.bucket_ms.max(1) + BUCKETS as u64) & TURN_MAX
    }

    fn position(turn: u64) -> usize {
        usize::try_from(turn % BUCKETS as u64).unwrap_or(0)
    }
}

fn pack(turn: u64, first: u64, second: u64) -> u64 {
    turn << (2 * COUNT_BITS) | first.min(COUNT_MAX) << COUNT_BITS | second.min(COUNT_MAX)
}

fn unpack(packed: u64) -> (u64, u64, u64) {
    (packed >> (2 * COUNT_BITS), packed >> COUNT_BITS & COUNT_MAX, packed & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        /// The sums are those of a plain list of events, for a clock that never goes back.
        #[test]
        fn equals_a_list_of_events(
            steps in prop::collection::vec((0..7_000_u64, 0..3_u64, 0..3_u64), 0..80)
        ) {
            let window = Window::<10>::new(1_000);
            let (mut now, mut events) = (0, Vec::new());
            for (step, first, second) in steps {
                now += step;
                window.add(now, first, second);
                events.push((now / 1_000, first, second));
                let recent = || events.iter().filter(|(bucket, ..)| now / 1_000 - bucket < 10);
                let sums =
                    (recent().map(|(_, a, _)| a).sum(), recent().map(|(.., b)| b).sum());
                prop_assert_eq!(window.sums(now), sums);
            }
        }
    }

    #[test]
    fn counts_saturate_at_their_bound() {
        let window = Window::<2>::new(1_000);
        window.add(0, COUNT_MAX - 1, 1);
        window.add(0, 1, 0);
        assert_eq!(window.sums(0), (COUNT_MAX, 1));
        window.add(0, 1, 0);
        assert_eq!(window.sums(0), (COUNT_MAX, 1), "one past the bound changes nothing");
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let window = Arc::new(Window::<10>::new(1_000));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let window = Arc::clone(&window);
                std::thread::spawn(move || (0..10_000).for_each(|_| window.add(5, 1, 2)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(window.sums(5), (40_000, 80_000));
    }
}
