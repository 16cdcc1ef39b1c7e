//! Selection, live state, attempts and budget together, under a virtual clock and seeded outages.
//!
//! A failure names its seed; `WEIR_SEED=<seed>` runs that one alone.

use super::attempts::{Attempts, Choice};
use super::budget::RetryBudget;
use crate::bounds::{
    ATTEMPTS_PER_MODEL, RETRY_BUDGET_FLOOR, RETRY_BUDGET_PERCENT, RETRY_BUDGET_WINDOW,
};
use crate::catalog::Endpoint;
use crate::endpoint::Live;
use crate::outcome::Outcome;
use crate::selection::{
    Candidate, Exclusion, Facts, Layers, Plan, Question, SplitMix64, fixture, plan,
};
use crate::usage::Kind;
use std::sync::Arc;

const SECONDS: u64 = 120;
/// Long enough for the longest ejection and for the window of outages to pass.
const REST_SECONDS: u64 = 340;
const REQUESTS_PER_SECOND: u64 = 100;

struct Simulated {
    endpoint: Arc<Endpoint>,
    live: Arc<Live>,
    /// As a pool of one address is after a failed connection.
    down_until: u64,
    /// From, until, and how requests end meanwhile.
    outages: Vec<(u64, u64, Outcome)>,
}

impl Simulated {
    fn facts(&self, now_ms: u64) -> Facts {
        Facts { down: now_ms < self.down_until, ..self.live.facts(now_ms) }
    }

    fn answer(&self, now_ms: u64, random: &mut SplitMix64) -> Outcome {
        let during = |(from, until, _): &&(u64, u64, Outcome)| (*from..*until).contains(&now_ms);
        if let Some((.., outcome)) = self.outages.iter().find(during) {
            return *outcome;
        }
        match random.below(500) {
            0 => Outcome::Reset,
            1 => Outcome::ClientFault,
            2 => Outcome::ClientAbort,
            _ => Outcome::Ok,
        }
    }
}

struct World {
    seed: u64,
    random: SplitMix64,
    /// Two models, asked for in this order by every request.
    models: [Vec<Simulated>; 2],
    budget: RetryBudget,
    requests: u64,
    retries: u64,
    served: u64,
}

impl World {
    fn new(seed: u64, blackout: bool) -> Self {
        let mut random = SplitMix64::new(seed);
        let models = [4, 2].map(|count| {
            (0..count).map(|nth| Self::endpoint(nth, blackout, &mut random)).collect()
        });
        let budget = RetryBudget::default();
        Self { seed, random, models, budget, requests: 0, retries: 0, served: 0 }
    }

    fn endpoint(nth: usize, blackout: bool, random: &mut SplitMix64) -> Simulated {
        const ENDS: [Outcome; 5] = [
            Outcome::ServerError,
            Outcome::RateLimited,
            Outcome::FirstContentTimeout,
            Outcome::Refused,
            Outcome::Empty,
        ];
        let outages = (0..3).map(|_| {
            let from = random.bits() % (SECONDS * 1_000);
            let until = (from + random.bits() % 30_000).min(SECONDS * 1_000);
            (from, until, ENDS[random.below(ENDS.len())])
        });
        let outages = match (blackout, nth) {
            (true, _) => vec![(0, SECONDS * 1_000, Outcome::ServerError)],
            // One of each model stays up: then there is always somewhere to go.
            (false, 0) => Vec::new(),
            (false, _) => outages.collect(),
        };
        Simulated {
            endpoint: fixture::endpoint(&format!("p{nth}"), random.bits() % 4),
            live: Arc::default(),
            down_until: 0,
            outages,
        }
    }

    fn plan(&mut self, model: usize, now_ms: u64) -> Plan {
        let seed = self.random.bits();
        let candidates: Vec<_> = self.models[model]
            .iter()
            .map(|s| Candidate { endpoint: &s.endpoint, facts: s.facts(now_ms) })
            .collect();
        let plan = plan(&candidates, &Question::of(Layers(&[])), seed);
        let healthy = |index: &usize| {
            let facts = candidates[*index].facts;
            !(facts.cooling || facts.ejected || facts.down || facts.outage)
        };
        if (0..candidates.len()).any(|index| healthy(&index)) {
            assert!(
                plan.order().next().is_some_and(|index| healthy(&index)),
                "seed {}: {plan:?}",
                self.seed
            );
        }
        assert!(
            plan.order().all(|index| !candidates[index].facts.cooling),
            "seed {}: a cooling endpoint is planned",
            self.seed
        );
        let ejected = |(_, why): &&(usize, Exclusion)| *why == Exclusion::Ejected;
        assert!(plan.excluded.iter().filter(ejected).count() <= candidates.len() / 2);
        plan
    }

