//! Dollars as decimal text, to and from pico-dollars, exactly.

use super::Pico;
use std::fmt::Write;

/// Decimal places of a pico-dollar.
const PLACES: u32 = 12;
/// All of a price, in millionths.
const WHOLE: u32 = 1_000_000;

/// Why a text is not an amount that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("expected a plain decimal of dollars such as \"0.05\": digits, a point, digits")]
    NotDecimal,
    #[error("has more than {0} decimal places: it would have to be rounded; round it yourself")]
    TooFine(u32),
    #[error("is larger than any price that can be kept")]
    TooLarge,
    #[error("less the discount is no whole number of pico-dollars: write the reduced price itself")]
    Inexact,
}

/// Reads plain decimal dollars for `per` units (1, or 1 000 000 for token prices) as pico-dollars
/// per unit. Never rounds.
///
/// # Errors
/// If the text is not a plain decimal, or not a whole number of pico-dollars per unit.
pub fn parse_usd(text: &str, per: u64) -> Result<u64, AmountError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(AmountError::NotDecimal),
        None => (text, ""),
    };
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(AmountError::NotDecimal);
    }
    let places = PLACES.saturating_sub(per.max(1).ilog10());
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places as usize {
        return Err(AmountError::TooFine(places));
    }
    let padding = places as usize - fraction.len();
    let digits = format!("{whole}{fraction}{}", "0".repeat(padding));
    digits.parse().map_err(|_| AmountError::TooLarge)
}

/// A price less a discount in millionths. Never rounds.
///
/// # Errors
/// If the result is not a whole number of pico-dollars per unit.
pub fn reduced(pico: u64, discount: u32) -> Result<u64, AmountError> {
    let kept = u128::from(WHOLE.saturating_sub(discount));
    let product = u128::from(pico) * kept;
    if !product.is_multiple_of(u128::from(WHOLE)) {
        return Err(AmountError::Inexact);
    }
    u64::try_from(product / u128::from(WHOLE)).map_err(|_| AmountError::TooLarge)
}

/// Pico-dollars as plain decimal dollars: exact, no exponent, no trailing zeros (`0.0000045`, `0`).
#[must_use]
pub fn format_usd(pico: Pico) -> String {
    let unit = 10_u128.pow(PLACES);
    let size = pico.unsigned_abs();
    let mut text = String::new();
    let sign = if pico < 0 { "-" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(text, "{sign}{}", size / unit);
    if !size.is_multiple_of(unit) {
        let _ = write!(text, ".{:012}", size % unit);
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

/// A unit price as the contract's `pricing` shows it: dollars per token (contract 1.4).
#[must_use]
pub fn per_token_string(pico: u64) -> String {
    format_usd(Pico::from(pico))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLION: u64 = 1_000_000;

    #[test]
    fn dollars_per_million_are_pico_per_token() {
        assert_eq!(parse_usd("1", MILLION), Ok(1_000_000));
        assert_eq!(parse_usd("0.05", MILLION), Ok(50_000));
        assert_eq!(parse_usd("0.000001", MILLION), Ok(1));
        assert_eq!(parse_usd("0.0000010000", MILLION), Ok(1));
        assert_eq!(parse_usd("0.0000001", MILLION), Err(AmountError::TooFine(6)));
        assert_eq!(parse_usd("0.000000000001", 1), Ok(1));
        assert_eq!(parse_usd("18446744073709.551615", MILLION), Ok(u64::MAX));
        assert_eq!(parse_usd("18446744073709.551616", MILLION), Err(AmountError::TooLarge));
    }

    #[test]
    fn other_spellings_are_refused() {
        for wrong in
            ["", ".", ".5", "5.", "-1", "+1", "1e-6", "1,5", "1_000", " 1", "0x1", "1.2.3", "٣"]
        {
            assert_eq!(parse_usd(wrong, 1), Err(AmountError::NotDecimal), "{wrong}");
        }
    }

    #[test]
    fn a_discount_is_exact_or_refused() {
        assert_eq!(reduced(50_000, 150_000), Ok(42_500));
        assert_eq!(reduced(7, 0), Ok(7));
        assert_eq!(reduced(7, WHOLE), Ok(0));
        assert_eq!(reduced(7, 500_000), Err(AmountError::Inexact));
        assert_eq!(reduced(u64::MAX - 615, 0), Ok(u64::MAX - 615));
    }

    #[test]
    fn amounts_have_no_exponent_and_no_trailing_zero() {
        assert_eq!(format_usd(0), "0");
        assert_eq!(format_usd(4_500_000), "0.0000045");
        assert_eq!(format_usd(1), "0.000000000001");
        assert_eq!(format_usd(-1_500_000_000_000), "-1.5");
        assert_eq!(format_usd(100_000_000_000_000), "100");
        assert_eq!(per_token_string(400_000), "0.0000004");
    }

    proptest! {
        #[test]
        fn parse_undoes_format(pico in any::<u64>()) {
            prop_assert_eq!(parse_usd(&format_usd(Pico::from(pico)), 1), Ok(pico));
        }

        #[test]
        fn a_price_per_million_is_a_million_prices(pico in any::<u64>()) {
            let million = format_usd(Pico::from(pico) * Pico::from(MILLION));
            prop_assert_eq!(parse_usd(&million, MILLION), Ok(pico));
        }

        #[test]
        fn any_amount_formats_plainly(pico in any::<i128>()) {
            let text = format_usd(pico);
            prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-'));
            prop_assert!(!text.contains('.') || !text.ends_with('0'));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse_usd(&text, MILLION);
        }
    }
}
