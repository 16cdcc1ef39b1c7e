//! Memory of rows that a sink will never get, as JSON lines for reports to read (F65).
//!
//! A loss is noted before the cursor goes past it, or its slot is freed, so a loss may be noted twice and
//! never not at all: its key tells.

use super::directory::sync_directory;
use super::slot::Slot;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

const FILE: &str = "losses.jsonl";
/// In place of a sink's name: the attempt was in a damaged slot, so no sink gets it.
pub(super) const SLOTS: &str = "slots";

/// Rows lost at one place: behind `offset` in a segment of the spool, or of the attempt numbered `offset`
/// in a slot of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    /// When it was found, RFC 3339.
    pub(super) at: String,
    /// The sink that misses them, or [`SLOTS`].
    pub(super) sink: String,
    pub(super) epoch: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) rows: u64,
}

impl Loss {
    /// A loss that is found now.
    pub(super) fn found(sink: &str, (epoch, segment): (u64, u64), offset: u64, rows: u64) -> Self {
        let (at, sink) = (Timestamp::now().to_string(), sink.to_owned());
        Self { at, sink, epoch, segment, offset, rows }
    }

    /// An attempt whose slot is damaged, by what the slot says it is.
    pub(super) fn of_slot(slot: &Slot) -> Self {
        let [epoch, seq] = [&slot.epoch, &slot.seq].map(|word| word.load(Relaxed));
        Self::found(SLOTS, (epoch, 0), seq, 1)
    }
}

/// Appends losses to the memory in a state directory, durably, in place of a line that was cut off.
///
/// # Errors
/// The file cannot be written or synced: they are to be put again.
pub(super) fn put(directory: &Path, losses: &[Loss]) -> io::Result<()> {
    if losses.is_empty() {
        return Ok(());
    }
    let path = directory.join(FILE);
    let mut file = File::options().create(true).append(true).open(&path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    file.set_len(whole(&fs::read(&path)?).len() as u64)?;
    let mut lines = Vec::new();
    for loss in losses {
        serde_json::to_writer(&mut lines, loss)?;
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_all()?;
    sync_directory(directory)
}

/// The losses noted in a state directory, each once: of the same place the last counts.
///
/// # Errors
/// The file cannot be read, or a line of it is no loss: which one is said. A last line that was cut off
/// is passed over.
pub(super) fn read(directory: &Path) -> io::Result<Vec<Loss>> {
    let path = directory.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut losses = BTreeMap::new();
    let lines = whole(&text).split_inclusive(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines) {
        let loss: Loss = serde_json::from_slice(line).map_err(|error| {
            let file = path.display();
            io::Error::other(format!(
                "{file}, line {number} is no loss ({error}): mend or remove it"
            ))
        })?;
        losses.insert((loss.sink.clone(), loss.epoch, loss.segment, loss.offset), loss);
    }
    Ok(losses.into_values().collect())
}

/// The lines that are whole.
fn whole(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_read_once_however_often_it_is_put_and_a_cut_line_passed_over() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(read(place.path()).unwrap(), []);
        put(place.path(), &[]).unwrap();
        assert!(!place.path().join(FILE).exists());
        let losses = [Loss::found("jsonl", (1, 2), 64, 9), Loss::found("jsonl", (1, 2), 300, 1)];
        put(place.path(), &losses).unwrap();
        let slot = Loss::of_slot(&Slot::default());
        put(place.path(), std::slice::from_ref(&slot)).unwrap();
        let path = place.path().join(FILE);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, [&sound, &sound[..30]].concat()).unwrap();
        assert_eq!(read(place.path()).unwrap().len(), 3);
        let again = Loss { rows: 10, ..losses[0].clone() };
        put(place.path(), std::slice::from_ref(&again)).unwrap();
        assert_eq!(read(place.path()).unwrap(), [again, losses[1].clone(), slot]);
        assert!(fs::read(&path).unwrap().starts_with(&sound));
    }

    #[test]
    fn a_line_that_is_no_loss_is_named() {
        let place = tempfile::tempdir().unwrap();
        put(place.path(), &[Loss::of_slot(&Slot::default())]).unwrap();
        let path = place.path().join(FILE);
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"rows\":1}\n");
        fs::write(&path, text).unwrap();
        let error = read(place.path()).unwrap_err().to_string();
        assert!(error.contains("losses.jsonl, line 2 is no loss"), "{error}");
    }
}
