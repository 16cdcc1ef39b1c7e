use super::fixture;
use super::*;
use crate::catalog::{Endpoint, Tier};
use proptest::prelude::*;

type Pool = Vec<(Arc<Endpoint>, Facts)>;

fn candidates(pool: &Pool) -> Vec<Candidate<'_>> {
    pool.iter().map(|(endpoint, facts)| Candidate { endpoint, facts: *facts }).collect()
}

fn pool(endpoints: &[(&str, u64)]) -> Pool {
    endpoints
        .iter()
        .map(|(tag, price)| (fixture::endpoint(tag, *price), Facts::default()))
        .collect()
}

#[test]
fn the_preferred_go_first_in_their_order_unless_they_are_in_trouble() {
    let prefer = ["c".into(), "b".into()];
    let ask = Ask { prefer: &prefer, ..Ask::default() };
    let tried = |pool: &Pool, ask: Ask<'_>| {
        let made = plan(&candidates(pool), &Question { ask, ..Question::of(Layers(&[])) }, 1);
        made.order().map(|index| pool[index].0.tag.to_string()).collect::<Vec<_>>()
    };
    let mut pool = pool(&[("a", 1), ("b", 5), ("c", 9), ("d", 2)]);
    assert_eq!(tried(&pool, ask)[..2], ["c", "b"]);
    assert_eq!(tried(&pool, Ask { sort: Some(Sort::Price), ..ask }), ["c", "b", "a", "d"]);
    let order = ["d".into()];
    assert_eq!(tried(&pool, Ask { order: &order, ..ask })[..3], ["d", "c", "b"]);
    pool[2].1.outage = true;
    assert_eq!(tried(&pool, ask)[0], "b");
    assert_eq!(tried(&pool, ask)[3], "c");
    pool[0].1.warm = true;
    assert_eq!(tried(&pool, ask)[0], "a", "a cached prompt is worth more");
}

#[test]
fn what_is_pinned_opts_in_to_its_tier() {
    let mut flex = fixture::endpoint("a/flex", 1);
    Arc::get_mut(&mut flex).unwrap().tier = Some(Tier::Flex);
    let pool: Pool = vec![(flex, Facts::default()), (fixture::endpoint("b", 1), Facts::default())];
    let pinned = ["a/flex".into()];
    let only = Constraint { only: Some(pinned.to_vec()), ..Constraint::default() };
    let layers = [&only];
    let question = Question::of(Layers(&layers));
    assert!(plan(&candidates(&pool), &question, 1).ranked.is_empty(), "a tier is asked for");
    let ask = Ask { pinned: &pinned, ..Ask::default() };
    assert_eq!(order(&plan(&candidates(&pool), &Question { ask, ..question }, 1)), [0]);
}

/// The plan of a request with this constraint and no wishes.
fn plan_for(candidates: &[Candidate<'_>], constraint: &Constraint, seed: u64) -> Plan {
    plan(candidates, &Question::of(Layers(&[constraint])), seed)
}

fn order(plan: &Plan) -> Vec<usize> {
    plan.order().collect()
}

fn slugs(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|slug| Arc::from(*slug)).collect()
}

#[test]
fn one_dollar_against_three_is_chosen_nine_to_one() {
    let pool = pool(&[("a", 1_000_000), ("b", 3_000_000)]);
    let candidates = candidates(&pool);
    let first = (0..100_000)
        .filter(|seed| order(&plan_for(&candidates, &Constraint::default(), *seed)) == [0, 1])
        .count();
    assert!((89_000..=91_000).contains(&first), "{first} of 100000 instead of 90000");
}

#[test]
fn an_unstable_provider_goes_last() {
    let mut pool = pool(&[("a", 1), ("b", 2), ("c", 3)]);
    pool[1].1.outage = true;
    for seed in 0..200 {
        let plan = plan_for(&candidates(&pool), &Constraint::default(), seed);
        assert_eq!(order(&plan).last(), Some(&1));
    }
}

