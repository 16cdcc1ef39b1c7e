//! Constraints as configuration writes them: the same words deployment-wide and per key.

use super::document::{Section, suggest};
use crate::selection::Constraint;
use std::sync::Arc;

pub(super) const KEYS: &[&str] = &["only", "ignore", "zdr", "no_collection", "no_fallbacks"];

/// Reads a constraint from a table that has at least [`KEYS`].
///
/// `known` are the provider slugs and endpoint tags there are. Other names are reported: a
/// misspelled `ignore` would let through what it is there to stop. Without `known`, the files that
/// define them could not be read, and nothing is said.
pub(super) fn read(section: &Section<'_>, known: Option<&[&str]>) -> Constraint {
    Constraint {
        only: names(section, "only", known),
        ignore: names(section, "ignore", known).unwrap_or_default(),
        zdr: section.or("zdr", false),
        no_collection: section.or("no_collection", false),
        no_fallbacks: section.or("no_fallbacks", false),
        order: Vec::new(),
    }
}

fn names(section: &Section<'_>, key: &str, known: Option<&[&str]>) -> Option<Vec<Arc<str>>> {
    let list = section.get::<Vec<String>>(key)?;
    for name in &list {
        if let Some(known) = known.filter(|known| !known.contains(&name.as_str())) {
            let message = format!("no such provider or endpoint tag; {}", suggest(name, known));
            section.problem(key, message);
        }
    }
    Some(list.into_iter().map(Arc::from).collect())
}
