//! Money as exact decimal text.

use crate::price::Pico;

const PLACES: usize = 12;

/// Pico-dollars in USD: no exponent, no trailing zeros, nothing rounded.
pub(super) fn usd(pico: Pico) -> String {
    let digits = format!("{:0>width$}", pico.unsigned_abs(), width = PLACES + 1);
    let (whole, fraction) = digits.split_at(digits.len() - PLACES);
    let fraction = fraction.trim_end_matches('0');
    let sign = if pico < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::usd;

    #[test]
    fn every_digit_is_kept_and_none_added() {
        for (pico, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (400_000, "0.0000004"),
            (1_000_000_000_000, "1"),
            (1_500_000_000_000, "1.5"),
            (-250_000_000_000, "-0.25"),
            (i128::MAX, "170141183460469231731687303.715884105727"),
        ] {
            assert_eq!(usd(pico), text);
        }
    }
}
