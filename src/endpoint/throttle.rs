//! A provider that says it is overloaded is asked less (F17).

use super::Window;
use crate::bounds::THROTTLE_FLOOR;
use crate::outcome::Outcome;

/// Requests are let through at most so many times as often as they are taken (K of the rule).
const PER_ACCEPTED: u64 = 2;

/// Client-side throttling as in "Site Reliability Engineering", chapter 21: of what would be sent, a
/// share is refused here that grows as the provider takes less. Lock-free; one for each provider.
#[derive(Debug)]
pub struct Throttle(Window<10>);

impl Default for Throttle {
    fn default() -> Self {
        Self(Window::new(3_000))
    }
}

impl Throttle {
    /// Takes in how an attempt ended, if that says whether the provider has room: a success or the
    /// caller's own fault does, and so does an overload, which 503 and 529 name.
    pub fn record(&self, outcome: Outcome, status: u16, now_ms: u64) {
        match (outcome, status) {
            (Outcome::ServerError | Outcome::InBand, 503 | 529) => self.0.add(now_ms, 1, 0),
            (Outcome::Ok | Outcome::ClientFault, _) => self.0.add(now_ms, 1, 1),
            _ => {}
        }
    }

    /// Whether a request is to be held back; `draw` is uniform in `[0, 1)`. One that is counts as a
    /// request that was not taken, so that the share follows what callers want.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a chance, not a sum")]
    pub fn refuses(&self, now_ms: u64, draw: f64) -> bool {
        let (requests, accepted) = self.0.sums(now_ms);
        let excess = requests.saturating_sub(PER_ACCEPTED * accepted);
        let refused = excess > THROTTLE_FLOOR
            && draw < (excess - THROTTLE_FLOOR) as f64 / (requests + 1) as f64;
        if refused {
            self.0.add(now_ms, 1, 0);
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overloads(throttle: &Throttle, count: u64) {
        (0..count).for_each(|_| throttle.record(Outcome::ServerError, 529, 0));
    }

    #[test]
    fn overloads_up_to_the_floor_hold_nothing_back_and_one_more_does() {
        let throttle = Throttle::default();
        overloads(&throttle, THROTTLE_FLOOR);
        assert!(!throttle.refuses(0, 0.0));
        overloads(&throttle, 1);
        assert!(throttle.refuses(0, 0.0));
    }

    #[test]
    fn what_is_taken_half_the_time_is_never_held_back() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.record(Outcome::Ok, 200, 0);
            throttle.record(Outcome::InBand, 503, 0);
            assert!(!throttle.refuses(0, 0.0));
        }
    }

    #[test]
    fn only_words_about_room_count() {
        let throttle = Throttle::default();
        for (outcome, _) in Outcome::ALL {
            let overload = matches!(outcome, Outcome::ServerError | Outcome::InBand);
            (0..100).filter(|_| !overload).for_each(|_| throttle.record(outcome, 503, 0));
            (0..100).for_each(|_| throttle.record(outcome, 500, 0));
        }
        assert!(!throttle.refuses(0, 0.0));
    }

    #[test]
    fn the_share_held_back_grows_and_passes_with_the_window() {
        let throttle = Throttle::default();
        overloads(&throttle, 2 * THROTTLE_FLOOR);
        assert!(throttle.refuses(0, 0.45) && !throttle.refuses(0, 0.99));
        overloads(&throttle, 1_000);
        assert!(throttle.refuses(0, 0.95));
        assert!(!throttle.refuses(30_000, 0.0));
    }
}
