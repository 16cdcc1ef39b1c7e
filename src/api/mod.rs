//! Bodies of the contract's routes that Weir answers itself.

#[cfg(test)]
mod fixture;
pub mod generation;
pub mod models;
