//! The JSON Lines sink: one object a row in numbered files, for whatever collects files.
//!
//! The cursor stands in a file of its own with the length that the newest file had then. What is
//! beyond that length was written by a delivery that did not come to its end: it is cut and written
//! again. A row that a recovery repeats, because slot and spool both had it, is looked for in the newest
//! files. So each row is there once.
//!
//! Whoever collects files may take any of them at any moment. If the newest is no longer the file that was
//! written, or not as long, what was not acknowledged is taken back from it and written into the next one:
//! what was had its place then.

use super::{Advance, Batch, Position, Receipt, Sink, SinkError, columns};
use crate::ledger::directory::{is_at, quarantine, remove, replace, sync_directory};
use crate::ledger::record::{Record, RecordKey};
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of the newest files among which a recovered row is looked for: some 25,000 rows.
const NEWEST_BYTES: usize = 16 << 20;
/// Files that may be taken one after the other while lines are written.
const TRIES: usize = 3;

pub(super) struct JsonLines {
    directory: PathBuf,
    rotate_bytes: u64,
    file: File,
    state: State,
    /// Keys in the newest files, read when the first recovered row comes.
    written: Option<HashSet<RecordKey>>,
    _lock: File,
}

/// What the cursor file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
struct State {
    /// Number and length of the newest file, and which one that is.
    file: u64,
    bytes: u64,
    #[serde(default)]
    inode: u64,
    cursor: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Cursor {
    node: [u8; 16],
    epoch: u64,
    segment: u64,
    offset: u64,
    #[serde(default)]
    rows: u64,
}

impl JsonLines {
    /// Opens the directory, or makes it, and cuts what no cursor covers. One process at a time.
    pub(super) fn open(directory: &Path, rotate_bytes: u64) -> Result<Self, SinkError> {
        fs::create_dir_all(directory)?;
        let lock = File::create(directory.join(".lock"))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(io::Error::other("another process writes there: give each its own").into());
        }
        let known = read_cursor(directory)?;
        let state = match known {
            Some(state) => state,
            None => State { file: after_newest(directory)?, ..State::default() },
        };
        let (file, state) = match resume(directory, &state)? {
            Some(file) => (file, state),
            None => begin(directory, state)?,
        };
        let directory = directory.to_owned();
        let mut sink = Self { directory, rotate_bytes, file, state, written: None, _lock: lock };
        if known.is_none() && state.file > 0 {
            tracing::warn!(
                directory = %sink.directory.display(),
                "the cursor of these files is gone: looking in the newest for what they have"
            );
            sink.written = Some(sink.newest()?);
        }
        Ok(sink)
    }

    /// Whether the newest file is in its place, and as long as was written.
    fn is_whole(&self, bytes: u64) -> io::Result<bool> {
        let there = is_at(&self.file, &path(&self.directory, self.state.file));
        Ok(there && self.file.metadata()?.len() == bytes)
    }

    /// Appends lines durably to a file that is in its place then, and says how long it is. Whoever takes it
    /// meanwhile finds nothing in it that will stand elsewhere too.
    fn append(&mut self, lines: &[u8]) -> io::Result<u64> {
        for _ in 0..TRIES {
            if self.is_whole(self.state.bytes)? {
                self.file.write_all(lines)?;
                self.file.sync_data()?;
                let bytes = self.state.bytes + lines.len() as u64;
                if self.is_whole(bytes)? {
                    return Ok(bytes);
                }
                let there = self.file.metadata()?.len();
                self.file.set_len(there.saturating_sub(lines.len() as u64))?;
            }
            self.begin()?;
        }
        Err(io::Error::other("somebody takes or changes each file as soon as it is there"))
    }

    /// Begins the next file.
    fn begin(&mut self) -> io::Result<()> {
        (self.file, self.state) = begin(&self.directory, self.state)?;
        Ok(())
    }

    /// Whether a row was written before. Only one that a later epoch recovered can have been, unless the
    /// cursor was lost.
    fn is_written(&mut self, row: &Record, epoch: Option<u64>) -> io::Result<bool> {
        if Some(row.key.epoch) == epoch {
            return Ok(self.written.as_ref().is_some_and(|keys| keys.contains(&row.key)));
        }
        if self.written.is_none() {
            self.written = Some(self.newest()?);
        }
        let written = self.written.as_mut();
        Ok(written.is_some_and(|keys| !keys.insert(row.key)))
    }

