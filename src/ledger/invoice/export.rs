//! Reading a provider's export: which of its columns says what, and what its lines come to.

use super::{Account, InvoiceError, MEASURES, names};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use std::io::{BufRead, BufReader, Read};

/// Columns that say which day, as a date or in Unix seconds, and which model.
const DAYS: &[&str] = &["date", "usage_date_utc", "start_time_iso", "start_time", "created_at"];
const MODELS: &[&str] = &["model_version", "model_permaslug"];

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
        let twice = |(at, (_, what)): &(usize, &(String, String))| {
            named.iter().take(*at).any(|(_, earlier)| earlier == what)
        };
        if let Some((_, (_, what))) = named.iter().enumerate().find(twice) {
            return Err(InvoiceError::Twice(what.clone()));
        }
        let known = |header: &str| head.iter().any(|own| own.eq_ignore_ascii_case(header));
        if let Some((header, _)) = named.iter().find(|(header, _)| !known(header)) {
            let known = head.iter().map(str::to_owned).collect();
            return Err(InvoiceError::NoHeader { header: header.clone(), known });
        }
        let at = |header: &str| head.iter().position(|own| own.eq_ignore_ascii_case(header));
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

/// What an export says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Export {
    pub account: Account,
    /// Lines of no day, as of a total.
    pub skipped: u64,
}

/// Reads an export. `named` are headers and what they stand for, beside the usual ones.
///
/// # Errors
/// It is no CSV with a head and a line, or a cell is not what its column says.
pub fn exported(export: impl Read, named: &[(String, String)]) -> Result<Export, InvoiceError> {
    let mut export = BufReader::new(export);
    let start = export.fill_buf()?;
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(InvoiceError::Utf16);
    }
    let mut reader = csv::ReaderBuilder::new();
    reader.trim(csv::Trim::All).flexible(true).delimiter(delimiter(start));
    let mut lines = reader.from_reader(export);
    let head = lines.headers()?.clone();
    let columns = Columns::find(&head, named)?;
    let mut found = Export::default();
    for line in lines.records() {
        let line = line?;
        let number = line.position().map_or(0, csv::Position::line);
        let cell = |at: usize| line.get(at).unwrap_or_default();
        if is_total(cell(columns.day)) {
            found.skipped += 1;
            continue;
        }
        if line.len() != head.len() {
            let (cells, columns) = (line.len(), head.len());
            return Err(InvoiceError::Uneven { line: number, cells, columns });
        }
        let wrong =
            |cell: &str, what| InvoiceError::Cell { line: number, cell: cell.to_owned(), what };
        let day = day(cell(columns.day)).ok_or_else(|| wrong(cell(columns.day), "day"))?;
        let model = columns.model.map(cell).unwrap_or_default();
        for (at, measure) in &columns.measures {
            let count = count(cell(*at)).ok_or_else(|| wrong(cell(*at), "count"))?;
            *found.account.entry((day.clone(), model.to_owned(), *measure)).or_default() += count;
        }
    }
    if found.account.is_empty() { Err(InvoiceError::Empty) } else { Ok(found) }
}

/// What stands between the cells of a head, by how often it does: spreadsheets write what their country's commas
/// leave free.
fn delimiter(start: &[u8]) -> u8 {
    let head = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |sign: u8| head.iter().filter(|byte| **byte == sign).count();
    // Of several that are as frequent, the last.
    [b'\t', b';', b','].into_iter().max_by_key(|sign| count(*sign)).unwrap_or(b',')
}

/// Whether a line is of no day, by what stands for it.
fn is_total(day: &str) -> bool {
    day.is_empty() || day.to_ascii_lowercase().contains("total")
}

