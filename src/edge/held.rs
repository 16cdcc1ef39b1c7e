//! The held downstream session: Pingora's session with a body that replays and a head that waits.
//!
//! Wrapped around the real session once its body has been read, it answers Pingora's proxy loop as
//! a session whose whole body is in the retry buffer, so every attempt sends all of it whatever its
//! size or framing; keeps a final reply head back until the first body bytes, so a failure before
//! them is still a real status; fails the attempt when its [`Clock`] runs out; writes a comment when
//! the clock calls for one; and, where that is wanted, lets an attempt go on without its caller.
//!
//! The trait is not a documented API: Pingora is pinned, and only this file knows it.

use super::burst::Burst;
use super::clock::{Clock, now_ms};
use super::head::{self, Head};
use super::silence::Comments;
use super::timer::Timer;
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http::HeaderMap;
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as Custom;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::Duration;
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
        if let Some(kept) = self.burst.take() {
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

#[async_trait]
impl Custom for Held {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.settle().await?;
        self.head = Head::Sent;
        self.inner.write_response_header(resp).await
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, _end: bool) -> Result<()> {
        self.settle().await?;
        self.head = Head::Sent;
        self.inner.write_response_header_ref(resp).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.settle().await?;
        self.inner.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.settle().await?;
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let had_head = self.head.is_sent();
        let mut tasks = self.head.release(tasks, self.comments.begun())?;
        if !had_head && head::closes(&tasks) {
            self.inner.set_keepalive(None);
        }
        let end = tasks.iter().any(HttpTask::is_end);
        if self.clock.has_left() {
            let failed = |task| if let HttpTask::Failed(error) = task { Some(error) } else { None };
            return tasks.into_iter().find_map(failed).map_or(Ok(end), Err);
        }
        let writing = self.inner.has_pending_downstream_proxy_tasks();
        let h1 = matches!(self.inner, ServerSession::H1(_));
        if h1 && !writing && self.head.is_sent() {
            tasks = self.burst.gather(tasks);
        }
        if tasks.is_empty() {
            return Ok(false);
        }
        match self.write(tasks).await {
            Err(error) if *error.esource() == ErrorSource::Downstream && self.leaves() => Ok(end),
            done => done,
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        true
    }

    async fn finish(&mut self) -> Result<()> {
        if self.clock.has_left() {
            return Ok(());
        }
        self.settle().await?;
        self.inner.finish_body().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_empty()
    }

    async fn read_body_or_idle(&mut self, _no_body_expected: bool) -> Result<Option<Bytes>> {
        loop {
            self.burst.over().await;
            match self.flush().await {
                Err(_) if self.leaves() => {}
                flushed => flushed?,
            }
            let Self { inner, clock, timer, .. } = &mut *self;
            let idle = tokio::select! {
                idle = inner.read_body_or_idle(true), if !clock.has_left() => Some(idle),
                () = timer.due(clock) => None,
            };
            match idle {
                Some(Err(_)) if self.leaves() => {}
                Some(idle) => return idle,
                None if self.clock.has_run_out(now_ms()) => {
                    return Error::e_explain(ATTEMPT_DEADLINE, "attempt deadline");
                }
                None if !self.clock.wants_comment(now_ms()) => {}
                None => self.comment().or_else(
                    |error| {
                        if self.leaves() { Ok(()) } else { Err(error) }
                    },
                )?,
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        Some(self.body.clone())
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
