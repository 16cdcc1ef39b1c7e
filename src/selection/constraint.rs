//! What narrows a choice: the one merge of constraints, and the one way a slug names endpoints.

use crate::catalog::Endpoint;
use crate::price::PriceCeiling;
use std::sync::Arc;

/// What narrows a choice, from policy, workspace, key, rule or request. Merging never loosens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraint {
    /// Allowed provider slugs or tags; `None` allows all. Merge: intersect.
    pub only: Option<Vec<Arc<str>>>,
    /// Forbidden provider slugs or tags. Merge: union.
    pub ignore: Vec<Arc<str>>,
    /// Allowed quantizations; `None` allows all. Merge: intersect.
    pub quantizations: Option<Vec<Arc<str>>>,
    /// Merge: the lower of each.
    pub max_price: PriceCeiling,
    /// Endpoint must not retain. Merge: OR.
    pub zdr: bool,
    /// Endpoint must not train nor retain. Merge: OR.
    pub no_collection: bool,
    /// The model's author must permit distillation. Merge: OR.
    pub distillable: bool,
    /// Endpoint must support every parameter that is sent. Merge: OR.
    pub require_parameters: bool,
    /// Only the first endpoint, or only those that an asked order names, may be tried. Merge: OR.
    pub no_fallbacks: bool,
}

/// Narrows nothing.
pub static OPEN: Constraint = Constraint {
    only: None,
    ignore: Vec::new(),
    quantizations: None,
    max_price: PriceCeiling::OPEN,
    zdr: false,
    no_collection: false,
    distillable: false,
    require_parameters: false,
    no_fallbacks: false,
};

impl Constraint {
    /// What of it keeps prompts private.
    #[must_use]
    pub fn privacy(&self) -> Self {
        Self { zdr: self.zdr, no_collection: self.no_collection, ..Self::default() }
    }

    /// Narrows `self` by `other`: allow-lists intersect, `ignore` unites, booleans OR, price
    /// ceilings take the lower.
    ///
    /// Slugs are compared as slugs: a display name, as older clients send it, intersects with nothing
    /// but itself. What a request says is not merged but laid over the rest ([`Layers`]).
    pub fn merge(&mut self, other: &Self) {
        self.only = match (self.only.take(), &other.only) {
            (Some(ours), Some(theirs)) => Some(intersect(&ours, theirs)),
            (Some(list), None) => Some(list),
            (None, list) => list.clone(),
        };
        for slug in &other.ignore {
            if !self.ignore.iter().any(|known| known.eq_ignore_ascii_case(slug)) {
                self.ignore.push(Arc::clone(slug));
            }
        }
        self.quantizations = match (self.quantizations.take(), &other.quantizations) {
            (Some(ours), Some(theirs)) => {
                let both = |label: &Arc<str>| holds(theirs, label);
                Some(ours.into_iter().filter(both).collect())
            }
            (Some(list), None) => Some(list),
            (None, list) => list.clone(),
        };
        self.max_price = self.max_price.min(other.max_price);
        self.zdr |= other.zdr;
        self.no_collection |= other.no_collection;
        self.distillable |= other.distillable;
        self.require_parameters |= other.require_parameters;
        self.no_fallbacks |= other.no_fallbacks;
    }

    /// Whether its list of quantizations leaves this endpoint in.
    pub(super) fn quantization_fits(&self, endpoint: &Endpoint) -> bool {
        let label = endpoint.quantization.as_deref().unwrap_or("unknown");
        self.quantizations.as_deref().is_none_or(|list| holds(list, label))
    }

    /// Whether its list of providers leaves this endpoint in.
    pub(super) fn allows(&self, endpoint: &Endpoint) -> bool {
        self.only.as_deref().is_none_or(|only| names_any(only, endpoint))
    }
}

/// Constraints that hold together, the request's own last. What they allow is what their merge allows, and
/// nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a>(pub &'a [&'a Constraint]);

impl Layers<'_> {
    pub(super) fn all(self, holds: impl Fn(&Constraint) -> bool) -> bool {
        self.0.iter().all(|layer| holds(layer))
    }

    pub(super) fn any(self, holds: impl Fn(&Constraint) -> bool) -> bool {
        self.0.iter().any(|layer| holds(layer))
    }

    /// What others say, and what the request itself says.
    pub(super) fn split_own(self) -> (Self, Self) {
        let (others, own) = self.0.split_at(self.0.len().saturating_sub(1));
        (Self(others), Self(own))
    }

    /// The lowest ceilings of all.
    pub(super) fn max_price(self) -> PriceCeiling {
        self.0.iter().fold(PriceCeiling::default(), |lowest, layer| lowest.min(layer.max_price))
    }
}

fn holds(list: &[Arc<str>], label: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(label))
}

