//! From a request to plans: which pools it means, what holds for it, what selection makes of it. The
//! proxy sends by it, `weir explain` prints it.

use crate::access::Caller;
use crate::catalog::Router;
use crate::error::{Availability, Error};
use crate::request::envelope::Envelope;
use crate::request::preferences::ProviderPreferences;
use crate::rules::{self, Decision};
use crate::selection::{
    self, Ask, Candidate, Constraint, Exclusion, Facts, Funnel, Plan, Question, Score, Variants,
};
use crate::snapshot::{Pool, Snapshot, Target};
use http::HeaderMap;
use std::sync::Arc;

/// An authenticated request whose body has been understood, at one moment.
pub struct Request<'a> {
    pub snapshot: &'a Snapshot,
    pub caller: &'a Caller,
    pub envelope: &'a Envelope,
    pub headers: &'a HeaderMap,
    pub body_bytes: usize,
    pub now_ms: u64,
    /// Of the draws of the first model; each further one has the next.
    pub seed: u64,
}

/// The plan for one model.
pub struct Planned {
    /// What was asked for, by which name ever.
    pub asked: Arc<str>,
    pub pool: Arc<Pool>,
    pub constraint: Constraint,
    /// As the plan knew them.
    pub facts: Vec<Facts>,
    pub seed: u64,
    pub plan: Plan,
}

/// A model to plan for.
struct Wanted {
    asked: Arc<str>,
    pool: Arc<Pool>,
    variants: Variants,
    constraint: Constraint,
}

/// What a request comes to.
#[derive(Default)]
pub struct Chosen {
    pub planned: Vec<Planned>,
    pub funnel: Funnel,
    /// Whether endpoints of all models are tried in one order.
    across: bool,
}

impl Request<'_> {
    /// Plans for every model the request names.
    ///
    /// # Errors
    /// A rule's refusal; a model that does not exist or is not for this caller. Empty plans are none:
    /// [`Chosen::refusal`] makes them one.
    pub fn choose(&self) -> Result<Chosen, Error> {
        let preset = self.preset()?;
        let preferences = match preset {
            Some(preset) if self.envelope.member("provider").is_none() => &preset.provider,
            _ => &self.envelope.provider,
        };
        let mut chosen = Chosen { across: preferences.across_models, ..Chosen::default() };
        let mut seed = self.seed;
        for wanted in self.wanted()? {
            let planned = self.plan(wanted, preferences, seed, &mut chosen.funnel);
            seed = seed.wrapping_add(1);
            chosen.planned.push(planned);
        }
        Ok(chosen)
    }

    /// Every model the request means, with what rules and variants say of each.
    fn wanted(&self) -> Result<Vec<Wanted>, Error> {
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

    /// The preset that the request names, by field or in its model.
    fn preset(&self) -> Result<Option<&crate::catalog::Preset>, Error> {
        let in_model = self.envelope.models.iter().find_map(|model| split_preset(model).1);
        let Some(slug) = self.envelope.preset.as_deref().or(in_model) else { return Ok(None) };
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

    fn plan(
        &self,
        wanted: Wanted,
        preferences: &ProviderPreferences,
        seed: u64,
        funnel: &mut Funnel,
    ) -> Planned {
        let Wanted { asked, pool, variants, constraint: rules } = wanted;
        let mut constraint = self.snapshot.settings.constraint.clone();
        constraint.merge(&self.caller.constraint);
        constraint.merge(&rules);
        let mut own = preferences.constraint();
        own.resolve(|name| self.snapshot.slug_of(name));
        constraint.merge(&own);
        let facts: Vec<Facts> = pool.targets.iter().map(|each| each.facts(self.now_ms)).collect();
        let candidates: Vec<_> = pool
            .targets
            .iter()
            .zip(&facts)
            .map(|(target, facts)| Candidate { endpoint: &target.endpoint, facts: *facts })
            .collect();
        let ask = Ask { service: self.envelope.service, ..preferences.ask() };
        let question = Question {
            constraint: &constraint,
            ask: variants.apply(ask),
            needs: self.envelope.needs(self.body_bytes),
        };
        let plan = selection::plan(&candidates, &question, seed);
        funnel.add(&pool.model.slug, &candidates, &question, &plan);
        Planned { asked, pool, constraint, facts, seed, plan }
    }
}

/// The model before an `@preset/slug`, and the slug.
fn split_preset(name: &str) -> (&str, Option<&str>) {
    match name.split_once("@preset/") {
        Some((model, slug)) => (model, Some(slug)),
        None => (name, None),
    }
}

impl Chosen {
    /// Why each endpoint that is in no order is not.
    pub fn excluded(&self) -> impl Iterator<Item = Exclusion> {
        self.planned.iter().flat_map(|planned| planned.plan.excluded.iter().map(|(_, why)| *why))
    }

    /// The error to answer with if nothing can be tried.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let is_empty = self.planned.iter().all(|planned| planned.plan.ranked.is_empty());
        is_empty.then(|| selection::nothing_left(&self.funnel))
    }

    /// Pools, and for each the targets to try, in order. With `partition: "none"` a pool stands there
    /// once for each run of its endpoints.
    #[must_use]
    pub fn orders(self) -> (Vec<Arc<Pool>>, Vec<Vec<usize>>) {
        if !self.across {
            let each = self.planned.into_iter();
            return each.map(|it| (it.pool, it.plan.order().collect::<Vec<_>>())).unzip();
        }
        let scores = |(model, planned): (usize, &Planned)| {
            planned.plan.ranked.iter().map(move |score| (*score, model)).collect::<Vec<_>>()
        };
        let mut all: Vec<(Score, usize)> =
            self.planned.iter().enumerate().flat_map(scores).collect();
        all.sort_by_key(|(score, _)| score.key());
        let (mut pools, mut orders): (Vec<Arc<Pool>>, Vec<Vec<usize>>) = Default::default();
        let mut last = None;
        for (score, model) in all {
            let Some(planned) = self.planned.get(model) else { continue };
            if last.replace(model) != Some(model) {
                pools.push(Arc::clone(&planned.pool));
                orders.push(Vec::new());
            }
            if let Some(run) = orders.last_mut() {
                run.push(score.index);
            }
        }
        (pools, orders)
    }
}

impl Planned {
    /// The target of an index in the plan.
    #[must_use]
    pub fn target(&self, index: usize) -> Option<&Arc<Target>> {
        self.pool.targets.get(index)
    }
}
