//! A provider played on a real socket: h1 and h2c, one event per token at the model's pace.

use super::answer::{self, Answer};
use super::ask::Ask;
use super::cache::PromptCache;
use super::failure::{self, Failure};
use crate::bounds::BODY_BYTES_DEFAULT;
use crate::request::route::Operation;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, header};
use parking_lot::Mutex;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::{BError, Error, ErrorType};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, sleep_until};

/// One model as a simulated provider serves it.
#[derive(Debug, Clone)]
pub struct SimulatedModel {
    /// Name the provider knows the model by.
    pub name: String,
    pub tokens_per_second: f64,
    /// From the request to the first token.
    pub first_token: Duration,
    /// Share of requests that fail before content, 0 to 1.
    pub failure_rate: f64,
    /// Length of every answer the caller does not limit.
    pub completion_tokens: u64,
}

/// A provider that exists for a demonstration or a test.
#[derive(Debug)]
pub struct Simulated {
    pub name: String,
    pub models: Vec<SimulatedModel>,
    /// Decides which requests fail; the same seed fails the same ones.
    pub seed: u64,
    served: AtomicU64,
    cache: Mutex<PromptCache>,
    options: HttpServerOptions,
}

/// How one request went: whether its connection may be used again.
type Served = Result<bool, BError>;

impl Simulated {
    /// A provider of these models.
    #[must_use]
    pub fn new(name: impl Into<String>, models: Vec<SimulatedModel>, seed: u64) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        let (served, cache) = (AtomicU64::new(0), Mutex::default());
        Self { name: name.into(), models, seed, served, cache, options }
    }

    async fn respond(&self, session: &mut ServerSession) -> Served {
        let head = session.req_header();
        let operation = match (&head.method, head.uri.path()) {
            (&Method::GET, "/v1/models") => return whole(session, 200, &self.listing()).await,
            (&Method::POST, path) => operation(path),
            _ => None,
        };
        let Some(operation) = operation else {
            return refuse(session, 404, "there is no such path").await;
        };
        let body = read(session).await?;
        match serde_json::from_slice::<Ask>(&body) {
            Ok(ask) => self.infer(session, operation, &ask).await,
            Err(error) => refuse(session, 400, &format!("the body cannot be read: {error}")).await,
        }
    }

    async fn infer(&self, session: &mut ServerSession, operation: Operation, ask: &Ask) -> Served {
        let Some(model) = self.models.iter().find(|model| model.name == ask.model) else {
            return refuse(session, 404, "the model does not exist").await;
        };
        if ask.n.is_some_and(|n| n != 1) {
            return refuse(session, 400, "n must be 1").await;
        }
        let serial = self.served.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure::draw(self.seed, serial, model.failure_rate) {
            sleep(model.first_token / 2).await;
            return fail(session, failure, ask.stream).await;
        }
        if operation == Operation::Embedding {
            sleep(model.first_token).await;
            return whole(session, 200, &answer::embeddings(ask)).await;
        }
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let cached = self.cache.lock().read(ask, created);
        let answer =
            Answer::new(ask, operation, model.completion_tokens, (serial, created, cached));
        let started = Instant::now();
        if ask.stream {
            return stream(session, model, &answer, started).await;
        }
        sleep_until(started + model.due(answer.tokens())).await;
        whole(session, 200, &answer.whole()).await
    }

    fn listing(&self) -> Value {
        let model = |model: &SimulatedModel| json!({"id": model.name, "object": "model", "created": 0, "owned_by": self.name});
        let data: Vec<Value> = self.models.iter().map(model).collect();
        json!({"object": "list", "data": data})
    }
}

impl SimulatedModel {
    /// When the token of this number is out, counted from the request.
    fn due(&self, token: usize) -> Duration {
        let pace = Duration::try_from_secs_f64(token as f64 / self.tokens_per_second);
        self.first_token + pace.unwrap_or_default()
    }
}

fn operation(path: &str) -> Option<Operation> {
    [Operation::Chat, Operation::Completion, Operation::Embedding]
        .into_iter()
        .find(|operation| path.strip_prefix("/v1") == Some(operation.path()))
}

async fn read(session: &mut ServerSession) -> Result<Vec<u8>, BError> {
    let mut body = Vec::new();
    while let Some(part) = session.read_request_body().await? {
        if body.len() + part.len() > BODY_BYTES_DEFAULT {
            return Error::e_explain(ErrorType::ReadError, "request body too large");
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

async fn stream(
    session: &mut ServerSession,
    model: &SimulatedModel,
    answer: &Answer<'_>,
    started: Instant,
) -> Served {
    begin_stream(session).await?;
    sleep_until(started + model.first_token).await;
    if let Some(opening) = answer.opening() {
        session.write_response_body(event(&opening), false).await?;
    }
    for (token, chunk) in answer.events().enumerate() {
        sleep_until(started + model.due(token)).await;
        session.write_response_body(event(&chunk), false).await?;
    }
    for chunk in answer.closing() {
        session.write_response_body(event(&chunk), false).await?;
    }
    session.write_response_body(Bytes::from_static(b"data: [DONE]\n\n"), true).await?;
    Ok(true)
}

async fn fail(session: &mut ServerSession, failure: Failure, streamed: bool) -> Served {
    match failure {
        Failure::RateLimited => {
            let body = answer::error(429, "rate_limit_error", "too many requests, simulated");
            let mut head = ResponseHeader::build(429, Some(3))?;
            head.insert_header(header::RETRY_AFTER, 1)?;
            send(session, head, &body).await
        }
        Failure::InBand if streamed => {
            begin_stream(session).await?;
            let body = answer::error(503, "server_error", "overloaded, simulated");
            session.write_response_body(event(&body), true).await?;
            Ok(true)
        }
        Failure::Reset => Ok(false),
        Failure::ServerError | Failure::InBand => {
            whole(session, 500, &answer::error(500, "server_error", "internal, simulated")).await
        }
    }
}

async fn refuse(session: &mut ServerSession, status: u16, message: &str) -> Served {
    whole(session, status, &answer::error(status, "invalid_request_error", message)).await
}

async fn whole(session: &mut ServerSession, status: u16, body: &Value) -> Served {
    send(session, ResponseHeader::build(status, Some(2))?, body).await
}

async fn send(session: &mut ServerSession, mut head: ResponseHeader, body: &Value) -> Served {
    let body = Bytes::from(body.to_string());
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(body, true).await?;
    Ok(true)
}

async fn begin_stream(session: &mut ServerSession) -> Result<(), BError> {
    let mut head = ResponseHeader::build(200, Some(3))?;
    head.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
    head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    if !session.is_http2() {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(head)).await
}

fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

#[async_trait]
impl HttpServerApp for Simulated {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.ok()? {
            return None;
        }
        session.set_keepalive(Some(60));
        // A connection that is not reused is closed by dropping it: that is also the simulated reset.
        if !self.respond(&mut session).await.ok()? {
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

#[cfg(test)]
mod tests;
