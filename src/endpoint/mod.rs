//! Live state per endpoint and per credential: what outlives a snapshot.
//!
//! Written at the end of each attempt, read as [`crate::selection::Facts`] by selection. Atomics only, no
//! lock and no clock: `now_ms` is milliseconds since a monotonic start the caller chooses once.

mod calibration;
mod credential;
mod histogram;
mod live;
mod registry;
mod saved;
mod scope;
mod statistics;
mod sticky;
mod throttle;
mod uptime;
mod window;

pub use calibration::Calibration;
pub use credential::CredentialLive;
pub use live::{InFlight, Live};
pub use registry::Registry;
pub use saved::Saved;
pub use scope::{Scope, scope};
pub use statistics::{ErrorClass, Report, Sample, Statistics};
pub use sticky::{Stickiness, fingerprint};
pub use throttle::Throttle;
pub use window::Window;
