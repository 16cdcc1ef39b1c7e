//! Logs: one event, one line, text or JSON, on standard error. Pingora's own records included.
//!
//! Debug and trace levels are compiled out of release builds. No line holds a prompt, a completion,
//! a header's value or a secret (S20); what comes from outside cannot end a line or move a cursor.

mod access;
mod queue;
#[cfg(test)]
mod tests;

pub use access::Access;

use queue::Queue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The queue of this process's log, once it was begun.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// What is logged when `RUST_LOG` does not say: Pingora tells every refused connection at info.
const DEFAULT_FILTER: &str =
    "info,pingora_core=warn,pingora_proxy=warn,pingora_load_balancing=warn";

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("the log's thread did not start: {0}")]
    Thread(#[from] std::io::Error),
    #[error("logging was set up before: {0}")]
    Twice(#[from] TryInitError),
}

/// The log that was begun. Dropping it waits for the lines still under way, so keep it until the
/// process ends.
#[derive(Debug)]
pub struct Log(Arc<Queue>);

impl Log {
    /// Waits until every line sent so far is written, at most two seconds. For exits that run no
    /// drop.
    pub fn flush(&self) {
        // The first turns access lines into lines behind it, the second waits for those.
        self.0.flush();
        self.0.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends every event to standard error from now on.
///
/// `RUST_LOG` chooses what is logged; a directive in it that cannot be read is left out.
///
/// # Errors
/// No thread, or logging was set up before.
pub fn init(format: Format) -> Result<Log, InitError> {
    let queue = Arc::new(Queue::start(std::io::stderr())?);
    let filter = match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.is_empty() => EnvFilter::new(wanted),
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    subscriber(format, filter, Arc::clone(&queue)).try_init()?;
    let _first = QUEUE.set(Arc::clone(&queue));
    Ok(Log(queue))
}

/// Logs the end of a request; its line is made on the log's own thread.
pub fn access(access: Access) {
    match QUEUE.get() {
        Some(queue) => queue.access(access),
        None => access.emit(),
    }
}

fn subscriber<W>(format: Format, filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = fmt::layer().with_ansi(false).with_writer(writer);
    let layer = match format {
        Format::Text => base.boxed(),
        Format::Json => {
            base.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(layer)
}

/// The line with every control character but its own end written as `\u00XX`, which is what both
/// a reader of text and a parser of JSON understand (S33).
fn escaped(line: &str) -> Cow<'_, str> {
    let text = line.strip_suffix('\n').unwrap_or(line);
    if !text.contains(char::is_control) {
        return line.into();
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for char in text.chars() {
        if char.is_control() {
            let _infallible = write!(safe, "\\u{:04x}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    safe.push('\n');
    safe.into()
}
