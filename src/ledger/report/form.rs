//! The forms in which totals are printed.

use super::Row;
use crate::price::Pico;
use std::fmt::Write;

/// A plain table with a line of totals, money in dollars to the last digit. `generations`: of all.
#[must_use]
pub fn table(rows: &[Row], generations: u64) -> String {
    let mut total = Row { label: "total".to_owned(), generations, ..Row::default() };
    for row in rows {
        total.attempts += row.attempts;
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

pub(in crate::ledger) fn quoted(cell: &str) -> String {
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
