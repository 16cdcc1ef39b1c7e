//! `models.toml`: names that stand for a choice among models, and presets.

use super::document::{Section, suggest};
use super::policy;
use super::value::{self, Json};
use crate::bounds;
use crate::catalog::{Preset, Router};
use crate::request::preferences::{self, ProviderPreferences};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) const ROUTER: &[&str] = &["slug", "aliases", "models"];
pub(super) const PRESET: &[&str] = &["slug", "models", "provider"];

/// Members of a preset's `provider`, as in a request (contract 2.3).
pub(super) const PROVIDER: &[&str] = &[
    "order",
    "only",
    "ignore",
    "allow_fallbacks",
    "require_parameters",
    "data_collection",
    "zdr",
    "enforce_distillable_text",
    "quantizations",
    "sort",
    "preferred_min_throughput",
    "preferred_max_latency",
    "max_price",
];

/// Reads the routers and adds their names, which nothing else may have.
pub(super) fn routers(root: &Section<'_>, names: &mut BTreeSet<String>) -> Vec<Router> {
    let mut routers = Vec::new();
    let mut own = Vec::new();
    for section in root.tables("router", &["slug"], ROUTER) {
        let slug = section.demanded("slug", |text: String| match value::is_model_slug(&text) {
            true => Ok(text),
            false => Err("expected \"author/name\" of a-z 0-9 . _ -".to_owned()),
        });
        let aliases = section.checked("aliases", |list: Vec<String>| {
            let fit = list.iter().all(|alias| value::is_name(alias));
            if fit { Ok(list) } else { Err("expected names such as \"author/name\"".to_owned()) }
        });
        let aliases = aliases.unwrap_or_default();
        let models = section.demanded("models", |list| patterns(list, names));
        let (Some(slug), Some(models)) = (slug, models) else { continue };
        for (key, name) in
            [("slug", &slug)].into_iter().chain(aliases.iter().map(|it| ("aliases", it)))
        {
            if names.contains(name) || own.contains(name) {
                section.problem(key, "a model or another router is named so already");
            }
            own.push(name.clone());
        }
        routers.push(Router { slug: slug.into(), aliases, models });
    }
    names.extend(own);
    routers
}

/// Reads the presets. `providers` is what they may name in `provider`, as in [`policy::check_names`].
pub(super) fn presets(
    root: &Section<'_>,
    names: &BTreeSet<String>,
    providers: Option<&[&str]>,
) -> Vec<Preset> {
    let mut presets: Vec<Preset> = Vec::new();
    for section in root.tables("preset", &["slug"], PRESET) {
        let slug = section.demanded("slug", value::slug);
        let models = section.checked("models", |list: Vec<String>| known(list, names));
        // A request's unknown members are ignored; here a misspelled one would let through what it is
        // there to stop.
        let table = section.table("provider", PROVIDER);
        let provider = section.checked("provider", |Json(text)| {
            preferences::parse(&text).map_err(|error| error.to_string())
        });
        let provider = provider.unwrap_or_default();
        let ProviderPreferences { constraint, order, .. } = &provider;
        let only = constraint.only.as_deref().unwrap_or_default();
        for (key, list) in [("order", &**order), ("only", only), ("ignore", &constraint.ignore)] {
            policy::check_names(&table, key, list, providers);
        }
        let Some(slug) = slug else { continue };
        if presets.iter().any(|preset| *preset.slug == *slug) {
            section.problem("slug", "another preset has this slug already");
        }
        presets.push(Preset { slug: slug.into(), models: models.unwrap_or_default(), provider });
    }
    presets
}

fn known(list: Vec<String>, names: &BTreeSet<String>) -> Result<Vec<Arc<str>>, String> {
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    match list.iter().find(|name| !names.contains(*name)) {
        Some(stranger) => Err(format!("no such model; {}", suggest(stranger, &words))),
        None if list.len() > bounds::MODELS_PER_REQUEST => {
            Err(format!("expected at most {}", bounds::MODELS_PER_REQUEST))
        }
        None => Ok(list.into_iter().map(Arc::from).collect()),
    }
}

/// Slugs, and `author/*` for every model of an author, as many as a request may name.
fn patterns(list: Vec<String>, names: &BTreeSet<String>) -> Result<Vec<Arc<str>>, String> {
    let mut models: Vec<String> = Vec::new();
    for pattern in list {
        let found: Vec<String> = match pattern.strip_suffix('*') {
            Some(author) if author.ends_with('/') => {
                names.iter().filter(|name| name.starts_with(author)).cloned().collect()
            }
            _ => vec![pattern],
        };
        if found.is_empty() {
            return Err("an author/* names no model".to_owned());
        }
        models.extend(found);
    }
    let mut unique = Vec::new();
    models.retain(|model| {
        !unique.contains(model) && {
            unique.push(model.clone());
            true
        }
    });
    if models.is_empty() {
        Err("expected at least one model".to_owned())
    } else {
        known(models, names)
    }
}
