//! The flusher's thread: sealed slots become rows of the spool.
//!
//! It polls instead of being woken, so that sealing costs no system call. Its only blocking calls
//! are those of the spool's files; the sink is another thread's.

use super::depth::{Gate, add};
use super::record::Record;
use super::settle::settle;
use super::shared::{Shared, Stop, now_us};
use super::spool::Spool;
use crate::bounds::SINK_BATCH;
use crate::usage::KINDS;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Pause between rounds: the shortest while there is work, growing to the longest.
const NAP: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));
/// Pause before a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Flusher {
    shared: Arc<Shared>,
    spool: Spool,
    indices: Vec<u32>,
    batch: Vec<(Record, [u64; KINDS])>,
    /// When the oldest row that is not synced may have been sealed.
    unsynced: Option<Instant>,
    last_round: Instant,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, spool: Spool) -> Self {
        let last_round = Instant::now();
        Self { shared, spool, indices: vec![], batch: vec![], unsynced: None, last_round }
    }

    /// Runs until stopped; after a failed write or sync it appends nothing more.
    pub(super) fn run(mut self) {
        let mut nap = NAP.0;
        loop {
            let stop = self.shared.stopping();
            self.shared.map.header().alive_us.store(now_us(), Relaxed);
            match self.round() {
                Ok(0) if stop == Stop::Run => nap = (nap * 2).clamp(NAP.0, self.longest_nap()),
                Ok(0) => break,
                Ok(SINK_BATCH) => nap = Duration::ZERO,
                Ok(_) => nap = NAP.0,
                Err(error) if is_full(&error) => {
                    self.refuse(&error);
                    nap = FULL_PAUSE;
                    if stop == Stop::Drain {
                        break;
                    }
                }
                Err(error) => return self.fail(&error),
            }
            if stop == Stop::Halt {
                return;
            }
            std::thread::park_timeout(nap);
        }
        if self.shared.stopping() == Stop::Drain
            && let Err(error) = self.spool.finish()
        {
            self.fail(&error);
        }
    }

    /// A row waits at most one nap for its append and then for the rest of the interval.
    fn longest_nap(&self) -> Duration {
        NAP.1.min(self.shared.options.sync_interval / 2).max(NAP.0)
    }

    /// Appends what is sealed, one batch; says how many rows that were.
    fn round(&mut self) -> io::Result<usize> {
        let previous = std::mem::replace(&mut self.last_round, Instant::now());
        self.collect();
        let rows = self.batch.len();
        if rows > 0 {
            self.append()
                .inspect_err(|_| self.indices.iter().for_each(|n| self.shared.sealed.push(*n)))?;
            self.unsynced.get_or_insert(previous);
        }
        let due = self.shared.options.sync_interval.saturating_sub(self.longest_nap());
        if self.unsynced.is_some_and(|since| since.elapsed() >= due) {
            self.spool.sync()?;
            self.unsynced = None;
        }
        self.spool.turn()?;
        let limit = self.shared.options.spool_bytes / 20 * 19;
        let full = self.shared.segments.pending_bytes() >= limit;
        self.shared.set_gate(if full { Gate::Full } else { Gate::Open });
        Ok(rows)
    }

    /// Settles sealed slots, up to a batch of them.
    fn collect(&mut self) {
        self.indices.clear();
        self.batch.clear();
        while self.batch.len() < SINK_BATCH {
            let Some(index) = self.shared.sealed.pop() else { break };
            let image = self.shared.slot(index).and_then(super::slot::Slot::image);
            match image
                .and_then(|image| Some((settle(self.shared.writer.node, &image)?, image.unit)))
            {
                Some(row) => {
                    self.batch.push(row);
                    self.indices.push(index);
                }
                None => {
                    tracing::error!(index, "a sealed slot was damaged: its attempt is lost");
                    add(&self.shared.counters.lost, 1);
                    self.shared.release(index);
                }
            }
        }
    }

    fn append(&mut self) -> io::Result<()> {
        self.spool.append(&self.batch)?;
        add(&self.shared.counters.appended, self.batch.len() as u64);
        let mut recent = self.shared.recent.lock();
        self.batch.iter().for_each(|(record, _)| recent.add(record));
        drop(recent);
        if let Some(observe) = self.shared.observer.get() {
            self.batch.iter().for_each(|(record, _)| observe(record));
        }
        // Only now: a slot is given up when the spool has its record and a search can find it.
        self.indices.iter().for_each(|index| self.shared.release(*index));
        Ok(())
    }

    fn refuse(&self, error: &io::Error) {
        if self.shared.gate() == Gate::Open {
            tracing::error!(%error, "no space for the spool: new requests are refused until there is");
        }
        self.shared.set_gate(Gate::Full);
    }

    fn fail(&self, error: &io::Error) {
        tracing::error!(
            %error,
            "the spool cannot be written: new requests are refused; restart once the disk is sound"
        );
        self.shared.set_gate(Gate::Failed);
        self.spool.abandon();
    }
}

/// Whether an error passes when space is made.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
