//! How a server is reached, and the stream of records on it: made, found, and whether it keeps what it is given.

use super::{CONNECT, said};
use crate::ledger::sink::SinkError;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use futures::TryStreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// What rows and prices of a stream go to, and cursors do not.
pub(in crate::ledger) fn records_of(stream: &str) -> String {
    format!("{stream}.ledger.>")
}

/// With a thread of its own, which answers the server's pings while there is nothing to deliver.
pub(in crate::ledger) fn runtime() -> Result<Runtime, SinkError> {
    let mut builder = Builder::new_multi_thread();
    Ok(builder.worker_threads(1).thread_name("weir-nats").enable_all().build()?)
}

/// Connects to the first of comma-separated servers that answers. Whoever waits at that moment is
/// notified when a connection ends.
pub(in crate::ledger) async fn connect(
    urls: &SecretString,
) -> Result<(Client, Arc<Notify>), SinkError> {
    let urls: Vec<&str> = urls.expose_secret().split(',').collect();
    let lost = Arc::new(Notify::new());
    let notify = lost.clone();
    let options = ConnectOptions::new().name("weir").connection_timeout(CONNECT);
    let options = options.event_callback(move |event| {
        if matches!(event, Event::Disconnected | Event::Closed) {
            notify.notify_waiters();
        }
        std::future::ready(())
    });
    let client = options.connect(urls).await.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            SinkError::Denied(error.to_string())
        }
        _ => said(error),
    })?;
    Ok((client, lost))
}

/// The stream, made where there is none: kept until drained, and full rather than forgetful.
pub(super) async fn made(context: &Context, name: &str) -> Result<Stream, SinkError> {
    let wanted = Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        num_replicas: 1,
        ..Config::default()
    };
    fitting(context.get_or_create_stream(wanted).await.map_err(said)?)
}

/// The stream, where there is one.
pub(in crate::ledger) async fn existing(
    context: &Context,
    name: &str,
) -> Result<Option<Stream>, SinkError> {
    match context.get_stream(name).await {
        Ok(stream) => fitting(stream).map(Some),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer)
                if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => Ok(None),
            _ => Err(said(error)),
        },
    }
}

/// The names of the streams that there are.
pub(in crate::ledger) async fn names(context: &Context) -> Result<Vec<String>, SinkError> {
    context.stream_names().try_collect().await.map_err(said)
}

fn fitting(stream: Stream) -> Result<Stream, SinkError> {
    let config = &stream.cached_info().config;
    match unfit(config) {
        Some(why) => Err(SinkError::Nats(format!("stream {} {why}", config.name))),
        None => Ok(stream),
    }
}

/// Why a stream made by someone else would lose records.
fn unfit(config: &Config) -> Option<&'static str> {
    let limited = config.max_bytes > 0 || config.max_messages > 0;
    let forgets = config.max_messages_per_subject > 0 || !config.max_age.is_zero();
    match config {
        _ if forgets => Some("drops records by age or per subject: take those limits away"),
        _ if limited && config.discard == DiscardPolicy::Old => {
            Some("drops its oldest records when it is full: set its discard policy to new")
        }
        _ if config.retention == RetentionPolicy::Interest => {
            Some("drops records nobody asks for: set its retention to workqueue or limits")
        }
        _ if config.no_ack => Some("acknowledges nothing: let it"),
        _ if !config.allow_rollup => Some("does not allow roll-ups: set allow_rollup_hdrs"),
        _ => None,
    }
}
