//! One immutable set of prices, and what of it holds for a request.

use super::{Pico, Policy, Rates};
use crate::usage::{Kind, Usage};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;

const MINUTE_US: u64 = 60_000_000;
/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// One immutable set of prices. A record names it by its hash and is never repriced: what it costs
/// follows from its usage, the moment it started and this alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    hash: [u8; 32],
    text: Box<str>,
    pub(super) base: Rates,
    pub(super) overrides: Box<[Override]>,
}

/// Prices that take the place of others where all its conditions hold; a later override wins over an
/// earlier one, price by price (contract 1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Least prompt tokens, cached ones included; 0 for any.
    pub min_prompt_tokens: u64,
    pub hours: Option<Hours>,
    /// Pico-dollars per unit, each kind once, by ascending name.
    pub prices: Vec<(Kind, u64)>,
}

/// A time of every UTC day, in minutes since midnight: from `start` to before `end`, over midnight if
/// `end` is not later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    pub start: u16,
    pub end: u16,
}

impl Hours {
    fn has(self, at_us: u64) -> bool {
        let minute = at_us / MINUTE_US % u64::from(DAY);
        let (start, end) = (u64::from(self.start), u64::from(self.end));
        if start < end { (start..end).contains(&minute) } else { minute >= start || minute < end }
    }
}

impl Override {
    fn holds(&self, at_us: u64, prompt_tokens: u64) -> bool {
        prompt_tokens >= self.min_prompt_tokens && self.hours.is_none_or(|hours| hours.has(at_us))
    }
}

impl PriceVersion {
    /// The version with these prices.
    #[must_use]
    pub fn new(base: Rates, mut overrides: Vec<Override>) -> Self {
        for changed in &mut overrides {
            changed.prices.sort_unstable_by_key(|(kind, _)| kind.label());
            changed.prices.dedup_by_key(|(kind, _)| *kind);
        }
        let text = super::text::write(&base, &overrides);
        let hash = Sha256::digest(text.as_bytes()).into();
        Self { hash, text: text.into(), base, overrides: overrides.into() }
    }

    /// The version in which nothing else matters than the kind.
    #[must_use]
    pub fn flat(unit: [u64; crate::usage::KINDS]) -> Self {
        Self::new(Rates::new(unit), Vec::new())
    }

    /// SHA-256 of the text: what a ledger row stores.
    #[must_use]
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The canonical text: what a ledger stores once.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prices where no override holds.
    #[must_use]
    pub const fn base(&self) -> &Rates {
        &self.base
    }

    /// In the order in which they take effect.
    #[must_use]
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// The prices of a request that started at `at_us` (Unix microseconds) with a prompt of so many
    /// tokens, cached ones included.
    #[must_use]
    pub fn rates(&self, at_us: u64, prompt_tokens: u64) -> Cow<'_, Rates> {
        let mut rates = Cow::Borrowed(&self.base);
        for changed in self.overrides.iter().filter(|each| each.holds(at_us, prompt_tokens)) {
            let rates = rates.to_mut();
            changed.prices.iter().for_each(|(kind, pico)| rates.set(*kind, *pico));
        }
        rates
    }

    /// Cost in pico-dollars of what a request that started at `started_us` used.
    #[must_use]
    pub fn cost(&self, usage: &Usage, started_us: u64) -> Pico {
        self.rates(started_us, usage.prompt()).cost(usage)
    }
}

/// What an attempt began with: all that its cost and its charge depend on beside what it used and how
/// it ended.
#[derive(Debug, Clone)]
pub struct Terms {
    pub version: Arc<PriceVersion>,
    /// Unix microseconds.
    pub started_us: u64,
    pub policy: Policy,
    /// What earlier attempts of the generation are charged.
    pub earlier: Pico,
}

impl Terms {
    /// The prices for a usage.
    #[must_use]
    pub fn rates(&self, usage: &Usage) -> Cow<'_, Rates> {
        self.version.rates(self.started_us, usage.prompt())
    }

    /// Cost of a usage in pico-dollars.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Pico {
        self.rates(usage).cost(usage)
    }
}
