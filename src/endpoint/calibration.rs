//! How far estimates of an endpoint's tokens are off, learned from its complete replies.

use crate::meter::{Estimator, Evidence};
use crate::usage::Usage;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Tokens that stand for "as estimated" before anything is learned, so that one reply turns nothing.
const PRIOR: u64 = 1_000;
/// Share of what was learned that each reply makes room for.
const FADING: u64 = 32;
/// Most tokens one reply may weigh.
const WEIGHT: u64 = 1 << 20;
/// A report this many times the estimate, or this small a part of it, tells of hidden tokens, pictures
/// or an error, and not of the tokenizer.
const STRANGE: u64 = 8;

/// Running ratios of reported to estimated tokens. No lock: a reply counted beside another may be lost
/// from the average, and from nothing else.
#[derive(Debug)]
pub struct Calibration {
    input: Ratio,
    output: Ratio,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { input: Ratio::new(), output: Ratio::new() }
    }
}

impl Calibration {
    /// The estimator, corrected by what is known now.
    #[must_use]
    pub fn correct(&self, estimator: Estimator) -> Estimator {
        estimator.corrected(self.input.percent(), self.output.percent())
    }

    /// Learns from a complete reply that reported its usage.
    pub fn learn(&self, evidence: &Evidence<'_>, reported: &Usage) {
        let plain = Estimator::of(evidence.estimator.family);
        let guess = plain.estimate(evidence.delivered, evidence.prompt_bytes, evidence.operation);
        self.input.add(reported.prompt(), guess.prompt());
        self.output.add(reported.completion(), guess.completion());
    }
}

/// Two fading sums in one word: reported tokens above, estimated ones below.
#[derive(Debug)]
struct Ratio(AtomicU64);

impl Ratio {
    const fn new() -> Self {
        Self(AtomicU64::new(PRIOR << 32 | PRIOR))
    }

    fn percent(&self) -> u64 {
        let (reported, estimated) = halves(self.0.load(Relaxed));
        (reported * 100 + estimated / 2) / estimated.max(1)
    }

    fn add(&self, reported: u64, estimated: u64) {
        let (most, least) = (reported.max(estimated), reported.min(estimated));
        if least == 0 || most > least.saturating_mul(STRANGE) {
            return;
        }
        // Both are scaled alike, so that a long reply keeps its ratio.
        let scale =
            |tokens: u64| u128::from(tokens) * u128::from(WEIGHT.min(most)) / u128::from(most);
        let more = [scale(reported), scale(estimated)].map(|tokens| tokens as u64);
        let (old, [more_reported, more_estimated]) = (halves(self.0.load(Relaxed)), more);
        let fade = |sum: u64, more: u64| sum - sum / FADING + more;
        self.0.store(fade(old.0, more_reported) << 32 | fade(old.1, more_estimated), Relaxed);
    }
}

const fn halves(word: u64) -> (u64, u64) {
    (word >> 32, word & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_moves_to_what_is_reported_and_stays_within_its_word() {
        let ratio = Ratio::new();
        assert_eq!(ratio.percent(), 100);
        ratio.add(20, 10);
        assert_eq!(ratio.percent(), 101, "one short reply turns little");
        (0..200).for_each(|_| ratio.add(1_300, 1_000));
        assert!((128..=130).contains(&ratio.percent()), "{}", ratio.percent());
        (0..1_000).for_each(|_| ratio.add(u64::MAX / 2, u64::MAX));
        assert!((49..=51).contains(&ratio.percent()), "{}", ratio.percent());
    }

    #[test]
    fn what_is_strange_teaches_nothing() {
        let ratio = Ratio::new();
        for (reported, estimated) in [(0, 9), (9, 0), (9_000, 1_000), (1_000, 9_000)] {
            ratio.add(reported, estimated);
        }
        assert_eq!(ratio.percent(), 100);
    }
}
