//! From a request to plans: which pools it means, what holds for it, what selection makes of it. The
//! proxy sends by it, `weir explain` prints it.

mod conversation;
mod explain;
mod resolve;
mod routing;

pub use conversation::Conversation;
pub use explain::Explanation;

use crate::access::Caller;
use crate::catalog::Parameters;
use crate::endpoint::Report;
use crate::error::Error;
use crate::request::envelope::Envelope;
use crate::request::preferences::ProviderPreferences;
use crate::rules::Decision;
use crate::selection::{
    self, Ask, Candidate, Constraint, Exclusion, Facts, Funnel, Layers, Needs, OPEN, Plan,
    Question, Score, Variants,
};
use crate::snapshot::{Pool, Snapshot, Target};
use conversation::rewards;
use http::{HeaderMap, HeaderName};
use std::sync::Arc;

/// Where a caller may name its conversation, beside `session_id` of the body (contract 2.2).
pub static X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");

/// An authenticated request whose body has been understood, at one moment.
pub struct Request<'a> {
    pub snapshot: &'a Snapshot,
    pub caller: &'a Caller,
    pub envelope: &'a Envelope,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// What is known of a target now.
    pub facts: &'a dyn Fn(&Target) -> Facts,
    /// What is told of a target now; asked only where a request is explained.
    pub report: &'a dyn Fn(&Target) -> Report,
    /// The fingerprint of the target where a conversation was last, by its key.
    pub last: &'a dyn Fn(u64) -> Option<u32>,
    /// Of the draws of the first model; each further one has the next.
    pub seed: u64,
    /// It is only explained: no rule counts it.
    pub dry: bool,
    /// Unix microseconds.
    pub now_us: u64,
}

/// The plan for one model.
pub struct Planned<'a> {
    /// What was asked for, by which name ever.
    pub asked: &'a str,
    pub pool: &'a Arc<Pool>,
    pub seed: u64,
    pub plan: Plan,
    /// What the plan was made of.
    candidates: Vec<Candidate<'a>>,
    needs: Needs,
    /// Fallbacks are off: of all that is planned only the first may be tried.
    sole: bool,
    /// A router stands for it.
    routed: bool,
    /// The rules that matched, where it is only explained.
    rules: Vec<&'a str>,
}

/// A model to plan for.
struct Wanted<'a> {
    asked: &'a str,
    pool: &'a Arc<Pool>,
    variants: Variants,
    /// What rules say.
    rules: Decision<'a>,
    /// A router stands for it.
    routed: bool,
}

impl Wanted<'_> {
    /// Whether it would be served by the same endpoints in the same way.
    fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.pool, other.pool) && self.variants == other.variants
    }
}

/// What a request comes to.
#[derive(Default)]
pub struct Chosen<'a> {
    pub planned: Vec<Planned<'a>>,
    pub conversation: Option<Conversation>,
    /// Whether endpoints of all models are tried in one order.
    across: bool,
}

impl<'a> Request<'a> {
    /// Plans for every model the request names.
    ///
    /// # Errors
    /// A rule's refusal; a model that does not exist or is not for this caller. Empty plans are none:
    /// [`Chosen::refusal`] makes them one.
    pub fn choose(&self) -> Result<Chosen<'a>, Error> {
        let preset = self.preset()?;
        let preferences = match preset {
            Some(preset) if !self.envelope.has_provider => &preset.provider,
            _ => &self.envelope.provider,
        };
        // The request's own object takes its place, but loosens nothing that keeps prompts private.
        let private = preset.map(|preset| preset.provider.constraint.privacy()).unwrap_or_default();
        let mut wanted = self.wanted(preset)?;
        let could_stick = |wanted: &Wanted<'_>| {
            wanted.pool.targets.iter().any(|it| rewards(&it.endpoint.price, self.now_us))
        };
        // A sort of its own, be it by a variant, is an order that none of a rule takes the place of.
        let unsorted =
            wanted.iter().filter(|it| preferences.sort.is_none() && it.variants.sort.is_none());
        let defaults = unsorted.filter_map(|it| it.rules.defaults).next();
        let across = preferences.across_models || defaults.is_some_and(|by| by.across_models);
        let ordered =
            !preferences.order.is_empty() || defaults.is_some_and(|by| !by.order.is_empty());
        let sticks = !ordered && wanted.iter().any(could_stick);
        let mut conversation = sticks.then(|| self.conversation()).flatten();
        if let Some(conversation) = &mut conversation {
            self.recall(conversation, &mut wanted);
        }
        let plan = |(wanted, nth): (Wanted<'a>, u64)| {
            let seed = self.seed.wrapping_add(nth);
            self.plan(&wanted, (preferences, &private), seed, conversation)
        };
        let mut planned: Vec<_> = wanted.into_iter().zip(0..).map(plan).collect();
        // A router's choice is the first that fits the request.
        let of_one_router = |a: &Planned<'_>, b: &Planned<'_>| a.routed && a.asked == b.asked;
        for models in planned.chunk_by_mut(of_one_router) {
            models.sort_by_key(Planned::lacks);
        }
        Ok(Chosen { planned, conversation, across })
    }

    fn conversation(&self) -> Option<Conversation> {
        let session = self.headers.get(&X_SESSION_ID).and_then(|value| value.to_str().ok());
        Conversation::of(&self.caller.workspace, self.envelope, self.body, session)
    }

    fn plan(
        &self,
        wanted: &Wanted<'a>,
        (preferences, private): (&ProviderPreferences, &Constraint),
        seed: u64,
        conversation: Option<Conversation>,
    ) -> Planned<'a> {
        let Wanted { asked, pool, variants, rules, routed } = wanted;
        let pin = rules.pin.unwrap_or(&OPEN);
        let own = &preferences.constraint;
        let layers = [&self.caller.constraint, &*rules.constraint, pin, private, own];
        let key = conversation.map(|conversation| conversation.key(&pool.model.slug));
        let last = key.and_then(self.last);
        let candidate = |target: &'a Arc<Target>| {
            let warm =
                last == Some(target.fingerprint) && rewards(&target.endpoint.price, self.now_us);
            Candidate { endpoint: &target.endpoint, facts: Facts { warm, ..(self.facts)(target) } }
        };
        let candidates: Vec<_> = pool.targets.iter().map(candidate).collect();
        let bytes = self.body.len();
        let mut question = question(self.envelope, preferences, *variants, Layers(&layers), bytes);
        if let Some(defaults) = rules.defaults {
            question.ask = question.ask.or(&defaults.ask());
        }
        question.now_us = self.now_us;
        question.ask.prefer = rules.prefer;
        question.ask.pinned = pin.only.as_deref().unwrap_or_default();
        let plan = selection::plan(&candidates, &question, seed);
        let (needs, sole) = (question.needs, question.is_sole());
        let rules = rules.matched.clone();
        Planned { asked, pool, seed, plan, candidates, needs, sole, routed: *routed, rules }
    }
}

