//! The query of `GET models`: which models are listed, in which order, and which page (contract 1.4).

mod parse;

pub use parse::Invalid;

use super::models::Offer;
use super::pricing::token_price;
use crate::catalog::{Benchmark, Endpoint};
use crate::selection::names;
use crate::usage::Kind;
use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// What traffic has shown of a model, over all its endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// The shortest median time to first content, milliseconds.
    pub latency: Option<u32>,
    /// The highest median speed, tenths of a token per second.
    pub throughput: Option<u32>,
    /// The highest share of replies with tool calls that were good, in thousandths.
    pub tool_success: Option<u32>,
    /// Tokens since the process began.
    pub tokens: u64,
}

/// A query that was understood. Names it does not know mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Models are listed that give any of these; `None` is for all.
    output: Option<Vec<String>>,
    /// Models are listed that take all of these.
    input: Vec<String>,
    parameters: Vec<String>,
    category: Option<String>,
    /// In lowercase.
    text: Option<String>,
    tokenizer: Option<String>,
    authors: Vec<String>,
    providers: Vec<String>,
    region: Option<String>,
    zdr: bool,
    distillable: Option<bool>,
    context: u64,
    /// Pico-dollars a token.
    prompt: RangeInclusive<u64>,
    completion: RangeInclusive<u64>,
    age_days: RangeInclusive<u64>,
    tool_success: Option<RangeInclusive<u64>>,
    /// Thousandths, by the place among [`INDICES`].
    indices: [Option<RangeInclusive<u64>>; INDICES.len()],
    sort: Option<Sort>,
    /// As a feed.
    rss: bool,
    pub(super) offset: usize,
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Benchmark(Benchmark),
    Newest,
    Popular,
    Cheap,
    Dear,
    Context,
    Throughput,
    Latency,
}

const SORTS: [(&str, Sort); 12] = [
    ("most-popular", Sort::Popular),
    ("top-weekly", Sort::Popular),
    ("newest", Sort::Newest),
    ("pricing-low-to-high", Sort::Cheap),
    ("pricing-high-to-low", Sort::Dear),
    ("context-high-to-low", Sort::Context),
    ("throughput-high-to-low", Sort::Throughput),
    ("latency-low-to-high", Sort::Latency),
    ("intelligence-high-to-low", Sort::Benchmark(Benchmark::Intelligence)),
    ("coding-high-to-low", Sort::Benchmark(Benchmark::Coding)),
    ("agentic-high-to-low", Sort::Benchmark(Benchmark::Agentic)),
    ("design-arena-elo-high-to-low", Sort::Benchmark(Benchmark::DesignArena)),
];
/// Indices by the parameters that bound them.
const INDICES: [(&str, &str, Benchmark); 3] = [
    ("min_intelligence_index", "max_intelligence_index", Benchmark::Intelligence),
    ("min_coding_index", "max_coding_index", Benchmark::Coding),
    ("min_agentic_index", "max_agentic_index", Benchmark::Agentic),
];
const ANY: RangeInclusive<u64> = 0..=u64::MAX;

impl Query {
    /// A query that lists models that give any of `output`, or all.
    #[must_use]
    pub fn of(output: Option<&str>) -> Self {
        Self {
            output: output.map(|name| vec![name.to_owned()]),
            input: Vec::new(),
            parameters: Vec::new(),
            category: None,
            text: None,
            tokenizer: None,
            authors: Vec::new(),
            providers: Vec::new(),
            region: None,
            zdr: false,
            distillable: None,
            context: 0,
            prompt: ANY,
            completion: ANY,
            age_days: ANY,
            tool_success: None,
            indices: [const { None }; INDICES.len()],
            sort: None,
            rss: false,
            offset: 0,
            limit: None,
        }
    }

    /// Whether a feed is asked for, not JSON.
    #[must_use]
    pub fn is_feed(&self) -> bool {
        self.rss
    }

    /// Whether what traffic has shown matters.
    fn asks_traffic(&self) -> bool {
        let sorts = matches!(self.sort, Some(Sort::Popular | Sort::Throughput | Sort::Latency));
        sorts || self.tool_success.is_some()
    }

