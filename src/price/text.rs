//! The one text of a price version: what is hashed, and what slots, spool and ledger store.
//!
//! `kind=pico` pairs by ascending name, separated by blanks. Base prices of zero are left out, so that
//! a kind added later changes no hash; the text of a free endpoint is empty. Each override follows
//! behind ` | `: its conditions, then its pairs, zeros too.

use super::version::{DAY, Hours, Override};
use super::{PriceVersion, Rates};
use crate::usage::Kind;
use std::fmt::Write;

const BETWEEN: &str = " | ";
const PROMPT: &str = "min_prompt_tokens";
const HOURS: &str = "utc";

/// A stored price text that is not one [`PriceVersion::text`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical price text: expected kind=pico pairs by ascending kind")]
pub struct NotCanonical;

pub(super) fn write(base: &Rates, overrides: &[Override]) -> String {
    let mut kinds = Kind::ALL;
    kinds.sort_unstable_by_key(|(_, name)| *name);
    let prices = kinds.map(|(kind, _)| (kind, base.price(kind)));
    let mut text = String::new();
    pairs(prices.into_iter().filter(|(_, pico)| *pico > 0), &mut text);
    for each in overrides {
        text.push_str(BETWEEN);
        let mut own = String::new();
        // Writing to a String cannot fail.
        if each.min_prompt_tokens > 0 {
            let _ = write!(own, "{PROMPT}={}", each.min_prompt_tokens);
        }
        if let Some(Hours { start, end }) = each.hours {
            let blank = if own.is_empty() { "" } else { " " };
            let _ = write!(own, "{blank}{HOURS}={}-{}", clock(start), clock(end));
        }
        pairs(each.prices.iter().copied(), &mut own);
        text.push_str(&own);
    }
    text
}

fn pairs(prices: impl Iterator<Item = (Kind, u64)>, out: &mut String) {
    for (kind, pico) in prices {
        let blank = if out.is_empty() { "" } else { " " };
        let _ = write!(out, "{blank}{}={pico}", kind.label());
    }
}

/// A time of day as the contract writes it: `1630`.
fn clock(minutes: u16) -> String {
    format!("{:02}{:02}", minutes / 60, minutes % 60)
}

impl PriceVersion {
    /// Reads a text back, as a ledger stores it.
    ///
    /// # Errors
    /// If the text is not exactly what [`PriceVersion::text`] gives: its hash would differ.
    pub fn parse(text: &str) -> Result<Self, NotCanonical> {
        let mut parts = text.split(BETWEEN);
        let mut base = Rates::default();
        for pair in words(parts.next().unwrap_or_default()) {
            let (kind, pico) = price(pair)?;
            base.set(kind, pico);
        }
        let overrides = parts.map(read_override).collect::<Result<_, _>>()?;
        let version = Self::new(base, overrides);
        if version.text() == text { Ok(version) } else { Err(NotCanonical) }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

fn price(pair: &str) -> Result<(Kind, u64), NotCanonical> {
    let (name, pico) = pair.split_once('=').ok_or(NotCanonical)?;
    let (kind, _) = Kind::ALL.iter().find(|(_, known)| *known == name).ok_or(NotCanonical)?;
    Ok((*kind, pico.parse().map_err(|_| NotCanonical)?))
}

fn read_override(text: &str) -> Result<Override, NotCanonical> {
    let mut read = Override { min_prompt_tokens: 0, hours: None, prices: Vec::new() };
    for word in words(text) {
        match word.split_once('=').ok_or(NotCanonical)? {
            (PROMPT, tokens) => {
                read.min_prompt_tokens = tokens.parse().map_err(|_| NotCanonical)?;
            }
            (HOURS, hours) => {
                let (start, end) = hours.split_once('-').ok_or(NotCanonical)?;
                read.hours = Some(Hours { start: minutes(start)?, end: minutes(end)? });
            }
            _ => read.prices.push(price(word)?),
        }
    }
    Ok(read)
}

fn minutes(clock: &str) -> Result<u16, NotCanonical> {
    let number: u16 = clock.parse().map_err(|_| NotCanonical)?;
    let minutes = number / 100 * 60 + number % 100;
    if number % 100 < 60 && minutes < DAY { Ok(minutes) } else { Err(NotCanonical) }
}
