//! Rolling percentiles without a lock: logarithmic buckets in a ring of time slices.

use super::saved::Slices;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bits of a value that tell the buckets of one octave apart: eight of them.
const SUB_BITS: u32 = 3;
const SUBS: usize = 1 << SUB_BITS;
/// Bits of the largest value that is told from larger ones: 17 minutes in milliseconds.
const VALUE_BITS: u32 = 20;
const BUCKETS: usize = ((VALUE_BITS - SUB_BITS + 1) as usize) << SUB_BITS;
/// A percentile is at most this share of itself away from the exact one (nearest rank); values under
/// 16 are exact.
#[cfg(test)]
pub(super) const ERROR: f64 = 1.0 / 16.0;

/// The slice that is being emptied.
const BUSY: u64 = u64::MAX;

#[derive(Debug)]
struct Slice {
    turn: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

/// Values of the last `SLICES` slices, the current one included: the window covers between
/// `SLICES - 1` and `SLICES` times the slice's length.
#[derive(Debug)]
pub(super) struct Histogram<const SLICES: usize> {
    slice_ms: u64,
    slices: [Slice; SLICES],
}

impl<const SLICES: usize> Histogram<SLICES> {
    #[must_use]
    pub(super) const fn new(slice_ms: u64) -> Self {
        let slices = [const {
            Slice { turn: AtomicU64::new(0), counts: [const { AtomicU32::new(0) }; BUCKETS] }
        }; SLICES];
        Self { slice_ms, slices }
    }

