//! Rows that a sink will never take, as JSON lines for an operator to look at (F69).

use super::columns;
use crate::ledger::directory::sync_directory;
use crate::ledger::record::Record;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Appends a row to the sink's file in the state directory, durably.
pub(in crate::ledger) fn put(
    directory: &Path,
    sink: &str,
    row: &Record,
    why: &str,
) -> io::Result<()> {
    let path = directory.join(format!("dead-letter-{sink}.jsonl"));
    let mut file = File::options().create(true).append(true).open(&path)?;
    let mut object = columns::json(row);
    object.insert("refused".to_owned(), why.into());
    let mut line = serde_json::to_vec(&object)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_all()?;
    sync_directory(directory)?;
    tracing::error!(file = %path.display(), why, "a row was laid aside");
    Ok(())
}
