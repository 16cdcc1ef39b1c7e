//! Reading a query: each parameter's name, and what its value may be.

use super::{ANY, INDICES, Query, SORTS, Sort};
use crate::price::parse_ceiling;
use std::ops::RangeInclusive;

/// Rows of a page, unless the query says so.
pub(super) const LIMIT: usize = 500;
const LIMIT_MAX: usize = 1_000;

/// A parameter whose value cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Query parameter {name} is invalid: expected {expected}")]
pub struct Invalid {
    pub name: &'static str,
    pub expected: &'static str,
}

impl Query {
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
