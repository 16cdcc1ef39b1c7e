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
mod heads;

use super::clock::now_ms;
use super::ending::{Counted, Ending};
use super::frames::PREFACE;
use super::pace::{Pace, Taken};
use super::watch::Watch;
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
use tokio::time::Sleep;

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
    pace: Pace,
    /// The pace was too slow, and that has been counted.
    cut: bool,
    ending: Ending,
    /// The socket does not take what a caller on HTTP/2 is sent.
    blocked: Option<Counted>,
    metrics: Arc<Metrics>,
}

impl Guarded {
    /// Guards a connection that has just been accepted.
    #[must_use]
    pub fn new(inner: Stream, limits: &Limits, metrics: Arc<Metrics>, ending: Ending) -> Self {
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
            pace: Pace::new(limits.write_timeout, limits.min_send_rate),
            cut: false,
            ending,
            blocked: None,
            metrics,
        };
        if agreed {
            guarded.speak_h2();
        }
        guarded
    }

    /// What arrives from now on is a preface and frames.
    pub(super) fn speak_h2(&mut self) {
        self.h2 = Some(Box::new(Watch::new(
            self.rate,
            Arc::clone(&self.metrics),
            self.ending.owed().speaks_h2(),
        )));
        self.framing = None;
        self.armed = false;
        self.head.read.store(PASSING, Ordering::Relaxed);
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
            self.ending.reset();
            self.metrics.deadlines.inc(Deadline::Write);
        }
        if self.h2.is_some() {
            self.blocks(judged.is_pending());
        }
        judged
    }

    /// Whether the socket does not take what a caller on HTTP/2 is sent.
    fn blocks(&mut self, blocks: bool) {
        if blocks {
            self.blocked.get_or_insert_with(|| self.ending.owed().waits());
        } else if let Some(blocked) = self.blocked.take() {
            blocked.heard(now_ms());
        }
    }
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

    /// The caller may have more to say to what it was sent: on HTTP/2 it answers what it reads.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pipelined = self.framing.as_ref().is_some_and(Framing::is_pipelined);
        if pipelined || self.h2.is_some() {
            self.ending.linger(!pipelined);
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