/// What selection is asked for one model of a request.
#[must_use]
pub fn question<'a>(
    envelope: &Envelope,
    preferences: &'a ProviderPreferences,
    variants: Variants,
    constraints: Layers<'a>,
    body_bytes: usize,
) -> Question<'a> {
    let ask = Ask { service: envelope.service, ..preferences.ask() };
    Question { constraints, ask: variants.apply(ask), needs: envelope.needs(body_bytes), now_us: 0 }
}

impl Chosen<'_> {
    /// Why each endpoint that is in no order is not.
    pub fn excluded(&self) -> impl Iterator<Item = Exclusion> {
        self.planned.iter().flat_map(|planned| planned.plan.excluded.iter().map(|(_, why)| *why))
    }

    /// The error to answer with if nothing can be tried.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let is_empty = self.planned.iter().all(|planned| planned.plan.ranked.is_empty());
        is_empty.then(|| {
            let mut funnel = Funnel::default();
            self.planned.iter().for_each(|planned| planned.fill(&mut funnel));
            selection::nothing_left(&funnel)
        })
    }

    /// Pools, and for each the targets to try, in order. With `partition: "none"` a pool stands there
    /// once for each run of its endpoints.
    #[must_use]
    pub fn orders(self) -> (Vec<Arc<Pool>>, Vec<Vec<usize>>) {
        if !self.across {
            let each = self.planned.into_iter();
            return each.map(|it| (Arc::clone(it.pool), it.plan.order().collect())).unzip();
        }
        let (mut pools, mut orders): (Vec<Arc<Pool>>, Vec<Vec<usize>>) = Default::default();
        let mut last = None;
        for (score, model) in self.tried() {
            let Some(planned) = self.planned.get(model) else { continue };
            if last.replace(model) != Some(model) {
                pools.push(Arc::clone(planned.pool));
                orders.push(Vec::new());
            }
            if let Some(run) = orders.last_mut() {
                run.push(score.index);
            }
        }
        (pools, orders)
    }

    /// All that is tried, in order, each with the place of its model.
    fn tried(&self) -> Vec<(Score, usize)> {
        let scores = |(model, planned): (usize, &Planned<'_>)| {
            planned.plan.ranked.iter().map(move |score| (*score, model)).collect::<Vec<_>>()
        };
        let mut all: Vec<(Score, usize)> =
            self.planned.iter().enumerate().flat_map(scores).collect();
        if self.across {
            all.sort_by_key(|(score, _)| score.key());
            if self.planned.iter().any(|planned| planned.sole) {
                all.truncate(1);
            }
        }
        all
    }
}

impl<'a> Planned<'a> {
    /// Endpoints left after each step that took some out; first all there were.
    #[must_use]
    pub fn steps(&self) -> Vec<(&'static str, usize)> {
        let mut funnel = Funnel::default();
        self.fill(&mut funnel);
        funnel.steps().collect()
    }

    /// Whether what is preferred of an endpoint was asked for, and none of these has it.
    fn lacks(&self) -> bool {
        let first = self.plan.ranked.first().and_then(|score| self.candidates.get(score.index));
        let mut wishes =
            Parameters::PREFERRED.into_iter().filter(|wish| self.needs.parameters.has(*wish));
        first.is_some_and(|first| wishes.any(|wish| !first.endpoint.parameters.has(wish)))
    }

    fn fill(&self, funnel: &mut Funnel) {
        funnel.add(self.asked, &self.needs, &self.plan, &self.candidates);
    }

    /// The target of an index in the plan.
    #[must_use]
    pub fn target(&self, index: usize) -> Option<&'a Arc<Target>> {
        self.pool.targets.get(index)
    }
}
