//! The held downstream session: Pingora's session with a body that replays and a head that waits.
//!
//! Wrapped around the real session once its body has been read, it answers Pingora's proxy loop as
//! a session whose whole body is in the retry buffer, so every attempt sends all of it whatever its
//! size or framing; keeps a final reply head back until the first body bytes, so a failure before
//! them is still a real status; fails the attempt when its [`Clock`] runs out; writes a comment when
//! the clock calls for one; and, where that is wanted, lets an attempt go on without its caller.

mod session;

use super::burst::Burst;
use super::clock::{Clock, now_ms};
use super::head::Head;
use super::silence::Comments;
use super::timer::Timer;
use bytes::Bytes;
use futures::FutureExt;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::ServerSession;
use pingora::{ErrorType, Result};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Type of the error an attempt fails with when its clock has run out.
pub const ATTEMPT_DEADLINE: ErrorType = ErrorType::Custom("AttemptDeadline");

/// What `proxy` keeps to get the real session back.
pub type Inner = oneshot::Receiver<ServerSession>;

/// Wraps the session in place. Everything that is a no-op on a custom session (keep-alive, send
/// rate, pipelining) must have been set before. `id` is the generation's.
pub fn hold(session: &mut ServerSession, body: Bytes, clock: Arc<Clock>, id: Arc<str>) -> Inner {
    let (home, inner) = oneshot::channel();
    let real = std::mem::replace(session, placeholder());
    *session = ServerSession::Custom(Box::new(Held {
        inner: real,
        home: Some(home),
        body,
        head: Head::default(),
        clock,
        timer: Timer::default(),
        burst: Burst::default(),
        comments: Comments::new(id),
    }));
    inner
}

/// Puts the real session back; harmless if that was done already.
pub fn give_back(session: &mut ServerSession, inner: &mut Inner) {
    if !session.is_custom() {
        return;
    }
    drop(std::mem::replace(session, placeholder()));
    if let Ok(real) = inner.try_recv() {
        *session = real;
    }
}

/// Stands in while the real session is elsewhere; its methods must not be called.
fn placeholder() -> ServerSession {
    ServerSession::Custom(Box::new(()))
}

struct Held {
    inner: ServerSession,
    home: Option<oneshot::Sender<ServerSession>>,
    /// Until content has reached the caller: no attempt follows that.
    body: Bytes,
    head: Head,
    clock: Arc<Clock>,
    timer: Timer,
    burst: Burst,
    comments: Comments,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let real = std::mem::replace(&mut self.inner, placeholder());
            // Nobody waits if the whole request was dropped: then the session goes with it.
            drop(home.send(real));
        }
    }
}

impl Held {
    /// Writes what was gathered. Cancel safe: what the caller has not taken is written before
    /// anything else is.
    async fn flush(&mut self) -> Result<()> {
        if let Some(kept) = self.burst.take().filter(|_| !self.clock.has_left()) {
            self.inner.send_downstream_proxy_task(kept);
            let began = now_ms();
            self.inner.write_downstream_proxy_tasks().await?;
            self.clock.forgive(now_ms().saturating_sub(began));
        }
        Ok(())
    }

    /// Finishes what was begun and what was gathered, before any other write.
    async fn settle(&mut self) -> Result<()> {
        self.comments.settle(&mut self.inner).await?;
        self.flush().await
    }

    async fn write(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let Self { inner, clock, comments, .. } = self;
        let mut write = std::pin::pin!(async {
            comments.settle(inner).await.map_err(|error| error.into_down())?;
            inner.response_duplex_vec(tasks).await
        });
        if let Some(done) = write.as_mut().now_or_never() {
            return done;
        }
        // While the caller does not read, nobody reads the upstream: its clock stands still.
        let began = now_ms();
        let done = write.await;
        clock.forgive(now_ms().saturating_sub(began));
        done
    }

    /// Whether the attempt goes on though the caller is gone, as this error of its connection says.
    fn leaves(&mut self) -> bool {
        let goes_on = self.clock.leave(now_ms());
        if goes_on {
            self.inner.set_keepalive(None);
            self.burst.take();
        }
        goes_on
    }

    /// Writes a comment, with a head of Weir's own before the first thing of all.
    fn comment(&mut self) -> Result<()> {
        let now = now_ms();
        self.clock.spoke(now);
        let is_sent = self.head.is_sent();
        self.comments.write(&mut self.inner, is_sent).map_err(|error| error.into_down())?;
        if !is_sent {
            self.clock.begin_with_comment();
            self.head = Head::Sent;
        }
        Ok(())
    }
}
