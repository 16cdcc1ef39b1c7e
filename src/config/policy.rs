//! Constraints as configuration writes them: the same words deployment-wide, per workspace and per key.

use super::document::{Section, suggest};
use super::value::{Amount, Value, each_of};
use crate::catalog::QUANTIZATIONS;
use crate::price::{CEILINGS, PriceCeiling, parse_ceiling};
use crate::selection::Constraint;
use std::sync::Arc;

pub(super) const KEYS: &[&str] = &[
    "only",
    "ignore",
    "quantizations",
    "max_price",
    "zdr",
    "no_collection",
    "distillable",
    "no_fallbacks",
];
/// As [`CEILINGS`]; a test keeps them equal.
pub(super) const MAX_PRICE: &[&str] = &["audio", "completion", "image", "prompt", "request"];

/// Reads a constraint from a table that has at least [`KEYS`].
///
/// `known` is as in [`check_names`].
pub(super) fn read(section: &Section<'_>, known: Option<&[&str]>) -> Constraint {
    let quantizations =
        section.checked("quantizations", |list: Vec<String>| each_of(list, &QUANTIZATIONS));
    Constraint {
        only: names(section, "only", known),
        ignore: names(section, "ignore", known).unwrap_or_default(),
        quantizations: quantizations.map(|list| list.into_iter().map(Arc::from).collect()),
        max_price: max_price(&section.table("max_price", MAX_PRICE)),
        zdr: section.or("zdr", false),
        no_collection: section.or("no_collection", false),
        distillable: section.or("distillable", false),
        require_parameters: false,
        no_fallbacks: section.or("no_fallbacks", false),
    }
}

fn max_price(table: &Section<'_>) -> PriceCeiling {
    let mut ceiling = PriceCeiling::default();
    for (place, (key, _, per)) in CEILINGS.iter().enumerate() {
        let pico = table.checked(key, |Amount(text)| {
            parse_ceiling(&text, *per).ok_or_else(|| format!("expected {}", Amount::EXPECTED))
        });
        if let Some(pico) = pico {
            ceiling.lower(place, pico);
        }
    }
    ceiling
}

fn names(section: &Section<'_>, key: &str, known: Option<&[&str]>) -> Option<Vec<Arc<str>>> {
    let list = section.get::<Vec<String>>(key)?;
    let list: Vec<Arc<str>> = list.into_iter().map(Arc::from).collect();
    check_names(section, key, &list, known);
    Some(list)
}

/// Reports what in a list is none of `known`, the provider slugs and endpoint tags there are: a
/// misspelled `ignore` would let through what it is there to stop. Without `known`, the files that
/// define them could not be read, and nothing is said.
pub(super) fn check_names(
    section: &Section<'_>,
    key: &str,
    list: &[Arc<str>],
    known: Option<&[&str]>,
) {
    let Some(known) = known else { return };
    for name in list.iter().filter(|name| !known.contains(&&***name)) {
        let message = format!("no such provider or endpoint tag; {}", suggest(name, known));
        section.problem(key, message);
    }
}
