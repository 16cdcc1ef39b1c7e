//! Which requests a simulated provider fails, and how: drawn from its seed, the same every time.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A failure before content: what Weir must hide from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// 429 with `Retry-After`.
    RateLimited,
    /// 500.
    ServerError,
    /// The connection closes without an answer.
    Reset,
    /// An error event inside a 200; a 500 for a reply that is not streamed.
    InBand,
}

const MIX: [Failure; 4] =
    [Failure::RateLimited, Failure::ServerError, Failure::Reset, Failure::InBand];

/// How the request of this number fails, if it does. `rate` is the share that fails, 0 to 1.
pub(super) fn draw(seed: u64, serial: u64, rate: f64) -> Option<Failure> {
    let mixed = seed ^ serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = StdRng::seed_from_u64(mixed);
    let failed = random.random::<f64>() < rate;
    let kind = random.random_range(0..MIX.len());
    MIX.get(kind).copied().filter(|_| failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_every_kind_occurs() {
        let failures: Vec<_> = (0..10_000).filter_map(|serial| draw(7, serial, 0.05)).collect();
        assert!((400..600).contains(&failures.len()), "{} of 10000", failures.len());
        for kind in MIX {
            assert!(failures.iter().filter(|failure| **failure == kind).count() > 60, "{kind:?}");
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_exact_and_a_seed_repeats() {
        for serial in 0..1_000 {
            assert_eq!(draw(7, serial, 0.0), None);
            assert!(draw(7, serial, 1.0).is_some());
            assert_eq!(draw(7, serial, 0.5), draw(7, serial, 0.5));
        }
    }
}
