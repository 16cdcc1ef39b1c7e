//! What the process shares: the snapshot in force, and everything that outlives it.

use crate::access::Keys;
use crate::edge::clock::now_ms;
use crate::ledger::Ledger;
use crate::metrics::{EndpointMetrics, EndpointState, LedgerDepth, Metrics};
use crate::snapshot::Snapshot;
use crate::upstream::budget::RetryBudget;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One per process.
#[derive(Debug)]
pub struct State {
    pub snapshot: ArcSwap<Snapshot>,
    /// Apart from the snapshot: a new key rebuilds nothing else.
    pub keys: ArcSwap<Keys>,
    pub ledger: Arc<Ledger>,
    pub metrics: Metrics,
    pub budget: RetryBudget,
    active: AtomicUsize,
}

impl State {
    /// The state at start.
    #[must_use]
    pub fn new(snapshot: Snapshot, keys: Keys, ledger: Arc<Ledger>, metrics: Metrics) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            keys: ArcSwap::from_pointee(keys),
            ledger,
            metrics,
            budget: RetryBudget::default(),
            active: AtomicUsize::new(0),
        }
    }

    /// Counts a request as under way until the guard drops.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }

    /// Requests under way.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// The text exposition, as of now.
    ///
    /// # Errors
    /// The registry holds a family that cannot be written: a bug of ours.
    pub fn scrape(&self) -> prometheus::Result<String> {
        let depth = self.ledger.depth();
        self.metrics.scrape(&LedgerDepth::from(&depth), self.endpoint_states())
    }

    fn endpoint_states(&self) -> Vec<(Arc<EndpointMetrics>, EndpointState)> {
        let now = now_ms();
        let snapshot = self.snapshot.load();
        snapshot
            .targets()
            .map(|target| (Arc::clone(&target.metrics), target.state(now)))
            .collect()
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Active(Arc<State>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
