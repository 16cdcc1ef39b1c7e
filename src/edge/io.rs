//! A caller's connection: the deadline and the size of its request heads, and its HTTP/2 frames.
//!
//! Pingora limits each read of a head, not their sum, and takes a megabyte (P1, S1, S4). Only the
//! stream sees every read. While a request is served it passes everything on after one compare; a
//! head that comes in one read costs no clock and no timer.

use super::app::Permit;
use super::frames::PREFACE;
use super::watch::Watch;
use crate::bounds::HEAD_BYTES;
use crate::error::Error;
use crate::face;
use crate::metrics::Metrics;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// In place of a count: no head is being read.
const PASSING: usize = usize::MAX;

/// Bytes read of the head under way, or [`PASSING`].
#[derive(Debug, Default)]
struct Head(AtomicUsize);

/// A request is being served: until this drops, what arrives is no head.
#[derive(Debug)]
pub struct Serving(Arc<Head>);

impl Serving {
    /// The head that arrived on this stream is whole. `None` for a stream that is not [`Guarded`].
    #[must_use]
    pub fn begin(stream: &Stream) -> Option<Self> {
        let guarded = (**stream).as_any().downcast_ref::<Guarded>()?;
        guarded.head.0.store(PASSING, Ordering::Relaxed);
        Some(Self(Arc::clone(&guarded.head)))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
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
    /// The next byte is timed as well, from the connection's begin: it may be the first of a preface.
    first_timed: bool,
    /// Once HTTP/2 is spoken.
    h2: Option<Box<Watch>>,
    rate: u32,
    metrics: Arc<Metrics>,
    _permit: Permit,
}

impl Guarded {
    /// Guards a connection that has just been accepted; `permit` is held until it closes. On HTTP/2
    /// it may send `rate` frames a second, as [`Watch::new`] says.
    #[must_use]
    pub fn new(
        inner: Stream,
        timeout: Duration,
        rate: u32,
        metrics: Arc<Metrics>,
        permit: Permit,
    ) -> Self {
        let agreed = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        let mut guarded = Self {
            inner,
            head: Arc::default(),
            timeout,
            timer: None,
            armed: false,
            first_timed: false,
            h2: None,
            rate,
            metrics,
            _permit: permit,
        };
        if agreed {
            guarded.speak_h2();
        }
        guarded
    }

    /// What arrives from now on is a preface and frames.
    pub(super) fn speak_h2(&mut self) {
        self.h2 = Some(Box::new(Watch::new(self.rate, Arc::clone(&self.metrics))));
        self.armed = false;
        self.head.0.store(PASSING, Ordering::Relaxed);
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
        self.head.0.store(read + count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Reads what h2 will see, and ends a connection that goes too far.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let waiting = self.h2.as_ref().is_some_and(|h2| h2.is_waiting());
        let is_late = waiting && self.timer().as_mut().poll(cx).is_ready();
        let Some(h2) = self.h2.as_mut() else {
            return Pin::new(&mut self.inner).poll_read(cx, into);
        };
        if is_late {
            h2.is_late();
            return Poll::Ready(Err(late()));
        }
        let moved = ready!(h2.poll_read(&mut self.inner, cx, into))?;
        self.armed &= !moved;
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, done: &Poll<io::Result<usize>>) {
        if let (Some(h2), Poll::Ready(Ok(count))) = (self.h2.as_mut(), done) {
            h2.wrote(*count);
        }
    }

    /// Tells a caller who speaks HTTP/1 why the connection ends: one write that is not waited for.
    fn answer(&mut self, cx: &mut Context<'_>, status: u16, says: impl Into<Cow<'static, str>>) {
        let body = face::error_body(&Error::caller(status, says), None);
        let head = format!(
            "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), &body].concat();
        let mut stream = Pin::new(&mut self.inner);
        if stream.as_mut().poll_write(cx, &whole).is_ready() {
            // It fails for a caller who has gone, and nobody else can be told.
            let _: Poll<io::Result<()>> = stream.poll_flush(cx);
        }
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
        match self.head.0.load(Ordering::Relaxed) {
            PASSING if self.h2.is_some() => self.poll_frames(cx, into),
            PASSING => Pin::new(&mut self.inner).poll_read(cx, into),
            read => self.poll_head(cx, into, read),
        }
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
            self.speak_h2();
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
        let done = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(&done);
        done
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(&done);
        done
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
