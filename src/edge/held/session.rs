//! What Pingora's proxy loop sees of [`Held`].
//!
//! The trait is not a documented API: Pingora is pinned, and only this file knows it.

use super::{ATTEMPT_DEADLINE, Held};
use crate::edge::clock::now_ms;
use crate::edge::head::{self, Head};
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as Custom;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorSource, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::time::Duration;

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
        if tasks.iter().any(|task| matches!(task, HttpTask::Body(Some(_), _))) {
            self.body = Bytes::new();
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
