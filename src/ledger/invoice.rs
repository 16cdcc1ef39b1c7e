//! A provider's own export of what was used, against the ledger: day by day and model by model.

use super::report::{By, COMPLETION, PROMPT, label};
use super::review::{Beside, Books, ReviewError, Watch, Whole};
use super::sink::reader::{ReadError, Words, number};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

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
/// Columns that say which day, as a date or in Unix seconds, and which model.
const DAYS: &[&str] = &["date", "usage_date_utc", "start_time_iso", "start_time", "created_at"];
const MODELS: &[&str] = &["model_version", "model_permaslug"];

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

/// Where an export has what.
struct Columns {
    day: usize,
    model: Option<usize>,
    measures: Vec<(usize, &'static str)>,
}

impl Columns {
    fn find(head: &csv::StringRecord, named: &[(String, String)]) -> Result<Self, InvoiceError> {
        let known =
            |what: &str| matches!(what, "day" | "model") || names().split(", ").any(|n| n == what);
        if let Some((_, what)) = named.iter().find(|(_, what)| !known(what)) {
            return Err(InvoiceError::NoMeasure(what.clone()));
        }
        let at = |header: &str| head.iter().position(|own| own.trim().eq_ignore_ascii_case(header));
        let find = |what: &str, usual: &[&str]| match named.iter().find(|(_, named)| named == what)
        {
            Some((header, _)) => at(header),
            None => at(what).or_else(|| usual.iter().copied().find_map(at)),
        };
        let measures: Vec<_> = MEASURES
            .iter()
            .filter_map(|(name, _, usual)| Some((find(name, usual)?, *name)))
            .collect();
        if measures.is_empty() {
            return Err(InvoiceError::NoColumn("prompt"));
        }
        let day = find("day", DAYS).ok_or(InvoiceError::NoColumn("day"))?;
        Ok(Self { day, model: find("model", MODELS), measures })
    }
}

/// Reads an export. `named` are headers and what they stand for, beside the usual ones.
///
/// # Errors
/// It is no CSV with a head and a line, or a cell is not what its column says.
pub fn exported(export: impl Read, named: &[(String, String)]) -> Result<Account, InvoiceError> {
    let mut lines = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(export);
    let columns = Columns::find(lines.headers()?, named)?;
    let mut account = Account::new();
    for line in lines.records() {
        let line = line?;
        let number = line.position().map_or(0, csv::Position::line);
        let wrong =
            |cell: &str, what| InvoiceError::Cell { line: number, cell: cell.to_owned(), what };
        let cell = |at: usize| line.get(at).unwrap_or_default();
        let day = day(cell(columns.day)).ok_or_else(|| wrong(cell(columns.day), "day"))?;
        let model = columns.model.map(cell).unwrap_or_default();
        for (at, measure) in &columns.measures {
            let count = match cell(*at) {
                "" => 0,
                digits => digits.parse::<i128>().map_err(|_| wrong(digits, "count"))?,
            };
            *account.entry((day.clone(), model.to_owned(), *measure)).or_default() += count;
        }
    }
    if account.is_empty() { Err(InvoiceError::Empty) } else { Ok(account) }
}

fn day(cell: &str) -> Option<String> {
    if let Ok(seconds) = cell.parse::<i64>() {
        let at = Timestamp::from_second(seconds).ok()?;
        return Some(at.to_zoned(TimeZone::UTC).date().to_string());
    }
    // With an offset it is a moment, without one a day as it stands.
    if let Ok(at) = cell.parse::<Timestamp>() {
        return Some(at.to_zoned(TimeZone::UTC).date().to_string());
    }
    Some(cell.parse::<DateTime>().ok()?.date().to_string())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, named: &[(&str, &str)]) -> Result<Account, InvoiceError> {
        let named: Vec<_> = named.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        exported(text.as_bytes(), &named)
    }

    #[test]
    fn a_moment_counts_on_its_day_in_utc() {
        for (cell, utc) in [
            ("2026-11-27T23:30:00-08:00", Some("2026-11-28")),
            ("2026-11-27T23:30:00Z", Some("2026-11-27")),
            ("2026-11-27 23:30:00", Some("2026-11-27")),
            ("2026-11-27", Some("2026-11-27")),
            ("1763683200", Some("2025-11-21")),
            ("2026-11-27 and so on", None),
            ("2026-11", None),
        ] {
            assert_eq!(day(cell).as_deref(), utc, "{cell}");
        }
    }

    #[test]
    fn lines_of_a_day_and_model_add_up_whatever_their_columns_are_called() {
        let usual = "start_time,model,input_tokens,output_tokens,num_model_requests\n\
                     1763683200,gpt,10,3,1\n1763690000,gpt,5,,1\n";
        let own = "When,Name,In,Out,Calls\n2025-11-21,gpt,15,3,2\n";
        let named = [
            ("when", "day"),
            ("name", "model"),
            ("in", "prompt"),
            ("out", "completion"),
            ("calls", "attempts"),
        ];
        let account = read(usual, &[]).unwrap();
        assert_eq!(account, read(own, &named).unwrap());
        let label = |measure| ("2025-11-21".to_owned(), "gpt".to_owned(), measure);
        let want = [("attempts", 2), ("completion", 3), ("prompt", 15)].map(|(m, n)| (label(m), n));
        assert_eq!(account, Account::from(want));
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let cases = [
            ("model,input_tokens\n", "no column says the day: name it with --column HEADER=day"),
            ("date,model\n", "no column says the prompt: name it with --column HEADER=prompt"),
            ("date,input_tokens\n", "it has no line but its header: there is nothing to compare"),
            ("date,input_tokens\n2025-11-21,x\n", "line 2: \"x\" is no count"),
            ("date,input_tokens\nyesterday,1\n", "line 2: \"yesterday\" is no day"),
        ];
        for (text, said) in cases {
            assert_eq!(read(text, &[]).unwrap_err().to_string(), said);
        }
        let wrong = read("date,n\n", &[("n", "tokens")]).unwrap_err().to_string();
        assert!(wrong.starts_with("tokens is nothing to compare: day, model, attempts"), "{wrong}");
    }
}
