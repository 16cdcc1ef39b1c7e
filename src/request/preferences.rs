//! The `provider` object (contract 2.3), the same for every dialect.

mod options;

use super::body_error::BodyError;
use super::fields::{Object, boolean, expect, number, text, texts};
use super::keys;
use super::scan::Scanner;
use crate::bounds::{MODEL_NAME_BYTES, PROVIDERS_PER_LIST};
use crate::price::{CEILINGS, PriceCeiling, parse_ceiling};
use crate::selection::{Ask, Constraint, PERCENTILES, Percentiles, Sort};
use std::ops::Range;
use std::sync::Arc;

/// `provider.*` as the request says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderPreferences {
    /// What of it narrows the choice. An empty list narrows nothing.
    pub constraint: Constraint,
    pub order: Vec<Arc<str>>,
    pub sort: Option<Sort>,
    /// `partition: "none"`: endpoints of all models are sorted together.
    pub across_models: bool,
    /// In tenths of a token per second.
    pub min_throughput: Percentiles,
    /// In milliseconds.
    pub max_latency: Percentiles,
    pub options: Options,
}

/// Provider slugs, and where members of each one's object stand in the body: all but those that Weir
/// knows, which have their own place in the request.
pub type Options = Vec<(Arc<str>, Vec<Range<usize>>)>;

impl ProviderPreferences {
    /// What of it is a wish.
    #[must_use]
    pub fn ask(&self) -> Ask<'_> {
        Ask {
            order: &self.order,
            only: self.constraint.only.as_deref().unwrap_or_default(),
            sort: self.sort,
            min_throughput: self.min_throughput,
            max_latency: self.max_latency,
            ..Ask::default()
        }
    }
}

/// Reads a `provider` object on its own, as a preset holds one.
///
/// # Errors
/// What [`BodyError`] lists.
pub fn parse(text: &str) -> Result<ProviderPreferences, BodyError> {
    let mut scanner = Scanner::new(text.as_bytes())?;
    let preferences = provider(&mut scanner)?;
    scanner.end()?;
    // Their places would be in another text than the request's body.
    if preferences.options.is_empty() {
        return Ok(preferences);
    }
    Err(BodyError::Type { param: "provider.options", wanted: "absent here" })
}

/// Reads the value of `provider`.
pub(super) fn provider(scanner: &mut Scanner<'_>) -> Result<ProviderPreferences, BodyError> {
    let mut preferences = ProviderPreferences::default();
    if !expect(scanner, b"{", object_wanted("provider"))? {
        return Ok(preferences);
    }
    let mut object = Object::open(scanner, keys::PROVIDER, 2);
    while let Some((known, _)) = object.next(scanner)? {
        match known {
            Some((name, _)) => preferences.field(scanner, name)?,
            None => object.skip(scanner)?,
        }
    }
    Ok(preferences)
}

const fn object_wanted(param: &'static str) -> BodyError {
    BodyError::Type { param, wanted: "an object" }
}

impl ProviderPreferences {
    /// Reads the value of one known member.
    fn field(&mut self, scanner: &mut Scanner<'_>, name: &'static str) -> Result<(), BodyError> {
        let constraint = &mut self.constraint;
        match name {
            "order" => self.order = slugs(scanner, "provider.order")?,
            "only" => constraint.only = allowed(scanner, "provider.only")?,
            "ignore" => constraint.ignore = slugs(scanner, "provider.ignore")?,
            "quantizations" => {
                constraint.quantizations = allowed(scanner, "provider.quantizations")?;
            }
            "allow_fallbacks" => {
                let allowed = boolean(scanner, "provider.allow_fallbacks")?;
                constraint.no_fallbacks = allowed == Some(false);
            }
            "require_parameters" => {
                constraint.require_parameters = flag(scanner, "provider.require_parameters")?;
            }
            "zdr" => constraint.zdr = flag(scanner, "provider.zdr")?,
            "enforce_distillable_text" => {
                constraint.distillable = flag(scanner, "provider.enforce_distillable_text")?;
            }
            "data_collection" => constraint.no_collection = denies_collection(scanner)?,
            "sort" => self.read_sort(scanner)?,
            // Tenths of a token a second, so that no cut-off is lost in rounding.
            "preferred_min_throughput" => {
                self.min_throughput = cutoffs(scanner, "provider.preferred_min_throughput", 10.0)?;
            }
            "preferred_max_latency" => {
                self.max_latency = cutoffs(scanner, "provider.preferred_max_latency", 1_000.0)?;
            }
            "max_price" => constraint.max_price = max_price(scanner)?,
            _ => self.options = options::options(scanner)?,
        }
        Ok(())
    }

    /// `sort`: a word, or `{ by, partition }`.
    fn read_sort(&mut self, scanner: &mut Scanner<'_>) -> Result<(), BodyError> {
        const WANTED: &str =
            "\"price\", \"throughput\", \"latency\", \"exacto\" or an object with by";
        if scanner.peek() != Some(b'{') {
            let wrong = BodyError::Type { param: "provider.sort", wanted: WANTED };
            if expect(scanner, b"\"", wrong)? {
                self.sort = word(scanner, "provider.sort", &Sort::ALL, WANTED)?;
            }
            return Ok(());
        }
        let mut object = Object::open(scanner, keys::SORT, 3);
        while let Some((known, _)) = object.next(scanner)? {
            match known.map_or("", |(name, _)| name) {
                "by" => {
                    const WORDS: &str = "\"price\", \"throughput\", \"latency\" or \"exacto\"";
                    self.sort = word(scanner, "provider.sort.by", &Sort::ALL, WORDS)?;
                }
                "partition" => {
                    let words = [("model", false), ("none", true)];
                    let wanted = "\"model\" or \"none\"";
                    let across = word(scanner, "provider.sort.partition", &words, wanted)?;
                    self.across_models = across.unwrap_or(false);
                }
                _ => object.skip(scanner)?,
            }
        }
        Ok(())
    }
}

