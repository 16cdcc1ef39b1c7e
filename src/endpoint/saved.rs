//! Statistics as they are kept over a restart: counts by age, so that another process's clock can place
//! them.

use serde::{Deserialize, Serialize};

/// Counts of one slice of time: its age in slices, and each bucket that is not empty with its count.
pub(super) type Slices = Vec<(u64, Vec<(usize, u32)>)>;

/// Both counts of one bucket of a window, after its age in buckets.
pub(super) type Counts = Vec<(u64, u64, u64)>;

/// What is kept of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Of five minutes and of thirty.
    pub(super) latency: [Slices; 2],
    pub(super) throughput: [Slices; 2],
    /// A letter for each minute, the newest first: `+` good, `-` bad, `.` unknown.
    pub(super) uptime: String,
    pub(super) attempts: Counts,
    pub(super) cache: Counts,
    pub(super) tools: Counts,
    /// Older files have none.
    #[serde(default)]
    pub(super) finishes: Counts,
    pub(super) errors: [Counts; 3],
}
