//! What a caller's HTTP/1 connection may say: one whole, well-formed request at a time.
//!
//! Between the socket and Pingora's parser, so that this sees a head only when it is whole and nobody
//! could read it differently, a body only as far as it reaches, and nothing that was sent behind it
//! (P8, P9, P22; F50, F51).

use crate::bounds::{HEAD_BYTES, PIPELINED_BYTES};
use crate::metrics::{Ending, Metrics};
use crate::request::bad_request::BadRequest;
use crate::request::chunks::Chunks;
use crate::request::head::{Body, Reader};
use std::sync::Arc;
use tokio::io::ReadBuf;

/// Follows one connection through its requests.
#[derive(Debug)]
pub(super) struct Framing {
    metrics: Arc<Metrics>,
    phase: Phase,
    /// Of a head that did not come in one read, until it is handed on.
    kept: Vec<u8>,
    handed: usize,
    /// Bytes dropped that were sent behind the request being served.
    behind: usize,
}

#[derive(Debug)]
enum Phase {
    Head(Reader),
    Length(u64),
    Chunked(Chunks),
    /// The request has been read whole.
    Whole,
    /// Nothing more is read as a request.
    Ended,
}

/// What becomes of bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many of them are read now, at least one, or none at the connection's end.
    Pass(usize),
    /// None is.
    Hold,
    /// The head is refused: nobody behind this has seen any of it.
    Refuse(BadRequest),
    /// The body is refused, in the middle of it.
    Break,
}

impl Framing {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let phase = Phase::Head(Reader::default());
        Self { metrics, phase, kept: Vec::new(), handed: 0, behind: 0 }
    }

    /// Bytes that were held and may be read now; whether there were any.
    pub(super) fn hand_over(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if matches!(self.phase, Phase::Head(_)) {
            return false;
        }
        let rest = self.kept.get(self.handed..).unwrap_or_default();
        let part = rest.get(..into.remaining()).unwrap_or(rest);
        if part.is_empty() {
            return false;
        }
        into.put_slice(part);
        self.handed += part.len();
        if self.handed == self.kept.len() {
            self.kept = Vec::new();
            self.handed = 0;
        }
        true
    }

    /// Whether the connection is to be closed: a request was refused, or one that was followed by
    /// more has been served.
    pub(super) fn is_ended(&self, serving: bool) -> bool {
        matches!(self.phase, Phase::Ended) || self.behind > 0 && !serving
    }

    /// Whether more was sent behind the request being served.
    pub(super) fn is_pipelined(&self) -> bool {
        self.behind > 0
    }

    /// Whether so much was sent behind it that no more is read.
    pub(super) fn is_flooded(&self) -> bool {
        self.behind > PIPELINED_BYTES
    }

    /// Decides about bytes that have arrived, while a request is being served or between two.
    pub(super) fn arrived(&mut self, bytes: &[u8], serving: bool) -> Step {
        if bytes.is_empty() {
            return Step::Pass(0);
        }
        if matches!(self.phase, Phase::Whole) && !serving {
            self.phase = Phase::Head(Reader::default());
        }
        let in_head = matches!(self.phase, Phase::Head(_));
        let step = match &mut self.phase {
            Phase::Head(reader) => {
                let held = !self.kept.is_empty();
                if held {
                    self.kept.extend_from_slice(bytes);
                }
                let seen = if held { self.kept.as_slice() } else { bytes };
                match reader.read(seen) {
                    Ok(Some(head)) if held => self.begin_kept(head.body, head.end),
                    Ok(Some(head)) => self.begin(head.body, bytes, head.end),
                    Ok(None) if seen.len() >= HEAD_BYTES => Err(BadRequest::HeadSize),
                    Ok(None) => {
                        if !held {
                            self.kept.extend_from_slice(bytes);
                        }
                        Ok(Step::Hold)
                    }
                    Err(bad) => Err(bad),
                }
            }
            _ => self.pass(bytes, 0),
        };
        step.unwrap_or_else(|bad| self.refuse(bad, in_head))
    }

    fn begin(&mut self, body: Body, bytes: &[u8], end: usize) -> Result<Step, BadRequest> {
        self.phase = match body {
            Body::Length(0) => Phase::Whole,
            Body::Length(length) => Phase::Length(length),
            Body::Chunked => Phase::Chunked(Chunks::default()),
        };
        self.pass(bytes.get(end..).unwrap_or_default(), end)
    }

    /// As [`Framing::begin`], where the head came in pieces: all of it is handed over.
    fn begin_kept(&mut self, body: Body, end: usize) -> Result<Step, BadRequest> {
        let kept = std::mem::take(&mut self.kept);
        if let Step::Pass(count) = self.begin(body, &kept, end)? {
            self.kept = kept;
            self.kept.truncate(count);
        }
        Ok(Step::Hold)
    }

    /// Passes what belongs to the body, and the `before` bytes in front of it.
    fn pass(&mut self, bytes: &[u8], before: usize) -> Result<Step, BadRequest> {
        let count = match &mut self.phase {
            Phase::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                if *left == 0 {
                    self.phase = Phase::Whole;
                }
                usize::try_from(taken).unwrap_or(usize::MAX)
            }
            Phase::Chunked(chunks) => {
                let taken = chunks.read(bytes)?;
                if chunks.is_done() {
                    self.phase = Phase::Whole;
                }
                taken
            }
            _ => 0,
        };
        let behind = bytes.len().saturating_sub(count);
        if behind > 0 {
            if self.behind == 0 {
                self.metrics.pipelined.inc();
            }
            self.behind = self.behind.saturating_add(behind);
        }
        Ok(if before + count == 0 { Step::Hold } else { Step::Pass(before + count) })
    }

    fn refuse(&mut self, bad: BadRequest, in_head: bool) -> Step {
        self.metrics.bad_request.inc(bad);
        self.phase = Phase::Ended;
        self.kept = Vec::new();
        if !in_head {
            return Step::Break;
        }
        self.metrics.request(None, Ending::CallerFault);
        Step::Refuse(bad)
    }
}