/// One of a closed set of words; `None` for `null`.
pub(super) fn word<T: Copy>(
    scanner: &mut Scanner<'_>,
    param: &'static str,
    words: &[(&'static str, T)],
    wanted: &'static str,
) -> Result<Option<T>, BodyError> {
    let Some(text) = text(scanner, param)? else { return Ok(None) };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.map(Some).ok_or(BodyError::Type { param, wanted })
}

fn flag(scanner: &mut Scanner<'_>, param: &'static str) -> Result<bool, BodyError> {
    Ok(boolean(scanner, param)?.unwrap_or(false))
}

fn slugs(scanner: &mut Scanner<'_>, param: &'static str) -> Result<Vec<Arc<str>>, BodyError> {
    texts(scanner, param, PROVIDERS_PER_LIST, |slug| {
        if slug.len() > MODEL_NAME_BYTES {
            return Err(BodyError::TooMuch { param, most: MODEL_NAME_BYTES, unit: "bytes a name" });
        }
        Ok(Arc::from(slug))
    })
}

/// An allow-list; an empty one allows all.
fn allowed(
    scanner: &mut Scanner<'_>,
    param: &'static str,
) -> Result<Option<Vec<Arc<str>>>, BodyError> {
    Ok(Some(slugs(scanner, param)?).filter(|list| !list.is_empty()))
}

/// `deny` is the contract's word, `disallow` what Zed sends.
fn denies_collection(scanner: &mut Scanner<'_>) -> Result<bool, BodyError> {
    let words = [("allow", false), ("deny", true), ("disallow", true)];
    let wanted = "\"allow\" or \"deny\"";
    Ok(word(scanner, "provider.data_collection", &words, wanted)?.unwrap_or(false))
}

/// A number for the median, or an object of percentiles; each times `scale`, rounded.
fn cutoffs(
    scanner: &mut Scanner<'_>,
    param: &'static str,
    scale: f64,
) -> Result<Percentiles, BodyError> {
    let mut cutoffs = Percentiles::default();
    let wrong = BodyError::Type { param, wanted: "a number, or an object of p50, p75, p90, p99" };
    if scanner.peek() != Some(b'{') {
        if expect(scanner, b"-0123456789", wrong)? {
            let [median, ..] = &mut cutoffs;
            *median = Some(scaled(number(scanner)?, scale, param)?);
        }
        return Ok(cutoffs);
    }
    let mut object = Object::open(scanner, keys::CUTOFFS, 3);
    while let Some((known, _)) = object.next(scanner)? {
        let Some((name, _)) = known else {
            object.skip(scanner)?;
            continue;
        };
        let place = PERCENTILES.iter().position(|(known, _)| *known == name);
        if expect(scanner, b"-0123456789", wrong.clone())? {
            let value = scaled(number(scanner)?, scale, param)?;
            if let Some(cell) = place.and_then(|place| cutoffs.get_mut(place)) {
                *cell = Some(value);
            }
        }
    }
    Ok(cutoffs)
}

/// A number of 0 or more, times `scale`; what is larger than can be kept is the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
fn scaled(number: &str, scale: f64, param: &'static str) -> Result<u32, BodyError> {
    let value = number.parse::<f64>().ok().filter(|value| *value >= 0.0);
    let value = value.ok_or(BodyError::Type { param, wanted: "numbers of 0 or more" })?;
    Ok((value * scale).round() as u32)
}

/// `max_price`: dollars per million tokens, or per request, as numbers or strings.
fn max_price(scanner: &mut Scanner<'_>) -> Result<PriceCeiling, BodyError> {
    const PARAM: &str = "provider.max_price";
    let wrong = BodyError::Type { param: PARAM, wanted: "an object of prices of 0 or more" };
    let mut ceiling = PriceCeiling::default();
    if !expect(scanner, b"{", wrong.clone())? {
        return Ok(ceiling);
    }
    let mut object = Object::open(scanner, keys::MAX_PRICE, 3);
    while let Some((known, _)) = object.next(scanner)? {
        let place = known.and_then(|(name, _)| CEILINGS.iter().position(|(key, ..)| *key == name));
        let Some((place, (.., per))) = place.and_then(|it| Some((it, CEILINGS.get(it)?))) else {
            object.skip(scanner)?;
            continue;
        };
        if !expect(scanner, b"\"-0123456789", wrong.clone())? {
            continue;
        }
        let pico = match scanner.peek() {
            Some(b'"') => text(scanner, PARAM)?.and_then(|text| parse_ceiling(text.trim(), *per)),
            _ => parse_ceiling(number(scanner)?, *per),
        };
        ceiling.lower(place, pico.ok_or_else(|| wrong.clone())?);
    }
    Ok(ceiling)
}

#[cfg(test)]
mod tests;
