//! A caller's connection as it was accepted: a TCP or Unix stream, unbuffered, whose socket outlives it
//! where its [`Ending`] says how it ends. Pingora's own stream cannot be told to.

use super::ending::Ending;
use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket on the runtime.
#[derive(Debug)]
pub(super) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Raw {
    /// Waits for bytes and drops them: how many, 0 at their end.
    ///
    /// # Errors
    /// As read(2).
    pub(super) async fn read_some(&mut self) -> io::Result<usize> {
        let mut dropped = [0; 1 << 10];
        match self {
            Self::Tcp(stream) => stream.read(&mut dropped).await,
            Self::Unix(stream) => stream.read(&mut dropped).await,
        }
    }
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Calls the same method of either stream.
macro_rules! raw {
    ($wire:expr, $stream:ident => $call:expr) => {
        match &mut $wire.raw {
            Some(Raw::Tcp(stream)) => {
                let $stream = Pin::new(stream);
                $call
            }
            Some(Raw::Unix(stream)) => {
                let $stream = Pin::new(stream);
                $call
            }
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

/// The stream.
#[derive(Debug)]
pub struct Wire {
    /// Until this drops.
    raw: Option<Raw>,
    /// Peeked at, and read again.
    ahead: Bytes,
    digest: Arc<SocketDigest>,
    socket: RawFd,
    ending: Option<Ending>,
}

impl Wire {
    pub(super) fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        Self::new(stream.as_raw_fd(), Some(peer), Raw::Tcp(stream))
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self::new(stream.as_raw_fd(), None, Raw::Unix(stream))
    }

    fn new(socket: RawFd, peer: Option<SocketAddr>, raw: Raw) -> Self {
        let digest = digest(socket, peer);
        Self { raw: Some(raw), ahead: Bytes::new(), digest, socket, ending: None }
    }

    /// Leaves its socket to `ending` when it drops.
    pub(super) fn ends_in(&mut self, ending: Ending) {
        self.ending = Some(ending);
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
        if let (Some(ending), Some(raw)) = (&self.ending, self.raw.take()) {
            ending.take(raw);
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
        self.socket
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
}
