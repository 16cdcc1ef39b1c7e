//! `weir drain`: records that a NATS stream carries, into a database.
//!
//! A message is acknowledged once its record is committed, so that none is lost whatever ends in
//! between; one that comes again is told by its primary key, however long after. So it may be killed
//! at any moment, and several may run at once.

mod error;

pub use error::DrainError;

use super::record::Record;
use super::sink::columns::{self, NAMES};
use super::sink::{Batch, Receipt, Sink, SinkError, Target, dead_letter, nats, poison, stored};
use crate::bounds::SINK_BATCH;
use crate::price::PriceVersion;
use async_nats::Client;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::{self, AckKind, Message};
use futures::StreamExt;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Name of the consumer that all drains of a stream share.
const CONSUMER: &str = "weir-drain";
/// How long a batch is waited for.
const COLLECT: Duration = Duration::from_millis(500);
/// After which the server delivers again what was not acknowledged, as where a drain was killed. A batch
/// that takes longer comes twice, which is harmless.
const REDELIVER: Duration = Duration::from_secs(10);

/// From where to where.
#[derive(Debug, Clone)]
pub struct Route {
    /// Comma-separated NATS servers.
    pub urls: SecretString,
    pub stream: String,
    pub to: Target,
    /// Directory for rows that are refused for good.
    pub dead_letters: PathBuf,
}

/// What has been moved since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drained {
    pub rows: u64,
    /// Rows that were there already.
    pub duplicates: u64,
    /// Rows that were there already with other content: an alarm.
    pub conflicts: u64,
    /// Rows and messages laid aside.
    pub dead: u64,
    /// Messages in the stream that were not delivered yet.
    pub left: u64,
}

impl Route {
    fn target(&self, error: SinkError) -> DrainError {
        match error {
            // Neither server has files.
            SinkError::File(error) => {
                DrainError::DeadLetters { path: self.dead_letters.clone(), error }
            }
            error => DrainError::Target { to: self.to.title(), error },
        }
    }

    /// Whether the connection string is one, and rows can be laid aside, before there is one.
    fn check(&self) -> Result<(), DrainError> {
        if let Target::Postgres(url) = &self.to {
            let read = url.expose_secret().parse::<tokio_postgres::Config>();
            read.map_err(|error| self.target(error.into()))?;
        }
        let found = fs::read_dir(&self.dead_letters).map(drop);
        let mode = Access::WRITE_OK | Access::EXEC_OK;
        let writable =
            found.and_then(|()| Ok(accessat(CWD, &self.dead_letters, mode, AtFlags::empty())?));
        let path = || self.dead_letters.clone();
        writable.map_err(|error| DrainError::DeadLetters { path: path(), error })
    }

    /// Where rows are laid aside.
    #[must_use]
    pub fn aside(&self) -> PathBuf {
        dead_letter::path(&self.dead_letters, self.to.name())
    }
}

/// Both ends, connected when they are needed.
pub struct Drainer {
    route: Route,
    runtime: Runtime,
    source: Option<(Client, PullConsumer)>,
    sink: Option<Box<dyn Sink>>,
    drained: Drained,
}

impl Drainer {
    /// # Errors
    /// No thread can be started, or nothing laid aside.
    pub fn new(route: Route) -> Result<Self, DrainError> {
        route.check()?;
        let runtime = nats::runtime().map_err(DrainError::Source)?;
        Ok(Self { route, runtime, source: None, sink: None, drained: Drained::default() })
    }

    /// Moves one batch, waiting a moment for it. `None`: nothing came, and nothing is left or in
    /// other hands.
    ///
    /// # Errors
    /// See [`DrainError`].
    pub fn step(&mut self) -> Result<Option<Drained>, DrainError> {
        let moved = self.try_step();
        if moved.is_err() {
            (self.source, self.sink) = (None, None);
        }
        moved
    }

