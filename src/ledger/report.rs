//! Totals out of the ledger, for `weir usage`. Exact: sums are made in i128.

mod form;
#[cfg(test)]
mod tests;

pub(super) use form::quoted;
pub use form::{csv, json, table};

use super::record::flag;
use super::review::{Beside, Books, ReviewError, Watch, Whole};
use super::sink::reader::{Words, number};
use crate::price::Pico;

/// What one line of a report stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Hex SHA-256 of the API key.
    Key,
    Workspace,
    Model,
    Provider,
    /// UTC day on which the attempt ended, `2026-11-20` (I8).
    Day,
}

/// Totals of one label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    pub label: String,
    pub attempts: u64,
    /// Distinct generations; one that spans several labels counts in each.
    pub generations: u64,
    /// Prompt-side and completion-side tokens.
    pub prompt: i128,
    pub completion: i128,
    /// Pico-dollars.
    pub cost: Pico,
    pub charge: Pico,
}

/// All that was used.
#[derive(Debug)]
pub struct Usage {
    /// In order of label.
    pub rows: Vec<Row>,
    /// Distinct generations of all labels.
    pub generations: u64,
    /// How many of the attempts the database lacks.
    pub beside: Beside,
}

/// Columns of all prompt-side and of all completion-side tokens.
pub(super) const PROMPT: &str = "input + cache_read + cache_write_5m + cache_write_1h + input_audio
    + input_audio_cached + input_image + input_video";
pub(super) const COMPLETION: &str = "output + reasoning + output_audio + output_image";
/// Microseconds at which an attempt counts as used (I8): its end, unless the clock jumped meanwhile.
pub(super) const BILLED_US: &str =
    "CASE WHEN (flags & 16) <> 0 THEN started_us + duration_us ELSE ended_us END";
const _: () = assert!(flag::CLOCK_JUMP == 16);

/// Totals by `by`: of every attempt in the database, the spool and among the dead letters, each once.
///
/// # Errors
/// The database or the spool cannot be read.
pub fn usage(books: &Books, by: By, watch: &dyn Watch) -> Result<Usage, ReviewError> {
    let mut whole = Whole::open(books, false, watch)?;
    let beside = whole.settled()?;
    let words = whole.reader.words();
    let sums = [PROMPT, COMPLETION, "cost_pico", "charge_pico"].map(words.sum).join(", ");
    let sql = format!(
        "SELECT {}, CAST(count(*) AS text), CAST(count(DISTINCT generation_id) AS text), {sums}
         FROM {} GROUP BY 1",
        label(by, words),
        whole.table()
    );
    let mut rows = Vec::new();
    for row in whole.reader.ask(&sql, &[])? {
        rows.push(Row {
            attempts: number(&row, 1)?,
            generations: number(&row, 2)?,
            prompt: number(&row, 3)?,
            completion: number(&row, 4)?,
            cost: number(&row, 5)?,
            charge: number(&row, 6)?,
            label: row.into_iter().next().unwrap_or_default(),
        });
    }
    rows.sort_by(|one, other| one.label.cmp(&other.label));
    let all = format!("SELECT CAST(count(DISTINCT generation_id) AS text) FROM {}", whole.table());
    let all = whole.reader.ask(&all, &[])?;
    let generations = all.first().map(|row| number(row, 0)).transpose()?.unwrap_or(0);
    Ok(Usage { rows, generations, beside })
}

/// What stands for a label in a query.
pub(super) fn label(by: By, words: &Words) -> String {
    match by {
        By::Key => (words.hex)("key_hash"),
        By::Workspace => "workspace".to_owned(),
        By::Model => "model".to_owned(),
        By::Provider => "provider".to_owned(),
        By::Day => (words.day)(&format!("(({BILLED_US}) / 1000000)")),
    }
}
