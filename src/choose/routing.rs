//! What a caller is told of the choice (contract 4.9).

use super::{Chosen, Planned, Request};
use crate::face::{Place, Routing};
use crate::selection::{Score, Variants};

impl Request<'_> {
    /// What is told of a request that came to no model: a name that is none, or a rule's refusal.
    #[must_use]
    pub fn unrouted(&self) -> Routing {
        let requested = self.envelope.models.first().cloned().unwrap_or_default();
        Routing { requested, strategy: "direct", ..Routing::default() }
    }
}

impl Chosen<'_> {
    /// What a caller is told that asks how it was routed (contract 4.9).
    #[must_use]
    pub fn routing(&self) -> Routing {
        let first = self.planned.first();
        let requested = first.map_or("", |planned| planned.asked);
        let place = |(score, model): (Score, usize)| {
            let target = self.planned.get(model)?.target(score.index)?;
            Some(Place::of(&target.endpoint))
        };
        Routing {
            requested: requested.into(),
            strategy: first.map_or("direct", |planned| self.strategy(planned)),
            total: self.planned.iter().map(|it| it.pool.targets.len()).sum(),
            available: self.tried().into_iter().filter_map(place).collect(),
            attempts: Vec::new(),
        }
    }

    /// How the name that was asked for came to the first model.
    fn strategy(&self, first: &Planned<'_>) -> &'static str {
        let mut others = self.planned.iter().skip(1);
        match () {
            () if first.asked.starts_with('~') => "latest",
            () if others.any(|planned| planned.asked != first.asked) => "fallback",
            () if first.routed => "auto",
            () if names_slug(first.asked, &first.pool.model.slug) => "direct",
            () => "alias",
        }
    }
}

/// Whether a name is this slug, variants aside.
fn names_slug(name: &str, slug: &str) -> bool {
    name == slug || Variants::split(name).is_some_and(|(base, _)| base == slug)
}
