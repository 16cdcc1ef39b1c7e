//! What stands before Pingora's proxy: the caps on connections, the TLS handshake and its deadline,
//! and a [`Guarded`] stream for each connection.

use super::ending::Ending;
use super::io::Guarded;
use super::places::Places;
use super::wire::Wire;
use crate::metrics::{ConnectionCap, Deadline};
use crate::state::State;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::{GetSocketDigest as _, Stream};
use pingora::server::ShutdownWatch;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Serves connections through `app` as long as there are not too many of them (S9).
pub struct Edge<A> {
    app: Arc<A>,
    tls: Option<Acceptor>,
    state: Arc<State>,
    places: Places,
}

impl<A> Edge<A> {
    /// `places` are shared by all listeners; limits are read anew for each connection.
    #[must_use]
    pub fn new(app: Arc<A>, tls: Option<Acceptor>, state: Arc<State>, places: Places) -> Self {
        Self { app, tls, state, places }
    }

    /// The connection inside TLS. Pingora would wait for a handshake for a minute, and log each one
    /// that fails.
    async fn handshake(&self, tls: &Acceptor, wire: Wire, most: Duration) -> Option<Stream> {
        match tokio::time::timeout(most, tls.tls_handshake(wire)).await {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(_)) => self.state.metrics.handshakes_failed.inc(),
            Err(_) => self.state.metrics.deadlines.inc(Deadline::Handshake),
        }
        None
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
        let metrics = &self.state.metrics;
        let (all, each) = (limits.connections, limits.connections_per_address);
        let mut wire = *stream.into_any().downcast::<Wire>().ok()?;
        if self.state.pressure.closes() {
            metrics.conn_refused.inc(ConnectionCap::Memory);
            return None;
        }
        let place = self.places.take(address(&wire), all, each);
        let _place = place.map_err(|cap| metrics.conn_refused.inc(cap)).ok()?;
        let ending = Ending::new(Arc::clone(&self.state.owed));
        wire.ends_in(ending.clone());
        let stream = match &self.tls {
            None => Box::new(wire),
            // Boxed, so that its kilobytes end with it and not with the connection.
            Some(tls) => Box::pin(self.handshake(tls, wire, limits.handshake_timeout)).await?,
        };
        let guarded = Guarded::new(stream, &limits, Arc::clone(metrics), ending.clone());
        let next = self.app.process_new(Box::new(guarded.checked()), shutdown).await;
        ending.end().await;
        next
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

fn address(wire: &Wire) -> Option<IpAddr> {
    let digest = wire.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
}
