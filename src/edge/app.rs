//! What stands before Pingora's proxy: the cap on connections, and a [`Guarded`] stream for each.

use super::io::Guarded;
use crate::state::State;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Serves connections through `app` as long as there are not too many of them (S9).
pub struct Edge<A> {
    app: Arc<A>,
    state: Arc<State>,
    connections: Connections,
}

impl<A> Edge<A> {
    /// `connections` is shared by all listeners; limits are read anew for each connection.
    #[must_use]
    pub fn new(app: A, state: Arc<State>, connections: Connections) -> Self {
        Self { app: Arc::new(app), state, connections }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Edge<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let limits = self.state.snapshot.load().settings.limits;
        let Some(permit) = self.connections.admit(limits.connections) else {
            self.state.metrics.conn_refused.inc();
            return None;
        };
        let metrics = Arc::clone(&self.state.metrics);
        let guarded =
            Guarded::new(stream, limits.head_timeout, limits.h2_frame_rate, metrics, permit);
        let (app, shutdown) = (Arc::clone(&self.app), shutdown.clone());
        // In a task of its own, because the one that shook hands keeps 9 kB for that until it ends.
        tokio::spawn(async move { app.process_new(Box::new(guarded), &shutdown).await });
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

/// Open connections of callers.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// A place for one more, if fewer than `most` are taken.
    #[must_use]
    pub fn admit(&self, most: usize) -> Option<Permit> {
        let taken = self.0.fetch_add(1, Ordering::Relaxed);
        // Dropped at once where there is no place.
        let permit = Permit(Arc::clone(&self.0));
        (taken < most).then_some(permit)
    }
}

/// The place of one connection, free again when this drops.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_the_cap_says_now() {
        let connections = Connections::default();
        let taken: Vec<_> = (0..3).filter_map(|_| connections.admit(2)).collect();
        assert_eq!(taken.len(), 2);
        assert!(connections.admit(2).is_none(), "a refusal takes no place and frees none");
        assert!(connections.admit(3).is_some(), "a reload can raise the cap");
        drop(taken);
        assert!(connections.admit(1).is_some());
    }
}
