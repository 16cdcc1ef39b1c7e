//! The JSON Lines sink: one object a row in numbered files, for whatever collects files.
//!
//! The cursor stands in a file of its own with the length that the newest file had then. What is
//! beyond that length was written by a delivery that did not come to its end: it is cut and written
//! again. A row that a recovery repeats, because slot and spool both had it, is looked for in the newest
//! files. So each row is there once.

use super::{Batch, Position, Receipt, Sink, SinkError, columns};
use crate::ledger::directory::{replace, sync_directory};
use crate::ledger::record::{Record, RecordKey};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of the newest files among which a recovered row is looked for: some 25,000 rows.
const NEWEST_BYTES: usize = 16 << 20;

pub(super) struct JsonLines {
    directory: PathBuf,
    rotate_bytes: u64,
    file: File,
    state: State,
    /// Keys in the newest files, read when the first recovered row comes.
    written: Option<HashSet<RecordKey>>,
}

/// What the cursor file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
struct State {
    /// Number and length of the newest file.
    file: u64,
    bytes: u64,
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
    /// Opens the directory, or makes it, and cuts what no cursor covers.
    pub(super) fn open(directory: &Path, rotate_bytes: u64) -> Result<Self, SinkError> {
        fs::create_dir_all(directory)?;
        let state = match fs::read(directory.join("cursor")) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error.into()),
        };
        let file = open(directory, state.file)?;
        if file.metadata()?.len() < state.bytes {
            let short =
                "the newest file is shorter than the cursor says: rows were taken out of it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, short).into());
        }
        file.set_len(state.bytes)?;
        // One that was begun and never counted.
        let begun = path(directory, state.file + 1);
        if begun.exists() {
            fs::remove_file(begun)?;
        }
        Ok(Self { directory: directory.to_owned(), rotate_bytes, file, state, written: None })
    }
}

impl JsonLines {
    /// Whether a row was written before. Only one that a later epoch recovered can have been.
    fn is_written(&mut self, row: &Record, epoch: Option<u64>) -> io::Result<bool> {
        if Some(row.key.epoch) == epoch {
            return Ok(false);
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

fn open(directory: &Path, number: u64) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path(directory, number))?;
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

    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        let mut next = self.state;
        if next.bytes >= self.rotate_bytes {
            next = State { file: next.file + 1, bytes: 0, ..next };
            self.file = open(&self.directory, next.file)?;
        }
        let epoch = batch.cursor.map(|(_, at)| at.epoch);
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
        self.file.write_all(&lines)?;
        self.file.sync_data()?;
        next.bytes += lines.len() as u64;
        if let Some((node, Position { epoch, segment, offset, rows })) = batch.cursor {
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
mod tests {
    use super::*;
    use crate::ledger::testing;
    use std::collections::BTreeMap;

    const NODE: [u8; 16] = [7; 16];

    fn deliver(sink: &mut JsonLines, rows: std::ops::RangeInclusive<u64>) {
        let cursor = Position { epoch: 1, segment: 0, offset: *rows.end(), rows: *rows.end() };
        let rows: Vec<_> = rows.map(testing::record).collect();
        sink.deliver(&Batch { rows: &rows, prices: &[], cursor: Some((NODE, cursor)) }).unwrap();
    }

    fn rows(directory: &Path) -> Vec<u64> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeMap<_, _> = names
            .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
            .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
            .collect();
        let lines = files.values().flat_map(|text| text.lines());
        let objects = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        objects.map(|object| object["seq"].as_u64().unwrap()).collect()
    }

    #[test]
    fn each_row_is_there_once_though_a_delivery_is_cut_anywhere() {
        let place = tempfile::tempdir().unwrap();
        let open = || JsonLines::open(place.path(), 3_000).unwrap();
        let mut sink = open();
        assert_eq!(sink.cursor(NODE).unwrap(), None);
        deliver(&mut sink, 1..=3);
        let newest = path(place.path(), sink.state.file);
        File::options().append(true).open(&newest).unwrap().write_all(b"{\"half\":").unwrap();
        fs::write(path(place.path(), sink.state.file + 1), "{}").unwrap();
        let mut sink = open();
        assert_eq!(sink.cursor(NODE).unwrap().map(|cursor| cursor.offset), Some(3));
        assert_eq!(sink.cursor([0; 16]).unwrap(), None);
        deliver(&mut sink, 4..=20);
        deliver(&mut sink, 21..=22);
        assert_eq!(rows(place.path()), (1..=22).collect::<Vec<_>>());
        assert!(sink.state.file > 0, "it was rotated");
        // A later epoch recovers three of them from their slots, and one that nobody has.
        let recovered: Vec<_> = [2, 9, 22, 23].map(testing::record).into();
        let cursor = Position { epoch: 2, segment: 0, offset: 9, rows: 23 };
        let batch = Batch { rows: &recovered, prices: &[], cursor: Some((NODE, cursor)) };
        let receipt = open().deliver(&batch).unwrap();
        assert_eq!((receipt.inserted, receipt.duplicates), (1, 3));
        assert_eq!(rows(place.path()), (1..=23).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_was_shortened_is_refused() {
        let place = tempfile::tempdir().unwrap();
        deliver(&mut JsonLines::open(place.path(), 1 << 20).unwrap(), 1..=3);
        File::options().write(true).open(path(place.path(), 0)).unwrap().set_len(5).unwrap();
        assert!(JsonLines::open(place.path(), 1 << 20).is_err());
    }
}