#[test]
fn fallbacks_follow_by_price_and_equal_prices_take_turns() {
    let pool = pool(&[("a", 9), ("b", 1), ("c", 5), ("d", 5)]);
    let mut seen = [false; 2];
    for seed in 0..500 {
        let plan = plan_for(&candidates(&pool), &Constraint::default(), seed);
        if order(&plan)[0] == 1 {
            assert_eq!(order(&plan)[3], 0);
            seen[usize::from(order(&plan)[1] == 3)] = true;
        }
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn an_asked_order_is_kept_and_the_rest_follow() {
    let mut pool = pool(&[("a", 1), ("b/x", 7), ("b/y", 5), ("c", 3), ("d", 2)]);
    pool[3].1.outage = true;
    pool[4].1.outage = true;
    let order = |asked: &[&str], no_fallbacks| {
        let constraint = Constraint { no_fallbacks, ..Constraint::default() };
        let asked = slugs(asked);
        let ask = Ask { order: &asked, ..Ask::default() };
        order(&plan(
            &candidates(&pool),
            &Question { ask, ..Question::of(Layers(&[&constraint])) },
            1,
        ))
    };
    assert_eq!(order(&["C", "b"], false), [3, 2, 1, 0, 4]);
    assert_eq!(order(&["b/x", "B"], false), [1, 2, 0, 4, 3]);
    assert_eq!(order(&["b/x", "c"], true), [1, 3]);
}

#[test]
fn without_fallbacks_only_the_drawn_one_stays() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    let constraint = Constraint { no_fallbacks: true, ..Constraint::default() };
    let plan = plan_for(&candidates(&pool), &constraint, 9);
    assert_eq!(plan.ranked.len(), 1);
    assert!(plan.excluded.iter().all(|(_, why)| *why == Exclusion::NoFallbacks));
}

#[test]
fn slugs_name_a_provider_or_one_tag_and_display_names_do() {
    let pool = pool(&[("deepinfra", 1), ("deepinfra/turbo", 1), ("other", 1)]);
    let left = |only: &str| {
        let constraint = Constraint { only: Some(slugs(&[only])), ..Constraint::default() };
        let mut order = order(&plan_for(&candidates(&pool), &constraint, 0));
        order.sort_unstable();
        order
    };
    assert_eq!(left("deepinfra"), [0, 1]);
    assert_eq!(left("DeepInfra/Turbo"), [1]);
    // The fixture's display name is `Name of <slug>`.
    assert_eq!(left("name of DEEPINFRA"), [0, 1]);
    assert_eq!(left("deep"), [] as [usize; 0]);
}

#[test]
fn at_most_half_the_pool_is_ejected_and_the_spared_ones_change() {
    let mut pool = pool(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    for (_, facts) in pool.iter_mut().skip(1) {
        facts.ejected = true;
    }
    let mut spared = [0; 4];
    for seed in 0..300 {
        let plan = plan_for(&candidates(&pool), &Constraint::default(), seed);
        assert_eq!((plan.ranked.len(), order(&plan)[0]), (2, 0));
        spared[order(&plan)[1]] += 1;
    }
    assert!(spared.iter().skip(1).all(|count| *count > 60), "{spared:?}");
}

#[test]
fn when_all_are_down_all_but_the_cooling_are_used() {
    let mut pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    pool[0].1.down = true;
    pool[1].1.ejected = true;
    pool[1].1.down = true;
    pool[2].1.cooling = true;
    let plan = plan_for(&candidates(&pool), &Constraint::default(), 1);
    assert_eq!(plan.excluded, [(2, Exclusion::Cooling)]);
    assert_eq!(plan.ranked.len(), 2);
}

#[test]
fn data_policy_excludes_and_a_dormant_provider_is_never_chosen() {
    let pool: Pool = [(false, false), (true, false), (false, true)]
        .map(|(trains, retains)| {
            (
                fixture::endpoint_with("p", 1, |p| {
                    p.policy.trains = trains;
                    p.policy.retains = retains;
                }),
                Facts::default(),
            )
        })
        .into_iter()
        .chain([(fixture::endpoint_with("dormant", 1, |p| p.keyless = false), Facts::default())])
        .collect();
    let excluded = |zdr, no_collection| {
        let constraint = Constraint { zdr, no_collection, ..Constraint::default() };
        plan_for(&candidates(&pool), &constraint, 1).excluded
    };
    assert_eq!(excluded(false, false), [(3, Exclusion::Dormant)]);
    assert_eq!(excluded(true, false), [(2, Exclusion::Zdr), (3, Exclusion::Dormant)]);
    assert_eq!(
        excluded(false, true),
        [(1, Exclusion::DataPolicy), (2, Exclusion::DataPolicy), (3, Exclusion::Dormant)]
    );
}

fn pools() -> impl Strategy<Value = Pool> {
    let facts = any::<[bool; 4]>().prop_map(|[down, ejected, cooling, outage]| Facts {
        down,
        ejected,
        cooling,
        outage,
        ..Facts::default()
    });
    let tag = prop::sample::select(vec!["a", "a/x", "b", "b/y", "c", "d"]);
    let endpoint = (tag, 0..4_u64, any::<[bool; 2]>(), facts).prop_map(
        |(tag, price, [trains, retains], facts)| {
            let endpoint = fixture::endpoint_with(tag, price, |provider| {
                provider.policy.trains = trains;
                provider.policy.retains = retains;
            });
            (endpoint, facts)
        },
    );
    prop::collection::vec(endpoint, 0..9)
}

fn constraints() -> impl Strategy<Value = Constraint> {
    let list = || {
        prop::collection::vec(prop::sample::select(vec!["a", "a/x", "b", "B/Y", "c"]), 0..4)
            .prop_map(|list| slugs(&list))
    };
    (prop::option::of(list()), list(), any::<[bool; 3]>()).prop_map(
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

proptest! {
    #[test]
    fn every_candidate_is_in_exactly_one_list(
        pool in pools(), constraint in constraints(), seed: u64
    ) {
        let candidates = candidates(&pool);
        let made = plan_for(&candidates, &constraint, seed);
        let mut all = order(&made);
        all.extend(made.excluded.iter().map(|(index, _)| *index));
        all.sort_unstable();
        prop_assert_eq!(all, (0..pool.len()).collect::<Vec<_>>());
        prop_assert_eq!(plan_for(&candidates, &constraint, seed), made);
    }

    #[test]
    fn policy_is_never_broken_and_cooling_never_used(
        pool in pools(), constraint in constraints(), seed: u64
    ) {
        let candidates = candidates(&pool);
        let made = plan_for(&candidates, &constraint, seed);
        for index in made.order() {
            let (endpoint, facts) = &pool[index];
            let policy = endpoint.provider.policy;
            prop_assert!(!facts.cooling);
            prop_assert!(!(constraint.zdr && policy.retains));
            prop_assert!(!(constraint.no_collection && (policy.trains || policy.retains)));
            prop_assert!(!constraint::names_any(&constraint.ignore, endpoint));
            if let Some(only) = &constraint.only {
                prop_assert!(constraint::names_any(only, endpoint));
            }
        }
        // Down ones serve only where nothing else is left.
        let is_up = |index: &usize| !pool[*index].1.down && !pool[*index].1.ejected;
        if made.order().any(|index| is_up(&index)) {
            prop_assert!(made.order().all(|index| !pool[index].1.down));
        }
        if made.order().any(|index| is_up(&index) && !pool[index].1.outage) {
            let first = made.ranked[0].index;
            prop_assert!(is_up(&first) && !pool[first].1.outage);
        }
    }

    /// If policy leaves anything that does not cool, something is tried.
    #[test]
    fn nothing_is_refused_that_could_be_tried(pool in pools(), seed: u64) {
        let made = plan_for(&candidates(&pool), &Constraint::default(), seed);
        prop_assert_eq!(made.ranked.is_empty(), pool.iter().all(|(_, facts)| facts.cooling));
    }
}

/// Who policy and capabilities leave in: all that nothing live, no preference and no lack of
/// fallbacks has taken out.
fn allowed(plan: &Plan) -> Vec<usize> {
    let softly = |(_, why): &&(usize, Exclusion)| {
        why.is_live() || matches!(why, Exclusion::Capability | Exclusion::NoFallbacks)
    };
    let soft = plan.excluded.iter().filter(softly).map(|(index, _)| *index);
    let mut all: Vec<usize> = plan.order().chain(soft).collect();
    all.sort_unstable();
    all
}

proptest! {
    /// Adding a constraint never adds an endpoint, and both together allow what each allows.
    #[test]
    fn constraints_only_narrow(
        pool in pools(), one in constraints(), other in constraints(), seed: u64
    ) {
        let candidates = candidates(&pool);
        let mut both = one.clone();
        both.merge(&other);
        let left = allowed(&plan_for(&candidates, &one, seed));
        let right = allowed(&plan_for(&candidates, &other, seed));
        let merged = allowed(&plan_for(&candidates, &both, seed));
        let expected: Vec<usize> = left.into_iter().filter(|index| right.contains(index)).collect();
        prop_assert_eq!(&merged, &expected);
        let laid = plan(&candidates, &Question::of(Layers(&[&one, &other])), seed);
        prop_assert_eq!(laid, plan_for(&candidates, &both, seed));
    }
}
