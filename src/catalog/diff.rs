//! What a second catalogue changes of a first: providers, models, endpoints and prices.

use super::{Catalog, Endpoint, Model, Provider};
use crate::price::{PRICES, Pico, Rates, format_usd};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Added,
    Removed,
    Repriced,
    Changed,
}

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub fate: Fate,
    /// `provider`, `model` or `endpoint`.
    pub what: &'static str,
    /// Slug, or id of an endpoint.
    pub of: Arc<str>,
    /// `input 0.59 -> 0.49`, one for each key that differs; of an added endpoint its prices.
    pub details: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Added => "added",
            Fate::Removed => "removed",
            Fate::Repriced => "repriced",
            Fate::Changed => "changed",
        };
        write!(f, "{fate:<9}{:<9}{}", self.what, self.of)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details.join(", ")) }
    }
}

/// Everything that differs, providers first, then models, then endpoints, each by its name.
#[must_use]
pub fn diff(old: &Catalog, new: &Catalog) -> Vec<Change> {
    let providers = |catalog: &Catalog| by(catalog.providers(), |it| &it.slug);
    let models = |catalog: &Catalog| by(catalog.models(), |it| &it.slug);
    let endpoints = |catalog: &Catalog| by(catalog.endpoints(), |it| &it.id);
    let mut changes = compare("provider", &providers(old), &providers(new), no_prices, provider);
    changes.extend(compare("model", &models(old), &models(new), no_prices, model));
    changes.extend(compare("endpoint", &endpoints(old), &endpoints(new), prices, endpoint));
    changes
}

type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

fn by<'a, T: 'a>(
    all: impl Iterator<Item = &'a Arc<T>>,
    name: impl Fn(&T) -> &Arc<str>,
) -> Named<T> {
    all.map(|it| (Arc::clone(name(it)), Arc::clone(it))).collect()
}

/// What is in one of both only, or in both and not the same.
fn compare<T>(
    what: &'static str,
    old: &Named<T>,
    new: &Named<T>,
    prices: impl Fn(Option<&T>, &T) -> Vec<String>,
    others: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut say = |fate, of: &Arc<str>, details| {
        changes.push(Change { fate, what, of: Arc::clone(of), details });
    };
    let mut names: Vec<&Arc<str>> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        match (old.get(name), new.get(name)) {
            (None, Some(is)) => say(Fate::Added, name, prices(None, is)),
            (Some(was), Some(is)) => {
                for (fate, details) in
                    [(Fate::Repriced, prices(Some(was), is)), (Fate::Changed, others(was, is))]
                {
                    if !details.is_empty() {
                        say(fate, name, details);
                    }
                }
            }
            (_, None) => say(Fate::Removed, name, Vec::new()),
        }
    }
    changes
}

fn no_prices<T>(_: Option<&T>, _: &T) -> Vec<String> {
    Vec::new()
}

/// Prices in dollars as configuration writes them: for a million tokens, or each; of several dates the
/// last.
fn prices(old: Option<&Endpoint>, new: &Endpoint) -> Vec<String> {
    let last = |it: &Endpoint| *it.price.at(u64::MAX).base();
    let mut said = Vec::new();
    for price in PRICES {
        let dollars = |rates: &Rates, kind| {
            format_usd(Pico::from(rates.price(kind)).saturating_mul(Pico::from(price.per)))
        };
        // A price that only repeats the one it falls back to says nothing.
        let repeats = |it: &Endpoint| {
            price.or.is_some_and(|or| last(it).price(or) == last(it).price(price.kind))
        };
        let is = dollars(&last(new), price.kind);
        match old.map(|old| (dollars(&last(old), price.kind), repeats(old) && repeats(new))) {
            Some((was, false)) if was != is => said.push(format!("{} {was} -> {is}", price.key)),
            None if !repeats(new) && is != "0" => said.push(format!("{} {is}", price.key)),
            _ => {}
        }
    }
    said
}

/// `name was -> is` for each of the keys that differ.
fn changed<const N: usize>(keys: [(&str, String, String); N]) -> Vec<String> {
    let differing = keys.into_iter().filter(|(_, was, is)| was != is);
    differing.map(|(name, was, is)| format!("{name} {was} -> {is}")).collect()
}

fn provider(old: &Provider, new: &Provider) -> Vec<String> {
    let base_url = |it: &Provider| {
        let scheme = if it.base_url.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", it.base_url.authority(), it.base_url.path)
    };
    let region = |it: &Provider| format!("{:?}", it.region);
    changed([
        ("base_url", base_url(old), base_url(new)),
        ("region", region(old), region(new)),
        ("injects_usage", old.injects_usage.to_string(), new.injects_usage.to_string()),
    ])
}

fn model(old: &Model, new: &Model) -> Vec<String> {
    let both = |key: fn(&Model) -> String| (key(old), key(new));
    let key = |name, (was, is)| (name, was, is);
    changed([
        key("context_length", both(|it| it.context_length.to_string())),
        key("input_modalities", both(|it| it.input_modalities.join("+"))),
        key("output_modalities", both(|it| it.output_modalities.join("+"))),
        key("aliases", both(|it| it.aliases.join(" "))),
    ])
}

fn endpoint(old: &Endpoint, new: &Endpoint) -> Vec<String> {
    let both = |key: fn(&Endpoint) -> String| (key(old), key(new));
    let key = |name, (was, is)| (name, was, is);
    changed([
        key("model", both(|it| it.upstream_model.to_string())),
        key("quantization", both(|it| format!("{:?}", it.quantization.as_deref()))),
        key("context_length", both(|it| it.context_length.to_string())),
        key("max_completion_tokens", both(|it| format!("{:?}", it.max_completion_tokens))),
        key("supported_parameters", both(|it| it.supported_parameters.join(" "))),
    ])
}

#[cfg(test)]
mod tests;
