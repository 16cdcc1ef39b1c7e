//! Memory of rows that a sink will never get, as JSON lines for reports to read (F65).
//!
//! A loss is noted before the cursor goes past it, or its slot is freed, so a loss may be noted twice, also
//! as part of a greater one, and never not at all: the numbers of its rows tell.

use super::directory::sync_directory;
use super::reading::Lost;
use super::slot::Slot;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
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
    /// Number of the row behind them among all of the node's; 0 where that is not known.
    #[serde(default)]
    pub(super) next: u64,
}

/// What is noted, and what is to be said of lines that are no losses.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) losses: Vec<Loss>,
    pub(super) strange: Vec<String>,
}

impl Loss {
    /// A loss that is found now.
    pub(super) fn found(sink: &str, (epoch, segment): (u64, u64), lost: Lost) -> Self {
        let (at, sink) = (Timestamp::now().to_string(), sink.to_owned());
        let Lost { rows, next, offset } = lost;
        Self { at, sink, epoch, segment, offset, rows, next }
    }

    /// An attempt whose slot is damaged, by what the slot says it is.
    pub(super) fn of_slot(slot: &Slot) -> Self {
        let [epoch, seq] = [&slot.epoch, &slot.seq].map(|word| word.load(Relaxed));
        Self::found(SLOTS, (epoch, 0), Lost { rows: 1, next: 0, offset: seq })
    }

    fn numbers(&self) -> Range<u64> {
        self.next.saturating_sub(self.rows)..self.next
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

/// The losses noted in a state directory, each row of a sink in one of them. A last line that was cut off is
/// passed over.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(directory: &Path) -> io::Result<Noted> {
    let path = directory.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Noted::default()),
        Err(error) => return Err(error),
    };
    let (mut losses, mut strange) = (Vec::new(), Vec::new());
    let lines = whole(&text).split_inclusive(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines) {
        match serde_json::from_slice(line) {
            Ok(loss) => losses.push(loss),
            Err(error) => strange.push(format!(
                "{}, line {number} is no loss ({error}): mend or remove it",
                path.display()
            )),
        }
    }
    Ok(Noted { losses: once(losses), strange })
}

/// Leaves out of each loss what another tells: by their numbers or, where these are not known, by its place.
fn once(losses: Vec<Loss>) -> Vec<Loss> {
    let (mut numbered, others): (Vec<_>, Vec<_>) =
        losses.into_iter().partition(|loss| loss.next > 0);
    let place = |loss: &Loss| (loss.sink.clone(), loss.epoch, loss.segment, loss.offset);
    let others: BTreeMap<_, _> = others.into_iter().map(|loss| (place(&loss), loss)).collect();
    numbered.sort_by(|a, b| (&a.sink, a.numbers().start).cmp(&(&b.sink, b.numbers().start)));
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    numbered.retain_mut(|loss| {
        let through = told.entry(loss.sink.clone()).or_default();
        loss.rows = loss.next.saturating_sub(loss.numbers().start.max(*through));
        *through = loss.next.max(*through);
        loss.rows > 0
    });
    numbered.extend(others.into_values());
    numbered
}

/// The lines that are whole.
fn whole(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(place: &Path) -> Vec<Loss> {
        read(place).unwrap().losses
    }

    fn rows(place: &Path) -> Vec<(String, u64)> {
        losses(place).into_iter().map(|loss| (loss.sink, loss.rows)).collect()
    }

    #[test]
    fn a_loss_is_read_once_however_often_it_is_put_and_a_cut_line_passed_over() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(losses(place.path()), []);
        put(place.path(), &[]).unwrap();
        assert!(!place.path().join(FILE).exists());
        let lost = |rows, next, offset| Lost { rows, next, offset };
        let noted = [lost(9, 0, 64), lost(1, 0, 300)].map(|it| Loss::found("jsonl", (1, 2), it));
        put(place.path(), &noted).unwrap();
        let slot = Loss::of_slot(&Slot::default());
        put(place.path(), std::slice::from_ref(&slot)).unwrap();
        let path = place.path().join(FILE);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, [&sound, &sound[..30]].concat()).unwrap();
        assert_eq!(losses(place.path()).len(), 3);
        let again = Loss { rows: 10, ..noted[0].clone() };
        put(place.path(), std::slice::from_ref(&again)).unwrap();
        assert_eq!(losses(place.path()), [again, noted[1].clone(), slot]);
        assert!(fs::read(&path).unwrap().starts_with(&sound));
    }

    #[test]
    fn a_loss_that_grew_before_the_cursor_was_past_it_counts_each_row_once() {
        let place = tempfile::tempdir().unwrap();
        let put = |sink: &str, rows, next, offset| {
            let loss = Loss::found(sink, (1, 2), Lost { rows, next, offset });
            put(place.path(), &[loss]).unwrap();
        };
        // Rows 5 to 7, then 8 to 9 behind them; found again as 3 to 7 and as 6 to 11.
        put("sqlite", 3, 8, 100);
        put("sqlite", 2, 10, 180);
        put("postgres", 3, 8, 100);
        put("sqlite", 5, 8, 100);
        put("sqlite", 6, 12, 220);
        put("sqlite", 1, 40, 900);
        let sqlite = |rows| ("sqlite".to_owned(), rows);
        assert_eq!(
            rows(place.path()),
            [("postgres".to_owned(), 3), sqlite(5), sqlite(4), sqlite(1)]
        );
    }

    #[test]
    fn a_line_that_is_no_loss_is_named_and_the_others_are_read() {
        let place = tempfile::tempdir().unwrap();
        let slot = Loss::of_slot(&Slot::default());
        put(place.path(), std::slice::from_ref(&slot)).unwrap();
        let path = place.path().join(FILE);
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"rows\":1}\n");
        fs::write(&path, text).unwrap();
        let noted = read(place.path()).unwrap();
        assert_eq!(noted.losses, [slot]);
        let [said] = &noted.strange[..] else { panic!("{:?}", noted.strange) };
        assert!(said.contains("losses.jsonl, line 2 is no loss"), "{said}");
    }
}
