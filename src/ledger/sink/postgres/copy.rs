//! Rows by COPY, in its text format.

use super::quoted;
use crate::ledger::record::Record;
use crate::ledger::sink::SinkError;
use crate::ledger::sink::columns::{self, Cell};
use crate::usage::KINDS;
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use std::fmt::Write;
use tokio_postgres::Transaction;

/// Copies rows into the table `fresh`.
pub(in crate::ledger::sink) async fn copy(
    transaction: &Transaction<'_>,
    rows: &[Record],
) -> Result<(), SinkError> {
    let names = quoted(|name| format!("\"{name}\""));
    let sql = format!("COPY fresh (ordinal, {names}) FROM STDIN");
    let copy = transaction.copy_in::<_, Bytes>(sql.as_str()).await?;
    futures::pin_mut!(copy);
    copy.send(text(rows)).await?;
    copy.as_mut().finish().await?;
    Ok(())
}

/// Rows in the text format of COPY, each behind its number.
fn text(rows: &[Record]) -> Bytes {
    let mut out = String::with_capacity(rows.len() * (256 + KINDS));
    for (ordinal, row) in rows.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{ordinal}");
        columns::cells(row, |cell| {
            out.push('\t');
            let _ = match cell {
                Cell::Null => write!(out, "\\N"),
                Cell::Int(value) => write!(out, "{value}"),
                Cell::Bool(value) => write!(out, "{value}"),
                Cell::Blob(bytes) => write!(out, "\\\\x{}", hex::encode(bytes)),
                Cell::Text(text) => {
                    escape(&mut out, text);
                    Ok(())
                }
                Cell::Counts(counts) => write!(out, "{}", columns::array(counts)),
            };
        });
        out.push('\n');
    }
    BytesMut::from(out.as_str()).freeze()
}

/// As COPY wants it. PostgreSQL has no zero character in a text.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sink::columns::NAMES;
    use crate::ledger::testing;

    #[test]
    fn texts_cannot_break_out_of_their_column() {
        let mut out = String::new();
        escape(&mut out, "a\tb\nc\\d\re\0f");
        assert_eq!(out, "a\\tb\\nc\\\\d\\re\u{fffd}f");
        let mut record = testing::record(1);
        record.intent.app = "x\ty\n\\.".into();
        let lines = text(&[record.clone(), record]);
        let lines = std::str::from_utf8(&lines).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.lines().all(|line| line.split('\t').count() == NAMES.len() + 1));
    }
}
