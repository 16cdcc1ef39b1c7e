//! Price versions and the cost of a usage: exact integer pico-dollars, pure (design, invariant 7).

use crate::usage::{KINDS, Usage};

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

impl PriceVersion {
    /// Cost of a usage at these prices, in pico-dollars; saturates instead of wrapping.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Pico {
        self.unit.iter().zip(usage.0.iter()).fold(0, |total: Pico, (price, count)| {
            total.saturating_add(Pico::from(*price).saturating_mul(Pico::from(*count)))
        })
    }
}
