//! Totals out of the ledger's database, for `weir usage`. Exact: sums are made in i128.

use super::record::flag;
use super::sink::{SinkError, sqlite::Reader};
use crate::price::Pico;
use std::fmt::Write;
use std::path::Path;

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

/// Columns of all prompt-side and of all completion-side tokens.
pub(super) const PROMPT: &str = "input + cache_read + cache_write_5m + cache_write_1h + input_audio
    + input_audio_cached + input_image + input_video";
pub(super) const COMPLETION: &str = "output + reasoning + output_audio + output_image";
/// Microseconds at which an attempt counts as used (I8): its end, unless the clock jumped meanwhile.
const BILLED_US: &str = "iif(flags & 16, started_us + duration_us, ended_us)";
/// The same in UTC days since 1970.
pub(super) const DAY_NUMBER: &str =
    "(iif(flags & 16, started_us + duration_us, ended_us) / 86400000000)";
const _: () = assert!(flag::CLOCK_JUMP == 16);

/// Totals by `by`, in order of label.
///
/// # Errors
/// The database is absent, locked for longer than a moment, or damaged.
pub fn usage(sqlite: &Path, by: By) -> Result<Vec<Row>, SinkError> {
    let reader = Reader::open(sqlite)?;
    let sums = [PROMPT, COMPLETION, "cost_pico", "charge_pico"].map(halves).join(", ");
    let label = label(by);
    let mut statement = reader.connection().prepare(&format!(
        "SELECT {label}, count(*), count(DISTINCT generation_id), {sums}
         FROM attempt GROUP BY 1 ORDER BY 1"
    ))?;
    let rows = statement.query_map([], |row| {
        Ok(Row {
            label: row.get(0)?,
            attempts: row.get(1)?,
            generations: row.get(2)?,
            prompt: sum(row, 3)?,
            completion: sum(row, 5)?,
            cost: sum(row, 7)?,
            charge: sum(row, 9)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// SQLite adds in 64 bits and gives up beyond. The halves of up to 2^31 numbers can be added apart.
pub(super) fn halves(terms: &str) -> String {
    let add = |half: &str| {
        let terms: Vec<_> =
            terms.split('+').map(|term| format!("({} {half})", term.trim())).collect();
        format!("sum({})", terms.join(" + "))
    };
    format!("{}, {}", add(">> 32"), add("& 4294967295"))
}

pub(super) fn label(by: By) -> String {
    match by {
        By::Key => "lower(hex(key_hash))".to_owned(),
        By::Workspace => "workspace".to_owned(),
        By::Model => "model".to_owned(),
        By::Provider => "provider".to_owned(),
        By::Day => format!("date({BILLED_US} / 1000000, 'unixepoch')"),
    }
}

/// The sum whose [`halves`] stand at `at` and behind it.
pub(super) fn sum(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<i128> {
    let (high, low): (i64, i64) = (row.get(at)?, row.get(at + 1)?);
    Ok((i128::from(high) << 32) + i128::from(low))
}

/// A plain table with a line of totals, money in dollars to the last digit.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut total = Row { label: "total".to_owned(), ..Row::default() };
    for row in rows {
        total.attempts += row.attempts;
        total.generations += row.generations;
        total.prompt += row.prompt;
        total.completion += row.completion;
        total.cost = total.cost.saturating_add(row.cost);
        total.charge = total.charge.saturating_add(row.charge);
    }
    let head = ["", "attempts", "generations", "prompt", "completion", "cost USD", "charge USD"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().chain([&total]).map(cells));
    let mut widths = [0; 7];
    for line in &lines {
        widths
            .iter_mut()
            .zip(line)
            .for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    let mut out = String::new();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match column {
                0 => write!(out, "{cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
    out
}

/// Names of the values of a row, in order.
const HEAD: [&str; 7] =
    ["label", "attempts", "generations", "prompt", "completion", "cost_usd", "charge_usd"];

/// Comma-separated values with a head, quoted where they must be (RFC 4180).
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut out = HEAD.join(",") + "\n";
    for row in rows {
        out += &cells(row).map(|cell| quoted(&cell)).join(",");
        out.push('\n');
    }
    out
}

pub(super) fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// An array with an object a row: numbers as they are, money as text, to the last digit.
#[must_use]
pub fn json(rows: &[Row]) -> String {
    let objects = rows.iter().map(|row| {
        let [_, _, _, prompt, completion, cost, charge] = cells(row);
        serde_json::json!({
            "label": row.label,
            "attempts": row.attempts,
            "generations": row.generations,
            "prompt": integer(&prompt),
            "completion": integer(&completion),
            "cost_usd": cost,
            "charge_usd": charge,
        })
    });
    serde_json::Value::from_iter(objects).to_string() + "\n"
}

/// A number of any length.
fn integer(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn cells(row: &Row) -> [String; 7] {
    [
        row.label.clone(),
        row.attempts.to_string(),
        row.generations.to_string(),
        row.prompt.to_string(),
        row.completion.to_string(),
        dollars(row.cost),
        dollars(row.charge),
    ]
}

/// At least two decimals, and all that are not zero.
fn dollars(pico: Pico) -> String {
    const ONE: u128 = 1_000_000_000_000;
    let sign = if pico < 0 { "-" } else { "" };
    let pico = pico.unsigned_abs();
    let fraction = format!("{:012}", pico % ONE);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{}", pico / ONE, fraction.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sink::{Batch, Position, Sink, sqlite::Sqlite};
    use crate::ledger::{record::Record, testing};
    use crate::usage::{Kind, Usage};

    fn stored(records: &[Record]) -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger.db");
        let cursor = Position { epoch: 1, segment: 0, offset: 0, rows: 0 };
        let batch = Batch { rows: records, prices: &[], cursor: Some(([7; 16], cursor)) };
        Sqlite::open(&path).unwrap().deliver(&batch).unwrap();
        (place, path)
    }

    #[test]
    fn sums_beyond_64_bits_are_exact() {
        let most = i64::MAX as u64;
        let mut records: Vec<_> = (1..=4).map(testing::record).collect();
        for record in &mut records {
            record.usage = Usage::ZERO.with(Kind::Input, most).with(Kind::CacheRead, most);
            record.cost = most.into();
            record.charge = -1;
        }
        let (_place, path) = stored(&records);
        let rows = usage(&path, By::Model).unwrap();
        let want = Row {
            label: "meta/llama".to_owned(),
            attempts: 4,
            generations: 4,
            prompt: i128::from(most) * 8,
            completion: 0,
            cost: i128::from(most) * 4,
            charge: -4,
        };
        assert_eq!(rows, vec![want]);
    }

    #[test]
    fn a_day_is_the_end_of_the_attempt_unless_the_clock_jumped() {
        const DAY_US: u64 = 86_400_000_000;
        let mut records: Vec<_> = (1..=3).map(testing::record).collect();
        records[1].ended_us += DAY_US;
        records[2].ended_us += 2 * DAY_US;
        records[2].flags |= flag::CLOCK_JUMP;
        let (_place, path) = stored(&records);
        let days = usage(&path, By::Day).unwrap();
        let days: Vec<_> = days.iter().map(|row| (row.label.as_str(), row.attempts)).collect();
        assert_eq!(days, [("2023-11-14", 2), ("2023-11-15", 1)]);
    }

    #[test]
    fn every_grouping_and_the_table_add_up() {
        let mut records: Vec<_> = (1..=3).map(testing::record).collect();
        records[2].intent.provider = "groq".into();
        records[2].intent.generation_id = records[1].intent.generation_id.clone();
        let (_place, path) = stored(&records);
        for by in [By::Key, By::Workspace, By::Model, By::Provider, By::Day] {
            let rows = usage(&path, by).unwrap();
            assert_eq!(rows.iter().map(|row| row.attempts).sum::<u64>(), 3, "{by:?}");
            assert_eq!(rows.iter().map(|row| row.cost).sum::<i128>(), 1 + 2 + 3 + 3 * 18);
        }
        let table = table(&usage(&path, By::Provider).unwrap());
        insta::assert_snapshot!(table, @r"
                   attempts  generations  prompt  completion        cost USD      charge USD
        deepinfra         2            2       3           4  0.000000000039  0.000000000039
        groq              1            1       3           2  0.000000000021  0.000000000021
        total             3            3       6           6   0.00000000006   0.00000000006
        ");
    }

    #[test]
    fn other_forms_say_the_same() {
        let mut records: Vec<_> = (1..=2).map(testing::record).collect();
        records[1].intent.workspace = "a,\"b\"".into();
        let (_place, path) = stored(&records);
        let rows = usage(&path, By::Workspace).unwrap();
        insta::assert_snapshot!(csv(&rows), @r#"
        label,attempts,generations,prompt,completion,cost_usd,charge_usd
        "a,""b""",1,1,2,2,0.00000000002,0.00000000002
        acme,1,1,1,2,0.000000000019,0.000000000019
        "#);
        let read: serde_json::Value = serde_json::from_str(&json(&rows)).unwrap();
        assert_eq!(read[0]["label"], "a,\"b\"");
        assert_eq!(read[1]["prompt"].as_u64(), Some(1));
        assert_eq!(read[1]["cost_usd"], "0.000000000019");
    }

    #[test]
    fn money_is_written_to_the_last_digit() {
        let cases = [
            (0, "0.00"),
            (1, "0.000000000001"),
            (-1_500_000_000_000, "-1.50"),
            (12_340_000_000_000, "12.34"),
        ];
        cases.iter().for_each(|(pico, text)| assert_eq!(dollars(*pico), *text));
    }
}
