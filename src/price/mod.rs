//! Price versions and the cost of a usage: exact integer pico-dollars, pure (design, invariant 7).
//!
//! Configuration gives an endpoint a [`Schedule`] of versions. An attempt takes the one that holds when
//! it starts; what it costs then follows from that [`PriceVersion`], its start, and its usage.

mod amount;
mod ceiling;
mod policy;
mod rates;
mod schedule;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod version;

pub use amount::{AmountError, format_usd, parse_usd, per_token_string, reduced};
pub use ceiling::{CEILINGS, PriceCeiling, parse_ceiling};
pub use policy::Policy;
pub use rates::Rates;
pub use schedule::Schedule;
pub use table::{PRICES, Price, complete, implied};
pub use text::NotCanonical;
pub use version::{DAY, Hours, Override, PriceVersion, Terms};

/// Money in pico-dollars (10^-12 USD). Never floating point.
pub type Pico = i128;
