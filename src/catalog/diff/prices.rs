//! What an endpoint's prices change: of every version, and of every override in it.

use super::super::Endpoint;
use crate::price::{Hours, Override, PRICES, Pico, Price, Rates, format_usd};
use crate::usage::Kind;
use std::collections::BTreeMap;

/// Prices that hold together, by their kind: a version's own, or those of one of its overrides.
type Block = Vec<(Kind, u64)>;

/// `input 0.59 -> 0.49` for each price that differs, in dollars as configuration writes them: for a
/// million tokens, or each. Those of a later version, or of an override, begin with when they hold.
/// Without an old endpoint, the prices themselves.
pub(super) fn changed(old: Option<&Endpoint>, new: &Endpoint) -> Vec<String> {
    let (was, is) = (old.map(blocks).unwrap_or_default(), blocks(new));
    let mut all: Vec<_> = was.keys().chain(is.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let mut said = Vec::new();
    for at in all {
        let (was, is) = (was.get(at), is.get(at));
        for price in &PRICES {
            // A price that only repeats the one it falls back to says nothing.
            let speaks = [was, is].into_iter().flatten().any(|block| !repeats(block, price));
            let [was, is] = [was, is].map(|block| of(block?, price.kind));
            if !speaks || was == is {
                continue;
            }
            let dollars = |pico: Option<u64>| match pico {
                Some(pico) => format_usd(Pico::from(pico).saturating_mul(Pico::from(price.per))),
                None => "none".to_owned(),
            };
            let before = old.map(|_| format!("{} -> ", dollars(was))).unwrap_or_default();
            said.push(format!("{}{} {before}{}", at.title, price.key, dollars(is)));
        }
    }
    said
}

/// Where a block stands; sorts by date and then as it takes effect.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    from: Option<u64>,
    /// 0 for the version's own prices, then its overrides.
    nth: usize,
    title: String,
}

fn blocks(it: &Endpoint) -> BTreeMap<Place, Block> {
    let mut blocks = BTreeMap::new();
    for (from, version) in it.price.dated() {
        let date = from.map(|us| format!("from {} ", moment(us))).unwrap_or_default();
        blocks.insert(Place { from, nth: 0, title: date.clone() }, own(version.base()));
        for (nth, each) in (1..).zip(version.overrides()) {
            let title = format!("{date}override {nth} {} ", condition(each));
            blocks.insert(Place { from, nth, title }, each.prices.clone());
        }
    }
    blocks
}

/// Prices of a version; one by the piece that is not given is none.
fn own(rates: &Rates) -> Block {
    let given = PRICES.iter().map(|price| (price, rates.price(price.kind)));
    let given = given.filter(|(price, pico)| price.per > 1 || *pico > 0);
    given.map(|(price, pico)| (price.kind, pico)).collect()
}

fn of(block: &Block, kind: Kind) -> Option<u64> {
    block.iter().find(|(known, _)| *known == kind).map(|(_, pico)| *pico)
}

fn repeats(block: &Block, price: &Price) -> bool {
    price.or.is_some_and(|or| of(block, or) == of(block, price.kind))
}

/// When an override holds, as configuration writes it.
fn condition(each: &Override) -> String {
    let mut keys = Vec::new();
    if each.min_prompt_tokens > 0 {
        keys.push(format!("min_prompt_tokens = {}", each.min_prompt_tokens));
    }
    if let Some(Hours { start, end }) = each.hours {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        keys.push(format!("utc_start = \"{}\", utc_end = \"{}\"", clock(start), clock(end)));
    }
    format!("{{ {} }}", keys.join(", "))
}

/// A day, or a time where it is not midnight in UTC.
fn moment(us: u64) -> String {
    let at = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    // Configuration holds no moment that is none.
    let text = at.unwrap_or(jiff::Timestamp::MAX).to_string();
    text.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(text)
}
