use super::*;
use crate::usage::{KINDS, Kind, Usage};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const HOUR_US: u64 = 3_600_000_000;

fn base() -> Rates {
    Rates::new(complete(&[(Kind::Input, 50), (Kind::Output, 80), (Kind::CacheRead, 25)]))
}

fn long(tokens: u64, prices: &[(Kind, u64)]) -> Override {
    Override { min_prompt_tokens: tokens, hours: None, prices: prices.to_vec() }
}

fn by_night(start: u16, end: u16, prices: &[(Kind, u64)]) -> Override {
    Override { hours: Some(Hours { start, end }), ..long(0, prices) }
}

#[test]
fn the_text_is_pinned_because_hashes_are_stored() {
    let mut unit = [0; KINDS];
    unit[Kind::Output.index()] = 80_000;
    unit[Kind::Input.index()] = 50_000;
    unit[Kind::CacheRead.index()] = 25_000;
    let flat = PriceVersion::flat(unit);
    assert_eq!(flat.text(), "cache_read=25000 input=50000 output=80000");
    assert_eq!(flat.hash()[..], Sha256::digest(flat.text())[..]);
    let both = Override {
        min_prompt_tokens: 200_001,
        ..by_night(990, 30, &[(Kind::Output, 9), (Kind::Input, 0)])
    };
    let version = PriceVersion::new(Rates::new(unit), vec![by_night(0, 60, &[]), both]);
    assert_eq!(
        version.text(),
        "cache_read=25000 input=50000 output=80000 | utc=0000-0100 | \
         min_prompt_tokens=200001 utc=1630-0030 input=0 output=9"
    );
    assert_eq!(PriceVersion::parse(version.text()), Ok(version));
}

#[test]
fn other_spellings_are_refused() {
    for wrong in [
        " ",
        "input",
        "input=",
        "input=-1",
        "input=+1",
        "input=01",
        "nothing=1",
        "input=1 cache_read=1",
        "input=1 input=1",
        "input=0",
        "input=1 ",
        "input=1 |",
        "input=1 | utc=1-2",
        "input=1 | utc=2400-0000",
        "input=1 | utc=0060-0000",
        "input=1 | min_prompt_tokens=0",
        "input=1 | input=2 min_prompt_tokens=9",
        "input=1 | output=2 input=3",
        "utc=0000-0100",
    ] {
        assert_eq!(PriceVersion::parse(wrong), Err(NotCanonical), "{wrong}");
    }
    assert_eq!(PriceVersion::parse("").map(|free| *free.base()), Ok(Rates::default()));
}

#[test]
fn a_long_prompt_is_priced_whole_from_its_first_token_over_the_bound() {
    let version = PriceVersion::new(base(), vec![long(200_001, &[(Kind::Input, 100)])]);
    let cost = |input, cached| {
        version.cost(&Usage::ZERO.with(Kind::Input, input).with(Kind::CacheRead, cached), 0)
    };
    assert_eq!(cost(200_000, 0), 200_000 * 50);
    assert_eq!(cost(200_001, 0), 200_001 * 100);
    assert_eq!(cost(1, 200_000), 100 + 200_000 * 25, "cached tokens count to the length");
}

#[test]
fn hours_may_pass_midnight_and_end_before_their_end() {
    let version = PriceVersion::new(base(), vec![by_night(16 * 60 + 30, 30, &[(Kind::Input, 20)])]);
    let day = 20_000 * 24 * HOUR_US;
    let minute = HOUR_US / 60;
    for (at, price) in [
        (0, 20),
        (29 * minute, 20),
        (30 * minute, 50),
        (16 * HOUR_US + 30 * minute - 1, 50),
        (16 * HOUR_US + 30 * minute, 20),
        (24 * HOUR_US - 1, 20),
    ] {
        assert_eq!(version.rates(day + at, 1).price(Kind::Input), price, "{at}");
    }
}

#[test]
fn a_later_override_wins_price_by_price_and_all_its_conditions_must_hold() {
    let both = Override { min_prompt_tokens: 10, ..by_night(0, 60, &[(Kind::Input, 3)]) };
    let night = by_night(0, 60, &[(Kind::Input, 1), (Kind::Output, 2)]);
    let version = PriceVersion::new(base(), vec![night, both]);
    let prices = |at, prompt| {
        let rates = version.rates(at, prompt);
        (rates.price(Kind::Input), rates.price(Kind::Output), rates.price(Kind::CacheRead))
    };
    assert_eq!(prices(0, 9), (1, 2, 25));
    assert_eq!(prices(0, 10), (3, 2, 25));
    assert_eq!(prices(2 * HOUR_US, 10), (50, 80, 25));
}

#[test]
fn a_schedule_changes_at_its_moment_and_begins_with_its_first() {
    let version = |input| {
        let mut unit = [0; KINDS];
        unit[Kind::Input.index()] = input;
        Arc::new(PriceVersion::flat(unit))
    };
    let schedule = Schedule::new(version(1), vec![(200, version(3)), (100, version(2))]);
    let at = |now| schedule.rates(now, 0).price(Kind::Input);
    assert_eq!([0, 99, 100, 199, 200, u64::MAX].map(at), [1, 1, 2, 2, 3, 3]);
    assert_eq!(schedule.versions().count(), 3);
}

fn overrides() -> impl Strategy<Value = Override> {
    let hours = proptest::option::of((0..DAY, 0..DAY));
    let prices = proptest::collection::vec((0..Kind::ALL.len(), any::<u64>()), 0..5);
    (any::<u64>(), hours, prices).prop_map(|(tokens, hours, prices)| Override {
        min_prompt_tokens: tokens,
        hours: hours.map(|(start, end)| Hours { start, end }),
        prices: prices.into_iter().map(|(at, pico)| (Kind::ALL[at].0, pico)).collect(),
    })
}

proptest! {
    #[test]
    fn a_text_says_all_of_its_version(
        unit in proptest::array::uniform16(any::<u64>()),
        overrides in proptest::collection::vec(overrides(), 0..4),
        at in any::<u64>(),
        prompt in any::<u64>(),
    ) {
        let version = PriceVersion::new(Rates::new(unit), overrides);
        let read = PriceVersion::parse(version.text()).unwrap();
        prop_assert_eq!(&read, &version);
        prop_assert_eq!(read.rates(at, prompt), version.rates(at, prompt));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(input|output|utc|[|= 0-9-]){0,40}") {
        let _ = PriceVersion::parse(&text);
    }
}
