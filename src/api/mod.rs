//! Bodies of the contract's routes that Weir answers itself.

mod decimal;
#[cfg(test)]
mod fixture;
pub mod generation;
pub mod models;
