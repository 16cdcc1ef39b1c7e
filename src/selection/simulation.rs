//! Twenty endpoints under a virtual clock: outages, slow-downs, price changes, recoveries.
//!
//! A failure names its seed; `WEIR_SEED=<seed>` runs that one alone, `WEIR_SEEDS=<count>` more of them.

use super::{
    Ask, Candidate, Constraint, Exclusion, Facts, Layers, Needs, Plan, Question, SplitMix64,
    fixture, plan,
};
use crate::catalog::Endpoint;
use crate::endpoint::{Live, Sample, Stickiness, fingerprint};
use crate::outcome::Outcome;
use crate::price::PriceVersion;
use crate::usage::{KINDS, Kind};
use std::sync::Arc;

const ENDPOINTS: usize = 20;
const REQUESTS: u64 = 120;
/// Between two requests.
const STEP_MS: u64 = 500;
const OUTAGE_MS: u64 = 30_000;

struct Host {
    endpoint: Arc<Endpoint>,
    live: Arc<Live>,
    failing: bool,
    slow: bool,
    last_failures: Vec<u64>,
}

struct World {
    random: SplitMix64,
    hosts: Vec<Host>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let host = |nth: usize, random: &mut SplitMix64| {
            let keeps = random.below(4) == 0;
            let endpoint = fixture::endpoint_with(&format!("p{nth}"), 1 + random.bits() % 9, |p| {
                p.policy.retains = keeps;
            });
            Host {
                endpoint,
                live: Arc::default(),
                failing: false,
                slow: false,
                last_failures: Vec::new(),
            }
        };
        let hosts = (0..ENDPOINTS).map(|nth| host(nth, &mut random)).collect();
        Self { random, hosts }
    }

    /// Something happens to one host.
    fn turn(&mut self) {
        let nth = self.random.below(ENDPOINTS);
        let event = self.random.below(4);
        let price = 1 + self.random.bits() % 9;
        let host = &mut self.hosts[nth];
        match event {
            0 => host.failing = !host.failing,
            1 => host.slow = !host.slow,
            2 => host.failing = false,
            _ => {
                let mut unit = [0; KINDS];
                unit[Kind::Input.index()] = price;
                let endpoint = Arc::get_mut(&mut host.endpoint).expect("no plan is kept");
                endpoint.price = PriceVersion::flat(unit).into();
            }
        }
    }

    fn facts(&self, now: u64) -> Vec<Facts> {
        self.hosts.iter().map(|host| host.live.facts(now)).collect()
    }

    fn plan(&self, facts: &[Facts], question: &Question<'_>, seed: u64) -> Plan {
        let pairs = self.hosts.iter().zip(facts);
        let candidates: Vec<_> = pairs
            .map(|(host, facts)| Candidate { endpoint: &host.endpoint, facts: *facts })
            .collect();
        plan(&candidates, question, seed)
    }

    fn attempt(&mut self, index: usize, now: u64) -> Outcome {
        let host = &mut self.hosts[index];
        let outcome = if host.failing { Outcome::ServerError } else { Outcome::Ok };
        host.live.record(outcome, now, None);
        let sample = Sample {
            outcome,
            status: 200,
            first_content_ms: Some(if host.slow { 4_000 } else { 300 }),
            elapsed_ms: 1_000,
            output_tokens: 50,
            prompt_tokens: 100,
            cached_tokens: 0,
            cut_short: None,
        };
        host.live.measure(&sample, now);
        if outcome == Outcome::ServerError {
            host.last_failures.push(now);
        } else {
            host.last_failures.clear();
        }
        outcome
    }
}

fn check(seed: u64, world: &World, facts: &[Facts], made: &Plan, zdr: bool, now: u64) {
    let out: Vec<usize> = made.excluded.iter().map(|(index, _)| *index).collect();
    let usable = |index: usize| !(zdr && world.hosts[index].endpoint.policy.retains);
    for index in made.order() {
        assert!(!out.contains(&index), "seed {seed}: {index} is excluded and chosen");
        assert!(usable(index), "seed {seed}: {index} retains");
        assert!(!facts[index].cooling, "seed {seed}: {index} cools");
    }
    // Three failures in a row in the last 30 s are an outage; it may lead only where nobody is well.
    let in_outage = |index: usize| {
        let recent = |at: &&u64| now - **at < OUTAGE_MS - 3_000;
        world.hosts[index].last_failures.iter().rev().take(3).filter(recent).count() == 3
    };
    let is_well = |index: usize| {
        let facts = &facts[index];
        usable(index) && !(facts.outage || facts.cooling || facts.ejected || facts.down)
    };
    let first = made.order().next();
    if (0..ENDPOINTS).any(is_well) {
        let first = first.expect("someone is well");
        assert!(!in_outage(first), "seed {seed}: the outage of {first} is ignored at {now}");
    } else if (0..ENDPOINTS).any(|index| usable(index) && !facts[index].cooling) {
        assert!(first.is_some(), "seed {seed}: refused though someone could be tried");
    }
}

