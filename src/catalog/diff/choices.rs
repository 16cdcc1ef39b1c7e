//! What makes up a router and a preset: one row a property, as [`super::rows`] has them of what serves.

use super::super::{Preset, Router};
use super::rows::{Row, list, or_none, word};
use crate::price::format_usd;
use crate::request::preferences::ProviderPreferences;
use crate::selection::{Constraint, PERCENTILES, Percentiles, Sort};

pub(super) fn router(it: &Router) -> Vec<Row> {
    let Router { slug: _, aliases, models } = it;
    vec![("aliases", list(aliases)), ("models", list(models))]
}

pub(super) fn preset(it: &Preset) -> Vec<Row> {
    let Preset { slug: _, models, provider } = it;
    let ProviderPreferences {
        constraint,
        order,
        sort,
        across_models,
        min_throughput,
        max_latency,
        // Of a request alone.
        options: _,
    } = provider;
    let Constraint {
        only,
        ignore,
        quantizations,
        max_price,
        zdr,
        no_collection,
        distillable,
        require_parameters,
        no_fallbacks,
    } = constraint;
    let sort = sort.map_or_else(|| or_none(None::<&str>), |sort| word(&Sort::ALL, &sort));
    let dollars = max_price.bounds().map(|(key, pico)| format!("{key} {}", format_usd(pico)));
    vec![
        ("models", list(models)),
        ("order", list(order)),
        ("only", list(only.iter().flatten())),
        ("ignore", list(ignore)),
        ("allow_fallbacks", (!no_fallbacks).to_string()),
        ("require_parameters", require_parameters.to_string()),
        ("data_collection", if *no_collection { "deny" } else { "allow" }.to_owned()),
        ("zdr", zdr.to_string()),
        ("enforce_distillable_text", distillable.to_string()),
        ("quantizations", list(quantizations.iter().flatten())),
        ("sort", sort),
        ("partition", if *across_models { "none" } else { "model" }.to_owned()),
        ("preferred_min_throughput", percentiles(min_throughput, 10.0)),
        ("preferred_max_latency", percentiles(max_latency, 1_000.0)),
        ("max_price", list(dollars)),
    ]
}

fn percentiles(values: &Percentiles, per_unit: f64) -> String {
    let given = PERCENTILES.iter().zip(values).filter_map(|((name, _), value)| {
        Some(format!("{name} {}", f64::from((*value)?) / per_unit))
    });
    list(given)
}
