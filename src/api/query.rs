//! The query of `GET models`: which models are listed, in which order, and which page (contract 1.4).

use super::models::Offer;
use super::pricing::token_price;
use crate::catalog::{Benchmark, Endpoint};
use crate::price::parse_ceiling;
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

/// A parameter whose value cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Query parameter {name} is invalid: expected {expected}")]
pub struct Invalid {
    pub name: &'static str,
    pub expected: &'static str,
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
/// Rows of a page, unless the query says so.
const LIMIT: usize = 500;
const LIMIT_MAX: usize = 1_000;
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

    /// Reads what follows the question mark. An empty value is none.
    ///
    /// # Errors
    /// The first parameter that cannot be understood.
    pub fn read(mut self, query: &str) -> Result<Self, Invalid> {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !value.is_empty() {
                self.take(&name, &value)?;
            }
        }
        if self.offset > 0 {
            self.limit = self.limit.or(Some(LIMIT));
        }
        Ok(self)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        match name {
            "output_modalities" => self.output = (value != "all").then(|| list(value)),
            "input_modalities" => self.input = list(value),
            "supported_parameters" => self.parameters = list(value),
            "category" => self.category = Some(value.to_owned()),
            "q" => self.text = Some(value.to_lowercase()),
            "arch" => self.tokenizer = Some(value.to_lowercase()),
            "model_authors" => self.authors = list(&value.to_lowercase()),
            "providers" => self.providers = list(value),
            "region" => self.region = Some(value.to_owned()),
            "zdr" => self.zdr = flag("zdr", value)?,
            "distillable" => self.distillable = Some(flag("distillable", value)?),
            "context" => self.context = whole("context", value)?,
            "min_price" => least(&mut self.prompt, dollars("min_price", value)?),
            "max_price" => most(&mut self.prompt, dollars("max_price", value)?),
            "min_output_price" => least(&mut self.completion, dollars("min_output_price", value)?),
            "max_output_price" => most(&mut self.completion, dollars("max_output_price", value)?),
            "min_age_days" => least(&mut self.age_days, whole("min_age_days", value)?),
            "max_age_days" => most(&mut self.age_days, whole("max_age_days", value)?),
            "min_tool_success_rate" => {
                least(self.tool_success.get_or_insert(ANY), share("min_tool_success_rate", value)?);
            }
            "max_tool_success_rate" => {
                most(self.tool_success.get_or_insert(ANY), share("max_tool_success_rate", value)?);
            }
            "use_rss" => self.rss = flag("use_rss", value)?,
            "sort" => self.sort = Some(sort(value)?),
            "offset" => {
                self.offset = usize::try_from(whole("offset", value)?).unwrap_or(usize::MAX)
            }
            "limit" => self.limit = Some(limit(value)?),
            _ => self.index(name, value)?,
        }
        Ok(())
    }

    /// Whether a feed is asked for, not JSON.
    #[must_use]
    pub fn is_feed(&self) -> bool {
        self.rss
    }

    /// A bound of a benchmark's index. Any other name means nothing.
    fn index(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        for ((min, max, _), range) in INDICES.iter().zip(&mut self.indices) {
            let (name, narrow): (_, fn(&mut RangeInclusive<u64>, u64)) = match name {
                _ if name == *min => (*min, least),
                _ if name == *max => (*max, most),
                _ => continue,
            };
            let score = thousandths(value);
            let score = score.ok_or(Invalid { name, expected: "a number, 0 or more" })?;
            narrow(range.get_or_insert(ANY), score);
        }
        Ok(())
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

fn least(range: &mut RangeInclusive<u64>, value: u64) {
    *range = value..=*range.end();
}

fn most(range: &mut RangeInclusive<u64>, value: u64) {
    *range = *range.start()..=value;
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn flag(name: &'static str, value: &str) -> Result<bool, Invalid> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Invalid { name, expected: "true or false" }),
    }
}

fn whole(name: &'static str, value: &str) -> Result<u64, Invalid> {
    value.parse().map_err(|_| Invalid { name, expected: "a whole number, 0 or more" })
}

/// Dollars per million tokens as pico-dollars a token.
fn dollars(name: &'static str, value: &str) -> Result<u64, Invalid> {
    parse_ceiling(value, 1_000_000).ok_or(Invalid { name, expected: "dollars per million tokens" })
}

fn thousandths(value: &str) -> Option<u64> {
    parse_ceiling(value, 1).map(|pico| pico / 1_000_000_000)
}

/// A share from 0 to 1 in thousandths.
fn share(name: &'static str, value: &str) -> Result<u64, Invalid> {
    let within = thousandths(value).filter(|share| *share <= 1_000);
    within.ok_or(Invalid { name, expected: "a share from 0 to 1" })
}

fn limit(value: &str) -> Result<usize, Invalid> {
    let within = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    within.ok_or(Invalid { name: "limit", expected: "1 to 1000" })
}

fn sort(value: &str) -> Result<Sort, Invalid> {
    let found = SORTS.iter().find(|(word, _)| *word == value).map(|(_, sort)| *sort);
    let expected = "an order such as newest, pricing-low-to-high or throughput-high-to-low";
    found.ok_or(Invalid { name: "sort", expected })
}

#[cfg(test)]
mod tests;
