//! The delivering threads, one per sink: rows of the spool go to it, oldest first, at least once.
//!
//! They read what the flusher wrote, so a backlog takes no memory. Rows and cursor are one
//! transaction; a segment is removed only after the transactions of all sinks that cover its end.

mod opening;
mod pace;
mod tally;

use super::depth::add;
use super::losses;
use super::reading::{Lost, Reading, Step};
use super::shared::{Shared, Stop, now_us};
use super::sink::{Advance, Batch, Position, Sink, SinkError, Target, dead_letter, poison};
use crate::bounds::SINK_BATCH;
use opening::{Next, Standing, open_first, passed_by};
use pace::Pace;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tally::Tally;

const PAUSE_DRAINING: Duration = Duration::from_millis(2);
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
    /// What is lost of the segment being read, where it lies behind the cursor and is delivered nevertheless.
    behind: Option<Vec<Lost>>,
    tally: Tally,
    standing: Standing,
    pace: Pace,
}

impl Deliverer {
    pub(super) fn new(shared: Arc<Shared>, target: Target, own: usize) -> Self {
        let tally = Tally::new(own, target.name());
        Self {
            shared,
            target,
            own,
            sink: None,
            examined: false,
            reading: None,
            behind: None,
            tally,
            standing: Standing::default(),
            pace: Pace::new(),
        }
    }

    /// Runs until stopped, or until draining leaves no segment.
    pub(super) fn run(mut self) {
        loop {
            let stop = self.shared.stopping();
            let pause = match self.step() {
                _ if stop == Stop::Halt => return,
                Ok(more) => {
                    self.accepted();
                    match stop {
                        _ if more => continue,
                        Stop::Run => self.pace.collecting(),
                        _ if self.shared.segments.first(self.own).is_none() => return,
                        _ => PAUSE_DRAINING,
                    }
                }
                Err(error) => self.refused(&error),
            };
            std::thread::park_timeout(pause);
        }
    }

    fn accepted(&mut self) {
        if self.pace.accepted() {
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

    /// Notes a failure and says how long to wait.
    fn refused(&mut self, error: &StepError) -> Duration {
        add(&self.shared.counters.sink_errors, 1);
        self.refuses(1);
        if let Some(oldest) = self.shared.counters.oldest_us.get(self.own) {
            let _ = oldest.compare_exchange(0, now_us(), Relaxed, Relaxed);
        }
        let (news, pause) = self.pace.refused(error.to_string());
        if news {
            let (sink, remedy) = (self.target.name(), error.remedy());
            tracing::error!(sink, %error, remedy, "the sink does not accept rows: they stay in the spool");
        }
        (self.sink, self.reading, self.behind) = (None, None, None);
        pause
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
            empty => {
                match open_first(&self.shared, &mut self.tally, sink.as_mut(), &mut self.standing)?
                {
                    Next::Reading(reading) => empty.insert(reading),
                    Next::Another => return Ok(true),
                    Next::Nothing => return Ok(false),
                }
            }
        };
        let closed = reading.fill()?;
        let step = reading.step(SINK_BATCH);
        let (after, ahead) = (reading.position(), reading.is_ahead());
        let (id, at_end, seen) = (reading.id(), reading.at_end(), reading.seen());
        match &mut self.behind {
            // Told when it was passed.
            Some(lost) => lost.extend(&step.losses),
            // A loss is told once: the cursor goes behind it.
            None => self.tally.lost(&self.shared, id, &step.losses)?,
        }
        if ahead && !(step.rows.is_empty() && step.prices.is_empty() && step.losses.is_empty()) {
            self.deliver(&step, after)?;
        }
        if let Some(reading) = &mut self.reading {
            reading.confirm(self.own);
            reading.reuse(step);
        }
        self.tally.seen(&self.shared, seen);
        if closed && at_end { self.ended().map(|()| true) } else { Ok(!at_end) }
    }

    /// A segment was read to its end.
    fn ended(&mut self) -> Result<(), StepError> {
        let Some(reading) = self.reading.take() else { return Ok(()) };
        let id = reading.id();
        if let Some(lost) = self.behind.take() {
            if let Some(numbers) = reading.numbers() {
                losses::take_back(
                    self.shared.directory.path(),
                    self.target.name(),
                    &numbers,
                    &lost,
                )?;
            }
        } else if let Some(sink) = &mut self.sink
            && let Some(again) =
                passed_by(&self.shared, &reading, (sink.as_mut(), self.target.name()))?
        {
            (self.reading, self.behind) = (Some(again), Some(Vec::new()));
            return Ok(());
        }
        self.tally.done(&self.shared, reading.segment());
        self.standing.passed(reading.rows());
        let damaged = reading.damaged(self.shared.segments.after(id));
        if self.shared.segments.retire(id, self.own, damaged)? {
            self.shared.map.header().raise_delivered(reading.rows());
        }
        Ok(())
    }

    fn deliver(&mut self, step: &Step, after: Position) -> Result<(), SinkError> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let counters = &self.shared.counters;
        let oldest = step.rows.iter().map(|row| row.ended_us).min().unwrap_or(0);
        if let Some(waiting) = counters.oldest_us.get(self.own) {
            waiting.store(oldest, Relaxed);
        }
        let (node, from) = (self.shared.writer.node, self.standing.at());
        let cursor = Advance { node, from, to: after };
        let cursor = Some(cursor).filter(|_| self.behind.is_none());
        let batch = Batch { rows: &step.rows, prices: &step.prices, cursor };
        let (directory, name) = (&self.shared.options.directory, self.target.name());
        let mut aside = Vec::new();
        let receipt = poison::deliver(sink.as_mut(), &batch, &mut |row, why| {
            dead_letter::put(directory, name, row, why)?;
            aside.push(row.key);
            add(&counters.dead, 1);
            Ok(())
        })?;
        self.waiting_since(0);
        self.pace.delivered();
        if cursor.is_some() {
            let taken = step.rows.iter().rev().map(|row| row.key).find(|key| !aside.contains(key));
            self.standing.moved(after, taken);
            self.tally.delivered(after.rows);
        }
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
