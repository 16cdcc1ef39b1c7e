//! Which models a request means: presets, rules, variants, routers, and who may use what.

use super::{Request, Wanted};
use crate::catalog::{Preset, Router};
use crate::error::{Availability, Error};
use crate::rules::{self, Decision};
use crate::selection::Variants;
use crate::snapshot::Pool;
use std::sync::Arc;

impl Request<'_> {
    /// Every model the request means, with what rules and variants say of each.
    pub(super) fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        let preset = self.preset()?;
        let mut wanted = Vec::with_capacity(self.envelope.models.len());
        for asked in &self.envelope.models {
            let (name, named) = split_preset(asked);
            match (name, preset) {
                ("", Some(preset)) => {
                    for model in &preset.models {
                        self.want(asked, model, &mut wanted)?;
                    }
                }
                _ if named.is_some() => self.want(asked, &Arc::from(name), &mut wanted)?,
                _ => self.want(asked, asked, &mut wanted)?,
            }
        }
        if wanted.is_empty() {
            return Err(self.unknown(self.envelope.models.first().map_or("", |model| &**model)));
        }
        Ok(wanted)
    }

    /// The preset that the request names, by field or in its model. Where none is configured, the field
    /// is one of those that are consumed and mean nothing.
    pub(super) fn preset(&self) -> Result<Option<&Preset>, Error> {
        let in_model = self.envelope.models.iter().find_map(|model| split_preset(model).1);
        let field = self.envelope.preset.as_deref().filter(|_| self.snapshot.has_presets());
        let Some(slug) = field.or(in_model) else { return Ok(None) };
        let found = self.snapshot.preset(slug);
        let missing = || Error::caller(404, format!("Preset {slug} not found")).param("preset");
        found.map(Some).ok_or_else(missing)
    }

    /// Adds what `name` stands for: a model, or all that a router may choose.
    fn want(
        &self,
        asked: &Arc<str>,
        name: &Arc<str>,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), Error> {
        let (base, variants) = self.base(name);
        let decision = self.decide(&base)?;
        let base = decision.rename.clone().unwrap_or(base);
        let Some(router) = self.snapshot.router(&base) else {
            let pool = self.pool(&base).ok_or_else(|| self.unknown(asked))?;
            wanted.push(Wanted {
                asked: Arc::clone(asked),
                pool,
                variants,
                constraint: decision.constraint,
            });
            return Ok(());
        };
        let before = wanted.len();
        wanted.extend(self.routed(router, asked, variants, &decision));
        if wanted.len() == before { Err(self.unknown(asked)) } else { Ok(()) }
    }

    /// The models behind a router that this caller may use and no rule refuses.
    fn routed<'r>(
        &'r self,
        router: &'r Router,
        asked: &'r Arc<str>,
        variants: Variants,
        decision: &'r Decision,
    ) -> impl Iterator<Item = Wanted> + 'r {
        router.models.iter().filter_map(move |model| {
            let own = self.decide(model).ok()?;
            let pool = self.pool(own.rename.as_ref().unwrap_or(model))?;
            let mut constraint = decision.constraint.clone();
            constraint.merge(&own.constraint);
            Some(Wanted { asked: Arc::clone(asked), pool, variants, constraint })
        })
    }

    /// The name that rules and the catalogue know, and the variants after it. A name that is listed
    /// as it stands has none.
    fn base(&self, name: &Arc<str>) -> (Arc<str>, Variants) {
        let listed = self.snapshot.pool(name).is_some() || self.snapshot.router(name).is_some();
        match Variants::split(name).filter(|_| !listed) {
            Some((base, variants)) => (Arc::from(&*base), variants),
            None => (Arc::clone(name), Variants::default()),
        }
    }

    fn decide(&self, model: &str) -> Result<Decision, Error> {
        let decision = self.snapshot.rules.decide(&rules::Facts {
            model,
            key: &self.caller.name,
            workspace: &self.caller.workspace,
            stream: self.envelope.stream,
            headers: self.headers,
        });
        match decision.reject {
            Some(refusal) => Err(refusal),
            None => Ok(decision),
        }
    }

    fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        let pool = self.snapshot.pool(name);
        pool.filter(|pool| self.caller.allows_model(&pool.model.slug)).cloned()
    }

    /// Unknown and forbidden give the same answer (S15).
    fn unknown(&self, name: &str) -> Error {
        let availability = Availability {
            code: "model_not_found",
            requested_models: self.envelope.models.clone(),
            ..Availability::default()
        };
        let error = Error::caller(400, format!("{name} is not a valid model ID")).param("model");
        error.availability(availability)
    }
}

/// The model before an `@preset/slug`, and the slug.
fn split_preset(name: &str) -> (&str, Option<&str>) {
    match name.split_once("@preset/") {
        Some((model, slug)) => (model, Some(slug)),
        None => (name, None),
    }
}
