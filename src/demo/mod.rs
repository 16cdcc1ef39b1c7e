//! `weir demo`: three simulated providers on real sockets, the configuration that names them, and what
//! is printed. Tests and the bench use the providers too.
//!
//! [`fleet`] is the table of who serves what; [`upstream`] plays one provider; [`conf`] writes the
//! files `weir run` would be given; [`banner`] and [`line`] are all that a newcomer sees.

mod answer;
mod ask;
mod cache;
pub mod conf;
mod failure;
pub mod fleet;
mod host;
mod show;
pub mod upstream;

pub use host::{Hosted, serve, service};
pub use show::{Running, banner, heading, line};
