//! What wraps Pingora on the caller's side: the held session and its clocks.
//!
//! Pingora has no phase that reads a whole body, keeps a reply head back until content comes, or
//! times an attempt, and no way to write while an upstream is silent. One session type of ours gives
//! all four and the rest of the code never sees it: `proxy` calls [`held::hold`] and
//! [`held::give_back`] only.

pub mod clock;
pub mod held;
pub mod merge;
mod silence;
