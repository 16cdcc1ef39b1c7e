//! Names of models as callers write them: variants and presets (contract 2.7, 1.13).

use super::{Ask, Service, Sort};
use crate::catalog::Tier;
use std::borrow::Cow;

/// Variants that change how a model is chosen. All others are models of their own, where listed.
const DYNAMIC: [(&str, Sort, Option<Tier>); 3] = [
    ("nitro", Sort::Throughput, Some(Tier::Priority)),
    ("floor", Sort::Price, Some(Tier::Flex)),
    ("exacto", Sort::Exacto, None),
];

/// Static variants, in the order a stacked name is written in.
pub const STATIC_VARIANTS: [&str; 4] = ["free", "extended", "thinking", "batch"];

/// Whether these are static variants in their order, as `free:extended`.
#[must_use]
pub fn are_static(variants: &str) -> bool {
    let place = |variant| STATIC_VARIANTS.iter().position(|known| *known == variant);
    let places = || variants.split(':').map(place);
    places().all(|place| place.is_some()) && places().is_sorted_by(|a, b| a < b)
}

/// What the dynamic variants of a name ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variants {
    /// Of the last one that stands there.
    pub sort: Option<Sort>,
    pub joins: Option<Tier>,
}

impl Variants {
    /// Splits `name` into what the catalogue may know, static variants in their canonical order
    /// among them, and the rest. `None` if no dynamic or misplaced variant is in it.
    #[must_use]
    pub fn split(name: &str) -> Option<(Cow<'_, str>, Self)> {
        let (base, suffixes) = name.split_once(':')?;
        let mut found = Self::default();
        let mut kept: Vec<&str> = Vec::new();
        for suffix in suffixes.split(':') {
            match DYNAMIC.iter().find(|(known, ..)| *known == suffix) {
                Some((_, sort, joins)) => found = Self { sort: Some(*sort), joins: *joins },
                None => kept.push(suffix),
            }
        }
        let rank = |suffix: &&str| STATIC_VARIANTS.iter().position(|known| known == suffix);
        kept.sort_by_key(rank);
        kept.dedup();
        if kept.is_empty() {
            return Some((Cow::Borrowed(base), found));
        }
        Some((Cow::Owned(format!("{base}:{}", kept.join(":"))), found))
    }

    /// The wishes for a model named with these variants; what the request says itself wins.
    #[must_use]
    pub fn apply<'a>(self, ask: Ask<'a>) -> Ask<'a> {
        let tiers = ask.service == Service::Unsaid && ask.order.is_empty();
        Ask { sort: ask.sort.or(self.sort), joins: self.joins.filter(|_| tiers), ..ask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_stack_in_any_order() {
        let split =
            |name: &'static str| Variants::split(name).map(|(base, v)| (base.into_owned(), v));
        let nitro = Variants { sort: Some(Sort::Throughput), joins: Some(Tier::Priority) };
        let floor = Variants { sort: Some(Sort::Price), joins: Some(Tier::Flex) };
        let exacto = Variants { sort: Some(Sort::Exacto), joins: None };
        let plain = Variants::default();
        let cases = [
            ("a/b:nitro", "a/b", nitro),
            ("a/b:floor", "a/b", floor),
            ("a/b:exacto", "a/b", exacto),
            ("a/b:free:nitro", "a/b:free", nitro),
            ("a/b:nitro:free", "a/b:free", nitro),
            ("a/b:nitro:floor", "a/b", floor),
            ("a/b:extended:free", "a/b:free:extended", plain),
            ("a/b:thinking:floor:free", "a/b:free:thinking", floor),
            ("a/b:free:free", "a/b:free", plain),
            ("a/b:unheard", "a/b:unheard", plain),
            ("a/b:", "a/b:", plain),
        ];
        for (name, base, variants) in cases {
            assert_eq!(split(name), Some((base.to_owned(), variants)), "{name}");
        }
        assert_eq!(split("a/b"), None);
    }

    #[test]
    fn what_the_request_says_wins_and_turns_the_tiers_off() {
        let (_, nitro) = Variants::split("a/b:nitro").unwrap();
        let ask = nitro.apply(Ask::default());
        assert_eq!((ask.sort, ask.joins), (Some(Sort::Throughput), Some(Tier::Priority)));
        let ask = nitro.apply(Ask { sort: Some(Sort::Latency), ..Ask::default() });
        assert_eq!((ask.sort, ask.joins), (Some(Sort::Latency), Some(Tier::Priority)));
        let ask = nitro.apply(Ask { service: Service::Default, ..Ask::default() });
        assert_eq!(ask.joins, None);
        let order = ["x".into()];
        assert_eq!(nitro.apply(Ask { order: &order, ..Ask::default() }).joins, None);
    }
}
