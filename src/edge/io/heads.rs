//! How large a request head may be and how long it may take.

use super::Guarded;
use crate::bounds::HEAD_BYTES;
use crate::metrics::Deadline;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{Instant, Sleep};

impl Guarded {
    /// Reads bytes of a head of which `read` have come.
    pub(super) fn poll_head(
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
    pub(super) fn timer(&mut self) -> &mut Pin<Box<Sleep>> {
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
    pub(super) fn late(&self) -> io::Error {
        self.metrics.deadlines.inc(Deadline::Head);
        io::Error::new(io::ErrorKind::TimedOut, "a request head that was not whole in time")
    }
}

fn idle() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a connection without a request")
}
