//! Which models a request means: presets, rules, variants, routers, and who may use what.

use super::{Conversation, Request, Wanted};
use crate::catalog::{Modalities, Preset, Router};
use crate::error::{Availability, Error};
use crate::request::route::Operation;
use crate::rules::{self, Decision};
use crate::selection::Variants;
use crate::snapshot::{Named, Pool};
use std::borrow::Cow;

impl<'a> Request<'a> {
    /// Every model the request means, with what rules and variants say of each.
    pub(super) fn wanted(&self, preset: Option<&'a Preset>) -> Result<Vec<Wanted<'a>>, Error> {
        let mut wanted = Vec::with_capacity(self.envelope.models.len());
        for asked in &self.envelope.models {
            match (split_preset(asked), preset) {
                (("", _), Some(preset)) => {
                    for model in &preset.models {
                        self.want(asked, model, &mut wanted)?;
                    }
                }
                ((name, _), _) => self.want(asked, name, &mut wanted)?,
            }
        }
        if wanted.is_empty() {
            return Err(self.unknown(self.envelope.models.first().map_or("", |model| &**model)));
        }
        Ok(wanted)
    }

    /// The preset that the request names, by field or in its model. Where none is configured, the field
    /// is one of those that are consumed and mean nothing.
    pub(super) fn preset(&self) -> Result<Option<&'a Preset>, Error> {
        let in_models = self.envelope.models.iter().filter_map(|model| split_preset(model).1);
        let field = self.envelope.preset.as_deref().filter(|_| self.snapshot.has_presets());
        let mut slugs = field.into_iter().chain(in_models);
        let Some(slug) = slugs.next() else { return Ok(None) };
        if let Some(other) = slugs.find(|other| *other != slug) {
            let says = format!("A request can have one preset, not both {slug} and {other}");
            return Err(Error::caller(400, says).param("preset"));
        }
        let found = self.snapshot.preset(slug);
        let missing = || Error::caller(404, format!("Preset {slug} not found")).param("preset");
        found.map(Some).ok_or_else(missing)
    }

    /// Adds what `name` stands for: a model, or all that a router may choose.
    fn want(
        &self,
        asked: &'a str,
        name: &'a str,
        wanted: &mut Vec<Wanted<'a>>,
    ) -> Result<(), Error> {
        let (base, variants, listed) = self.base(name);
        let mut rules = self.decide(&base, slug(listed).unwrap_or(&base))?;
        let mut named = listed;
        if let Some(model) = rules.rename {
            named = self.snapshot.named(model);
            // What holds for the model that serves holds by whatever name it is asked for.
            rules = rules.then(&self.decide(model, slug(named).unwrap_or(model))?);
        }
        let before = wanted.len();
        match named {
            Some(Named::Pool(pool)) if self.allows(pool) => {
                wanted.push(Wanted { asked, pool, variants, rules, routed: false });
            }
            Some(Named::Router(router)) => {
                wanted.extend(self.routed(router, asked, variants, &rules));
            }
            _ => {}
        }
        let served = |it: &Wanted<'_>| serves(it.pool, self.envelope.operation);
        match wanted.get(before..).unwrap_or_default() {
            [] => Err(self.unknown(asked)),
            added if !added.iter().any(served) => Err(self.wrong_endpoint(asked)),
            _ => {
                let mut at = before;
                while let Some(it) = wanted.get(at) {
                    // By another name it is the same.
                    if served(it) && !wanted.iter().take(at).any(|had| had.is_as(it)) {
                        at += 1;
                    } else {
                        wanted.remove(at);
                    }
                }
                Ok(())
            }
        }
    }

