//! Prices per unit, as they hold for one request.

use super::Pico;
use crate::usage::{KINDS, Kind, Usage};

/// Tokens a reply is taken to have, unless `max_tokens` is fewer.
const OUTPUT_TOKENS: u64 = 512;
/// Share of a prompt that its last endpoint has cached, in thousandths: a conversation repeats all but
/// its latest turn.
const CACHED_PER_MILLE: u64 = 800;

/// Pico-dollars per unit of each kind, indexed as [`Kind`]; spare cells are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates(pub(super) [u64; KINDS]);

/// Kinds of a prompt that go through a cache, with what each would be without one.
const CACHED: [(Kind, Kind); 4] = [
    (Kind::CacheRead, Kind::Input),
    (Kind::CacheWrite5m, Kind::Input),
    (Kind::CacheWrite1h, Kind::Input),
    (Kind::InputAudioCached, Kind::InputAudio),
];

impl Rates {
    /// These prices; those of spare cells, which stand for no kind, count as zero.
    #[must_use]
    pub fn new(unit: [u64; KINDS]) -> Self {
        let mut rates = Self::default();
        for (kind, _) in Kind::ALL {
            rates.set(kind, unit.get(kind.index()).copied().unwrap_or(0));
        }
        rates
    }

    /// Pico-dollars per unit of one kind.
    #[must_use]
    pub fn price(&self, kind: Kind) -> u64 {
        self.0.get(kind.index()).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, kind: Kind, pico: u64) {
        if let Some(cell) = self.0.get_mut(kind.index()) {
            *cell = pico;
        }
    }

    /// Cost of a usage, in pico-dollars; saturates instead of wrapping.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Pico {
        self.0.iter().zip(usage.0.iter()).fold(0, |total: Pico, (price, count)| {
            total.saturating_add(Pico::from(*price).saturating_mul(Pico::from(*count)))
        })
    }

    /// What the prompt cost less for its cache than at the full price of input, in pico-dollars: less
    /// than nothing where writing to it costs more. `None` where no token went through a cache.
    #[must_use]
    pub fn cache_discount(&self, usage: &Usage) -> Option<Pico> {
        let used = CACHED.iter().filter(|(cached, _)| usage.get(*cached) > 0);
        let saved = used.map(|(cached, full)| {
            let less = Pico::from(self.price(*full)) - Pico::from(self.price(*cached));
            less.saturating_mul(Pico::from(usage.get(*cached)))
        });
        saved.reduce(Pico::saturating_add)
    }

    /// Pico-dollars that a prompt of so many tokens will probably cost, to choose by and never to bill
    /// by; a `warm` endpoint has most of it cached. Where nothing is known of the prompt, the price of
    /// one token in and one out.
    #[must_use]
    pub fn expected(&self, prompt: u64, most_output: Option<u64>, warm: bool) -> u64 {
        let (prompt, output) = match prompt {
            0 => (1, 1),
            known => (known, most_output.unwrap_or(OUTPUT_TOKENS).min(OUTPUT_TOKENS)),
        };
        let cached = if warm { prompt.saturating_mul(CACHED_PER_MILLE) / 1_000 } else { 0 };
        let cost = |kind: Kind, tokens: u64| self.price(kind).saturating_mul(tokens);
        cost(Kind::Input, prompt - cached)
            .saturating_add(cost(Kind::CacheRead, cached))
            .saturating_add(cost(Kind::Output, output))
            .saturating_add(self.price(Kind::Requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::complete;

    #[test]
    fn a_warm_prompt_is_split_and_a_cold_one_is_fresh() {
        let given =
            [(Kind::Input, 10), (Kind::CacheRead, 1), (Kind::Output, 40), (Kind::Requests, 7)];
        let price = Rates::new(complete(&given));
        assert_eq!(price.expected(1_000, Some(0), false), 10_007);
        assert_eq!(price.expected(1_000, Some(0), true), 200 * 10 + 800 + 7);
        assert_eq!(price.expected(1_000, Some(10), false), 10_407);
        assert_eq!(price.expected(1_000, None, false), 10_007 + 512 * 40);
        assert_eq!(price.expected(1_000, Some(1 << 40), false), 10_007 + 512 * 40);
        assert_eq!(price.expected(0, None, false), 57);
        assert_eq!(Rates::new([u64::MAX; KINDS]).expected(9, None, true), u64::MAX);
    }

    #[test]
    fn a_cache_saves_what_its_tokens_would_have_cost_and_a_write_can_cost_more() {
        let given =
            [(Kind::Input, 10), (Kind::CacheRead, 1), (Kind::CacheWrite5m, 12), (Kind::Output, 40)];
        let rates = Rates::new(complete(&given));
        let usage = Usage::ZERO.with(Kind::Input, 100).with(Kind::Output, 9);
        assert_eq!(rates.cache_discount(&usage), None);
        assert_eq!(rates.cache_discount(&usage.with(Kind::CacheRead, 5)), Some(45));
        assert_eq!(rates.cache_discount(&usage.with(Kind::CacheWrite5m, 5)), Some(-10));
        let all = rates.cost(&usage.with(Kind::CacheRead, 5));
        assert_eq!(all + 45, rates.cost(&usage.with(Kind::Input, 105)), "as if none were cached");
        let most = Rates::new([u64::MAX; KINDS]).cache_discount(&Usage([u64::MAX; KINDS]));
        assert_eq!(most, Some(0));
    }

    #[test]
    fn cost_is_exact_and_saturates() {
        let rates = Rates::new([u64::MAX; KINDS]);
        let usage = Usage::ZERO.with(Kind::Input, 3).with(Kind::Output, 4);
        assert_eq!(rates.cost(&usage), Pico::from(u64::MAX) * 7);
        let most = rates.cost(&Usage([u64::MAX; KINDS]));
        assert!(most > 0, "an absurd usage must not wrap into a credit");
    }
}
