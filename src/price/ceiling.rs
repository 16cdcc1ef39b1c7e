//! Price ceilings: the most an endpoint may ask per unit.

use super::{Pico, Rates};
use crate::usage::Kind;

/// Prices that `max_price` can bound (contract 2.3): key, kind, and units the dollars are for. Weir
/// prices pictures and sound by the token, so their ceilings are for a million of them too.
pub const CEILINGS: [(&str, Kind, u64); 5] = [
    ("audio", Kind::InputAudio, 1_000_000),
    ("completion", Kind::Output, 1_000_000),
    ("image", Kind::InputImage, 1_000_000),
    ("prompt", Kind::Input, 1_000_000),
    ("request", Kind::Requests, 1),
];

/// Pico-dollars per unit of each of [`CEILINGS`]; `u64::MAX` bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceCeiling([u64; CEILINGS.len()]);

impl Default for PriceCeiling {
    fn default() -> Self {
        Self::OPEN
    }
}

impl PriceCeiling {
    /// Bounds nothing.
    pub const OPEN: Self = Self([u64::MAX; CEILINGS.len()]);

    /// Bounds the price of one of [`CEILINGS`] by its place; a higher bound than before is none.
    pub fn lower(&mut self, place: usize, pico: u64) {
        if let Some(cell) = self.0.get_mut(place) {
            *cell = pico.min(*cell);
        }
    }

    /// Each price bounded by the lower of both.
    #[must_use]
    pub fn min(mut self, other: Self) -> Self {
        for (place, pico) in other.0.into_iter().enumerate() {
            self.lower(place, pico);
        }
        self
    }

    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::OPEN
    }

    /// The keys that are bounded, each with the most its units may cost, in pico-dollars.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, Pico)> {
        let bounded = CEILINGS.iter().zip(self.0).filter(|(_, pico)| *pico < u64::MAX);
        bounded.map(|((key, _, per), pico)| (*key, Pico::from(pico) * Pico::from(*per)))
    }

    /// The first key whose price is over its bound, of the kinds that `concerns` this request.
    #[must_use]
    pub fn exceeded(&self, rates: &Rates, concerns: impl Fn(Kind) -> bool) -> Option<&'static str> {
        let over = |((_, kind, _), most): &(&(&str, Kind, u64), &u64)| {
            concerns(*kind) && rates.price(*kind) > **most
        };
        CEILINGS.iter().zip(&self.0).find(over).map(|((key, ..), _)| *key)
    }
}

/// Reads dollars for `per` units, as a JSON number or a string of one, as pico-dollars per unit: cut
/// off below a pico-dollar, which no price is finer than, and `u64::MAX` for what is larger. `None`
/// if the text is no decimal of 0 or more.
#[must_use]
pub fn parse_ceiling(text: &str, per: u64) -> Option<u64> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?.clamp(-999, 999)),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.clone().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = 12_i32.checked_sub_unsigned(per.max(1).ilog10())?;
    let shift = i64::from(places) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    let kept = i64::try_from(whole.len() + fraction.len()).ok()?.saturating_add(shift.min(0));
    let mut value: u64 = 0;
    let mut zeros = shift.max(0);
    for digit in digits.take(usize::try_from(kept).unwrap_or(0)) {
        value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }
    while zeros > 0 && value > 0 && value < u64::MAX {
        value = value.saturating_mul(10);
        zeros -= 1;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{format_usd, parse_usd};
    use proptest::prelude::*;

    const MILLION: u64 = 1_000_000;

    #[test]
    fn numbers_of_every_form_are_dollars() {
        let cases = [
            ("1", Some(1_000_000)),
            ("0.5", Some(500_000)),
            ("1e-1", Some(100_000)),
            ("2.5E+1", Some(25_000_000)),
            ("0", Some(0)),
            ("0e999", Some(0)),
            ("1e-999", Some(0)),
            ("0.0000019", Some(1)),
            ("1e30", Some(u64::MAX)),
            ("-1", None),
            ("", None),
            (".5", None),
            ("1.5.2", None),
            ("1e", None),
            ("$1", None),
            ("NaN", None),
        ];
        for (text, pico) in cases {
            assert_eq!(parse_ceiling(text, MILLION), pico, "{text}");
        }
        assert_eq!(parse_ceiling("0.01", 1), Some(10_000_000_000));
    }

    #[test]
    fn the_lower_bound_holds_and_the_price_at_it_passes() {
        let mut one = PriceCeiling::default();
        assert!(one.is_open());
        one.lower(3, 10);
        let mut other = PriceCeiling::default();
        other.lower(3, 7);
        other.lower(1, 5);
        let both = one.min(other);
        let price = |input, output| {
            let mut unit = [0; crate::usage::KINDS];
            unit[Kind::Input.index()] = input;
            unit[Kind::Output.index()] = output;
            Rates::new(unit)
        };
        assert_eq!(both.exceeded(&price(7, 5), |_| true), None);
        assert_eq!(both.exceeded(&price(8, 5), |_| true), Some("prompt"));
        assert_eq!(both.exceeded(&price(8, 6), |_| true), Some("completion"));
        assert_eq!(both.exceeded(&price(8, 5), |kind| kind != Kind::Input), None);
    }

    proptest! {
        #[test]
        fn reads_what_prices_are_written_as(pico in any::<u64>()) {
            let text = format_usd(i128::from(pico));
            prop_assert_eq!(parse_ceiling(&text, 1), parse_usd(&text, 1).ok());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse_ceiling(&text, MILLION);
        }
    }
}
