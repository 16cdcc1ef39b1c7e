//! The delivering thread: rows of the spool go to the sink, oldest first, at least once.
//!
//! It reads what the flusher wrote, so a backlog takes no memory. Rows and cursor are one
//! transaction; a segment is removed only after the transaction that covers its end.

use super::depth::add;
use super::reading::{Opened, Reading, Step};
use super::shared::{Shared, Stop, now_us};
use super::sink::{Batch, Sink, SinkError, sqlite::Sqlite};
use crate::bounds::SINK_BATCH;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Pause once the spool is read to its end: rows are collected meanwhile, one commit for all.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_DRAINING: Duration = Duration::from_millis(2);
/// Pause after an error of the sink: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Why a step did not succeed; it is repeated until it does.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("{0}")]
    Sink(#[from] SinkError),
    #[error("reading the spool: {0}")]
    Spool(#[from] io::Error),
}

pub(super) struct Deliverer {
    shared: Arc<Shared>,
    sink: Option<Box<dyn Sink>>,
    reading: Option<Box<Reading>>,
    /// Consecutive failed steps.
    failed: u32,
}

impl Deliverer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, sink: None, reading: None, failed: 0 }
    }

    /// Runs until stopped, or until draining leaves no segment.
    pub(super) fn run(mut self) {
        self.count_backlog();
        loop {
            let stop = self.shared.stopping();
            let pause = match self.step() {
                _ if stop == Stop::Halt => return,
                Ok(more) => {
                    self.accepted();
                    match stop {
                        _ if more => continue,
                        Stop::Run => PAUSE,
                        _ if self.shared.segments.first().is_none() => return,
                        _ => PAUSE_DRAINING,
                    }
                }
                Err(error) => self.refused(&error),
            };
            std::thread::park_timeout(pause);
        }
    }

    fn accepted(&mut self) {
        if std::mem::take(&mut self.failed) > 0 {
            tracing::info!("the ledger's sink accepts rows again");
            self.shared.counters.oldest_us.store(0, Relaxed);
        }
    }

    /// Notes a failure and says how long to wait.
    fn refused(&mut self, error: &StepError) -> Duration {
        add(&self.shared.counters.sink_errors, 1);
        let oldest = &self.shared.counters.oldest_us;
        let _ = oldest.compare_exchange(0, now_us(), Relaxed, Relaxed);
        if self.failed == 0 {
            tracing::error!(%error, "the ledger's sink does not accept rows: they stay in the spool");
        }
        let pause = BACKOFF.0.saturating_mul(1 << self.failed.min(10)).min(BACKOFF.1);
        self.failed = self.failed.saturating_add(1);
        (self.sink, self.reading) = (None, None);
        pause
    }

    /// Adds the rows that earlier epochs left to the gauge of what is pending, and makes the newest
    /// of them readable: some may not be in the sink yet.
    fn count_backlog(&self) {
        let own = self.shared.writer;
        for (id, segment) in self.shared.segments.all() {
            if id.0 == own.epoch {
                continue;
            }
            let Ok(Opened::Ready(mut reading)) = Reading::open(id, segment, own.node) else {
                continue;
            };
            while reading.fill().is_ok() && !reading.at_end() {
                let rows = reading.step(SINK_BATCH).rows;
                add(&self.shared.counters.appended, rows.len() as u64);
                let mut recent = self.shared.recent.lock();
                rows.iter().for_each(|record| recent.add(record));
            }
        }
    }

    /// Delivers one batch. False: all there is has been delivered.
    fn step(&mut self) -> Result<bool, StepError> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            empty => empty.insert(Box::new(Sqlite::open(&self.shared.options.sqlite)?)),
        };
        let reading = match &mut self.reading {
            Some(reading) => reading,
            empty => match open_first(&self.shared, sink.as_mut())? {
                Next::Reading(reading) => empty.insert(reading),
                Next::SetAside => return Ok(true),
                Next::Nothing => return Ok(false),
            },
        };
        let closed = reading.fill()?;
        let step = reading.step(SINK_BATCH);
        if !step.rows.is_empty() || !step.prices.is_empty() {
            deliver(&self.shared, sink.as_mut(), reading, &step)?;
        }
        reading.confirm();
        let counters = &self.shared.counters;
        add(&counters.passed, step.rows.len() as u64 + step.skipped);
        add(&counters.lost, step.lost);
        add(&counters.torn, step.torn);
        if !(closed && reading.at_end()) {
            return Ok(!reading.at_end());
        }
        let id = reading.id();
        let next = self.shared.segments.following(id);
        add(&counters.lost, reading.lost_at_end(next.as_deref()));
        let damaged = reading.damaged(next.is_some());
        self.reading = None;
        self.shared.segments.retire(id, damaged)?;
        Ok(true)
    }
}

enum Next {
    Reading(Box<Reading>),
    SetAside,
    Nothing,
}

/// Opens the oldest segment behind the sink's cursor.
fn open_first(shared: &Shared, sink: &mut dyn Sink) -> Result<Next, StepError> {
    let Some((id, segment)) = shared.segments.first() else { return Ok(Next::Nothing) };
    let node = shared.writer.node;
    match Reading::open(id, segment.clone(), node)? {
        Opened::Ready(mut reading) => {
            reading.skip(sink.cursor(node)?);
            Ok(Next::Reading(reading))
        }
        Opened::Foreign => {
            tracing::error!(file = %segment.path.display(), "this spool segment is another node's");
            shared.segments.retire(id, true)?;
            Ok(Next::SetAside)
        }
        Opened::Newer(version) => {
            let file = segment.path.display();
            tracing::error!(%file, version, "a newer version must deliver this spool segment");
            shared.segments.forget(id);
            Ok(Next::SetAside)
        }
    }
}

fn deliver(
    shared: &Shared,
    sink: &mut dyn Sink,
    reading: &Reading,
    step: &Step,
) -> Result<(), SinkError> {
    let counters = &shared.counters;
    let oldest = step.rows.iter().map(|row| row.ended_us).min().unwrap_or(0);
    counters.oldest_us.store(oldest, Relaxed);
    let (rows, prices) = (&step.rows[..], &step.prices[..]);
    let receipt = sink.deliver(&Batch {
        node: shared.writer.node,
        rows,
        prices,
        cursor: reading.position(),
    })?;
    counters.oldest_us.store(0, Relaxed);
    add(&counters.flushed, receipt.inserted);
    add(&counters.duplicates, receipt.duplicates);
    add(&counters.conflicts, receipt.conflicts);
    if receipt.conflicts > 0 {
        tracing::error!(rows = receipt.conflicts, "the sink has other rows under the same keys");
    }
    Ok(())
}
