//! A caller's connection as it was accepted: a TCP or Unix stream, unbuffered, that can end in a reset.
//!
//! A caller that does not read keeps the kernel at it long after a stream was closed: only a reset
//! frees what is still to be sent (F45). Pingora's own stream cannot be told to.

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Makes a connection end in a reset instead of going on sending.
#[derive(Debug, Clone, Default)]
pub struct Reset(Arc<AtomicBool>);

impl Reset {
    /// From now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls the same method of either stream.
macro_rules! raw {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &mut $wire.raw {
            Raw::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Raw::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

/// The stream.
#[derive(Debug)]
pub struct Wire {
    raw: Raw,
    /// Peeked at, and read again.
    ahead: Bytes,
    digest: Arc<SocketDigest>,
    reset: Reset,
}

impl Wire {
    pub(super) fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        let digest = digest(stream.as_raw_fd(), Some(peer));
        Self { raw: Raw::Tcp(stream), ahead: Bytes::new(), digest, reset: Reset::default() }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        let digest = digest(stream.as_raw_fd(), None);
        Self { raw: Raw::Unix(stream), ahead: Bytes::new(), digest, reset: Reset::default() }
    }

    /// What makes it end in a reset.
    #[must_use]
    pub fn reset(&self) -> Reset {
        self.reset.clone()
    }
}

fn digest(socket: RawFd, peer: Option<SocketAddr>) -> Arc<SocketDigest> {
    let digest = SocketDigest::from_raw_fd(socket);
    // One that was just made has no address yet.
    let _: Result<(), _> = digest.peer_addr.set(peer.map(Into::into));
    Arc::new(digest)
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let (Raw::Tcp(stream), true) = (&self.raw, self.reset.0.load(Ordering::Relaxed)) {
            // It fails for a connection that is gone already.
            drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return raw!(self, stream => stream.poll_read(cx, into));
        }
        let count = self.ahead.len().min(into.remaining());
        into.put_slice(self.ahead.get(..count).unwrap_or_default());
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        raw!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        raw!(self, stream => stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        raw!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        raw!(self, stream => stream.poll_shutdown(cx))
    }
}

#[async_trait]
impl Peek for Wire {
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.read_exact(into).await?;
        self.ahead = Bytes::copy_from_slice(into);
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // It fails for a caller who has gone.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        match &self.raw {
            Raw::Tcp(stream) => stream.as_raw_fd(),
            Raw::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Ssl for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        (Wire::tcp(stream, peer), caller)
    }

    #[tokio::test]
    async fn a_peek_takes_nothing() {
        let (mut wire, mut caller) = pair().await;
        caller.write_all(b"preface and more").await.unwrap();
        let mut seen = [0; 7];
        assert!(wire.try_peek(&mut seen).await.unwrap());
        assert_eq!(&seen, b"preface");
        let mut all = [0; 16];
        wire.read_exact(&mut all[..3]).await.unwrap();
        wire.read_exact(&mut all[3..]).await.unwrap();
        assert_eq!(&all, b"preface and more");
    }

    #[tokio::test]
    async fn a_reset_drops_what_is_not_sent_and_a_close_does_not() {
        for resets in [false, true] {
            let (mut wire, mut caller) = pair().await;
            wire.write_all(b"answer").await.unwrap();
            if resets {
                wire.reset().set();
            }
            drop(wire);
            let mut all = Vec::new();
            let ended = caller.read_to_end(&mut all).await;
            let error = ended.err().map(|error| error.kind());
            assert_eq!(error, resets.then_some(io::ErrorKind::ConnectionReset));
        }
    }
}
