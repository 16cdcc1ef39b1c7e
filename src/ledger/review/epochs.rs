//! Spool and database of one node against each other, epoch by epoch.

use super::spool::{Spooled, passed};
use super::{Beside, Books, ReviewError, Sums, Watch, Whole, writer};
use crate::ledger::losses;
use crate::ledger::sink::reader::{self, ReadError, Reader, Words, number};
use crate::usage::Kind;
use std::collections::BTreeMap;

/// What a node's database and state directory have.
#[derive(Debug)]
pub struct Compared {
    /// By number.
    pub epochs: BTreeMap<u64, Epoch>,
    /// The number of the newest, which a running Weir is in, and what it consumed.
    pub newest: u64,
    pub sums: Sums,
    pub spool: Spooled,
    /// `None`: the sink has nothing of this node yet, or an earlier version moved its cursor last.
    pub balance: Option<Balance>,
    /// Rows of a damaged database that cannot be read; what can is counted, and nothing compared.
    pub damaged: Option<u64>,
}

/// What became of the rows that a sink has come past.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// All of the node, as the cursor counts them.
    pub delivered: u64,
    pub stored: u64,
    pub dead: u64,
    /// Lost before they came to the sink, or left in segments of a newer version.
    pub lost: u64,
}

impl Balance {
    /// Rows that the sink has had and has not.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.delivered.saturating_sub(self.stored + self.dead + self.lost)
    }
}

/// One start of one node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Rows in the database.
    pub stored: u64,
    /// Of these, not the same in the spool or among the dead letters.
    pub differing: u64,
    /// Rows that the database lacks.
    pub beside: Beside,
}

impl Epoch {
    /// Every attempt once.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.stored + self.beside.waiting + self.beside.gone + self.beside.dead
    }
}

/// Compares what spool and database have of each epoch, and adds up what the newest consumed.
///
/// # Errors
/// Either cannot be read.
pub fn compare(books: &Books, watch: &dyn Watch) -> Result<Compared, ReviewError> {
    let state = books.state.as_deref().ok_or(ReviewError::NoNode)?;
    let writer = writer(state)?;
    let mut whole = Whole::open(books, true, watch)?;
    let node = hex::encode(writer.node);
    let cursor = reader::cursor(whole.reader.as_mut(), writer.node)?;
    let mut epochs = BTreeMap::from([(writer.epoch, Epoch::default())]);
    let (stored, damaged) = stored(whole.reader.as_mut(), &node)?;
    for (epoch, rows) in &stored {
        epochs.entry(*epoch).or_insert_with(Epoch::default).stored = *rows;
    }
    let (mut dead, mut sums) = (whole.unfit(), Sums::new());
    if damaged.is_none() {
        for (epoch, differing) in whole.differing()? {
            epochs.entry(epoch).or_insert_with(Epoch::default).differing = differing;
        }
        for (epoch, beside) in whole.settle()? {
            epochs.entry(epoch).or_insert_with(Epoch::default).beside = beside;
            dead += beside.dead;
        }
        sums = self::sums(&mut whole, &node, writer.epoch)?;
    }
    let spool = whole.into_spool();
    let noted = losses::read(state).map_err(ReviewError::State)?;
    let (passed, _) = passed(&noted.losses, books.base.name(), cursor);
    let balance = cursor.filter(|cursor| cursor.rows > 0).map(|cursor| Balance {
        delivered: cursor.rows,
        stored: stored.values().sum(),
        dead,
        lost: passed + spool.newer_passed,
    });
    Ok(Compared { epochs, newest: writer.epoch, sums, spool, balance, damaged })
}

/// Rows of a node in the database, by epoch; and where that is damaged, how many rows cannot be read.
fn stored(
    reader: &mut dyn Reader,
    node: &str,
) -> Result<(BTreeMap<u64, u64>, Option<u64>), ReadError> {
    let (mut found, attempt) = (BTreeMap::new(), reader.words().attempt);
    match count(reader, node, &format!("{attempt} WHERE true"), &mut found) {
        Err(ReadError::Damaged(_)) => {}
        other => return other.map(|()| (found, None)),
    }
    // Only SQLite says so. An index knows the rows where the table does not.
    let sql = "SELECT CAST(max(rowid) AS text) FROM attempt INDEXED BY attempt_generation";
    let last = reader.ask(sql, &[])?.first().map_or(Ok(0), |row| number(row, 0))?;
    let (mut unread, mut ranges) = (0, vec![(1, last)]);
    while let Some((low, high)) = ranges.pop() {
        let range = format!("attempt NOT INDEXED WHERE rowid BETWEEN {low} AND {high}");
        match count(reader, node, &range, &mut found) {
            Ok(()) => {}
            Err(ReadError::Damaged(_)) if low == high => unread += 1,
            Err(ReadError::Damaged(_)) => {
                let middle: u64 = low + (high - low) / 2;
                ranges.extend([(middle + 1, high), (low, middle)]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, Some(unread)))
}

/// Counts those of a node by epoch. Each is looked at where it lies, to its last column, and not in an index.
fn count(
    reader: &mut dyn Reader,
    node: &str,
    which: &str,
    found: &mut BTreeMap<u64, u64>,
) -> Result<(), ReadError> {
    let sql = format!(
        "SELECT CAST(epoch AS text), CAST(count(*) AS text), CAST(max(flags) AS text) FROM {which}
         AND node = {} GROUP BY epoch",
        (reader.words().bytes)("$1")
    );
    for row in reader.ask(&sql, &[node])? {
        *found.entry(number(&row, 0)?).or_default() += number::<u64>(&row, 1)?;
    }
    Ok(())
}

/// What an epoch of a node consumed, wherever its rows are.
fn sums(whole: &mut Whole, node: &str, epoch: u64) -> Result<Sums, ReadError> {
    let Words { sum, bytes, .. } = whole.reader.words();
    let kinds: Vec<_> =
        Kind::ALL.iter().map(|(_, kind)| (*kind, *kind)).chain([("cost", "cost_pico")]).collect();
    let columns: Vec<_> = kinds.iter().map(|(_, column)| sum(column)).collect();
    let sql = format!(
        "SELECT model, provider, {} FROM {} WHERE node = {} AND epoch = CAST($2 AS bigint)
         GROUP BY model, provider",
        columns.join(", "),
        whole.table(),
        bytes("$1")
    );
    let mut found = Sums::new();
    for row in whole.reader.ask(&sql, &[node, &epoch.to_string()])? {
        let [model, provider, ..] = row.as_slice() else { continue };
        for (at, (kind, _)) in kinds.iter().enumerate() {
            let sum = number(&row, at + 2)?;
            if sum != 0 {
                found.insert((model.clone(), provider.clone(), kind), sum);
            }
        }
    }
    Ok(found)
}
