//! The delivering threads, one per sink: rows of the spool go to it, oldest first, at least once.
//!
//! They read what the flusher wrote, so a backlog takes no memory. Rows and cursor are one
//! transaction; a segment is removed only after the transactions of all sinks that cover its end.

use super::depth::add;
use super::reading::{self, Opened, Reading, Resume, Seen, Step};
use super::shared::{Shared, Stop, now_us};
use super::sink::{Batch, Position, Sink, SinkError, Target, dead_letter, poison};
use crate::bounds::SINK_BATCH;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Pause once the spool is read to its end: rows are collected meanwhile, one commit for all. From the
/// first to the second, doubling while rows keep coming: a commit costs as much as many rows.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
const PAUSE_DRAINING: Duration = Duration::from_millis(2);
/// Pause after an error of the sink: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Longest look for damage of a sink at start, in which its rows wait; requests do not.
const EXAMINED: Duration = Duration::from_secs(5);

/// Why a step did not succeed; it is repeated until it does.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("{0}")]
    Sink(#[from] SinkError),
    #[error("reading the spool: {0}")]
    Spool(#[from] io::Error),
}

impl StepError {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Sink(error) => error.remedy(),
            Self::Spool(_) => "look at the disk of the state directory",
        }
    }
}

pub(super) struct Deliverer {
    shared: Arc<Shared>,
    target: Target,
    /// Its number among the sinks.
    own: usize,
    sink: Option<Box<dyn Sink>>,
    /// The sink has been found sound.
    examined: bool,
    reading: Option<Box<Reading>>,
    /// What of the segment being read has been counted: after an error it is read again.
    counted: Seen,
    /// Where the sink stood when it was first asked.
    resumed: Option<Option<Position>>,
    /// How many of the node's rows the sink has, or has been found to miss.
    accounted: Option<u64>,
    /// Consecutive failed steps.
    failed: u32,
    /// What the last of them said.
    said: String,
    pause: Duration,
    /// Rows were delivered since the last pause.
    busy: bool,
}

impl Deliverer {
    pub(super) fn new(shared: Arc<Shared>, target: Target, own: usize) -> Self {
        Self {
            shared,
            target,
            own,
            sink: None,
            examined: false,
            reading: None,
            counted: Seen::default(),
            resumed: None,
            accounted: None,
            failed: 0,
            said: String::new(),
            pause: PAUSE.0,
            busy: false,
        }
    }

    /// Runs until stopped, or until draining leaves no segment.
    pub(super) fn run(mut self) {
        if self.own == 0 {
            self.count_backlog();
        }
        loop {
            let stop = self.shared.stopping();
            let pause = match self.step() {
                _ if stop == Stop::Halt => return,
                Ok(more) => {
                    self.accepted();
                    match stop {
                        _ if more => continue,
                        Stop::Run => self.collecting(),
                        _ if self.shared.segments.first(self.own).is_none() => return,
                        _ => PAUSE_DRAINING,
                    }
                }
                Err(error) => self.refused(&error),
            };
            std::thread::park_timeout(pause);
        }
    }

    /// How long to wait for more rows.
    fn collecting(&mut self) -> Duration {
        let longer = (self.pause * 2).min(PAUSE.1);
        self.pause = if std::mem::take(&mut self.busy) { longer } else { PAUSE.0 };
        self.pause
    }

    fn accepted(&mut self) {
        if std::mem::take(&mut self.failed) > 0 {
            tracing::info!(sink = self.target.name(), "the sink accepts rows again");
            self.waiting_since(0);
            self.refuses(0);
        }
    }

    fn refuses(&self, level: u64) {
        if let Some(refuses) = self.shared.counters.refuses.get(self.own) {
            refuses.store(level, Relaxed);
        }
    }

    fn waiting_since(&self, us: u64) {
        if let Some(oldest) = self.shared.counters.oldest_us.get(self.own) {
            oldest.store(us, Relaxed);
        }
    }

