//! Watches over a connection on which HTTP/2 is spoken, below the h2 crate (F59).

use super::clock::now_ms;
use super::ending::Counted;
use super::frames::Frames;
use crate::metrics::{H2Abuse, Metrics};
use bytes::{Buf, Bytes};
use pingora::protocols::Stream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;

/// What has come on one connection.
#[derive(Debug)]
pub(super) struct Watch {
    frames: Frames,
    /// Read, and to be passed on when what came before has had its turn.
    later: Bytes,
    /// Ends when the scheduler has come to tasks that began after those of the last requests.
    turn: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
    /// Speaks HTTP/2.
    open: Counted,
}

impl Watch {
    /// Before the preface. `rate`: frames a second of each sort that [`H2Abuse`] names.
    pub(super) fn new(rate: u32, metrics: Arc<Metrics>, open: Counted) -> Self {
        Self { frames: Frames::new(rate, now_ms()), later: Bytes::new(), turn: None, metrics, open }
    }

    /// As [`Frames::is_waiting`].
    pub(super) fn is_waiting(&self) -> bool {
        self.frames.is_waiting()
    }

    /// What it waited for has not come in time.
    pub(super) fn is_late(&self) {
        self.metrics.h2_abuse.inc(H2Abuse::SlowHead);
    }

    /// Reads what h2 may see now. True when what was waited for has come.
    ///
    /// # Errors
    /// The caller has sent too much of something.
    pub(super) fn poll_read(
        &mut self,
        inner: &mut Stream,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        // Waking itself would not do: for each request it takes from h2, Pingora reads on at once.
        if let Some(turn) = self.turn.as_mut() {
            // Empty, it cannot fail.
            drop(ready!(Pin::new(turn).poll(cx)));
            self.turn = None;
        }
        let before = into.filled().len();
        let fresh = self.later.is_empty();
        if fresh {
            ready!(Pin::new(inner).poll_read(cx, into))?;
        } else {
            let room = self.later.len().min(into.remaining());
            into.put_slice(self.later.get(..room).unwrap_or_default());
        }
        let came = into.filled().get(before..).unwrap_or_default();
        let taken = self.frames.take(came, now_ms).map_err(|abuse| {
            self.metrics.h2_abuse.inc(abuse);
            io::Error::new(io::ErrorKind::InvalidData, "too many frames")
        })?;
        if fresh {
            self.later = Bytes::copy_from_slice(came.get(taken.bytes..).unwrap_or_default());
        } else {
            self.later.advance(taken.bytes);
        }
        if taken.reads {
            self.open.heard(now_ms());
        }
        into.set_filled(before + taken.bytes);
        self.turn = taken.pause.then(|| tokio::spawn(async {}));
        Poll::Ready(Ok(taken.moved))
    }

    /// As [`Frames::wrote`].
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.frames.wrote(bytes);
    }
}