fn seeds() -> Vec<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match read("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (1..=read("WEIR_SEEDS").unwrap_or(150)).collect(),
    }
}

#[test]
fn no_excluded_endpoint_is_chosen_and_no_outage_ignored() {
    for seed in seeds() {
        let mut world = World::new(seed);
        let constraints = [false, true].map(|zdr| Constraint { zdr, ..Constraint::default() });
        for nth in 0..REQUESTS {
            let now = nth * STEP_MS;
            if world.random.below(4) == 0 {
                world.turn();
            }
            let zdr = world.random.below(3) == 0;
            let constraint = &constraints[usize::from(zdr)];
            let ask = Ask { max_latency: [Some(1_000), None, None, None], ..Ask::default() };
            let layers = [constraint];
            let question = Question { ask, ..Question::of(Layers(&layers)) };
            let facts = world.facts(now);
            let draw = world.random.bits();
            let made = world.plan(&facts, &question, draw);
            check(seed, &world, &facts, &made, zdr, now);
            for index in made.order().take(3).collect::<Vec<_>>() {
                if world.attempt(index, now) == Outcome::Ok {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_sole_healthy_candidate_is_never_refused() {
    for seed in seeds() {
        let mut world = World::new(seed);
        let well = world.random.below(ENDPOINTS);
        for (nth, host) in world.hosts.iter_mut().enumerate() {
            host.failing = nth != well;
        }
        let only = Some(vec![Arc::clone(&world.hosts[well].endpoint.tag)]);
        let constraints = [Constraint { only, ..Constraint::default() }, Constraint::default()];
        for nth in 0..REQUESTS {
            let now = nth * STEP_MS;
            let facts = world.facts(now);
            let constraint = &constraints[usize::from(nth % 2 == 1)];
            let draw = world.random.bits();
            let made = world.plan(&facts, &Question::of(Layers(&[constraint])), draw);
            let order: Vec<usize> = made.order().collect();
            assert!(order.contains(&well), "seed {seed}: the healthy one is out");
            if constraint.only.is_some() {
                assert_eq!(order, [well], "seed {seed}");
            }
            for index in order.into_iter().take(3) {
                if world.attempt(index, now) == Outcome::Ok {
                    break;
                }
            }
        }
    }
}

/// Fifty turns of one conversation; returns where each was served and how many found a warm cache.
fn converse(sticks: bool, dies_at: Option<usize>, seed: u64) -> (Vec<usize>, usize) {
    let mut hosts: Vec<Arc<Endpoint>> = Vec::new();
    for nth in 0..4 {
        let mut endpoint = fixture::endpoint(&format!("p{nth}"), 1_000);
        let edited = Arc::get_mut(&mut endpoint).expect("it is new");
        let mut unit = [0; KINDS];
        unit[Kind::Input.index()] = 1_000;
        unit[Kind::CacheRead.index()] = 100;
        edited.price = PriceVersion::flat(unit).into();
        hosts.push(endpoint);
    }
    let (table, key) = (Stickiness::new(64), 42);
    let (mut served, mut hits, mut random) = (Vec::new(), 0, SplitMix64::new(seed));
    let mut cached = [false; 4];
    let mut dead = None;
    for turn in 0..50_usize {
        let now = turn as u64 * 20_000;
        if dies_at == Some(turn) {
            dead = served.last().copied();
        }
        let last = table.find(key, now).filter(|_| sticks);
        let facts = |nth: usize| Facts {
            warm: last == Some(fingerprint(&hosts[nth].id)),
            down: dead == Some(nth),
            ..Facts::default()
        };
        let candidates: Vec<_> =
            (0..4).map(|nth| Candidate { endpoint: &hosts[nth], facts: facts(nth) }).collect();
        let needs = Needs { likely_tokens: 5_000, ..Needs::default() };
        let question = Question { needs, ..Question::of(Layers(&[])) };
        let made = plan(&candidates, &question, random.bits());
        assert!(made.excluded.iter().all(|(_, why)| *why == Exclusion::Down));
        let first = made.ranked[0].index;
        hits += usize::from(cached[first]);
        cached[first] = true;
        table.keep(key, fingerprint(&hosts[first].id), now);
        served.push(first);
    }
    (served, hits)
}

#[test]
fn a_conversation_stays_moves_once_and_does_not_flap() {
    for seed in seeds() {
        let (served, hits) = converse(true, None, seed);
        assert!(served.iter().all(|index| *index == served[0]), "seed {seed}: {served:?}");
        assert_eq!(hits, 49);
        let (served, hits) = converse(true, Some(20), seed);
        let moves = served.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!((moves, hits), (1, 48), "seed {seed}: {served:?}");
    }
    let without: usize = (0..20).map(|seed| converse(false, None, seed).1).sum();
    assert!(without <= 20 * 48, "four endpoints warm up one after the other: {without}");
}
