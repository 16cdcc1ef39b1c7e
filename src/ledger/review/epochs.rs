//! Spool, database and metrics of one node against each other.

use super::spool::Spooled;
use super::{Beside, Books, ReviewError, Watch, Whole, writer};
use crate::ledger::sink::reader::{ReadError, Words, number};
use crate::price::Pico;
use crate::usage::Kind;
use std::collections::BTreeMap;

/// What one place says was consumed: by model, provider and kind, cost under the kind "cost".
pub type Sums = BTreeMap<(String, String, &'static str), Pico>;

/// What a node's database and state directory have.
#[derive(Debug)]
pub struct Compared {
    /// By number.
    pub epochs: BTreeMap<u64, Epoch>,
    /// The number of the newest, which a running Weir is in, and what it consumed.
    pub newest: u64,
    pub sums: Sums,
    pub spool: Spooled,
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
    let mut epochs = BTreeMap::from([(writer.epoch, Epoch::default())]);
    for (epoch, stored) in stored(&mut whole, &node)? {
        epochs.entry(epoch).or_insert_with(Epoch::default).stored = stored;
    }
    for (epoch, differing) in whole.differing()? {
        epochs.entry(epoch).or_insert_with(Epoch::default).differing = differing;
    }
    for (epoch, beside) in whole.settle()? {
        epochs.entry(epoch).or_insert_with(Epoch::default).beside = beside;
    }
    let sums = sums(&mut whole, &node, writer.epoch)?;
    Ok(Compared { epochs, newest: writer.epoch, sums, spool: whole.into_spool() })
}

/// Rows of a node in the database, by epoch.
fn stored(whole: &mut Whole, node: &str) -> Result<Vec<(u64, u64)>, ReadError> {
    let Words { attempt, bytes, .. } = whole.reader.words();
    let sql = format!(
        "SELECT CAST(epoch AS text), CAST(count(*) AS text) FROM {attempt} WHERE node = {}
         GROUP BY epoch",
        bytes("$1")
    );
    let rows = whole.reader.ask(&sql, &[node])?;
    rows.iter().map(|row| Ok((number(row, 0)?, number(row, 1)?))).collect()
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

/// The same sums as Prometheus metrics tell them.
#[must_use]
pub fn metrics_sums(text: &str) -> Sums {
    let mut sums = Sums::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((family, labels)) = series.split_once('{') else { continue };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let kind = match family {
            "weir_cost_picodollars_total" => Some("cost"),
            "weir_tokens_total" => label("kind").and_then(|kind| {
                Kind::ALL.iter().map(|(_, known)| *known).find(|known| *known == kind)
            }),
            _ => None,
        };
        let (Some(kind), Some(model), Some(provider)) = (kind, label("model"), label("provider"))
        else {
            continue;
        };
        let Ok(count) = value.parse::<Pico>() else { continue };
        if count != 0 {
            sums.insert((model, provider, kind), count);
        }
    }
    sums
}