    /// Puts the model of a conversation before the others that its router may choose (contract 3.7).
    pub(super) fn recall(&self, conversation: &mut Conversation, wanted: &mut [Wanted<'a>]) {
        let Some(first) = wanted.iter().position(|it| it.routed) else { return };
        let Some(router) = wanted.get(first).map(|it| it.asked) else { return };
        let last = (self.last)(conversation.route_by(router));
        let was_there = |it: &Wanted<'_>| {
            let mut targets = it.pool.targets.iter();
            it.asked == router && targets.any(|target| Some(target.fingerprint) == last)
        };
        let own = wanted.iter().position(was_there);
        if let Some(models) = own.and_then(|own| wanted.get_mut(first..=own)) {
            models.rotate_right(1);
        }
    }

    /// The models behind a router that this caller may use and no rule refuses.
    fn routed(
        &self,
        router: &'a Router,
        asked: &'a str,
        variants: Variants,
        outer: &Decision<'a>,
    ) -> impl Iterator<Item = Wanted<'a>> {
        router.models.iter().filter_map(move |model| {
            let listed = self.snapshot.pool(model).map(|pool| &*pool.model.slug);
            let own = self.decide(model, listed.unwrap_or(model)).ok()?;
            let pool = self.snapshot.pool(own.rename.unwrap_or(model))?;
            let rules = outer.clone().then(&own);
            self.allows(pool).then_some(Wanted { asked, pool, variants, rules, routed: true })
        })
    }

    /// The name that rules and the catalogue know, the variants after it, and what it names. A name
    /// that is listed as it stands has no variants.
    fn base(&self, name: &'a str) -> (Cow<'a, str>, Variants, Option<&'a Named>) {
        let listed = self.snapshot.named(name);
        if listed.is_none()
            && let Some((base, variants)) = Variants::split(name)
        {
            let listed = self.snapshot.named(&base);
            return (base, variants, listed);
        }
        (Cow::Borrowed(name), Variants::default(), listed)
    }

    fn decide(&self, model: &str, slug: &str) -> Result<Decision<'a>, Error> {
        let needs = self.envelope.needs(self.body.len());
        self.snapshot.rules.decide(&rules::Facts {
            model,
            slug,
            key: &self.caller.name,
            workspace: &self.caller.workspace,
            tags: &self.caller.tags,
            stream: self.envelope.stream,
            tools: needs.tools,
            max_tokens: needs.output_tokens.unwrap_or(0),
            prompt_tokens: needs.likely_tokens,
            headers: self.headers,
            dry: self.dry,
        })
    }

    fn allows(&self, pool: &Pool) -> bool {
        self.caller.allows_model(&pool.model.slug)
    }

    /// The model answers other operations only (contract 5.4).
    fn wrong_endpoint(&self, name: &str) -> Error {
        let availability = Availability {
            code: "wrong_endpoint",
            requested_models: self.envelope.models.clone(),
            ..Availability::default()
        };
        let path = match self.envelope.operation {
            Operation::Embedding => "chat/completions",
            Operation::Chat | Operation::Completion => "embeddings",
        };
        let says = format!("{name} is not served by this endpoint. Send it to {path}");
        Error::caller(400, says).param("model").availability(availability)
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

/// The slug of what a name stands for.
fn slug(named: Option<&Named>) -> Option<&str> {
    named.map(|named| match named {
        Named::Pool(pool) => &*pool.model.slug,
        Named::Router(router) => &*router.slug,
    })
}

/// Whether a model answers this operation, as far as is known what it gives.
fn serves(pool: &Pool, operation: Operation) -> bool {
    let gives = pool.targets.first().map_or(Modalities::ANY, |target| target.endpoint.output);
    match operation {
        Operation::Embedding => gives.has(Modalities::EMBEDDINGS),
        Operation::Chat | Operation::Completion => {
            !gives.without(Modalities::EMBEDDINGS).is_empty()
        }
    }
}

/// A name, and the slug of the preset it is asked for with, as in `author/model@preset/slug`.
fn split_preset(name: &str) -> (&str, Option<&str>) {
    let at = name.find('@').and_then(|_| name.split_once("@preset/"));
    at.map_or((name, None), |(model, slug)| (model, Some(slug)))
}