/// A day as a date, `20261128` among them, or as a moment, of which Unix seconds are one.
fn day(cell: &str) -> Option<String> {
    let digits = cell.bytes().all(|byte| byte.is_ascii_digit());
    if digits && cell.len() <= 8 {
        return Some(Date::strptime("%Y%m%d", cell).ok()?.to_string());
    }
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

/// A whole number as a table may write it: `3135`, `3135.0`, `285,000`; nothing is 0. Three decimals may stand
/// for thousands: that is none.
fn count(cell: &str) -> Option<i128> {
    let whole = match cell.split_once('.') {
        Some((whole, "0" | "00")) => whole,
        Some(_) => return None,
        None => cell,
    };
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let mut digits = first.to_owned();
    for group in groups {
        let is_led = (1..=3).contains(&first.trim_start_matches('-').len());
        if !is_led || group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.push_str(group);
    }
    if cell.is_empty() { Some(0) } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, named: &[(&str, &str)]) -> Result<Account, InvoiceError> {
        let named: Vec<_> = named.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        exported(text.as_bytes(), &named).map(|export| export.account)
    }

    #[test]
    fn a_moment_counts_on_its_day_in_utc() {
        for (cell, utc) in [
            ("2026-11-27T23:30:00-08:00", Some("2026-11-28")),
            ("2026-11-27T23:30:00Z", Some("2026-11-27")),
            ("2026-11-27 23:30:00", Some("2026-11-27")),
            ("2026-11-27", Some("2026-11-27")),
            ("1763683200", Some("2025-11-21")),
            ("20261128", Some("2026-11-28")),
            ("20261328", None),
            ("2026", None),
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
            ("date,input_tokens\n2025-11-21\n", "line 2 has 1 cells, the header 2"),
            (
                "date,input_tokens\nTotal,9\n",
                "it has no line but its header: there is nothing to compare",
            ),
            ("date,input_tokens\nyesterday,1\n", "line 2: \"yesterday\" is no day"),
        ];
        for (text, said) in cases {
            assert_eq!(read(text, &[]).unwrap_err().to_string(), said);
        }
        let wrong = exported(&b"\xff\xfed\0a\0"[..], &[]).unwrap_err().to_string();
        assert_eq!(wrong, "it is UTF-16: save it as UTF-8");
        let wrong =
            read("date,a,b\n", &[("a", "prompt"), ("b", "prompt")]).unwrap_err().to_string();
        assert_eq!(wrong, "two columns are named as the prompt");
        let wrong = read("date,n\n", &[("n", "tokens")]).unwrap_err().to_string();
        assert!(wrong.starts_with("tokens is nothing to compare: day, model, attempts"), "{wrong}");
        let wrong = read("date,Tokens In\n", &[("tokens-in", "prompt")]).unwrap_err().to_string();
        assert_eq!(wrong, "it has no column tokens-in, but these: date, Tokens In");
    }

    #[test]
    fn whole_numbers_are_read_as_tables_write_them_and_others_refused() {
        let whole = [
            ("3135.0", 3135),
            ("7.00", 7),
            ("285,000", 285_000),
            ("-1,285,000.0", -1_285_000),
            ("", 0),
        ];
        whole.iter().for_each(|(cell, number)| assert_eq!(count(cell), Some(*number), "{cell}"));
        for cell in
            ["3135.5", "285.000", "28,50", "2850,000", ",000", "1,00a", "1e3", "-", "1,,000"]
        {
            assert_eq!(count(cell), None, "{cell}");
        }
    }

    #[test]
    fn cells_are_apart_by_what_is_most_frequent_in_the_head() {
        let text = "date,model,input_tokens\n2025-11-21,\"gpt; 5\",1000\n";
        let account = read(text, &[]).unwrap();
        for (mark, other) in [(';', "\"gpt; 5\""), ('\t', "gpt; 5")] {
            let text = format!(
                "\u{feff}date{mark}model{mark}input_tokens\n2025-11-21{mark}{other}{mark}1000\n"
            );
            assert_eq!(read(&text, &[]).unwrap(), account, "{text}");
        }
    }

    #[test]
    fn lines_of_no_day_are_passed_over_and_counted() {
        let text = "date,model,input_tokens\n20251121,gpt,\"1,000\"\n,gpt,1000\nGrand Total,1000\n";
        let found = exported(text.as_bytes(), &[]).unwrap();
        let key = ("2025-11-21".to_owned(), "gpt".to_owned(), "prompt");
        assert_eq!(found, Export { account: [(key, 1_000)].into(), skipped: 2 });
    }
}
