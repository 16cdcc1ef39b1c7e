//! What a sink will never take, as JSON lines for an operator to look at (F69).

use super::{columns, stored};
use crate::ledger::directory::sync_directory;
use crate::ledger::record::Record;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Appends a row to the sink's file in a directory, durably.
pub(in crate::ledger) fn put(
    directory: &Path,
    sink: &str,
    row: &Record,
    why: &str,
) -> io::Result<()> {
    let mut object = Vec::new();
    columns::put_json(&mut object, row);
    append(directory, sink, serde_json::from_slice(&object)?, why)
}

/// The same for what was to be a row, as far as it is text.
pub(in crate::ledger) fn put_strange(
    directory: &Path,
    sink: &str,
    bytes: &[u8],
    why: &str,
) -> io::Result<()> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    append(directory, sink, Map::from_iter([("message".to_owned(), Value::from(text))]), why)
}

/// The rows laid aside in a directory for a sink; `None` for a line that is none.
pub(in crate::ledger) fn rows(
    directory: &Path,
    sink: &str,
) -> io::Result<impl Iterator<Item = io::Result<Option<Record>>>> {
    let file = match File::open(path(directory, sink)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    Ok(lines.map(|line| {
        let object = serde_json::from_slice(&line?).ok();
        Ok(object.and_then(|object| stored::from_json(&object).ok()))
    }))
}

/// The file of a sink's dead letters in a directory.
pub(in crate::ledger) fn path(directory: &Path, sink: &str) -> PathBuf {
    directory.join(format!("dead-letter-{sink}.jsonl"))
}

fn append(
    directory: &Path,
    sink: &str,
    mut object: Map<String, Value>,
    why: &str,
) -> io::Result<()> {
    let path = path(directory, sink);
    let mut file = File::options().create(true).append(true).open(&path)?;
    object.insert("refused".to_owned(), why.into());
    let mut line = serde_json::to_vec(&object)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_all()?;
    sync_directory(directory)?;
    tracing::error!(file = %path.display(), why, "a row was laid aside");
    Ok(())
}
