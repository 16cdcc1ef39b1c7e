//! A provider's own export of what was used, against the ledger: day by day and model by model.

mod export;

pub use export::{Export, exported};

use super::report::{By, COMPLETION, PROMPT, label};
use super::review::{Beside, Books, ReviewError, Watch, Whole};
use super::sink::reader::{ReadError, Words, number};
use std::collections::{BTreeMap, BTreeSet};

/// What can be compared: its name, what it is in the ledger, and its columns in exports.
const MEASURES: [(&str, &str, &[&str]); 8] = [
    (
        "attempts",
        "CASE WHEN source <> 'none' THEN 1 ELSE 0 END",
        &["num_model_requests", "requests", "request_count"],
    ),
    ("prompt", PROMPT, &["input_tokens", "prompt_tokens", "tokens_prompt"]),
    ("input", "input", &["usage_input_tokens_no_cache", "input_uncached_tokens"]),
    ("cache_read", "cache_read", &["usage_input_tokens_cache_read", "input_cached_tokens"]),
    ("cache_write_5m", "cache_write_5m", &["usage_input_tokens_cache_write_5m"]),
    ("cache_write_1h", "cache_write_1h", &["usage_input_tokens_cache_write_1h"]),
    (
        "completion",
        COMPLETION,
        &["output_tokens", "completion_tokens", "tokens_completion", "usage_output_tokens"],
    ),
    ("searches", "searches", &["web_search_count"]),
];
/// Why an export cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("{0}")]
    Csv(#[from] csv::Error),
    #[error("it has no line but its header: there is nothing to compare")]
    Empty,
    #[error("no column says the {0}: name it with --column HEADER={0}")]
    NoColumn(&'static str),
    #[error("{0} is nothing to compare: day, model, {names}", names = names())]
    NoMeasure(String),
    #[error("it has no column {header}, but these: {}", .known.join(", "))]
    NoHeader { header: String, known: Vec<String> },
    #[error("two columns are named as the {0}")]
    Twice(String),
    #[error("it is UTF-16: save it as UTF-8")]
    Utf16,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("line {line} has {cells} cells, the header {columns}")]
    Uneven { line: u64, cells: usize, columns: usize },
    #[error("line {line}: {cell:?} is no {what}")]
    Cell { line: u64, cell: String, what: &'static str },
    #[error("the ledger has no row of a provider {name}, but of these: {}", .known.join(", "))]
    NoProvider { name: String, known: Vec<String> },
    /// Of the ledger, not of the export.
    #[error(transparent)]
    Ledger(#[from] ReviewError),
}

impl From<ReadError> for InvoiceError {
    fn from(error: ReadError) -> Self {
        Self::Ledger(error.into())
    }
}

fn names() -> String {
    MEASURES.map(|(name, _, _)| name).join(", ")
}

/// Sums by day (`2026-11-20`, UTC), model as the upstream calls it, and measure.
pub type Account = BTreeMap<(String, String, &'static str), i128>;

/// What the ledger has of one provider, on the days and in the measures of an export; and how many of its
/// attempts the database lacks.
///
/// # Errors
/// The ledger cannot be read, or has never had a row of this provider.
pub fn recorded(
    books: &Books,
    provider: &str,
    of: &Account,
    watch: &dyn Watch,
) -> Result<(Account, Beside), InvoiceError> {
    let days: BTreeSet<&str> = of.keys().map(|(day, _, _)| day.as_str()).collect();
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return Err(InvoiceError::Empty);
    };
    let mut whole = Whole::open(books, false, watch)?;
    let beside = whole.settled()?;
    let table = whole.table();
    let known = whole.reader.ask(&format!("SELECT DISTINCT provider FROM {table}"), &[])?;
    let mut known: Vec<String> = known.into_iter().flatten().collect();
    if !known.iter().any(|known| known == provider) {
        known.sort();
        return Err(InvoiceError::NoProvider { name: provider.to_owned(), known });
    }
    let measures: BTreeSet<&str> = of.keys().map(|(_, _, measure)| *measure).collect();
    let measures = MEASURES.iter().filter(|(name, _, _)| measures.contains(name));
    let by_model = of.keys().any(|(_, model, _)| !model.is_empty());
    let model = if by_model { "upstream_model" } else { "''" };
    let words: &Words = whole.reader.words();
    let sums: Vec<_> = measures.clone().map(|(_, terms, _)| (words.sum)(terms)).collect();
    let sql = format!(
        "SELECT {day}, {model}, {sums} FROM {table} WHERE provider = $1
         AND {day} BETWEEN $2 AND $3 GROUP BY 1, 2",
        day = label(By::Day, words),
        sums = sums.join(", ")
    );
    let mut found = Account::new();
    for row in whole.reader.ask(&sql, &[provider, first, last])? {
        let [day, model, ..] = row.as_slice() else { continue };
        for (place, (name, _, _)) in measures.clone().enumerate() {
            found.insert((day.clone(), model.clone(), *name), number(&row, 2 + place)?);
        }
    }
    Ok((found, beside))
}
