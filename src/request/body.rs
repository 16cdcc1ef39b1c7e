//! Reads the whole request body, bounded in size and time, before anything is sent upstream.

use super::held_bytes::Held;
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Preallocation is by `Content-Length`, but a length that lies must not cost memory.
const PREALLOCATE: usize = 1 << 20;

/// Bounds of one body.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes: usize,
    /// Of all bodies together.
    pub buffered: usize,
    /// For a body that does not come, and a second more for every `rate` bytes that have.
    pub time: Duration,
    pub rate: usize,
}

impl Bounds {
    /// How long a body of which so many bytes have come may have taken.
    fn time_for(&self, bytes: usize) -> Duration {
        let steps = bytes / self.rate.max(1);
        self.time.saturating_add(Duration::from_secs(steps as u64))
    }
}

/// The body in one piece; `held` covers it when it has come.
///
/// # Errors
/// 413 as soon as the size is known to be too large, 503 when all bodies together are, 408 when it
/// comes too slowly (F48), 415 for a compressed body (F57), 400 when the caller's framing breaks off.
pub async fn read(session: &mut Session, bounds: Bounds, held: &mut Held) -> Result<Bytes, Error> {
    let declared = declared(session)?;
    if declared.is_some_and(|length| length > bounds.bytes) {
        return Err(too_large(bounds.bytes));
    }
    let mut room = Room { declared, bounds, held };
    room.make(1)?;
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.write_continue_response().await.map_err(|_| cut())?;
        session.req_header_mut().remove_header(&header::EXPECT);
    }
    let body = collect(session, &mut room).await?;
    room.held.settle(body.len());
    Ok(body)
}

/// The length the head announces, if it does.
fn declared(session: &Session) -> Result<Option<usize>, Error> {
    let headers = &session.req_header().headers;
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Error::caller(415, "Compressed request bodies are not accepted"));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    Ok(length.and_then(|length| length.parse().ok()))
}

/// What a body may take while it arrives.
struct Room<'a> {
    declared: Option<usize>,
    bounds: Bounds,
    held: &'a mut Held,
}

impl Room<'_> {
    /// Room for so many bytes in all.
    fn make(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bounds.bytes {
            return Err(too_large(self.bounds.bytes));
        }
        if self.held.cover(bytes, self.declared, self.bounds.buffered) {
            return Ok(());
        }
        let full = "Too many request bodies are held now";
        Err(Error::weir(503, full).retry_after(Some(1)))
    }
}

async fn collect(session: &mut Session, room: &mut Room<'_>) -> Result<Bytes, Error> {
    let (began, bounds) = (Instant::now(), room.bounds);
    let until = |bytes| began + bounds.time_for(bytes);
    let Some(first) = next(session, until(0)).await? else {
        return Ok(Bytes::new());
    };
    if Some(first.len()) == room.declared {
        room.make(first.len())?;
        return Ok(first);
    }
    let ahead = room.declared.unwrap_or(0).min(PREALLOCATE);
    let mut whole = BytesMut::with_capacity(ahead.max(first.len()));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        room.make(whole.len() + bytes.len())?;
        whole.extend_from_slice(&bytes);
        piece = next(session, until(whole.len())).await?;
    }
    Ok(whole.freeze())
}

async fn next(session: &mut Session, until: Instant) -> Result<Option<Bytes>, Error> {
    match timeout_at(until, session.read_request_body()).await {
        Ok(piece) => piece.map_err(|_| cut()),
        Err(_) => Err(Error::caller(408, "The request body did not arrive in time")),
    }
}

fn cut() -> Error {
    Error::caller(400, "The request body broke off")
}

fn too_large(most: usize) -> Error {
    Error::caller(413, format!("The request body is larger than {most} bytes"))
}
