//! How a caller's connection ends, and what a drain waits for when no request is under way.
//!
//! Closing a socket on bytes that nobody has read, or that come later, is a reset, and a reset can cost
//! the caller what was sent before it. So where more may come, Weir says that nothing follows and reads
//! on for a while (RFC 9112, section 9.6). Pingora drops its stream when it is done; only behind it, in
//! [`super::app::Edge`], is there anybody to do this.

use super::clock::now_ms;
use super::wire::Raw;
use crate::bounds::DRAIN_TIME;
use parking_lot::Mutex;
use socket2::SockRef;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// With reading on behind what was sent, on either protocol.
const LINGER: u8 = 1;
const LINGER_H2: u8 = 2;
/// With dropping what is still to be sent: a caller that does not read would keep the kernel at it (F45).
const RESET: u8 = 3;

/// The end of one connection; its socket comes here when its stream is dropped.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<End>);

#[derive(Debug, Default)]
struct End {
    how: AtomicU8,
    socket: Mutex<Option<Raw>>,
    owed: Arc<Owed>,
}

impl Ending {
    /// The end of a connection that counts in `owed`.
    #[must_use]
    pub fn new(owed: Arc<Owed>) -> Self {
        Self(Arc::new(End { owed, ..End::default() }))
    }

    /// In a reset, from now on.
    pub(super) fn reset(&self) {
        self.0.how.store(RESET, Ordering::Relaxed);
    }

    /// With reading on, unless in a reset.
    pub(super) fn linger(&self, h2: bool) {
        self.0.how.fetch_max(if h2 { LINGER_H2 } else { LINGER }, Ordering::Relaxed);
    }

    /// What all connections owe.
    pub(super) fn owed(&self) -> &Arc<Owed> {
        &self.0.owed
    }

    pub(super) fn take(&self, socket: Raw) {
        *self.0.socket.lock() = Some(socket);
    }

    /// Ends the connection, whose stream has been dropped.
    pub(super) async fn end(self) {
        let Some(socket) = self.0.socket.lock().take() else { return };
        match self.0.how.load(Ordering::Relaxed) {
            // It fails for a connection that is gone already.
            RESET => drop(SockRef::from(&socket).set_linger(Some(Duration::ZERO))),
            LINGER => read_off(socket, self.0.owed.waits(), false).await,
            LINGER_H2 => read_off(socket, self.0.owed.speaks_h2(), true).await,
            _ => {}
        }
    }
}

/// Says that nothing more is sent, and reads what comes until the caller has closed, for [`DRAIN_TIME`]
/// at most.
async fn read_off(mut socket: Raw, counted: Counted, h2: bool) {
    let until = Instant::now() + DRAIN_TIME;
    if SockRef::from(&socket).shutdown(Shutdown::Write).is_err() {
        return;
    }
    while let Ok(Ok(1..)) = timeout_at(until, socket.read_some()).await {
        if h2 {
            counted.heard(now_ms());
        }
    }
}

/// What all connections owe their callers beside answers under way.
#[derive(Debug, Default)]
pub struct Owed {
    /// Connections with bytes the socket does not take, or that read on behind their last answer.
    waiting: AtomicUsize,
    /// Open connections on which HTTP/2 is spoken.
    h2: AtomicUsize,
    /// When a caller on one of these last showed, by its frames, that it was reading, or an answer of
    /// one ended; 0 while none has.
    heard_ms: AtomicU64,
}

impl Owed {
    /// Whether everybody has got what they were sent. A caller on HTTP/2 says so by closing; one that
    /// has said nothing for [`DRAIN_TIME`] holds an idle connection.
    #[must_use]
    pub fn is_nothing(&self, now_ms: u64) -> bool {
        let heard_ms = self.heard_ms.load(Ordering::Acquire);
        let silent = u128::from(now_ms.saturating_sub(heard_ms)) >= DRAIN_TIME.as_millis();
        let idle = heard_ms == 0 || silent || self.h2.load(Ordering::Acquire) == 0;
        idle && self.waiting.load(Ordering::Acquire) == 0
    }

    /// A caller on HTTP/2 takes what is sent, or has more to take from now on.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.fetch_max(now_ms.max(1), Ordering::AcqRel);
    }

    /// One more connection has bytes to get rid of, until this drops.
    pub(super) fn waits(self: &Arc<Self>) -> Counted {
        Counted::new(self, |owed| &owed.waiting)
    }

    /// One more connection speaks HTTP/2, until this drops.
    pub(super) fn speaks_h2(self: &Arc<Self>) -> Counted {
        Counted::new(self, |owed| &owed.h2)
    }
}

/// A connection that counts.
#[derive(Debug)]
pub(super) struct Counted {
    owed: Arc<Owed>,
    among: fn(&Owed) -> &AtomicUsize,
}

impl Counted {
    fn new(owed: &Arc<Owed>, among: fn(&Owed) -> &AtomicUsize) -> Self {
        among(owed).fetch_add(1, Ordering::AcqRel);
        Self { owed: Arc::clone(owed), among }
    }

    /// As [`Owed::heard`].
    pub(super) fn heard(&self, now_ms: u64) {
        self.owed.heard(now_ms);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.among)(&self.owed).fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Wire;
    use super::*;
    use std::io::ErrorKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A connection with an answer on it and bytes that nobody reads, its caller, and its end.
    async fn answered() -> (Wire, TcpStream, Ending) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (mut wire, ending) = (Wire::tcp(stream, peer), Ending::default());
        wire.ends_in(ending.clone());
        caller.write_all(b"unread").await.unwrap();
        wire.write_all(b"answer").await.unwrap();
        (wire, caller, ending)
    }

    /// What a caller reads to the end, and how that was.
    async fn read(caller: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
        let mut all = Vec::new();
        let ended = caller.read_to_end(&mut all).await;
        (all, ended.err().map(|error| error.kind()))
    }

    #[tokio::test]
    async fn a_reset_drops_what_is_not_sent() {
        let (wire, mut caller, ending) = answered().await;
        ending.linger(false);
        ending.reset();
        drop(wire);
        ending.end().await;
        assert_eq!(read(&mut caller).await.1, Some(ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn lingering_reads_off_what_comes_until_the_caller_has_closed() {
        for h2 in [false, true] {
            let (wire, mut caller, ending) = answered().await;
            let owed = Arc::clone(ending.owed());
            ending.linger(h2);
            drop(wire);
            let ended = tokio::spawn(ending.end());
            caller.write_all(b"more").await.unwrap();
            assert_eq!(read(&mut caller).await, (b"answer".to_vec(), None));
            assert!(!owed.is_nothing(now_ms()), "it is still open");
            drop(caller);
            ended.await.unwrap();
            assert!(owed.is_nothing(now_ms()));
        }
    }

    #[test]
    fn a_drain_waits_for_what_blocks_and_for_who_was_heard_on_h2_lately() {
        let (owed, most) = (Arc::new(Owed::default()), DRAIN_TIME.as_millis() as u64);
        let open = owed.speaks_h2();
        assert!(owed.is_nothing(1_000), "it has asked for nothing");
        owed.heard(1_000);
        assert!(!owed.is_nothing(999 + most) && owed.is_nothing(1_000 + most));
        let blocked = owed.waits();
        assert!(!owed.is_nothing(u64::MAX));
        drop((open, blocked));
        assert!(owed.is_nothing(1_000));
    }
}