    /// Notes a failure and says how long to wait: not as long as other nodes that saw it too.
    fn refused(&mut self, error: &StepError) -> Duration {
        add(&self.shared.counters.sink_errors, 1);
        self.refuses(1);
        if let Some(oldest) = self.shared.counters.oldest_us.get(self.own) {
            let _ = oldest.compare_exchange(0, now_us(), Relaxed, Relaxed);
        }
        let said = error.to_string();
        if self.failed == 0 || self.said != said {
            let sink = self.target.name();
            let remedy = error.remedy();
            tracing::error!(sink, %error, remedy, "the sink does not accept rows: they stay in the spool");
        }
        self.said = said;
        let pause = BACKOFF.0.saturating_mul(1 << self.failed.min(10)).min(BACKOFF.1);
        self.failed = self.failed.saturating_add(1);
        (self.sink, self.reading) = (None, None);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// Adds the rows that earlier epochs left to the gauge of what is pending, and makes the newest
    /// of them readable: some may not be in the sink yet.
    fn count_backlog(&self) {
        let own = self.shared.writer;
        let earlier = self.shared.segments.all().into_iter().filter(|(id, _)| id.0 != own.epoch);
        reading::each_batch(earlier, own.node, |rows| {
            add(&self.shared.counters.appended, rows.len() as u64);
            self.shared.recent.lock().add_all(rows);
        });
    }

    /// Delivers one batch. False: all there is has been delivered.
    fn step(&mut self) -> Result<bool, StepError> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            empty => empty.insert(self.target.open()?),
        };
        if !self.examined {
            let (shared, begun) = (self.shared.clone(), Instant::now());
            let enough = move || begun.elapsed() >= EXAMINED || shared.stopping() != Stop::Run;
            sink.examine(Box::new(enough))?;
            self.examined = true;
        }
        let reading = match &mut self.reading {
            Some(reading) => reading,
            empty => match open_first(&self.shared, self.own, sink.as_mut())? {
                Next::Reading(mut reading, cursor) => {
                    let resumed = *self.resumed.get_or_insert_with(|| {
                        let others = self.shared.map.header().delivered.load(Relaxed);
                        if cursor.is_none() && others > 0 {
                            let sink = self.target.name();
                            tracing::warn!(
                                sink,
                                rows = others,
                                "a new sink: earlier rows are not in it"
                            );
                        }
                        self.accounted = Some(cursor.map_or(others, |cursor| cursor.rows));
                        cursor
                    });
                    let accounted = self.accounted;
                    reading.resume(Resume { cursor, resumed, accounted });
                    empty.insert(reading)
                }
                Next::Foreign => return Ok(true),
                Next::Newer => {
                    self.accounted = None;
                    return Ok(true);
                }
                Next::Nothing => return Ok(false),
            },
        };
        let closed = reading.fill()?;
        let step = reading.step(SINK_BATCH);
        let after = reading.position();
        let (id, at_end, seen) = (reading.id(), reading.at_end(), reading.seen());
        // A loss is told once: the cursor goes behind it.
        if !step.rows.is_empty() || !step.prices.is_empty() || step.lost > 0 {
            self.deliver(&step, after)?;
        }
        if let Some(reading) = &mut self.reading {
            reading.confirm(self.own);
            reading.reuse(step);
        }
        self.count(id, seen);
        if !(closed && at_end) {
            return Ok(!at_end);
        }
        let Some(reading) = self.reading.take() else { return Ok(true) };
        self.counted = Seen::default();
        self.accounted = self.accounted.max(Some(reading.rows()));
        let damaged = reading.damaged(self.shared.segments.after(id));
        if self.shared.segments.retire(id, self.own, damaged)? {
            self.shared.map.header().delivered.fetch_max(reading.rows(), Relaxed);
        }
        Ok(true)
    }

    fn count(&mut self, (epoch, segment): (u64, u64), seen: Seen) {
        let counters = &self.shared.counters;
        if let Some(passed) = counters.passed.get(self.own) {
            add(passed, seen.rows.saturating_sub(self.counted.rows));
        }
        let rows = seen.lost.saturating_sub(self.counted.lost);
        if let Some(missed) = counters.missed.get(self.own).filter(|_| rows > 0) {
            add(missed, rows);
            let sink = self.target.name();
            tracing::error!(
                sink,
                rows,
                epoch,
                segment,
                "rows of or before a spool segment are lost"
            );
        }
        // Every sink reads past the same tail.
        if self.own == 0 {
            add(&counters.torn, seen.torn.saturating_sub(self.counted.torn));
        }
        if seen.rows >= self.counted.rows {
            self.counted = seen;
        }
    }

    fn deliver(&mut self, step: &Step, after: Position) -> Result<(), SinkError> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let counters = &self.shared.counters;
        let oldest = step.rows.iter().map(|row| row.ended_us).min().unwrap_or(0);
        if let Some(waiting) = counters.oldest_us.get(self.own) {
            waiting.store(oldest, Relaxed);
        }
        let cursor = Some((self.shared.writer.node, after));
        let batch = Batch { rows: &step.rows, prices: &step.prices, cursor };
        let (directory, name) = (&self.shared.options.directory, self.target.name());
        let receipt = poison::deliver(sink.as_mut(), &batch, &mut |row, why| {
            dead_letter::put(directory, name, row, why)?;
            add(&counters.dead, 1);
            Ok(())
        })?;
        self.waiting_since(0);
        self.busy = true;
        let counters = &self.shared.counters;
        if let Some(flushed) = counters.flushed.get(self.own) {
            add(flushed, receipt.inserted);
        }
        add(&counters.duplicates, receipt.duplicates);
        add(&counters.conflicts, receipt.conflicts);
        if receipt.conflicts > 0 {
            let (sink, rows) = (self.target.name(), receipt.conflicts);
            tracing::error!(sink, rows, "the sink has other rows under the same keys");
        }
        Ok(())
    }
}

enum Next {
    /// And how far the sink had come.
    Reading(Box<Reading>, Option<Position>),
    Foreign,
    Newer,
    Nothing,
}

/// Opens the oldest segment behind the sink's cursor.
fn open_first(shared: &Shared, own: usize, sink: &mut dyn Sink) -> Result<Next, StepError> {
    let Some((id, segment)) = shared.segments.first(own) else { return Ok(Next::Nothing) };
    let node = shared.writer.node;
    match Reading::open(id, segment.clone(), node)? {
        Opened::Ready(reading) => Ok(Next::Reading(reading, sink.cursor(node)?)),
        Opened::Foreign => {
            tracing::error!(file = %segment.path.display(), "this spool segment is another node's");
            shared.segments.retire(id, own, true)?;
            Ok(Next::Foreign)
        }
        Opened::Newer(version) => {
            let file = segment.path.display();
            tracing::error!(%file, version, "a newer version must deliver this spool segment");
            shared.segments.forget(id);
            Ok(Next::Newer)
        }
    }
}
