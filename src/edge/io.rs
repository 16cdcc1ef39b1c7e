//! A caller's connection: the deadline and the size of its request heads, its HTTP/2 frames, and the
//! pace at which it takes what is sent.
//!
//! Pingora limits each read of a head, not their sum, and takes a megabyte (P1, S1, S4); it limits
//! each write by itself, so a stall of a second or a trickle without end decides (P3). Only the
//! stream sees every read and write. While a request is served it passes everything on after one
//! compare; a head that comes in one read costs no clock and no timer.

mod checked;
mod framing;
#[cfg(test)]
mod framing_tests;

use super::frames::PREFACE;
use super::pace::{Pace, Taken};
use super::places::Place;
use super::watch::Watch;
use super::wire::Reset;
use crate::bounds::HEAD_BYTES;
use crate::config::Limits;
use crate::metrics::{Deadline, Metrics};
use async_trait::async_trait;
use framing::Framing;
use pingora::protocols::{ALPN, Peek, Stream};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes that wait for more before they are sent: a reply's head goes with the body behind it.
const SEGMENT_BYTES: usize = 1_460;

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
    /// The next byte is timed as well, from the connection's begin: it may be the first of a preface.
    first_timed: bool,
    /// No byte has come yet.
    fresh: bool,
    /// A head is waited for that has not begun.
    waiting: bool,
    /// Once HTTP/2 is spoken.
    h2: Option<Box<Watch>>,
    /// Frames a second, as [`Watch::new`] says.
    rate: u32,
    /// `None` for HTTP/2.
    framing: Option<Framing>,
    /// The timer runs for the connection's end.
    closing: bool,
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
        let agreed = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        let mut guarded = Self {
            inner: BufWriter::with_capacity(SEGMENT_BYTES, inner),
            head: Arc::default(),
            timeout: limits.head_timeout,
            idle: limits.keepalive_idle,
            timer: None,
            armed: false,
            first_timed: false,
            fresh: true,
            waiting: false,
            h2: None,
            rate: limits.h2_frame_rate,
            framing: None,
            closing: false,
            pace: Pace::new(limits.write_timeout, limits.min_send_rate),
            cut: false,
            reset: Reset::default(),
            metrics,
            _place: place,
        };
        if agreed {
            guarded.speak_h2();
        }
        guarded
    }

    /// What arrives from now on is a preface and frames.
    pub(super) fn speak_h2(&mut self) {
        self.h2 = Some(Box::new(Watch::new(self.rate, Arc::clone(&self.metrics))));
        self.framing = None;
        self.armed = false;
        self.head.read.store(PASSING, Ordering::Relaxed);
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
        self.head.read.store(read + count, Ordering::Relaxed);
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
            return Poll::Ready(Err(self.late()));
        }
        let moved = ready!(h2.poll_read(self.inner.get_mut(), cx, into))?;
        self.armed &= !moved;
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

    fn wrote(&mut self, said: &Poll<io::Result<usize>>) {
        if let (Some(h2), Poll::Ready(Ok(count))) = (self.h2.as_mut(), said) {
            h2.wrote(*count);
        }
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
            peeked = self.inner.get_mut().try_peek(into) => peeked?,
            () = timer.as_mut() => return Err(self.late()),
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
        let said = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(&said);
        self.paced(cx, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(&said);
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
