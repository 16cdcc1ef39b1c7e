//! What Weir says itself: refusals before a plan, and answers that need no upstream.

use crate::bounds::READ_OFF_BYTES;
use crate::error::Error;
use crate::face::{self, cors};
use bytes::Bytes;
use futures::FutureExt;
use http::header;
use pingora::protocols::http::ServerSession as HttpSession;
use pingora::{ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::pin::pin;
use tokio::sync::Semaphore;

/// An error shown instead of a plan.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    then: Then,
    /// The method that would have done.
    allow: Option<&'static str>,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The request was read whole: it serves the next one.
    Keep,
    /// So it does once the body is read off behind the answer.
    ReadOff,
    /// It closes on bytes that nobody has read.
    Close,
}

impl Refusal {
    /// Answered with the request's bytes still unread: the connection closes.
    pub(super) fn closing(error: Error) -> Self {
        Self { error, then: Then::Close, allow: None }
    }

    /// Answered before the body is read. Where that is small it costs less to read it off than to have
    /// its caller connect again, which in a crowd of callers would be the greater load.
    pub(super) fn unread(error: Error, head: &RequestHeader) -> Self {
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let small = length.is_some_and(|length| length <= READ_OFF_BYTES);
        let comes = small && !head.headers.contains_key(header::EXPECT);
        Self { error, then: if comes { Then::ReadOff } else { Then::Close }, allow: None }
    }

    /// Answered after the whole request was read.
    pub(super) fn kept(error: Error) -> Self {
        Self { error, then: Then::Keep, allow: None }
    }

    /// Names the method the path is served to (RFC 9110, section 15.5.6).
    pub(super) fn allowing(mut self, method: &'static str) -> Self {
        self.allow = Some(method);
        self
    }
}

/// Answers with the contract's envelope (section 5.1).
///
/// # Errors
/// The caller has gone, or does not read, or is one of too many that make Weir wait.
pub(super) async fn refuse(
    session: &mut Session,
    refusal: &Refusal,
    places: &Semaphore,
) -> Result<()> {
    let h2 = session.is_http2();
    match (refusal.then, &mut *session.downstream_session) {
        (Then::Close, _) => session.set_keepalive(None),
        // Pingora would say close with any answer that comes before the end of the body.
        (Then::ReadOff, HttpSession::H1(h1)) => {
            h1.set_close_on_response_before_downstream_finish(false);
        }
        _ => {}
    }
    linger(h2, places, answer(session, &refusal.error, None, refusal.allow)).await??;
    let waits = session.req_header().headers.contains_key(header::EXPECT);
    if refusal.then != Then::Keep && !waits {
        // Closing on unread bytes would be a reset, which costs many callers the answer. Bounded by
        // the session's drain timeout.
        let read = linger(h2, places, session.downstream_session.drain_request_body()).await;
        if !matches!(read, Ok(Ok(()))) {
            session.set_keepalive(None);
        }
    }
    Ok(())
}

/// An error with its status, as long as no head has been written.
pub(super) async fn error(session: &mut Session, error: &Error, id: Option<&str>) -> Result<()> {
    answer(session, error, id, None).await
}

async fn answer(
    session: &mut Session,
    error: &Error,
    id: Option<&str>,
    allow: Option<&'static str>,
) -> Result<()> {
    let body = face::error_body(error, id);
    let mut head = head_of(error.status, JSON, body.len())?;
    if let Some(seconds) = error.retry_after {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(method) = allow {
        head.insert_header(header::ALLOW, method)?;
    }
    if let Some(id) = id {
        head.insert_header("X-Generation-Id", id)?;
    }
    write(session, head, body).await
}

/// A good answer of Weir's own.
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) kind: &'static str,
    /// What `Cache-Control` says of it.
    pub(super) cache: Option<&'static str>,
    /// Nobody else is answered with these bytes: they are held as long as the caller reads.
    pub(super) made: bool,
}

impl Answer {
    /// A small one, of which nothing is said to caches.
    pub(super) fn json(body: Bytes) -> Self {
        Self { body, kind: JSON, cache: None, made: false }
    }
}

/// A 200. One that is made for this caller alone waits only from one of the few places.
///
/// # Errors
/// As [`refuse`].
pub(super) async fn give(session: &mut Session, answer: Answer, places: &Semaphore) -> Result<()> {
    let Answer { body, kind, cache, made } = answer;
    let waits = made || session.is_http2();
    let mut head = head_of(200, kind, body.len())?;
    if let Some(cache) = cache {
        head.insert_header(header::CACHE_CONTROL, cache)?;
    }
    linger(waits, places, write(session, head, body)).await?
}

/// Waits, if `few` may, only from one of the few places there are. On HTTP/2 a stream that waits costs a
/// hundred times the bytes that opened it, and a connection has many (S10). Whoever has one at once
/// needs none.
async fn linger<T>(few: bool, places: &Semaphore, work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    if let Some(done) = work.as_mut().now_or_never() {
        return Ok(done);
    }
    let place = few.then(|| places.try_acquire()).transpose();
    let _place = place.map_err(|_| {
        pingora::Error::explain(ErrorType::WriteTimedout, "too many callers let answers wait")
    })?;
    Ok(work.await)
}

/// The answer to a preflight: nothing but what a page may send.
pub(super) async fn preflight(session: &mut Session) -> Result<()> {
    let mut head = ResponseHeader::build(204, Some(4))?;
    for (name, value) in cors::preflight() {
        head.insert_header(name, value)?;
    }
    session.write_response_header(Box::new(head), true).await
}

/// Lets the page that asked read the answer.
pub(super) fn share(request: &RequestHeader, head: &mut ResponseHeader) -> Result<()> {
    for (name, value) in cors::shared(&request.headers) {
        head.insert_header(name, value)?;
    }
    Ok(())
}

pub(super) const JSON: &str = "application/json";

fn head_of(status: u16, kind: &'static str, length: usize) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(5))?;
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    Ok(head)
}

async fn write(session: &mut Session, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    share(session.req_header(), &mut head)?;
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await
}
