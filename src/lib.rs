//! Weir: one edge proxy and one API key in front of every model and provider.
//!
//! `ARCHITECTURE.md` is the map. The binary is a thin caller of [`cli`]; benches and tests use the
//! rooms directly.

pub mod access;
pub mod admin;
pub mod api;
pub mod bounds;
pub mod catalog;
pub mod certificate;
pub mod choose;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod edge;
pub mod endpoint;
pub mod error;
pub mod face;
pub mod host;
pub mod judge;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod memory;
pub mod meter;
pub mod metrics;
pub mod outcome;
pub mod pressure;
pub mod price;
pub mod proxy;
pub mod reload;
pub mod request;
pub mod rules;
pub mod selection;
pub mod server;
pub mod shutdown;
pub mod snapshot;
pub mod state;
pub mod statistics;
pub mod systemd;
pub mod tools;
pub mod upstream;
pub mod usage;
