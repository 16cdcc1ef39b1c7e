//! Price versions and the cost of a usage: exact integer pico-dollars, pure (design, invariant 7).

mod amount;
mod ceiling;
mod expected;
mod table;

pub use amount::{AmountError, format_usd, parse_usd, per_token_string};
pub use ceiling::{CEILINGS, PriceCeiling, parse_ceiling};
pub use table::{PRICES, Price, complete};

use crate::usage::{KINDS, Kind, Usage};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Money in pico-dollars (10^-12 USD). Never floating point.
pub type Pico = i128;

/// One immutable set of prices. A record names it by `hash` and is never repriced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    /// SHA-256 of the canonical text: what a ledger row stores.
    pub hash: [u8; 32],
    /// Pico-dollars per unit of each kind, indexed as [`crate::usage::Kind`].
    pub unit: [u64; KINDS],
}

/// A stored price text that is not one [`PriceVersion::canonical`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical price text: expected kind=pico pairs by ascending kind")]
pub struct NotCanonical;

impl PriceVersion {
    /// The version with these prices; spare cells without a kind count as zero.
    #[must_use]
    pub fn new(unit: [u64; KINDS]) -> Self {
        let mut named = [0; KINDS];
        for (kind, _) in Kind::ALL {
            if let (Some(to), Some(from)) = (named.get_mut(kind.index()), unit.get(kind.index())) {
                *to = *from;
            }
        }
        let mut version = Self { hash: [0; 32], unit: named };
        version.hash = Sha256::digest(version.canonical().as_bytes()).into();
        version
    }

    /// Pico-dollars per unit of one kind.
    #[must_use]
    pub fn price(&self, kind: Kind) -> u64 {
        self.unit.get(kind.index()).copied().unwrap_or(0)
    }

    /// Cost of a usage at these prices, in pico-dollars; saturates instead of wrapping.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Pico {
        self.unit.iter().zip(usage.0.iter()).fold(0, |total: Pico, (price, count)| {
            total.saturating_add(Pico::from(*price).saturating_mul(Pico::from(*count)))
        })
    }

    /// `kind=pico` pairs by ascending kind name, separated by one blank; zero prices are left out,
    /// so that a kind added later changes no hash. Empty for a free endpoint.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut kinds = Kind::ALL;
        kinds.sort_unstable_by_key(|(_, name)| *name);
        let mut text = String::new();
        for (kind, name) in kinds {
            let price = self.price(kind);
            if price > 0 {
                let blank = if text.is_empty() { "" } else { " " };
                // Writing to a String cannot fail.
                let _ = write!(text, "{blank}{name}={price}");
            }
        }
        text
    }

    /// Reads a canonical text back, as a ledger stores it.
    ///
    /// # Errors
    /// If the text is not exactly what [`PriceVersion::canonical`] writes: its hash would differ.
    pub fn parse(canonical: &str) -> Result<Self, NotCanonical> {
        let mut unit = [0; KINDS];
        for pair in canonical.split(' ').filter(|pair| !pair.is_empty()) {
            let (name, price) = pair.split_once('=').ok_or(NotCanonical)?;
            let (kind, _) =
                Kind::ALL.iter().find(|(_, known)| *known == name).ok_or(NotCanonical)?;
            let cell = unit.get_mut(kind.index()).ok_or(NotCanonical)?;
            *cell = price.parse().map_err(|_| NotCanonical)?;
        }
        let version = Self::new(unit);
        if version.canonical() == canonical { Ok(version) } else { Err(NotCanonical) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_text_is_pinned_because_hashes_are_stored() {
        let mut unit = [0; KINDS];
        unit[Kind::Output.index()] = 80_000;
        unit[Kind::Input.index()] = 50_000;
        unit[Kind::CacheRead.index()] = 25_000;
        let version = PriceVersion::new(unit);
        assert_eq!(version.canonical(), "cache_read=25000 input=50000 output=80000");
        assert_eq!(version.hash[..], Sha256::digest(version.canonical())[..]);
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
        ] {
            assert_eq!(PriceVersion::parse(wrong), Err(NotCanonical), "{wrong}");
        }
        assert_eq!(PriceVersion::parse("").map(|free| free.unit), Ok([0; KINDS]));
    }

    #[test]
    fn cost_is_exact_and_saturates() {
        let version = PriceVersion::new([u64::MAX; KINDS]);
        let usage = Usage::ZERO.with(Kind::Input, 3).with(Kind::Output, 4);
        assert_eq!(version.cost(&usage), Pico::from(u64::MAX) * 7);
        let most = version.cost(&Usage([u64::MAX; KINDS]));
        assert!(most > 0, "an absurd usage must not wrap into a credit");
    }

    proptest! {
        #[test]
        fn canonical_text_round_trips(unit in proptest::array::uniform16(any::<u64>())) {
            let version = PriceVersion::new(unit);
            prop_assert_eq!(PriceVersion::parse(&version.canonical()), Ok(version));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = PriceVersion::parse(&text);
        }
    }
}
