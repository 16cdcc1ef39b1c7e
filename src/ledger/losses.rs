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
    /// They are there after all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    found: bool,
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
        Self { at, sink, epoch, segment, offset, rows, next, found: false }
    }

    /// Takes back what is known of rows that are found now.
    fn undone(sink: &str, rows: Range<u64>) -> Self {
        let found = Lost { rows: rows.end - rows.start, next: rows.end, offset: 0 };
        Self { found: true, ..Self::found(sink, (0, 0), found) }
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

/// Notes that a sink has rows after all that it was known to lack: those of these numbers, but for what is
/// `lost` of them, in their order.
///
/// # Errors
/// As [`put`].
pub(super) fn take_back(
    directory: &Path,
    sink: &str,
    numbers: &Range<u64>,
    lost: &[Lost],
) -> io::Result<()> {
    let starts = std::iter::once(numbers.start).chain(lost.iter().map(|lost| lost.next));
    let ends = lost.iter().map(|lost| lost.numbers().start).chain([numbers.end]);
    let there = starts.zip(ends).map(|(start, end)| start..end).filter(|rows| !rows.is_empty());
    let found: Vec<_> = there.map(|rows| Loss::undone(sink, rows)).collect();
    put(directory, &found)
}

/// The losses noted in a state directory, each row of a sink in one of them. A last line that was cut off is
/// passed over.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(directory: &Path) -> io::Result<Noted> {
    let Noted { losses, strange } = lines(directory)?;
    Ok(Noted { losses: once(losses), strange })
}

/// What each line says.
fn lines(directory: &Path) -> io::Result<Noted> {
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
    Ok(Noted { losses, strange })
}

/// Numbers of the rows that a sink is known to lack.
///
/// # Errors
/// As [`read`].
pub(super) fn lacking(directory: &Path, sink: &str) -> io::Result<Vec<Range<u64>>> {
    let own = pieces(&lines(directory)?.losses).remove(sink).unwrap_or_default();
    Ok(own.into_iter().map(|(numbers, _)| numbers).collect())
}

/// Leaves out of each loss what a later line tells or takes back: by its numbers or, where these are not known,
/// by its place.
fn once(mut losses: Vec<Loss>) -> Vec<Loss> {
    let unnumbered = losses.iter().enumerate().filter(|(_, loss)| loss.next == 0);
    let places: BTreeMap<_, _> = unnumbered
        .map(|(at, loss)| {
            ((loss.sink.clone(), loss.epoch, loss.segment, loss.offset), (at, loss.rows))
        })
        .collect();
    let pieces = pieces(&losses);
    let pieces = pieces.into_values().flatten().map(|(of, at)| (at, of.end - of.start));
    let counts: Vec<_> = places.into_values().chain(pieces).collect();
    losses.iter_mut().for_each(|loss| loss.rows = 0);
    for (at, rows) in counts {
        if let Some(loss) = losses.get_mut(at) {
            loss.rows += rows;
        }
    }
    losses.retain(|loss| loss.rows > 0);
    losses
}

/// Numbers of the rows that each sink lacks, each once, and the last of these lines that tells it.
fn pieces(losses: &[Loss]) -> BTreeMap<String, Vec<(Range<u64>, usize)>> {
    let mut all: BTreeMap<_, Vec<(Range<u64>, usize)>> = BTreeMap::new();
    for (at, loss) in losses.iter().enumerate().filter(|(_, loss)| loss.next > 0) {
        let (pieces, told) = (all.entry(loss.sink.clone()).or_default(), loss.numbers());
        let rest = pieces.iter().flat_map(|(of, at)| without(of, &told).map(|of| (of, *at)));
        *pieces = rest.collect();
        if !loss.found {
            pieces.push((told, at));
        }
    }
    all
}

/// What of a range is before another, and what behind.
pub(super) fn without(
    of: &Range<u64>,
    other: &Range<u64>,
) -> impl Iterator<Item = Range<u64>> + use<> {
    let parts = [of.start..of.end.min(other.start), of.start.max(other.end)..of.end];
    parts.into_iter().filter(|part| !part.is_empty())
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
        assert_eq!(losses(place.path()), [noted[1].clone(), slot, again]);
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
            [("postgres".to_owned(), 3), sqlite(3), sqlite(6), sqlite(1)]
        );
        // Rows 4 to 6 and 39 are found, and 6 is lost again.
        let lost = Lost { rows: 32, next: 39, offset: 0 };
        take_back(place.path(), "sqlite", &(4..40), &[lost]).unwrap();
        put("sqlite", 1, 7, 300);
        assert_eq!(
            rows(place.path()),
            [("postgres".to_owned(), 3), sqlite(1), sqlite(5), sqlite(1)]
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
