//! The NATS sink: a message for each record in a JetStream stream, for `weir drain` and whoever else
//! listens.
//!
//! `<stream>.ledger.attempt.<node>` takes rows as JSON objects, `<stream>.ledger.price` price
//! versions, both under ids by which the server drops repeats. That spares space and is not relied
//! upon: it forgets ids after a while, and rows have their primary key. Behind each batch, once all of
//! it is acknowledged, goes its cursor on `<stream>.cursor.<node>` in place of the one before; a stream
//! keeps its order, so a cursor that is there means that all before it is.

mod stream;

use super::{Advance, Batch, Position, Receipt, Sink, SinkError, columns};
use crate::ledger::record::RecordKey;
use async_nats::HeaderMap;
use async_nats::jetstream::context::{Context, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

pub(in crate::ledger) use stream::{connect, existing, names, records_of, runtime};

/// Longest wait for a connection, for an answer, and for a whole batch.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(5);
const BATCH: Duration = Duration::from_secs(30);

/// Header with [`columns::VERSION`].
pub(in crate::ledger) const VERSION: &str = "Weir-Version";
/// Where price versions go, behind the stream's name.
pub(in crate::ledger) const PRICE: &str = ".ledger.price";

pub(super) struct Nats {
    runtime: Runtime,
    context: Context,
    stream: Stream,
    name: String,
    lost: Arc<Notify>,
    /// Number of the message with the cursor, 0 if there is none; `None` until it was asked for.
    at: Option<u64>,
    /// What ids end with: the last message before the first cursor. A stream that was emptied gives another,
    /// for it still knows the ids of what it has no more.
    since: u64,
}

impl Nats {
    /// Connects and makes the stream where there is none.
    pub(super) fn open(urls: &SecretString, name: &str) -> Result<Self, SinkError> {
        let runtime = runtime()?;
        let opened = async {
            let (client, lost) = connect(urls).await?;
            let mut context = jetstream::new(client);
            // What is asked of the stream waits no longer either: its handle takes this over.
            context.set_timeout(ANSWER);
            let stream = stream::made(&context, name).await?;
            Ok::<_, SinkError>((context, stream, lost))
        };
        let limited = async { tokio::time::timeout(BATCH, opened).await };
        let (context, stream, lost) =
            runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))??;
        Ok(Self { runtime, context, stream, name: name.to_owned(), lost, at: None, since: 0 })
    }

    async fn publish(&self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        let mut waiting = Vec::with_capacity(batch.rows.len() + batch.prices.len());
        for price in batch.prices {
            let subject = format!("{}{PRICE}", self.name);
            let id = format!("{}-{}", hex::encode(price.hash()), self.since);
            waiting.push((false, self.send(subject, &id, price.text().into()).await?));
        }
        for row in batch.rows {
            let RecordKey { node, epoch, seq } = row.key;
            let node = hex::encode(node);
            let mut line = Vec::with_capacity(1_500);
            columns::put_json(&mut line, row);
            let subject = format!("{}.ledger.attempt.{node}", self.name);
            let id = format!("{node}-{epoch}-{seq}-{}", self.since);
            waiting.push((true, self.send(subject, &id, line).await?));
        }
        let mut receipt = Receipt::default();
        for (is_row, acknowledgement) in waiting {
            let repeated = acknowledgement.await.map_err(refused)?.duplicate;
            receipt.duplicates += u64::from(is_row && repeated);
            receipt.inserted += u64::from(is_row && !repeated);
        }
        Ok(receipt)
    }

    async fn send(
        &self,
        subject: String,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<PublishAckFuture, SinkError> {
        let version = columns::VERSION.to_string();
        let message = PublishMessage::build().payload(payload.into()).message_id(id);
        let message = message.header(VERSION, version);
        self.context.send_publish(subject, message).await.map_err(refused)
    }

    /// Says the number of the message that holds it then. The server refuses one that takes the place of
    /// another than the last that was seen.
    async fn advance(&self, cursor: Advance) -> Result<u64, SinkError> {
        let Position { epoch, segment, offset, rows } = cursor.to;
        let since = self.since;
        let text = json!({"epoch": epoch, "segment": segment, "offset": offset, "rows": rows, "since": since});
        let text = text.to_string();
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        if let Some(at) = self.at {
            headers.insert("Nats-Expected-Last-Subject-Sequence", at.to_string());
        }
        let subject = self.cursor_of(cursor.node);
        let sent = self.context.publish_with_headers(subject, headers, text.into());
        Ok(sent.await.map_err(refused)?.await.map_err(refused)?.sequence)
    }

    fn cursor_of(&self, node: [u8; 16]) -> String {
        format!("{}.cursor.{}", self.name, hex::encode(node))
    }
}

impl Sink for Nats {
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError> {
        let subject = self.cursor_of(node);
        let found = self.runtime.block_on(self.stream.get_last_raw_message_by_subject(&subject));
        let message = match found {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                let state = self.runtime.block_on(self.stream.info()).map_err(said)?.state.clone();
                (self.at, self.since) = (Some(0), state.last_sequence);
                return Ok(None);
            }
            Err(error) => return Err(said(error)),
        };
        let cursor: Value = serde_json::from_slice(&message.payload).map_err(said)?;
        let number = |name: &str| cursor.get(name).and_then(Value::as_u64);
        let at = || {
            let (epoch, segment) = (number("epoch")?, number("segment")?);
            Some(Position {
                epoch,
                segment,
                offset: number("offset")?,
                rows: number("rows").unwrap_or(0),
            })
        };
        (self.at, self.since) = (Some(message.sequence), number("since").unwrap_or(0));
        at().map(Some).ok_or_else(|| SinkError::Nats(format!("{subject} holds no cursor")))
    }

    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        let delivered = async {
            let receipt = self.publish(batch).await?;
            let at = match batch.cursor {
                Some(cursor) => Some(self.advance(cursor).await?),
                None => self.at,
            };
            Ok((receipt, at))
        };
        // The client connects again by itself, but what had no answer yet will never have one.
        let unless_lost = async {
            tokio::select! {
                done = delivered => done,
                () = self.lost.notified() => Err(said("the connection ended")),
            }
        };
        let limited = async { tokio::time::timeout(BATCH, unless_lost).await };
        let done = self.runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))?;
        done.map(|(receipt, at)| {
            self.at = at;
            receipt
        })
    }
}

/// A message that is too large will be so for ever; a cursor that is not the last one's next never is.
fn refused(error: PublishError) -> SinkError {
    let answer = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    let code = answer.map(jetstream::Error::error_code);
    if error.kind() == PublishErrorKind::MaxPayloadExceeded
        || code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
    {
        return SinkError::Refused(error.to_string());
    }
    if error.kind() == PublishErrorKind::WrongLastSequence {
        return SinkError::Moved;
    }
    said(error)
}

pub(in crate::ledger) fn said(error: impl Display) -> SinkError {
    SinkError::Nats(error.to_string())
}
