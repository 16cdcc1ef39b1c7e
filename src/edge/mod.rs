//! What wraps Pingora on the caller's side: connections, the held session and its clocks.
//!
//! [`accept`] takes connections from the sockets of [`socket`]; [`app`] finds each a place, does its TLS
//! handshake and gives it the stream of [`io`], which watches over request heads and slow readers and,
//! with `watch`, over the `frames` of HTTP/2.
//!
//! Pingora has no phase that reads a whole body, keeps a reply head back until content comes, or
//! times an attempt, and no way to write while an upstream is silent. One session type of ours gives
//! all four and the rest of the code never sees it: `proxy` calls [`held::hold`] and
//! [`held::give_back`] only.

pub mod accept;
pub mod app;
mod burst;
pub mod clock;
pub mod ending;
pub mod extract;
mod frames;
pub mod head;
pub mod held;
pub mod io;
#[cfg(test)]
mod io_tests;
pub mod merge;
mod pace;
pub mod places;
mod silence;
pub mod socket;
mod through;
mod timer;
mod watch;
pub mod wire;
