//! What one request wishes and needs. Unlike a constraint it is never merged: there is one.

use super::constraint::names;
use super::{Candidate, Facts, Layers};
use crate::catalog::{Endpoint, Modalities, Parameters, Tier};
use std::sync::Arc;

/// What `sort` orders by (contract 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Price,
    Throughput,
    Latency,
    Exacto,
}

impl Sort {
    pub const ALL: [(&'static str, Self); 4] = [
        ("price", Self::Price),
        ("throughput", Self::Throughput),
        ("latency", Self::Latency),
        ("exacto", Self::Exacto),
    ];
}

/// The percentiles that statistics keep and requests may name.
pub const PERCENTILES: [(&str, u32); 4] = [("p50", 50), ("p75", 75), ("p90", 90), ("p99", 99)];

/// A value for each of [`PERCENTILES`]: milliseconds, or tenths of a token per second.
pub type Percentiles = [Option<u32>; PERCENTILES.len()];

/// The service tier a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Service {
    /// None, or `auto`.
    #[default]
    Unsaid,
    /// `default`: the tiers that `:nitro` and `:floor` would bring in stay out too.
    Default,
    Tier(Tier),
}

impl Service {
    /// Every word of `service_tier` (contract 2.2).
    pub const WORDS: [(&'static str, Self); 7] = [
        ("auto", Self::Unsaid),
        ("default", Self::Default),
        ("fast", Self::Tier(Tier::Priority)),
        ("flex", Self::Tier(Tier::Flex)),
        ("priority", Self::Tier(Tier::Priority)),
        ("scale", Self::Tier(Tier::Scale)),
        ("ultrafast", Self::Tier(Tier::Ultrafast)),
    ];

    /// The tier that an upstream's word for how it serves stands for; `None`: it is no such word.
    #[must_use]
    pub fn served(word: &[u8]) -> Option<Option<Tier>> {
        let (_, service) = Self::WORDS.iter().find(|(known, _)| known.as_bytes() == word)?;
        match service {
            Self::Tier(tier) => Some(Some(*tier)),
            Self::Default => Some(None),
            // `auto` is asked, and never served.
            Self::Unsaid => None,
        }
    }
}

/// What the request itself is like, as far as an endpoint must fit it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Tokens its prompt surely has.
    pub least_tokens: u64,
    /// Tokens its prompt probably has.
    pub likely_tokens: u64,
    /// `max_tokens`, if given.
    pub output_tokens: Option<u64>,
    pub parameters: Parameters,
    pub input: Modalities,
    pub output: Modalities,
    pub tools: bool,
}

/// Wishes of one request for one of its models.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Slugs to try in this order.
    pub order: &'a [Arc<str>],
    /// The request's own allow-list: a tier's tag in it opts in to the tier.
    pub only: &'a [Arc<str>],
    pub sort: Option<Sort>,
    /// Least throughput, in tenths of a token per second.
    pub min_throughput: Percentiles,
    /// Longest time to first content, in milliseconds.
    pub max_latency: Percentiles,
    pub service: Service,
    /// A tier that a variant lets in beside the normal endpoints.
    pub joins: Option<Tier>,
    /// Slugs that a rule puts before others that are as well.
    pub prefer: &'a [Arc<str>],
    /// The slug a rule sends the request to; a tier's tag opts in to the tier.
    pub pinned: &'a [Arc<str>],
}

/// All that a plan depends on, beside the pool, its facts and the seed.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub constraints: Layers<'a>,
    pub ask: Ask<'a>,
    pub needs: Needs,
    /// Unix microseconds: prices depend on it.
    pub now_us: u64,
}

impl<'a> Question<'a> {
    /// A request that wishes and needs nothing.
    #[must_use]
    pub fn of(constraints: Layers<'a>) -> Self {
        Self { constraints, ask: Ask::default(), needs: Needs::default(), now_us: 0 }
    }

    /// The same question for the normal tier, where no endpoint serves the one asked for (contract 3.8).
    pub(super) fn in_normal_tier(&self, candidates: &[Candidate<'_>]) -> Option<Self> {
        let Service::Tier(asked) = self.ask.service else { return None };
        let serves = |Candidate { endpoint, .. }: &Candidate<'_>| match endpoint.tier {
            Some(own) if endpoint.provider.is_awake() => {
                own == asked || (asked, own) == (Tier::Ultrafast, Tier::Priority)
            }
            _ => false,
        };
        let ask = Ask { service: Service::Default, ..self.ask };
        (!candidates.iter().any(serves)).then_some(Self { ask, ..*self })
    }

