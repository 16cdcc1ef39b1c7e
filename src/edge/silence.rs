//! Comments that keep a stream's connection alive while its upstream is silent (contract 4.3).
//!
//! They are written while the proxy loop waits for the upstream, so nothing here may wait: what the
//! caller's connection does not take at once is finished before the next write, or given up.

use crate::face::cors;
use bytes::Bytes;
use futures::FutureExt;
use http::header;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use tokio::time::timeout;

const COMMENT: &[u8] = b": OPENROUTER PROCESSING\n\n";

/// Makes a comment of any beginning of [`COMMENT`].
const COMMENT_END: &[u8] = b"\n\n";

/// The comments of one reply.
pub(super) struct Comments {
    /// `gen-...`, for the head.
    id: Arc<str>,
    begun: bool,
    /// An unknown part of the last one was written.
    ragged: bool,
}

impl Comments {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, begun: false, ragged: false }
    }

    /// Whether the reply began with one.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Writes one, after a head unless one `is_sent`; but not while the one before still waits.
    ///
    /// # Errors
    /// The caller cannot be written to.
    pub(super) fn write(&mut self, session: &mut ServerSession, is_sent: bool) -> Result<()> {
        let head = if is_sent { None } else { Some(head(&self.id, session.req_header())?) };
        self.begun |= !is_sent;
        let comment = Bytes::from_static(COMMENT);
        let done = match session {
            ServerSession::H1(session) => {
                if !session.has_pending_proxy_tasks() {
                    if let Some(mut head) = head {
                        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
                        session.send_proxy_task(HttpTask::Header(head, false));
                    }
                    session.send_proxy_task(HttpTask::Body(Some(comment), false));
                }
                session.write_proxy_tasks().now_or_never().map(|done| done.map(drop))
            }
            ServerSession::H2(session) => {
                if let Some(head) = head {
                    session.write_response_header(head, false)?;
                }
                if self.ragged {
                    return Ok(());
                }
                // Dropped half way it may have written some of it.
                let done = session.write_body(comment, false).now_or_never();
                self.ragged = done.is_none();
                done
            }
            ServerSession::Subrequest(_) | ServerSession::Custom(_) => None,
        };
        done.unwrap_or(Ok(()))
    }

    /// Finishes what waits. To be called before any other write.
    ///
    /// # Errors
    /// As [`Self::write`], and when the caller takes nothing within its write timeout.
    pub(super) async fn settle(&mut self, session: &mut ServerSession) -> Result<()> {
        if session.has_pending_downstream_proxy_tasks() {
            let most = session.get_write_timeout();
            let rest = session.write_downstream_proxy_tasks();
            match most {
                Some(most) => timeout(most, rest).await.unwrap_or_else(|_| {
                    Error::e_explain(ErrorType::WriteTimedout, "the rest of a comment")
                })?,
                None => rest.await?,
            };
        }
        if std::mem::take(&mut self.ragged) {
            session.write_response_body(Bytes::from_static(COMMENT_END), false).await?;
        }
        Ok(())
    }
}

/// The head of a stream whose upstream has not answered yet.
fn head(id: &str, request: &RequestHeader) -> Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build(200, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, "text/event-stream")?;
    head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    head.insert_header("X-Generation-Id", id)?;
    for (name, value) in cors::shared(&request.headers) {
        head.insert_header(name, value)?;
    }
    Ok(Box::new(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A session over a pipe that takes `room` bytes, its caller, and the comments.
    async fn session(room: usize) -> (ServerSession, DuplexStream, Comments) {
        let (mut caller, stream) = tokio::io::duplex(room);
        let asking = tokio::spawn(async move {
            caller
                .write_all(b"POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            caller
        });
        let mut session = ServerSession::new_http1(Box::new(stream));
        assert!(session.read_request().await.unwrap());
        (session, asking.await.unwrap(), Comments::new("gen-1".into()))
    }

    #[tokio::test]
    async fn a_caller_who_does_not_read_is_not_waited_for_and_gets_whole_comments() {
        for room in [1, 40, 300, 4_096] {
            let (mut session, mut caller, mut comments) = session(room).await;
            for n in 0..200 {
                comments.write(&mut session, n > 0).unwrap();
            }
            assert!(comments.begun());
            let reading = tokio::spawn(async move {
                let mut all = String::new();
                caller.read_to_string(&mut all).await.unwrap();
                all
            });
            comments.settle(&mut session).await.unwrap();
            let event = Bytes::from_static(b"data: 1\n\n");
            session.write_response_body(event, true).await.unwrap();
            drop(session);
            let all = reading.await.unwrap();
            let (head, mut body) = all.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("X-Generation-Id: gen-1")
            );
            let comment = "19\r\n: OPENROUTER PROCESSING\n\n\r\n";
            let mut count = 0;
            while let Some(rest) = body.strip_prefix(comment) {
                (body, count) = (rest, count + 1);
            }
            assert!((1..=4_096 / comment.len()).contains(&count), "{count}");
            assert_eq!(body, "9\r\ndata: 1\n\n\r\n0\r\n\r\n");
        }
    }
}