    /// The offers that fit, in order; pages are not cut yet. `now` is in Unix seconds.
    pub(super) fn choose<'a>(
        &self,
        offers: impl Iterator<Item = Offer<'a>>,
        shown: &dyn Fn(&str) -> Shown,
        now: u64,
    ) -> Vec<Offer<'a>> {
        let shown = |offer: &Offer<'_>| match self.asks_traffic() {
            true => shown(&offer.model.slug),
            false => Shown::default(),
        };
        let fitting = offers.map(|offer| (shown(&offer), offer));
        let fitting = fitting.filter(|(shown, offer)| self.fits(offer, shown, now));
        let mut chosen: Vec<_> = fitting.collect();
        if let Some(sort) = self.sort {
            chosen.sort_by_cached_key(|(shown, offer)| sort.key(offer, shown));
        }
        chosen.into_iter().map(|(_, offer)| offer).collect()
    }

    fn fits(&self, offer: &Offer<'_>, shown: &Shown, now: u64) -> bool {
        let Offer { model, endpoints, price, .. } = offer;
        let (author, _) = model.slug.split_once('/').unwrap_or_default();
        let gives =
            |names: &Vec<String>| names.iter().any(|it| model.output_modalities.contains(it));
        let honours = |name: &String| {
            endpoints.iter().any(|endpoint| endpoint.supported_parameters.contains(name))
        };
        let tokenizer = || model.tokenizer.as_deref().unwrap_or("Other").to_lowercase();
        let said =
            |text: &String| model.slug.contains(text) || model.name.to_lowercase().contains(text);
        let serves = |endpoint: &Endpoint| {
            let provider = &endpoint.provider;
            (self.providers.is_empty() || self.providers.iter().any(|it| names(it, endpoint)))
                && (!self.zdr || !endpoint.policy.retains)
                && self.region.as_ref().is_none_or(|it| provider.region.as_ref() == Some(it))
        };
        let age_days = now.saturating_sub(model.created) / 86_400;
        let price = |kind| price.base().price(kind);
        self.output.as_ref().is_none_or(gives)
            && self.input.iter().all(|it| model.input_modalities.contains(it))
            && self.parameters.iter().all(honours)
            && self.category.as_ref().is_none_or(|it| model.categories.contains(it))
            && self.text.as_ref().is_none_or(said)
            && self.tokenizer.as_ref().is_none_or(|it| tokenizer().starts_with(it))
            && (self.authors.is_empty() || self.authors.iter().any(|it| it == author))
            && endpoints.iter().any(|endpoint| serves(endpoint))
            && self.distillable.is_none_or(|it| model.distillable == it)
            && model.context_length >= self.context
            && self.prompt.contains(&price(Kind::Input))
            && self.completion.contains(&price(Kind::Output))
            && self.age_days.contains(&age_days)
            && self.tool_success.as_ref().is_none_or(|it| {
                shown.tool_success.is_some_and(|share| it.contains(&u64::from(share)))
            })
            && INDICES.iter().zip(&self.indices).all(|((.., index), range)| {
                range.as_ref().is_none_or(|range| {
                    model.scores.get(*index).is_some_and(|score| range.contains(&score))
                })
            })
    }
}

impl Sort {
    /// Ascending; what is not known comes last.
    fn key(self, offer: &Offer<'_>, shown: &Shown) -> (bool, Reverse<u64>, u64) {
        let down = |value: Option<u64>| (value.is_none(), Reverse(value.unwrap_or(0)), 0);
        let up = |value: Option<u64>| (value.is_none(), Reverse(0), value.unwrap_or(0));
        match self {
            Self::Benchmark(benchmark) => down(offer.model.scores.get(benchmark)),
            Self::Newest => down(Some(offer.model.created)),
            Self::Popular => down(Some(shown.tokens)),
            Self::Cheap => up(Some(token_price(offer.price))),
            Self::Dear => down(Some(token_price(offer.price))),
            Self::Context => down(Some(offer.model.context_length)),
            Self::Throughput => down(shown.throughput.map(u64::from)),
            Self::Latency => up(shown.latency.map(u64::from)),
        }
    }
}

#[cfg(test)]
mod tests;
