//! The segments that exist: what their writer and the sinks' readers share of them.

use super::directory::{Writer, quarantine, remove, sync_directory};
use super::segment;
use crate::bounds::SINKS;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};

/// A segment as its writer and its reader share it.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Bytes of whole frames that may be read.
    pub(super) bytes: AtomicU64,
    /// Of these, the bytes each sink has confirmed.
    pub(super) delivered: [AtomicU64; SINKS],
    /// Sinks that need it no more, a bit each.
    done: AtomicU32,
    damaged: AtomicBool,
    /// Somebody removed or shortened it.
    taken: AtomicBool,
    /// As its writer has it, until it is closed, and beyond if it was taken: nothing that was written is
    /// gone while it is open. Not of every segment: a backlog has more than a process may have files.
    file: Mutex<Option<File>>,
    /// Rows its node had spooled before it, as its writer knows.
    pub(super) first: OnceLock<u64>,
    /// Rows in it that are counted as waiting for the sinks.
    pub(super) rows: AtomicU64,
    /// Nothing more will be appended.
    pub(super) closed: AtomicBool,
}

/// All segments that exist, oldest first by epoch and number, for a number of sinks.
pub(super) struct Segments {
    all: Mutex<BTreeMap<(u64, u64), Arc<Segment>>>,
    sinks: usize,
}

impl Segments {
    pub(super) fn new(sinks: usize) -> Self {
        Self { all: Mutex::default(), sinks }
    }

    /// Finds the segments an earlier process left. Empty ones are removed.
    pub(super) fn scan(directory: &Path, sinks: usize) -> io::Result<Self> {
        let listed = Self::list(directory)?;
        let (all, empty) =
            listed.all.into_inner().into_iter().partition(|(_, segment)| {
                segment.bytes.load(Relaxed) > segment::HEADER_BYTES as u64
            });
        for segment in BTreeMap::into_values(empty) {
            fs::remove_file(&segment.path)?;
        }
        Ok(Self { all: Mutex::new(all), sinks })
    }

