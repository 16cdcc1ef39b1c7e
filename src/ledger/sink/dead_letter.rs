//! What a sink will never take, as JSON lines for an operator to look at (F69).

use super::columns;
use crate::ledger::directory::sync_directory;
use crate::ledger::record::Record;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

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

fn append(
    directory: &Path,
    sink: &str,
    mut object: Map<String, Value>,
    why: &str,
) -> io::Result<()> {
    let path = directory.join(format!("dead-letter-{sink}.jsonl"));
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