    /// Takes in a value; those past the largest count as it. A value that comes in the instant in
    /// which its slice is emptied for it is left out.
    pub(super) fn add(&self, now_ms: u64, value: u32) {
        let turn = self.turn(now_ms);
        let Some(slice) = self.slices.get(position(turn, SLICES)) else { return };
        let known = slice.turn.load(Ordering::Acquire);
        if known != turn && !slice.renew(known, turn) {
            return;
        }
        if let Some(count) = slice.counts.get(bucket(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The values at these percentiles (of a hundred, nearest rank) and how many values there are;
    /// zeros if there are none.
    #[must_use]
    pub(super) fn percentiles<const N: usize>(
        &self,
        now_ms: u64,
        wanted: [u32; N],
    ) -> ([u32; N], u64) {
        let now = self.turn(now_ms);
        let mut sums = [0_u64; BUCKETS];
        for slice in &self.slices {
            let turn = slice.turn.load(Ordering::Acquire);
            if turn <= now && now - turn < SLICES as u64 {
                for (sum, count) in sums.iter_mut().zip(&slice.counts) {
                    *sum += u64::from(count.load(Ordering::Relaxed));
                }
            }
        }
        let total: u64 = sums.iter().sum();
        let at = |percent: u32| {
            let rank = (total * u64::from(percent)).div_ceil(100).max(1);
            let mut seen = 0;
            let holds = |sum: &u64| {
                seen += *sum;
                seen >= rank
            };
            sums.iter().position(holds).map_or(0, middle)
        };
        (wanted.map(at), total)
    }

    /// What is in every slice, by age.
    pub(super) fn save(&self, now_ms: u64) -> Slices {
        let now = self.turn(now_ms);
        let filled = |slice: &Slice| {
            let age = now.checked_sub(slice.turn.load(Ordering::Acquire))?;
            let counts = slice.counts.iter().map(|count| count.load(Ordering::Relaxed));
            let counts: Vec<_> = counts.enumerate().filter(|(_, count)| *count > 0).collect();
            (age < SLICES as u64 && !counts.is_empty()).then_some((age, counts))
        };
        let mut slices: Slices = self.slices.iter().filter_map(filled).collect();
        slices.sort_unstable_by_key(|(age, _)| *age);
        slices
    }

    /// Takes in what was saved `gap_ms` ago; what has become too old is left out.
    pub(super) fn restore(&self, saved: &Slices, now_ms: u64, gap_ms: u64) {
        let now = self.turn(now_ms);
        for (age, counts) in saved {
            let age = age.saturating_add(gap_ms / self.slice_ms.max(1));
            let Some(turn) = now.checked_sub(age).filter(|_| age < SLICES as u64) else { continue };
            let Some(slice) = self.slices.get(position(turn, SLICES)) else { continue };
            let known = slice.turn.load(Ordering::Acquire);
            if known != turn && !slice.renew(known, turn) {
                continue;
            }
            for (bucket, count) in counts {
                if let Some(cell) = slice.counts.get(*bucket) {
                    cell.fetch_add(*count, Ordering::Relaxed);
                }
            }
        }
    }

    /// Turns start past the ring's length, so that an untouched slice is not taken for the first.
    fn turn(&self, now_ms: u64) -> u64 {
        now_ms / self.slice_ms.max(1) + SLICES as u64
    }
}

impl Slice {
    /// Empties the slice for `turn`, unless it belongs to a later one or someone else is at it.
    fn renew(&self, known: u64, turn: u64) -> bool {
        if known > turn {
            return false;
        }
        let won = self.turn.compare_exchange(known, BUSY, Ordering::AcqRel, Ordering::Acquire);
        if let Err(now) = won {
            return now == turn;
        }
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.turn.store(turn, Ordering::Release);
        true
    }
}

fn position(turn: u64, slices: usize) -> usize {
    usize::try_from(turn % slices.max(1) as u64).unwrap_or(0)
}

fn bucket(value: u32) -> usize {
    let value = value.min((1 << VALUE_BITS) - 1);
    if value < SUBS as u32 {
        return value as usize;
    }
    let octave = value.ilog2() - SUB_BITS;
    ((octave as usize) << SUB_BITS) + (value >> octave) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u32 {
    let octave = (bucket >> SUB_BITS).saturating_sub(1);
    let lowest = (bucket - (octave << SUB_BITS)) << octave;
    u32::try_from(lowest + (1 << octave) / 2).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const WANTED: [u32; 4] = [50, 75, 90, 99];

    fn exact(mut values: Vec<u32>, percent: u32) -> u32 {
        values.sort_unstable();
        let rank = (values.len() * percent as usize).div_ceil(100).max(1);
        values[rank - 1]
    }

    fn is_close(found: u32, exact: u32) -> bool {
        f64::from(found.abs_diff(exact)) <= f64::from(exact) * ERROR
    }

    proptest! {
        #[test]
        fn percentiles_are_within_their_error(
            values in prop::collection::vec(prop_oneof![0..20_u32, 0..2_000_u32, 0..1_000_000_u32], 1..400)
        ) {
            let histogram = Histogram::<6>::new(60_000);
            values.iter().for_each(|value| histogram.add(0, *value));
            let (found, count) = histogram.percentiles(0, WANTED);
            prop_assert_eq!(count, values.len() as u64);
            for (found, percent) in found.into_iter().zip(WANTED) {
                let exact = exact(values.clone(), percent);
                prop_assert!(is_close(found, exact), "p{}: {} instead of {}", percent, found, exact);
            }
        }

        /// The window is that of a plain list of events, for a clock that never goes back.
        #[test]
        fn forgets_what_is_older_than_the_window(
            steps in prop::collection::vec((0..90_000_u64, 0..16_u32), 1..60)
        ) {
            let histogram = Histogram::<6>::new(60_000);
            let (mut now, mut events) = (0, Vec::new());
            for (step, value) in steps {
                now += step;
                histogram.add(now, value);
                events.push((now / 60_000, value));
                let recent = events.iter().filter(|(turn, _)| now / 60_000 - turn < 6);
                let recent: Vec<u32> = recent.map(|(_, value)| *value).collect();
                let (found, count) = histogram.percentiles(now, WANTED);
                prop_assert_eq!(count, recent.len() as u64);
                prop_assert_eq!(found, WANTED.map(|percent| exact(recent.clone(), percent)));
            }
        }
    }

    #[test]
    fn every_value_lies_in_its_bucket_up_to_the_bound() {
        for value in (0..4_096).chain((0..1 << VALUE_BITS).step_by(997)) {
            assert!(bucket(value) < BUCKETS && is_close(middle(bucket(value)), value), "{value}");
        }
        let last = (1 << VALUE_BITS) - 1;
        assert_eq!(
            (bucket(last), bucket(last + 1), bucket(u32::MAX)),
            (BUCKETS - 1, BUCKETS - 1, BUCKETS - 1)
        );
        assert_eq!(Histogram::<6>::new(60_000).percentiles(0, WANTED), ([0; 4], 0));
    }

    #[test]
    fn a_late_value_does_not_empty_a_newer_slice() {
        let histogram = Histogram::<2>::new(10);
        histogram.add(40, 5);
        histogram.add(20, 9);
        assert_eq!(histogram.percentiles(40, [99]), ([5], 1));
    }

    #[test]
    fn hardly_a_value_is_lost_between_threads_and_none_is_kept_too_long() {
        let histogram = Arc::new(Histogram::<3>::new(10));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let histogram = Arc::clone(&histogram);
                std::thread::spawn(move || {
                    (0..30_000_u64).for_each(|n| histogram.add(n / 1_000, 7))
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (found, count) = histogram.percentiles(29, [50]);
        assert_eq!(found, [7]);
        assert!(count <= 120_000, "{count}");
        assert_eq!(histogram.percentiles(60, [50]), ([0], 0));
    }
}