    /// Keys of the newest rows: far more than there are slots.
    fn newest(&self) -> io::Result<HashSet<RecordKey>> {
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        for number in (0..=self.state.file).rev() {
            let text = match fs::read(path(&self.directory, number)) {
                Ok(text) => text,
                // Collected and removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            keys.extend(text.split(|byte| *byte == b'\n').filter_map(key));
            bytes += text.len();
            if bytes >= NEWEST_BYTES {
                break;
            }
        }
        Ok(keys)
    }
}

fn key(line: &[u8]) -> Option<RecordKey> {
    #[derive(serde::Deserialize)]
    struct Key<'a> {
        node: &'a str,
        epoch: u64,
        seq: u64,
    }
    let Key { node, epoch, seq } = serde_json::from_slice(line).ok()?;
    let mut bytes = [0; 16];
    hex::decode_to_slice(node, &mut bytes).ok()?;
    Some(RecordKey { node: bytes, epoch, seq })
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("attempts-{:06}.jsonl", number + 1))
}

/// What the cursor file says. One that says nothing is set aside.
fn read_cursor(directory: &Path) -> io::Result<Option<State>> {
    let path = directory.join("cursor");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = serde_json::from_slice(&text).ok();
    if state.is_none() {
        quarantine(&path)?;
    }
    Ok(state)
}

/// The number of the first file behind all that are there.
fn after_newest(directory: &Path) -> io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("attempts-"));
        let number = number.and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        next = next.max(number.unwrap_or(0));
    }
    Ok(next)
}

/// Opens the newest file, cut to its length, and removes one behind it that was begun and never counted.
/// `None`: it is gone, or shorter, or another.
fn resume(directory: &Path, state: &State) -> io::Result<Option<File>> {
    let file = match File::options().append(true).open(path(directory, state.file)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let there = file.metadata()?;
    if there.len() < state.bytes || ![0, there.ino()].contains(&state.inode) {
        return Ok(None);
    }
    file.set_len(state.bytes)?;
    remove(&path(directory, state.file + 1))?;
    Ok(Some(file))
}

/// Begins the file behind those that hold what is delivered, in place of one that was begun and never
/// counted.
fn begin(directory: &Path, mut state: State) -> io::Result<(File, State)> {
    if state.bytes > 0 {
        let (file, bytes) = (path(directory, state.file), state.bytes);
        if file.exists() {
            tracing::warn!(
                file = %file.display(),
                bytes,
                "somebody changed this file, which held delivered rows: going on in the next"
            );
        } else {
            tracing::info!(file = %file.display(), "this file was collected: going on in the next");
        }
        state = State { file: state.file + 1, bytes: 0, ..state };
    }
    let file = create(directory, state.file)?;
    state.inode = file.metadata()?.ino();
    Ok((file, state))
}

fn create(directory: &Path, number: u64) -> io::Result<File> {
    let path = path(directory, number);
    remove(&path)?;
    let file = File::options().create_new(true).append(true).open(path)?;
    sync_directory(directory)?;
    Ok(file)
}

impl Sink for JsonLines {
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError> {
        let own = self.state.cursor.filter(|cursor| cursor.node == node);
        Ok(own.map(|Cursor { epoch, segment, offset, rows, .. }| Position {
            epoch,
            segment,
            offset,
            rows,
        }))
    }

    fn tells_keys(&self) -> bool {
        false
    }

    /// Older files than the newest may have been collected.
    fn has(&mut self, key: &RecordKey) -> Result<Option<bool>, SinkError> {
        Ok(self.newest()?.contains(key).then_some(true))
    }

    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        if self.state.bytes >= self.rotate_bytes && self.is_whole(self.state.bytes)? {
            self.state = State { file: self.state.file + 1, bytes: 0, ..self.state };
            self.begin()?;
        }
        let epoch = batch.cursor.map(|cursor| cursor.to.epoch);
        let mut lines = Vec::new();
        let mut duplicates = 0;
        for row in batch.rows {
            if self.is_written(row, epoch)? {
                duplicates += 1;
                continue;
            }
            columns::put_json(&mut lines, row);
            lines.push(b'\n');
        }
        let bytes = self.append(&lines)?;
        let mut next = State { bytes, ..self.state };
        if let Some(Advance { node, to, .. }) = batch.cursor {
            let Position { epoch, segment, offset, rows } = to;
            next.cursor = Some(Cursor { node, epoch, segment, offset, rows });
        }
        let text = serde_json::to_vec(&next).map_err(io::Error::from)?;
        replace(&self.directory.join("cursor"), &text)?;
        self.state = next;
        let inserted = batch.rows.len() as u64 - duplicates;
        Ok(Receipt { inserted, duplicates, ..Receipt::default() })
    }
}

#[cfg(test)]
mod tests;
