//! A caller's connection: the deadline and the size of its request heads, and the pace at which it
//! takes what is sent.
//!
//! Pingora limits each read of a head, not their sum, and takes a megabyte (P1, S1, S4); it limits
//! each write by itself, so a stall of a second or a trickle without end decides (P3). Only the
//! stream sees every read and write. While a request is served it passes everything on after one
//! compare; a head that comes in one read costs no clock and no timer.

use super::pace::{Pace, Taken};
use super::places::Place;
use super::wire::Reset;
use crate::bounds::HEAD_BYTES;
use crate::config::Limits;
use crate::error::Error;
use crate::face;
use crate::metrics::{Deadline, Metrics};
use async_trait::async_trait;
use pingora::protocols::{ALPN, Peek, Stream};
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4); its heads are HTTP/2's matter.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that wait for more before they are sent: a reply's head goes with the body behind it.
const SEGMENT_BYTES: usize = 1_460;

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

/// A stream that fails when a request head takes too long or is too large, and when its caller does
/// not take what is sent.
#[derive(Debug)]
pub struct Guarded {
    pub(super) inner: BufWriter<Stream>,
    head: Arc<Head>,
    /// From a head's first byte to its last.
    timeout: Duration,
    /// From the connection's begin to its first byte.
    idle: Duration,
    /// Kept from head to head.
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer runs for the head under way.
    armed: bool,
    /// The next byte is timed as well, from the connection's begin: of a preface it may be the first.
    first_timed: bool,
    /// No byte has come yet.
    fresh: bool,
    /// A head is waited for that has not begun.
    waiting: bool,
    /// HTTP/2 was agreed on with TLS.
    h2: bool,
    pace: Pace,
    /// The pace was too slow, and that has been counted.
    cut: bool,
    /// Of the connection itself.
    reset: Reset,
    metrics: Arc<Metrics>,
    _place: Place,
}

impl Guarded {
    /// Guards a connection that has just been accepted; `place` is held until it closes.
    #[must_use]
    pub fn new(inner: Stream, limits: &Limits, metrics: Arc<Metrics>, place: Place) -> Self {
        let h2 = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        Self {
            inner: BufWriter::with_capacity(SEGMENT_BYTES, inner),
            head: Arc::default(),
            timeout: limits.head_timeout,
            idle: limits.keepalive_idle,
            timer: None,
            armed: false,
            first_timed: h2,
            fresh: true,
            waiting: false,
            h2,
            pace: Pace::new(limits.write_timeout, limits.min_send_rate),
            cut: false,
            reset: Reset::default(),
            metrics,
            _place: place,
        }
    }

    /// A caller that does not take what is sent is told with a reset.
    #[must_use]
    pub fn resetting(mut self, reset: Reset) -> Self {
        self.reset = reset;
        self
    }

    /// Reads bytes of a head of which `read` have come.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        read: usize,
    ) -> Poll<io::Result<()>> {
        self.waiting = false;
        if (read > 0 || self.first_timed) && self.timer().as_mut().poll(cx).is_ready() {
            self.answer(cx, 408, "Request Timeout: the request head was not whole in time");
            return Poll::Ready(Err(self.late()));
        }
        let left = HEAD_BYTES.saturating_sub(read);
        if left == 0 {
            let says = format!("Request Header Fields Too Large: at most {HEAD_BYTES} bytes");
            self.answer(cx, 431, says.clone());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, says)));
        }
        let before = into.filled().len();
        let polled = self.poll_some(cx, into, left);
        self.waiting = polled.is_pending() && read == 0;
        if self.waiting && self.fresh && !self.first_timed {
            ready!(self.idle_timer().as_mut().poll(cx));
            return Poll::Ready(Err(idle()));
        }
        ready!(polled)?;
        let count = into.filled().len().saturating_sub(before);
        if count == 0 {
            return Poll::Ready(Ok(()));
        }
        self.fresh = false;
        if read == 0 {
            self.armed = std::mem::take(&mut self.first_timed);
        }
        let total = read + count;
        let preface_over = self.h2 && total >= PREFACE.len();
        self.head.0.store(if preface_over { PASSING } else { total }, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Tells a caller who speaks HTTP/1 why the connection ends: one write that is not waited for.
    fn answer(&mut self, cx: &mut Context<'_>, status: u16, says: impl Into<Cow<'static, str>>) {
        if self.h2 {
            return;
        }
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

    /// The timer of a connection on which nothing has come yet: Pingora's would be a minute.
    fn idle_timer(&mut self) -> &mut Pin<Box<Sleep>> {
        let idle = self.idle;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)))
    }

    /// A head was not whole in time.
    fn late(&self) -> io::Error {
        self.metrics.deadlines.inc(Deadline::Head);
        io::Error::new(io::ErrorKind::TimedOut, "a request head that was not whole in time")
    }

    /// What a write came to, in its caller's time.
    fn paced<T: Taken>(
        &mut self,
        cx: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let judged = self.pace.judge(cx, said);
        let late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        if matches!(&judged, Poll::Ready(Err(error)) if !self.cut && late(error)) {
            self.cut = true;
            self.reset.set();
            self.metrics.deadlines.inc(Deadline::Write);
        }
        judged
    }
}

fn idle() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a connection without a request")
}

/// Pingora drops a connection whose next request does not come, and says so to nobody.
impl Drop for Guarded {
    fn drop(&mut self) {
        if self.waiting {
            self.metrics.deadlines.inc(Deadline::Idle);
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.head.0.load(Ordering::Relaxed) {
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
            peeked = self.inner.get_mut().try_peek(into) => peeked?,
            () = timer.as_mut() => return Err(self.late()),
        };
        if into == PREFACE {
            self.head.0.store(PASSING, Ordering::Relaxed);
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
        let said = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.paced(cx, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.paced(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.inner).poll_flush(cx);
        self.paced(cx, said)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