/// What both lists allow. Where one names a provider and the other one of its tags, the tag stays.
fn intersect(ours: &[Arc<str>], theirs: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut both: Vec<Arc<str>> = Vec::with_capacity(ours.len().min(theirs.len()));
    for left in ours {
        for right in theirs {
            let narrower = if covers(left, right) {
                right
            } else if covers(right, left) {
                left
            } else {
                continue;
            };
            if !both.iter().any(|known| known.eq_ignore_ascii_case(narrower)) {
                both.push(Arc::clone(narrower));
            }
        }
    }
    both
}

/// Whether `broad` names at least what `narrow` names.
fn covers(broad: &str, narrow: &str) -> bool {
    if broad.len() == narrow.len() {
        return broad.eq_ignore_ascii_case(narrow);
    }
    !broad.contains('/')
        && narrow.split_once('/').is_some_and(|(base, _)| base.eq_ignore_ascii_case(broad))
}

/// Whether a slug names this endpoint (contract 2.3, slug matching): a base slug or a display name
/// names every tag of its provider, a suffixed slug exactly one. Case does not matter.
#[must_use]
pub fn names(slug: &str, endpoint: &Endpoint) -> bool {
    endpoint.tag.eq_ignore_ascii_case(slug)
        || endpoint.provider.slug.eq_ignore_ascii_case(slug)
        || endpoint.provider.name.eq_ignore_ascii_case(slug)
}

/// Whether any slug of the list names this endpoint.
pub(super) fn names_any(slugs: &[Arc<str>], endpoint: &Endpoint) -> bool {
    slugs.iter().any(|slug| names(slug, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(slugs: &[&str]) -> Vec<Arc<str>> {
        slugs.iter().map(|slug| Arc::from(*slug)).collect()
    }

    #[test]
    fn only_intersects_and_keeps_the_narrower_name() {
        let cases: [(&[&str], &[&str], &[&str]); 5] = [
            (&["a", "b"], &["B", "c"], &["B"]),
            (&["deepinfra"], &["deepinfra/turbo"], &["deepinfra/turbo"]),
            (&["deepinfra/turbo"], &["deepinfra"], &["deepinfra/turbo"]),
            (&["deepinfra/turbo"], &["deepinfra/fp8"], &[]),
            (&["deep"], &["deepinfra"], &[]),
        ];
        for (ours, theirs, both) in cases {
            let mut merged = Constraint { only: Some(list(ours)), ..Constraint::default() };
            merged.merge(&Constraint { only: Some(list(theirs)), ..Constraint::default() });
            assert_eq!(merged.only, Some(list(both)), "{ours:?} and {theirs:?}");
        }
    }

    #[test]
    fn an_absent_list_allows_all_and_an_empty_one_nothing() {
        let mut merged = Constraint::default();
        merged.merge(&Constraint { only: Some(vec![]), ..Constraint::default() });
        merged.merge(&Constraint { only: Some(list(&["a"])), ..Constraint::default() });
        assert_eq!(merged.only, Some(vec![]));
    }

    fn slugs() -> impl Strategy<Value = Vec<Arc<str>>> {
        prop::collection::vec(prop::sample::select(vec!["a", "A", "b", "a/x", "a/y", "b/x"]), 0..5)
            .prop_map(|slugs| list(&slugs))
    }

    fn constraints() -> impl Strategy<Value = Constraint> {
        (prop::option::of(slugs()), slugs(), any::<[bool; 3]>()).prop_map(
            |(only, ignore, [zdr, no_collection, no_fallbacks])| Constraint {
                only,
                ignore,
                zdr,
                no_collection,
                no_fallbacks,
                ..Constraint::default()
            },
        )
    }

    fn allows(constraint: &Constraint, base: &str, tag: &str) -> bool {
        let hit = |list: &[Arc<str>]| {
            list.iter().any(|s| s.eq_ignore_ascii_case(base) || s.eq_ignore_ascii_case(tag))
        };
        constraint.only.as_deref().is_none_or(hit) && !hit(&constraint.ignore)
    }

    proptest! {
        /// A merged constraint allows an endpoint exactly when both parts do.
        #[test]
        fn merging_is_the_conjunction(left in constraints(), right in constraints()) {
            let mut merged = left.clone();
            merged.merge(&right);
            for (base, tag) in [("a", "a"), ("a", "a/x"), ("a", "a/y"), ("b", "b"), ("b", "b/x")] {
                // A base tag stands beside its variants, so `a` also names the tag `a`.
                prop_assert_eq!(
                    allows(&merged, base, tag),
                    allows(&left, base, tag) && allows(&right, base, tag)
                );
            }
            prop_assert_eq!(merged.zdr, left.zdr || right.zdr);
            prop_assert_eq!(merged.no_collection, left.no_collection || right.no_collection);
            prop_assert_eq!(merged.no_fallbacks, left.no_fallbacks || right.no_fallbacks);
        }
    }
}
