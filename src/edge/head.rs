//! The head of a reply, kept back until the first body bytes.

use bytes::Bytes;
use http::header;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

/// Type of the error an attempt fails with when its reply has no body at all.
pub const EMPTY_REPLY: ErrorType = ErrorType::Custom("EmptyReply");

/// Where the reply's head is.
#[derive(Debug, Default)]
pub(super) enum Head {
    /// None came, or the attempt it came from failed.
    #[default]
    Awaited,
    /// Kept back until content.
    Kept(Box<ResponseHeader>),
    /// On the wire; a later attempt's head is dropped.
    Sent,
}

impl Head {
    pub(super) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent)
    }

    /// The tasks that may be written now, with the head in front when this is the first content.
    /// `begun` says that the reply began with a comment.
    ///
    /// # Errors
    /// The attempt has failed before content: with its own error, or with [`EMPTY_REPLY`].
    pub(super) fn release(&mut self, tasks: Vec<HttpTask>, begun: bool) -> Result<Vec<HttpTask>> {
        if self.is_sent() && !tasks.iter().any(|t| matches!(t, HttpTask::Header(..))) {
            return Ok(tasks);
        }
        let mut out = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            match task {
                HttpTask::Header(head, end) => {
                    let unsaid = !head.headers.contains_key(header::CONTENT_LENGTH);
                    let unusable = head.status.is_success() || unsaid || begun;
                    let informational = head.status.is_informational();
                    if end && !informational && unusable {
                        return Err(
                            Error::explain(EMPTY_REPLY, "a head and nothing more").into_up()
                        );
                    }
                    if !informational && !self.is_sent() {
                        *self = Self::Kept(head);
                    }
                    if end {
                        self.send(&mut out, Some(0))?;
                        out.push(HttpTask::Done);
                    }
                }
                HttpTask::Body(None, false) => {}
                HttpTask::Body(Some(data), false) if data.is_empty() => {}
                HttpTask::Failed(error) if !self.is_sent() && out.is_empty() => {
                    *self = Self::Awaited;
                    return Err(error);
                }
                task => {
                    let whole = match &task {
                        HttpTask::Body(data, true) => Some(data.as_ref().map_or(0, Bytes::len)),
                        _ => None,
                    };
                    self.send(&mut out, whole)?;
                    out.push(task);
                }
            }
        }
        Ok(out)
    }

    /// Queues the kept head. A body that comes in one piece gets its length instead of chunks.
    fn send(&mut self, out: &mut Vec<HttpTask>, whole: Option<usize>) -> Result<()> {
        if let Self::Kept(mut head) = std::mem::replace(self, Self::Sent) {
            let kind = head.headers.get(header::CONTENT_TYPE);
            let streamed =
                kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            if let Some(length) = whole.filter(|_| !streamed) {
                head.remove_header(&header::TRANSFER_ENCODING);
                head.insert_header(header::CONTENT_LENGTH, length)?;
            }
            out.push(HttpTask::Header(head, false));
        }
        Ok(())
    }
}

/// Whether the reply's head among these tasks ends the connection.
pub(super) fn closes(tasks: &[HttpTask]) -> bool {
    tasks.iter().any(|task| match task {
        HttpTask::Header(head, _) => {
            head.headers.get(header::CONNECTION).is_some_and(|value| value == "close")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> HttpTask {
        HttpTask::Header(Box::new(ResponseHeader::build(status, None).unwrap()), false)
    }

    fn body(text: &'static str, end: bool) -> HttpTask {
        HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
    }

    fn failed() -> HttpTask {
        HttpTask::Failed(Error::new(ErrorType::ReadError))
    }

    fn status(task: &HttpTask) -> u16 {
        match task {
            HttpTask::Header(head, _) => head.status.as_u16(),
            _ => 0,
        }
    }

    #[test]
    fn a_head_waits_for_content_and_a_failure_before_it_takes_the_head_along() {
        let mut head = Head::default();
        assert!(head.release(vec![answer(200), body("", false)], false).unwrap().is_empty());
        assert!(head.release(vec![failed()], false).is_err());
        assert!(head.release(vec![answer(201)], false).unwrap().is_empty());
        let out = head.release(vec![body("x", false)], false).unwrap();
        assert_eq!((out.len(), status(&out[0]), head.is_sent()), (2, 201, true));
        let out = head.release(vec![answer(202), body("y", false)], false).unwrap();
        assert_eq!((out.len(), status(&out[0])), (1, 0), "one head only");
    }

    #[test]
    fn a_failure_after_content_is_passed_on() {
        let mut head = Head::default();
        let out = head.release(vec![answer(200), body("x", false), failed()], false).unwrap();
        assert_eq!(out.len(), 3);
        assert_eq!(head.release(vec![failed()], false).unwrap().len(), 1);
    }

    #[test]
    fn a_body_in_one_piece_gets_a_length_unless_it_is_a_stream() {
        for (kind, length) in [("application/json", Some("2")), ("text/event-stream", None)] {
            let mut answer = ResponseHeader::build(200, None).unwrap();
            answer.insert_header(header::CONTENT_TYPE, kind).unwrap();
            answer.insert_header(header::TRANSFER_ENCODING, "chunked").unwrap();
            let task = HttpTask::Header(Box::new(answer), false);
            let out = Head::default().release(vec![task, body("{}", true)], false).unwrap();
            let HttpTask::Header(head, false) = &out[0] else { panic!("no head") };
            let said = head.headers.get(header::CONTENT_LENGTH).map(|v| v.to_str().unwrap());
            assert_eq!(said, length);
        }
    }

    #[test]
    fn a_head_and_nothing_more_is_an_empty_reply() {
        let empty = || HttpTask::Header(Box::new(ResponseHeader::build(200, None).unwrap()), true);
        let error = Head::default().release(vec![empty()], false).unwrap_err();
        assert_eq!(*error.etype(), EMPTY_REPLY);
    }
}
