//! Bodies of the contract's routes that Weir answers itself.

pub mod activity;
pub mod endpoints;
pub mod entry;
mod feed;
#[cfg(test)]
mod fixture;
pub mod generation;
pub mod listing;
mod models;
mod pricing;
pub mod providers;
pub mod query;

pub use feed::KIND as FEED;