    /// One request from plan to end. Returns the endpoint that served it.
    fn request(&mut self, now_ms: u64) -> Option<Choice> {
        let plans = [0, 1].map(|model| self.plan(model, now_ms));
        let mut attempts = Attempts::new(plans.iter().map(|plan| plan.order().collect()).collect());
        let mut dispatched = [0; 2];
        self.requests += 1;
        self.budget.request(now_ms);
        let mut charged = false;
        while let Some(choice) = attempts.next(|| {
            charged = self.budget.withdraw(now_ms);
            charged
        }) {
            self.retries += u64::from(charged);
            charged = false;
            let target = &mut self.models[choice.model][choice.candidate];
            let _in_flight = target.live.enter();
            let outcome = target.answer(now_ms, &mut self.random);
            target.live.record(outcome, now_ms, None);
            if outcome == Outcome::Refused {
                target.down_until = now_ms + 1_000;
            }
            dispatched[choice.model] += usize::from(outcome.dispatched());
            if outcome == Outcome::Ok {
                self.served += 1;
                return Some(choice);
            }
            attempts.failed(outcome, 500, None);
        }
        assert!(
            dispatched.iter().all(|count| *count <= ATTEMPTS_PER_MODEL),
            "seed {}: {dispatched:?} dispatched",
            self.seed
        );
        None
    }

    fn run(&mut self, from_s: u64, until_s: u64) {
        for second in from_s..until_s {
            for nth in 0..REQUESTS_PER_SECOND {
                self.request(second * 1_000 + nth * 1_000 / REQUESTS_PER_SECOND);
            }
        }
        // Windows that do not overlap each hold a fifth of their requests and the floor.
        let windows = (until_s - from_s).div_ceil(RETRY_BUDGET_WINDOW.as_secs());
        let floor = windows * RETRY_BUDGET_FLOOR * RETRY_BUDGET_WINDOW.as_secs();
        assert!(
            self.retries <= self.requests * RETRY_BUDGET_PERCENT / 100 + floor,
            "seed {}: {} retries for {} requests",
            self.seed,
            self.retries,
            self.requests
        );
    }
}

fn seeds() -> Vec<u64> {
    let one = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    one.map_or_else(|| (1..=12).collect(), |seed| vec![seed])
}

#[test]
fn outages_are_routed_around_and_forgotten() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut world = World::new(seed, false);
        world.run(0, SECONDS);
        let share = world.served * 100 / world.requests;
        assert!(share >= 98, "seed {seed}: served {share} % through outages");

        // Nothing stays out for ever: after a rest every endpoint may serve again.
        let later = (SECONDS + REST_SECONDS) * 1_000;
        for model in 0..2 {
            let plan = world.plan(model, later);
            assert_eq!(plan.excluded, [], "seed {seed}");
            assert!(world.models[model].iter().all(|s| !s.live.facts(later).outage));
        }
        let free = |s: &Simulated| s.endpoint.price.at(0).base().price(Kind::Input) == 0;
        let served: Vec<_> = (0..500).filter_map(|_| world.request(later)).collect();
        assert!(served.len() > 480, "seed {seed}: served {} of 500", served.len());
        if world.models[0].iter().any(free) {
            assert!(
                served.iter().any(|choice| free(&world.models[choice.model][choice.candidate]))
            );
        }
    }
}

#[test]
fn a_blackout_is_met_with_no_storm_and_ends_with_it() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut world = World::new(seed, true);
        world.run(0, SECONDS);
        assert_eq!(world.served, 0);
        let later = (SECONDS + REST_SECONDS) * 1_000;
        let served = (0..500).filter_map(|_| world.request(later)).count();
        assert!(served > 480, "seed {seed}: served {served} of 500 after the blackout");
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let course = |seed| {
        let mut world = World::new(seed, false);
        world.run(0, 10);
        (world.requests, world.retries, world.served, world.random.bits())
    };
    assert_eq!(course(5), course(5));
    assert_ne!(course(5), course(6));
}
