//! What a second catalogue changes of a first: providers, models, endpoints and prices.

mod choices;
mod prices;
mod rows;

use super::Catalog;
use rows::Row;
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
    /// `provider`, `model`, `endpoint`, `router` or `preset`.
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

/// Everything that differs: providers, models, endpoints, routers, presets, each by its name.
#[must_use]
pub fn diff(old: &Catalog, new: &Catalog) -> Vec<Change> {
    let providers = |catalog: &Catalog| by(catalog.providers(), |it| &it.slug);
    let models = |catalog: &Catalog| by(catalog.models(), |it| &it.slug);
    let endpoints = |catalog: &Catalog| by(catalog.endpoints(), |it| &it.id);
    let mut changes =
        compare("provider", &providers(old), &providers(new), no_prices, rows::provider);
    changes.extend(compare("model", &models(old), &models(new), no_prices, rows::model));
    let (was, is) = (endpoints(old), endpoints(new));
    changes.extend(compare("endpoint", &was, &is, prices::changed, rows::endpoint));
    let routers = |catalog: &Catalog| {
        let all: Vec<_> = catalog.routers.iter().cloned().map(Arc::new).collect();
        by(all.iter(), |it| &it.slug)
    };
    let presets = |catalog: &Catalog| {
        let all: Vec<_> = catalog.presets.iter().cloned().map(Arc::new).collect();
        by(all.iter(), |it| &it.slug)
    };
    changes.extend(compare("router", &routers(old), &routers(new), no_prices, choices::router));
    changes.extend(compare("preset", &presets(old), &presets(new), no_prices, choices::preset));
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
    rows: impl Fn(&T) -> Vec<Row>,
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
                let others = changed(rows(was), rows(is));
                for (fate, details) in
                    [(Fate::Repriced, prices(Some(was), is)), (Fate::Changed, others)]
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

/// `name was -> is` for each of the rows that differ.
fn changed(old: Vec<Row>, new: Vec<Row>) -> Vec<String> {
    let both = old.into_iter().zip(new).filter(|(was, is)| was != is);
    both.map(|((name, was), (_, is))| format!("{name} {was} -> {is}")).collect()
}

#[cfg(test)]
mod tests;
