//! What a request will probably cost: an estimate to choose by, never to bill by.

use super::PriceVersion;
use crate::usage::Kind;

/// Tokens a reply is taken to have, unless `max_tokens` is fewer.
const OUTPUT_TOKENS: u64 = 512;
/// Share of a prompt that its last endpoint has cached, in thousandths: a conversation repeats all but
/// its latest turn.
const CACHED_PER_MILLE: u64 = 800;

impl PriceVersion {
    /// Pico-dollars for a prompt of so many tokens, of which a `warm` endpoint has most cached.
    /// Where nothing is known of the prompt, the price of one token in and one out.
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
        let price = PriceVersion::new(complete(&given));
        assert_eq!(price.expected(1_000, Some(0), false), 10_007);
        assert_eq!(price.expected(1_000, Some(0), true), 200 * 10 + 800 + 7);
        assert_eq!(price.expected(1_000, Some(10), false), 10_407);
        assert_eq!(price.expected(1_000, None, false), 10_007 + 512 * 40);
        assert_eq!(price.expected(1_000, Some(1 << 40), false), 10_007 + 512 * 40);
        assert_eq!(price.expected(0, None, false), 57);
        assert_eq!(PriceVersion::new([u64::MAX; 16]).expected(9, None, true), u64::MAX);
    }
}