    fn try_step(&mut self) -> Result<Option<Drained>, DrainError> {
        let Self { route, runtime, source, sink, drained } = self;
        let (client, consumer) = match source {
            Some(source) => source,
            empty => empty.insert(runtime.block_on(open(route))?),
        };
        let sink = match sink {
            Some(sink) => sink,
            empty => empty.insert(route.to.open().map_err(|error| route.target(error))?),
        };
        let messages = runtime.block_on(collect(consumer)).map_err(DrainError::Source)?;
        let Some(last) = messages.last() else {
            let info = runtime.block_on(consumer.get_info());
            let info = info.map_err(|error| DrainError::Source(nats::said(error)))?;
            let idle = info.num_pending == 0 && info.num_ack_pending == 0;
            return Ok((!idle).then_some(*drained));
        };
        let left = last.info().map_or(0, |info| info.pending);
        match store(route, sink.as_mut(), &messages) {
            Ok((receipt, dead)) => {
                let answered = runtime.block_on(answer(client, &messages, AckKind::Ack));
                answered.map_err(DrainError::Source)?;
                drained.rows += receipt.inserted;
                drained.duplicates += receipt.duplicates;
                drained.conflicts += receipt.conflicts;
                (drained.dead, drained.left) = (drained.dead + dead, left);
                Ok(Some(*drained))
            }
            Err(error) => {
                // Else the server would keep them for REDELIVER.
                drop(runtime.block_on(answer(client, &messages, AckKind::Nak(None))));
                Err(error)
            }
        }
    }
}

async fn open(route: &Route) -> Result<(Client, PullConsumer), DrainError> {
    let source = DrainError::Source;
    let (client, _) = nats::connect(&route.urls).await.map_err(source)?;
    let context = jetstream::new(client.clone());
    let Some(stream) = nats::existing(&context, &route.stream).await.map_err(source)? else {
        let known = nats::names(&context).await.map_err(source)?;
        return Err(DrainError::NoStream { name: route.stream.clone(), known });
    };
    let wanted = Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: REDELIVER,
        max_ack_pending: 8 * SINK_BATCH as i64,
        filter_subject: nats::records_of(&route.stream),
        ..Config::default()
    };
    let consumer = stream.get_or_create_consumer(CONSUMER, wanted).await;
    Ok((client, consumer.map_err(|error| source(nats::said(error)))?))
}

async fn collect(consumer: &PullConsumer) -> Result<Vec<Message>, SinkError> {
    let wanted = consumer.batch().max_messages(SINK_BATCH).expires(COLLECT);
    let mut coming = wanted.messages().await.map_err(nats::said)?;
    let mut messages = Vec::with_capacity(SINK_BATCH);
    while let Some(message) = coming.next().await {
        messages.push(message.map_err(|error| SinkError::Nats(error.to_string()))?);
    }
    Ok(messages)
}

async fn answer(client: &Client, messages: &[Message], kind: AckKind) -> Result<(), SinkError> {
    for message in messages {
        message.ack_with(kind).await.map_err(|error| SinkError::Nats(error.to_string()))?;
    }
    client.flush().await.map_err(nats::said)
}

/// Commits what the messages carry. Also says how many of them were laid aside.
fn store(
    route: &Route,
    sink: &mut dyn Sink,
    messages: &[Message],
) -> Result<(Receipt, u64), DrainError> {
    let (mut rows, mut prices, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    let (directory, name) = (&route.dead_letters, route.to.name());
    for message in messages {
        let (found, known) = (version(message), columns::VERSION);
        if found > known {
            return Err(DrainError::Newer { subject: message.subject.to_string(), found, known });
        }
        match read(message) {
            Ok(Carried::Row(row)) => rows.push(*row),
            Ok(Carried::Price(price)) => prices.push(price),
            Err(why) => strange.push((&message.payload, why)),
        }
    }
    for (payload, why) in &strange {
        dead_letter::put_strange(directory, name, payload, why)
            .map_err(|error| route.target(error.into()))?;
    }
    let mut dead = strange.len() as u64;
    let batch = Batch { rows: &rows, prices: &prices, cursor: None };
    let receipt = poison::deliver(sink, &batch, &mut |row, why| {
        dead += 1;
        dead_letter::put(directory, name, row, why)
    });
    Ok((receipt.map_err(|error| route.target(error))?, dead))
}

/// The number of what wrote a message; 0 where it says none.
fn version(message: &Message) -> u64 {
    let header = message.headers.as_ref().and_then(|headers| headers.get(nats::VERSION));
    header.and_then(|number| number.as_str().parse().ok()).unwrap_or(0)
}

enum Carried {
    Row(Box<Record>),
    Price(PriceVersion),
}

/// What a message carries, or why that cannot be read.
fn read(message: &Message) -> Result<Carried, String> {
    if message.subject.ends_with(nats::PRICE) {
        let text = std::str::from_utf8(&message.payload).map_err(|error| error.to_string())?;
        return PriceVersion::parse(text).map(Carried::Price).map_err(|error| error.to_string());
    }
    let object: Map<String, Value> =
        serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?;
    if let Some(name) = object.keys().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("no row has a column {name}"));
    }
    let row = stored::from_json(&object).map_err(|error| error.to_string())?;
    Ok(Carried::Row(Box::new(row)))
}
