//! A caller's connection: the deadline and the size of its request heads.
//!
//! Pingora limits each read of a head, not their sum, and takes a megabyte (P1, S1, S4). Only the
//! stream sees every read. While a request is served it passes everything on after one compare; a
//! head that comes in one read costs no clock and no timer.

mod checked;
mod wire;
#[cfg(test)]
mod wire_tests;

use super::app::Permit;
use crate::bounds::HEAD_BYTES;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use wire::Wire;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4); its heads are HTTP/2's matter.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// In place of a count: no head is being read.
const PASSING: usize = usize::MAX;

/// What a stream and the request served on it know of each other.
#[derive(Debug, Default)]
struct Head {
    /// Bytes read of the head under way, or [`PASSING`].
    read: AtomicUsize,
    /// More was sent behind the request being served.
    pipelined: AtomicBool,
}

/// A request is being served: until this drops, what arrives is no head.
#[derive(Debug)]
pub struct Serving(Arc<Head>);

impl Serving {
    /// The head that arrived on this stream is whole. `None` for a stream that is not [`Guarded`].
    #[must_use]
    pub fn begin(stream: &Stream) -> Option<Self> {
        let guarded = (**stream).as_any().downcast_ref::<Guarded>()?;
        guarded.head.read.store(PASSING, Ordering::Relaxed);
        Some(Self(Arc::clone(&guarded.head)))
    }

    /// Whether the caller sent more behind this request: the connection closes after it (P22).
    #[must_use]
    pub fn is_pipelined(&self) -> bool {
        self.0.pipelined.load(Ordering::Relaxed)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.read.store(0, Ordering::Relaxed);
    }
}

/// A stream that fails when a request head takes too long or is too large.
#[derive(Debug)]
pub struct Guarded {
    inner: Stream,
    head: Arc<Head>,
    /// From a head's first byte to its last.
    timeout: Duration,
    /// Kept from head to head.
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer runs for the head under way.
    armed: bool,
    /// The next byte is timed as well, from the connection's begin: of a preface it may be the first.
    first_timed: bool,
    /// HTTP/2 was agreed on with TLS.
    h2: bool,
    /// `None` for HTTP/2.
    wire: Option<Wire>,
    /// The timer runs for the connection's end.
    closing: bool,
    _permit: Permit,
}

impl Guarded {
    /// Guards a connection that has just been accepted; `permit` is held until it closes.
    #[must_use]
    pub fn new(inner: Stream, timeout: Duration, permit: Permit) -> Self {
        let h2 = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        Self {
            inner,
            head: Arc::default(),
            timeout,
            timer: None,
            armed: false,
            first_timed: h2,
            h2,
            wire: None,
            closing: false,
            _permit: permit,
        }
    }

    /// Reads bytes of a head of which `read` have come.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        read: usize,
    ) -> Poll<io::Result<()>> {
        if (read > 0 || self.first_timed) && self.timer().as_mut().poll(cx).is_ready() {
            self.answer(cx, 408, "Request Timeout: the request head was not whole in time");
            return Poll::Ready(Err(late()));
        }
        let left = HEAD_BYTES.saturating_sub(read);
        if left == 0 {
            let says = format!("Request Header Fields Too Large: at most {HEAD_BYTES} bytes");
            self.answer(cx, 431, says.clone());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, says)));
        }
        let before = into.filled().len();
        ready!(self.poll_some(cx, into, left))?;
        let count = into.filled().len().saturating_sub(before);
        if count == 0 {
            return Poll::Ready(Ok(()));
        }
        if read == 0 {
            self.armed = std::mem::take(&mut self.first_timed);
        }
        let total = read + count;
        let preface_over = self.h2 && total >= PREFACE.len();
        self.head.read.store(if preface_over { PASSING } else { total }, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Reads at most `most` bytes, so that a body behind a head does not count as one.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        if into.remaining() <= most {
            return Pin::new(&mut self.inner).poll_read(cx, into);
        }
        let mut part = ReadBuf::new(into.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        into.advance(count);
        Poll::Ready(Ok(()))
    }

    /// The timer, set for the head under way. Pingora reads on at once after a part of a head, so
    /// setting it at the second read is as good as at the first byte.
    fn timer(&mut self) -> &mut Pin<Box<Sleep>> {
        let timeout = self.timeout;
        let fresh = self.timer.is_none();
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if !self.armed && !fresh {
            timer.as_mut().reset(Instant::now() + timeout);
        }
        self.armed = true;
        timer
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a request head that was not whole in time")
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_checked(cx, into)
    }
}

#[async_trait]
impl Peek for Guarded {
    /// Waits for as many bytes as a preface has, no longer than for a head.
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.first_timed = true;
        self.armed = true;
        let timer = self.timer.insert(Box::pin(tokio::time::sleep(self.timeout)));
        let peeked = tokio::select! {
            biased;
            peeked = self.inner.try_peek(into) => peeked?,
            () = timer.as_mut() => return Err(late()),
        };
        if into == PREFACE {
            self.wire = None;
            self.head.read.store(PASSING, Ordering::Relaxed);
        }
        Ok(peeked)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}
