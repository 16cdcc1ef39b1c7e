//! The proxy itself: Pingora's phases, one file each, every hook one call.
//!
//! Read in the order a request passes: `request`, `upstream`, `response`, `failure`; `attempt` is
//! what one dispatched try owns and whose end settles everything; `reply` is what Weir says itself.

mod ask;
mod attempt;
mod catalog;
mod exchange;
mod failure;
mod head;
mod intent;
mod local;
mod reply;
mod request;
mod response;
mod upstream;

use crate::edge::io::Serving;
use crate::state::{Active, State};
use async_trait::async_trait;
use bytes::Bytes;
use exchange::Exchange;
use pingora::Result;
use pingora::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// The Pingora application.
pub struct Weir {
    state: Arc<State>,
}

impl Weir {
    /// Serves what `state` holds; a reload swaps the snapshot inside it.
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

/// What a request has become so far.
pub struct Context {
    /// Boxed: most of it exists only once a plan does.
    exchange: Option<Box<Exchange>>,
    /// From its whole head to its end a request keeps a drain waiting.
    active: Active,
    /// What arrives meanwhile is no head. Only where each connection has one request at a time.
    serving: Option<Serving>,
}

impl Context {
    /// The exchange, which exists in every hook after `request_filter` let the request go on.
    fn exchange(&mut self) -> Result<&mut Exchange> {
        self.exchange.as_deref_mut().ok_or_else(|| {
            pingora::Error::explain(pingora::ErrorType::InternalError, "no exchange in this phase")
        })
    }
}

#[async_trait]
impl ProxyHttp for Weir {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context { exchange: None, active: self.state.enter(), serving: None }
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if session.is_http2() {
            ctx.active.on_h2();
        }
        ctx.serving = session.stream().and_then(Serving::begin);
        let pipelined = ctx.serving.as_ref().is_some_and(Serving::is_pipelined);
        request::early(&self.state, session, pipelined);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        match request::filter(&self.state, session, ctx.serving.as_ref()).await {
            Ok(Some(exchange)) => {
                ctx.exchange = Some(exchange);
                Ok(false)
            }
            Ok(None) => Ok(true),
            Err(refusal) => {
                request::refused(&self.state, session, &refusal);
                reply::refuse(session, &refusal, &self.state.lingering).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        let exchange = ctx.exchange()?;
        let pause = upstream::pause(exchange);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        upstream::peer(&self.state, exchange)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: RawFd,
        _: Option<&pingora::protocols::Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        upstream::connected(ctx.exchange()?, reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        upstream::head(ctx.exchange()?, session.req_header(), head)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        *body = Some(upstream::body(ctx.exchange()?));
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        response::head(ctx.exchange()?, head)?;
        reply::share(session.req_header(), head)?;
        let pipelined = ctx.serving.as_ref().is_some_and(Serving::is_pipelined);
        if pipelined || session.is_process_shutting_down() {
            head.insert_header(http::header::CONNECTION, "close")?;
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        response::body(ctx.exchange()?, body, end)?;
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        _: &mut http::HeaderMap,
        ctx: &mut Context,
    ) -> Result<()> {
        response::trailers(ctx.exchange()?)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        _: &mut http::HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        Ok(ctx.exchange()?.last_bytes.take())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Context,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        failure::connect(&self.state, ctx, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        _: &mut Session,
        error: Box<pingora::Error>,
        ctx: &mut Context,
        _: bool,
    ) -> Box<pingora::Error> {
        failure::proxying(&self.state, ctx, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        failure::last_word(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&pingora::Error>, ctx: &mut Context) {
        if let Some(mut exchange) = ctx.exchange.take() {
            exchange.give_back(session);
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Context, _: &pingora::Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Context,
        _: &pingora::Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
