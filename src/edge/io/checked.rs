//! Reading through the [`Framing`], and what a caller is told whose connection ends.

use super::framing::{Framing, Step};
use super::{Guarded, PASSING};
use crate::error::Error;
use crate::face;
use crate::request::bad_request::BadRequest;
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

impl Guarded {
    /// Lets only well-formed HTTP/1 requests through, and counts what it refuses.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.framing = self.h2.is_none().then(|| Framing::new(Arc::clone(&self.metrics)));
        self
    }

    /// Reads as far as the [`Framing`] lets through.
    pub(super) fn poll_checked(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        loop {
            let serving = self.head.read.load(Ordering::Relaxed) == PASSING;
            let Some(framing) = &mut self.framing else {
                return self.poll_unchecked(cx, into);
            };
            if framing.hand_over(into) {
                return Poll::Ready(Ok(()));
            }
            if framing.is_ended(serving) {
                self.ending.linger(false);
                // It fails for a caller who has gone.
                let _: Poll<io::Result<()>> = Pin::new(&mut self.inner).poll_shutdown(cx);
                return Poll::Ready(Ok(()));
            }
            if framing.is_flooded() {
                return Poll::Pending;
            }
            ready!(self.poll_unchecked(cx, into))?;
            let Some(framing) = &mut self.framing else {
                return Poll::Ready(Ok(()));
            };
            let step = framing.arrived(into.filled().get(before..).unwrap_or_default(), serving);
            self.head.pipelined.store(framing.is_pipelined(), Ordering::Relaxed);
            match step {
                Step::Pass(count) => {
                    into.set_filled(before + count);
                    return Poll::Ready(Ok(()));
                }
                Step::Hold => {}
                Step::Refuse(bad) => self.refuse(cx, bad),
                Step::Break => {
                    into.set_filled(before);
                    let error =
                        io::Error::new(io::ErrorKind::InvalidData, BadRequest::Chunk.says());
                    return Poll::Ready(Err(error));
                }
            }
            into.set_filled(before);
        }
    }

    fn poll_unchecked(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.head.read.load(Ordering::Relaxed) {
            PASSING if self.h2.is_some() => self.poll_frames(cx, into),
            PASSING => Pin::new(&mut self.inner).poll_read(cx, into),
            read => self.poll_head(cx, into, read),
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, bad: BadRequest) {
        let allow = if bad.status() == 405 { "Allow: GET, POST\r\n" } else { "" };
        self.answer_with(cx, bad.status(), bad.says(), allow);
    }

    /// Tells a caller who speaks HTTP/1 why the connection ends: one write that is not waited for.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        status: u16,
        says: impl Into<Cow<'static, str>>,
    ) {
        self.answer_with(cx, status, says, "");
    }

    /// As [`Guarded::answer`], with more header fields, each with its CRLF.
    fn answer_with(
        &mut self,
        cx: &mut Context<'_>,
        status: u16,
        says: impl Into<Cow<'static, str>>,
        fields: &str,
    ) {
        if self.h2.is_some() {
            return;
        }
        let body = face::error_body(&Error::caller(status, says), None);
        let head = format!(
            "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n{fields}\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), &body].concat();
        let mut stream = Pin::new(&mut self.inner);
        if stream.as_mut().poll_write(cx, &whole).is_ready() {
            // It fails for a caller who has gone, and nobody else can be told.
            let _: Poll<io::Result<()>> = stream.poll_flush(cx);
        }
    }
}
