//! One send for a request's head and body where Pingora makes two.
//!
//! Pingora writes and flushes the head alone. A peer that offers [`alpn`] is connected through
//! [`Merging`], whose stream keeps the head until the first body bytes come; Pingora's own HTTP/1
//! client and pool run on it unchanged. Weir's requests always have a body and a `Content-Length`.

mod merged;

pub use merged::unexpected_data;

use async_trait::async_trait;
use merged::Merged;
use pingora::connectors::http::custom::{Connection, Connector};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::ALPN;
use pingora::protocols::tls::CustomALPN;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, Result};
use std::any::Any;
use std::time::Duration;

/// Marks a peer whose HTTP/1 connections merge. Never offered on the wire.
#[must_use]
pub fn alpn() -> ALPN {
    ALPN::Custom(CustomALPN::new(b"weir-h1".to_vec()))
}

/// Connects marked peers.
pub struct Merging(TransportConnector);

impl Merging {
    /// A connector with Pingora's own options.
    #[must_use]
    pub fn new(options: Option<ConnectorOptions>) -> Self {
        Self(TransportConnector::new(options))
    }
}

#[async_trait]
impl Connector for Merging {
    type Session = ();

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<()>, bool)> {
        let Some(peer) = (peer as &dyn Any).downcast_ref::<HttpPeer>() else {
            return Error::e_explain(ErrorType::InternalError, "only HTTP peers merge");
        };
        let mut peer = peer.clone();
        peer.options.alpn = ALPN::H1;
        let stream = self.0.new_stream(&peer).await?;
        Ok((Connection::Stream(Box::new(Merged::new(stream))), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        _: (),
        _: &P,
        _: Option<Duration>,
    ) {
    }
}
