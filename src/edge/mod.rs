//! What wraps Pingora on the caller's side: connections, the held session and its clocks.
//!
//! [`app`] counts connections and gives each the stream of [`io`], which watches over request heads
//! and, with `watch`, over the `frames` of HTTP/2.
//!
//! Pingora has no phase that reads a whole body, keeps a reply head back until content comes, or
//! times an attempt, and no way to write while an upstream is silent. One session type of ours gives
//! all four and the rest of the code never sees it: `proxy` calls [`held::hold`] and
//! [`held::give_back`] only.

pub mod app;
pub mod clock;
pub mod extract;
mod frames;
pub mod held;
pub mod io;
#[cfg(test)]
mod io_tests;
pub mod merge;
mod silence;
mod timer;
mod watch;
