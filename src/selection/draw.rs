//! Chance as a value: a small seeded generator, and the draw by price.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, equidistributed, not for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `0..bound`; 0 for an empty range.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// Position of the drawn price: each with weight 1/price², free ones before all others.
///
/// Weights are relative to the lowest price. They are chances, not money, so floats will do.
pub(super) fn by_price(
    prices: impl Iterator<Item = u64> + Clone,
    random: &mut SplitMix64,
) -> usize {
    let lowest = prices.clone().min().unwrap_or(0);
    let weights = prices.map(|price| weight(price, lowest));
    let mut left = random.unit() * weights.clone().sum::<f64>();
    let mut last = 0;
    for (position, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = position;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// The chance of each of these prices in [`by_price`].
pub(super) fn chances(prices: impl Iterator<Item = u64> + Clone) -> Vec<f64> {
    let lowest = prices.clone().min().unwrap_or(0);
    let weights: Vec<f64> = prices.map(|price| weight(price, lowest)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of prices, not a sum of money")]
fn weight(price: u64, lowest: u64) -> f64 {
    if price == lowest {
        return 1.0;
    }
    let ratio = lowest as f64 / price as f64;
    ratio * ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_sequence() {
        let mut random = SplitMix64::new(1_234_567);
        let bits: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(
            bits,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = SplitMix64::new(7);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn the_contracts_example_is_nine_to_one() {
        let mut random = SplitMix64::new(3);
        let first =
            (0..100_000).filter(|_| by_price([1_000, 3_000].into_iter(), &mut random) == 0).count();
        assert!((89_000..=91_000).contains(&first), "{first} of 100000 instead of 90000");
    }

    #[test]
    fn chances_are_those_of_the_draw() {
        let shown = |prices: &[u64]| {
            chances(prices.iter().copied()).iter().map(|it| format!("{it:.3}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[1, 3]), ["0.900", "0.100"]);
        assert_eq!(shown(&[0, 2, 0]), ["0.500", "0.000", "0.500"]);
        assert!(chances([].into_iter()).is_empty());
    }

    #[test]
    fn free_prices_win_and_share_evenly() {
        let mut random = SplitMix64::new(4);
        let mut seen = [0; 4];
        for _ in 0..10_000 {
            seen[by_price([5, 0, 1, 0].into_iter(), &mut random)] += 1;
        }
        assert_eq!((seen[0], seen[2]), (0, 0));
        assert!((4_700..5_300).contains(&seen[1]), "{seen:?}");
    }

    #[test]
    fn the_largest_prices_keep_their_ratio() {
        let mut random = SplitMix64::new(5);
        let huge = u64::MAX;
        let first = (0..10_000)
            .filter(|_| by_price([huge, huge / 3].into_iter(), &mut random) == 1)
            .count();
        assert!((8_850..9_150).contains(&first), "{first}");
    }
}