    /// Every segment in a directory, as for one sink.
    pub(super) fn list(directory: &Path) -> io::Result<Self> {
        let segments = Self::new(1);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(parse_name) else { continue };
            let bytes = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            segments.add(id, Segment::left(entry.path(), bytes));
        }
        Ok(segments)
    }

    pub(super) fn add(&self, id: (u64, u64), segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        self.all.lock().insert(id, segment.clone());
        segment
    }

    /// The oldest segment that a sink still needs.
    pub(super) fn first(&self, sink: usize) -> Option<((u64, u64), Arc<Segment>)> {
        let all = self.all.lock();
        let mut needed = all.iter().filter(|(_, s)| s.done.load(Acquire) >> sink & 1 == 0);
        needed.next().map(|(id, segment)| (*id, segment.clone()))
    }

    /// A sink needs all that are there again: how many of their rows it had been done with.
    pub(super) fn again(&self, sink: usize) -> u64 {
        let mut rows = 0;
        for segment in self.all.lock().values() {
            if let Some(delivered) = segment.delivered.get(sink) {
                delivered.store(0, Relaxed);
            }
            if segment.done.fetch_and(!(1 << sink), AcqRel) >> sink & 1 == 1 {
                rows += segment.rows.load(Relaxed);
            }
        }
        rows
    }

    /// No sink needs any.
    pub(super) fn is_empty(&self) -> bool {
        self.all.lock().is_empty()
    }

    /// Every segment, oldest first.
    pub(super) fn all(&self) -> Vec<((u64, u64), Arc<Segment>)> {
        self.all.lock().iter().map(|(id, segment)| (*id, segment.clone())).collect()
    }

    /// Where records of slots of an epoch can be that are not yet free: in its newest segment, because they are
    /// free before one is closed, and where later epochs began to recover them.
    pub(super) fn since(&self, epoch: u64) -> Vec<((u64, u64), Arc<Segment>)> {
        let mut all = self.all();
        let newest = all.iter().rposition(|(id, _)| id.0 <= epoch);
        all.split_off(newest.unwrap_or(0))
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> Option<((u64, u64), Arc<Segment>)> {
        self.all.lock().last_key_value().map(|(id, segment)| (*id, segment.clone()))
    }

    /// Who wrote the newest segment whose header is sound.
    pub(super) fn writer(&self) -> Option<Writer> {
        let all = self.all.lock();
        let header = |segment: &Arc<Segment>| {
            let mut bytes = [0; segment::HEADER_BYTES];
            segment.open().ok()?.read_exact_at(&mut bytes, 0).ok()?;
            segment::Header::decode(&bytes).ok()
        };
        let header = all.values().rev().find_map(header)?;
        Some(Writer { node: header.node, epoch: header.epoch })
    }

    /// Bytes that not every sink has confirmed.
    pub(super) fn pending_bytes(&self) -> u64 {
        let pending = |segment: &Arc<Segment>| {
            let sinks = segment.delivered.iter().take(self.sinks);
            let least = sinks.map(|bytes| bytes.load(Relaxed)).min().unwrap_or(0);
            segment.bytes.load(Relaxed).saturating_sub(least)
        };
        self.all.lock().values().map(pending).sum()
    }

    /// The segment after this one, if its writer has come to it.
    pub(super) fn after(&self, id: (u64, u64)) -> Option<((u64, u64), Arc<Segment>)> {
        let all = self.all.lock();
        let (id, next) = all.range((Excluded(id), Unbounded)).next()?;
        let begun = next.bytes.load(Relaxed) > segment::HEADER_BYTES as u64;
        begun.then(|| (*id, next.clone()))
    }

    /// Leaves a segment where it is, unread.
    pub(super) fn forget(&self, id: (u64, u64)) {
        self.all.lock().remove(&id);
    }

    /// A sink has all of a segment. The last one takes it away: deleted, or set aside if it was
    /// damaged. Says whether it did.
    pub(super) fn retire(&self, id: (u64, u64), sink: usize, damaged: bool) -> io::Result<bool> {
        let mut all = self.all.lock();
        let Some(segment) = all.get(&id).cloned() else { return Ok(false) };
        segment.damaged.fetch_or(damaged, Relaxed);
        let done = segment.done.fetch_or(1 << sink, AcqRel) | 1 << sink;
        if done.count_ones() as usize != self.sinks {
            return Ok(false);
        }
        all.remove(&id);
        drop(all);
        if !segment.path.exists() {
            return Ok(true);
        }
        if segment.damaged.load(Relaxed) {
            let bad = quarantine(&segment.path)?;
            tracing::error!(file = %bad.display(), "a spool segment was set aside");
            return Ok(true);
        }
        remove(&segment.path)?;
        sync_directory(segment.path.parent().unwrap_or(&segment.path))?;
        Ok(true)
    }
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (epoch, number) = name.strip_prefix("spool-")?.strip_suffix(".log")?.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

impl Segment {
    /// A segment of `bytes` that nobody writes any more.
    pub(super) fn left(path: PathBuf, bytes: u64) -> Self {
        Self {
            path,
            bytes: AtomicU64::new(bytes),
            delivered: Default::default(),
            done: AtomicU32::new(0),
            damaged: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            file: Mutex::new(None),
            first: OnceLock::new(),
            rows: AtomicU64::new(0),
            closed: AtomicBool::new(true),
        }
    }

    /// A segment of `bytes` that is being written to a file.
    pub(super) fn begun(path: PathBuf, bytes: u64, file: File) -> Self {
        let file = Mutex::new(Some(file));
        Self { closed: AtomicBool::new(false), file, ..Self::left(path, bytes) }
    }

    /// The file to read it from.
    pub(super) fn open(&self) -> io::Result<File> {
        match &*self.file.lock() {
            Some(file) => file.try_clone(),
            None => File::open(&self.path),
        }
    }

    /// Nothing more will be appended.
    pub(super) fn close(&self) {
        self.closed.store(true, Release);
        if !self.taken.load(Acquire) {
            *self.file.lock() = None;
        }
    }

    /// Whether its writer is to go on in the next.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Acquire)
    }

    /// Somebody took it or a part of it. Told once.
    pub(super) fn mark_taken(&self) {
        if !self.taken.swap(true, AcqRel) {
            tracing::error!(
                file = %self.path.display(),
                "this spool segment was removed, shortened or changed meanwhile: what can be read of it is \
                 delivered, the rest counted as lost and noted in losses.jsonl; leave the spool to Weir"
            );
        }
    }

    /// Some of it is damaged. No more is to be written into it.
    pub(super) fn mark_damaged(&self) {
        if !self.closed.load(Acquire) {
            self.mark_taken();
        }
    }

    /// Bytes that may be read, and whether more will come.
    pub(super) fn extent(&self) -> (u64, bool) {
        let closed = self.closed.load(Acquire);
        (self.bytes.load(Acquire), closed)
    }
}
