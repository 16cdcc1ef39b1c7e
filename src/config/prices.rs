//! What an endpoint asks for its units: from when on, and where other prices take their place.

use super::document::Section;
use super::value::{Amount, Clock, Moment};
use crate::bounds;
use crate::price::{
    AmountError, Hours, Override, PRICES, Price, PriceVersion, Rates, Schedule, complete, implied,
    parse_usd, reduced,
};
use crate::usage::Kind;
use std::collections::HashMap;
use std::sync::Arc;

/// The keys of a price, then `MORE`.
const fn keys<const ALL: usize>(more: &[&'static str]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let mut at = 0;
    while at < ALL {
        #[allow(clippy::indexing_slicing, reason = "constant; a wrong length does not compile")]
        {
            all[at] = if at < PRICES.len() { PRICES[at].key } else { more[at - PRICES.len()] };
        }
        at += 1;
    }
    all
}

const ONE: [&str; PRICES.len() + 3] = keys(&["from", "discount", "overrides"]);
const CHANGED: [&str; PRICES.len() + 3] = keys(&["min_prompt_tokens", "utc_start", "utc_end"]);
pub(super) const PRICE: &[&str] = &ONE;
pub(super) const OVERRIDE: &[&str] = &CHANGED;

/// Price versions read so far; equal ones are one.
#[derive(Default)]
pub(super) struct Versions(HashMap<[u8; 32], Arc<PriceVersion>>);

impl Versions {
    /// The prices of an endpoint: one table, or a list of them with the date from which each holds.
    pub(super) fn read(&mut self, part: &Section<'_>) -> Option<Schedule> {
        if !part.has("price") {
            let message = "missing; expected { input = \"0.05\", output = \"0.08\" } in dollars \
                           per million tokens";
            part.problem("price", message);
            return None;
        }
        if !part.is_list("price") {
            let table = part.table("price", PRICE);
            return Some(Schedule::new(self.version(&table), Vec::new()));
        }
        let tables = part.tables("price", &[], PRICE);
        if !(1..=bounds::PRICES).contains(&tables.len()) {
            part.problem("price", format!("expected 1 to {} tables of prices", bounds::PRICES));
        }
        let mut read = Vec::new();
        let mut before = None;
        for (nth, table) in tables.iter().enumerate() {
            let from = table.get::<Moment>("from").map(|Moment(us)| us);
            let follows = from > before || nth == 0 || table.has("from") && from.is_none();
            if !follows {
                table.problem("from", "expected a date after that of the prices before it");
            }
            before = from.or(before);
            read.push((from.unwrap_or(0), self.version(table)));
        }
        let mut read = read.into_iter();
        let (_, first) = read.next()?;
        Some(Schedule::new(first, read.collect()))
    }

    fn version(&mut self, table: &Section<'_>) -> Arc<PriceVersion> {
        let discount = discount(table);
        let given = given(table, discount);
        for (kind, key) in [(Kind::Input, "input"), (Kind::Output, "output")] {
            // A price that nothing else stands in for must be said, or tokens would be given away.
            if !table.has(key) && !given.iter().any(|(own, _)| *own == kind) {
                let _ = table.required::<Amount>(key);
            }
        }
        let overrides = table.tables("overrides", &[], OVERRIDE);
        let overrides = overrides.iter().map(|part| changed(part, &given, discount)).collect();
        let version = PriceVersion::new(Rates::new(complete(&given)), overrides);
        if version.text().len() > bounds::PRICE_BYTES {
            let message = format!(
                "comes to {} bytes as the ledger writes it, where {} fit: use fewer overrides",
                version.text().len(),
                bounds::PRICE_BYTES
            );
            table.problem("overrides", message);
        }
        Arc::clone(self.0.entry(version.hash()).or_insert_with(|| Arc::new(version)))
    }
}

/// The share of each price that is not asked, in millionths.
fn discount(table: &Section<'_>) -> u32 {
    let given = table.checked("discount", |Amount(text)| match parse_usd(&text, 1_000_000) {
        Ok(millionths) if millionths <= 1_000_000 => Ok(millionths as u32),
        _ => Err("expected a share of at most 1 with up to 6 decimal places, such as \"0.15\""
            .to_owned()),
    });
    given.unwrap_or(0)
}

/// The prices of a table, pico-dollars per unit.
fn given(table: &Section<'_>, discount: u32) -> Vec<(Kind, u64)> {
    let read = |price: &Price| {
        let exact = |Amount(text)| {
            let pico = parse_usd(&text, price.per)?;
            reduced(pico, discount)
        };
        let pico = table.checked(price.key, |amount| {
            exact(amount).map_err(|error: AmountError| error.to_string())
        });
        pico.map(|pico| (price.kind, pico))
    };
    PRICES.iter().filter_map(read).collect()
}

/// Prices that take the place of those `given` beside them.
fn changed(part: &Section<'_>, given_beside: &[(Kind, u64)], discount: u32) -> Override {
    let own = given(part, discount);
    let min_prompt_tokens = part.checked("min_prompt_tokens", super::value::positive);
    let clock = |key| part.get::<Clock>(key).map(|Clock(minutes)| minutes);
    let hours = match (clock("utc_start"), clock("utc_end")) {
        (Some(start), Some(end)) if start == end => {
            part.problem("utc_end", "expected another time than utc_start");
            None
        }
        (Some(start), Some(end)) => Some(Hours { start, end }),
        (None, None) => None,
        _ => {
            let missing = if part.has("utc_start") { "utc_end" } else { "utc_start" };
            let _ = part.required::<Clock>(missing);
            None
        }
    };
    if !["min_prompt_tokens", "utc_start", "utc_end"].iter().any(|key| part.has(key)) {
        let message = "missing; expected a condition: min_prompt_tokens, or utc_start and utc_end";
        part.problem("min_prompt_tokens", message);
    }
    if own.is_empty() && !PRICES.iter().any(|price| part.has(price.key)) {
        part.problem("input", "missing; expected at least one price to change");
    }
    let prices = implied(given_beside, &own);
    Override { min_prompt_tokens: min_prompt_tokens.unwrap_or(0), hours, prices }
}