    /// Whether only the first of the plan may be tried. Where the request itself forbids fallbacks, an
    /// asked order is a list of its own; where another layer does, no order of the request loosens it.
    #[must_use]
    pub fn is_sole(&self) -> bool {
        let (others, own) = self.constraints.split_own();
        let forbid = |layers: Layers<'_>| layers.any(|layer| layer.no_fallbacks);
        forbid(others) || self.ask.order.is_empty() && forbid(own)
    }
}

impl<'a> Ask<'a> {
    /// With the wishes of `other` where it has none of its own.
    #[must_use]
    pub fn or(self, other: &Ask<'a>) -> Self {
        let cutoffs = |own: Percentiles, other: Percentiles| {
            if own == Percentiles::default() { other } else { own }
        };
        Self {
            // To be sorted is an order too, and the request's own.
            order: if self.order.is_empty() && self.sort.is_none() {
                other.order
            } else {
                self.order
            },
            sort: self.sort.or(other.sort),
            min_throughput: cutoffs(self.min_throughput, other.min_throughput),
            max_latency: cutoffs(self.max_latency, other.max_latency),
            ..self
        }
    }

    /// Place of the endpoint among the preferred; the number of these where it is none.
    pub(super) fn preference(&self, endpoint: &Endpoint) -> u8 {
        let place = self.prefer.iter().position(|slug| names(slug, endpoint));
        u8::try_from(place.unwrap_or(self.prefer.len())).unwrap_or(u8::MAX)
    }

    /// Position of the endpoint in the asked order; its length where it is not named.
    pub(super) fn position(&self, endpoint: &Endpoint) -> usize {
        self.order.iter().position(|slug| names(slug, endpoint)).unwrap_or(self.order.len())
    }

    /// Which place the tier of this endpoint has, the lower the better; `None` if the request has
    /// no business there. An asked tier is one that some endpoint serves.
    pub(super) fn tier_rank(&self, endpoint: &Endpoint) -> Option<u8> {
        let asked = match self.service {
            Service::Tier(tier) => Some(tier),
            Service::Unsaid | Service::Default => None,
        };
        let rank = match (asked, endpoint.tier) {
            (Some(Tier::Flex), None) => None,
            (None, None) => Some(0),
            (Some(asked), Some(own)) if asked == own => Some(0),
            (Some(Tier::Ultrafast), Some(Tier::Priority)) => Some(1),
            (Some(_), None) => Some(2),
            (None, Some(own)) => self.joined(own).then_some(0),
            (Some(_), Some(_)) => None,
        };
        rank.or_else(|| self.opts_in(endpoint).then_some(if asked.is_some() { 2 } else { 0 }))
    }

    fn joined(&self, tier: Tier) -> bool {
        self.joins == Some(tier) && self.order.is_empty() && self.service == Service::Unsaid
    }

    fn opts_in(&self, endpoint: &Endpoint) -> bool {
        let mut named = self.only.iter().chain(self.order).chain(self.pinned);
        endpoint.tier.is_some() && named.any(|slug| endpoint.tag.eq_ignore_ascii_case(slug))
    }

    /// What the candidates of an asked tier are sorted by, unless the request says.
    pub(super) fn sort(&self) -> Option<Sort> {
        let own = match self.service {
            Service::Tier(Tier::Flex) => Some(Sort::Price),
            Service::Tier(_) => Some(Sort::Throughput),
            Service::Unsaid | Service::Default => None,
        };
        self.sort.or(own)
    }

    /// Whether the endpoint misses a performance cut-off. What is not known misses none.
    pub(super) fn misses_cutoff(&self, facts: &Facts) -> bool {
        let any = |cutoffs: &Percentiles, known: &[u32; 4], misses: fn(u32, u32) -> bool| {
            let mut pairs = cutoffs.iter().zip(known);
            pairs.any(|(cutoff, known)| cutoff.is_some_and(|c| *known > 0 && misses(*known, c)))
        };
        any(&self.min_throughput, &facts.throughput, |known, least| known < least)
            || any(&self.max_latency, &facts.latency_ms, |known, most| known > most)
    }
}
