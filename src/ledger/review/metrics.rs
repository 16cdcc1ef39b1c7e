//! What a page of Prometheus metrics tells of the epoch that runs.

use crate::price::Pico;
use crate::usage::Kind;
use std::collections::BTreeMap;

/// What one place says was consumed: by model, provider and kind, cost under the kind "cost".
pub type Sums = BTreeMap<(String, String, &'static str), Pico>;

/// Counters that are 0 in a ledger with nothing wrong, and what is where one is not.
const ALARMS: [(&str, &str); 2] = [
    ("weir_ledger_lost_total", "rows lost"),
    ("weir_ledger_conflicts_total", "rows that a sink had with other content"),
];

/// What a page of metrics tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub sums: Sums,
    /// Counts that should be 0, and of what.
    pub alarms: Vec<(u64, &'static str)>,
}

/// Reads a page of metrics; `None`: none of Weir's is in it.
#[must_use]
pub fn told(text: &str) -> Option<Told> {
    let alarms = ALARMS.iter().filter_map(|(name, what)| {
        let counts = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Some((counts.max().filter(|count| *count > 0)?, *what))
    });
    let of_weir = text.lines().any(|line| line.starts_with("weir_"));
    of_weir.then(|| Told { sums: sums(text), alarms: alarms.collect() })
}

fn sums(text: &str) -> Sums {
    let mut sums = Sums::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((family, labels)) = series.split_once('{') else { continue };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let kind = match family {
            "weir_cost_picodollars_total" => Some("cost"),
            "weir_tokens_total" => label("kind").and_then(|kind| {
                Kind::ALL.iter().map(|(_, known)| *known).find(|known| *known == kind)
            }),
            _ => None,
        };
        let (Some(kind), Some(model), Some(provider)) = (kind, label("model"), label("provider"))
        else {
            continue;
        };
        let Ok(count) = value.parse::<Pico>() else { continue };
        if count != 0 {
            sums.insert((model, provider, kind), count);
        }
    }
    sums
}
