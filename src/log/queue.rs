//! Lines on their way to standard error: a bounded queue and the thread that writes it.
//!
//! A log that blocks (a stuck journal, a full pipe) must not block a request, and a request should
//! not pay for a system call of the log. Lines that find the queue full are dropped and counted.

use super::{Access, escaped};
use crate::bounds::{LOG_LINE_BYTES, LOG_LINES};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// How long lines may wait for company; senders need not wake the thread meanwhile.
const GATHER: Duration = Duration::from_millis(5);
/// How long a flush waits for a log that does not take its lines.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    /// Formatted here, so that no request pays for it.
    Access(Box<Access>),
    /// Answer once everything before is written.
    Flush(SyncSender<()>),
}

/// The sending side.
#[derive(Debug)]
pub(super) struct Queue {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread that writes to `sink`. It ends with the last sender.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LOG_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&dropped);
        let run = move || write_all(sink, &receiver, &seen);
        std::thread::Builder::new().name("weir-log".to_owned()).spawn(run)?;
        Ok(Self { sender, dropped })
    }

    /// Waits until every line sent so far is written, at most a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let (done, written) = sync_channel(1);
        let mut marker = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(marker) {
            if Instant::now() >= until {
                return;
            }
            marker = back;
            std::thread::sleep(GATHER);
        }
        let _late_or_gone = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// Takes an access line that is still to be formatted.
    pub(super) fn access(&self, access: Access) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Item::Access(Box::new(access))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn push(&self, line: &str) {
        let line = escaped(line);
        let cut = line.floor_char_boundary(LOG_LINE_BYTES);
        let bytes = match line.get(..cut) {
            Some(head) if cut < line.len() => [head.as_bytes(), b"\n"].concat(),
            _ => line.into_owned().into_bytes(),
        };
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Item::Line(bytes.into())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One call is one line: the formatter hands over each event in one piece.
impl Write for &Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes, a batch at a time. A sink that fails is tried again with the next batch.
fn write_all(mut sink: impl Write, receiver: &Receiver<Item>, dropped: &AtomicU64) {
    while let Ok(first) = receiver.recv() {
        let mut batch = Vec::new();
        let mut waiting = None;
        if take(first, &mut batch, &mut waiting) {
            std::thread::sleep(GATHER);
        }
        for item in receiver.try_iter().take(LOG_LINES) {
            if waiting.is_some() || !take(item, &mut batch, &mut waiting) {
                break;
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.extend_from_slice(format!("{lost} log lines were dropped\n").as_bytes());
        }
        let _nowhere_to_tell = sink.write_all(&batch).and_then(|()| sink.flush());
        if let Some(done) = waiting {
            let _gone = done.try_send(());
        }
    }
}

/// Adds an item to the batch; false when the batch must be written now.
fn take(item: Item, batch: &mut Vec<u8>, waiting: &mut Option<SyncSender<()>>) -> bool {
    match item {
        Item::Line(line) => {
            batch.extend_from_slice(&line);
            true
        }
        // Comes back through the subscriber as a line.
        Item::Access(access) => {
            access.emit();
            true
        }
        Item::Flush(done) => {
            *waiting = Some(done);
            false
        }
    }
}
