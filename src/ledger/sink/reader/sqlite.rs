//! The embedded ledger, read while its sink writes it.

use super::{BadRow, LAST, ReadError, Reader, Standing, Words, fits, names, row};
use crate::ledger::record::Record;
use crate::ledger::sink::columns;
use crate::ledger::sink::columns::NAMES;
use crate::ledger::sink::sqlite::{self, SCHEMA};
use rusqlite::{OptionalExtension, params_from_iter};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a report waits for another process's lock.
const BUSY: Duration = Duration::from_secs(2);

const WORDS: Words = Words {
    attempt: "main.attempt",
    schema: "main.",
    beside: "temp.beside",
    begin: "BEGIN",
    sum: |terms| halves(terms).map(|half| format!("CAST({half} AS text)")).join(" || ' ' || "),
    hex: |bytes| format!("lower(hex({bytes}))"),
    bytes: |hex| format!("unhex({hex})"),
    day: |seconds| format!("date(min({seconds}, {LAST}), 'unixepoch')"),
};

/// SQLite adds in 64 bits and gives up beyond. The halves of up to 2^31 numbers can be added apart.
pub(in crate::ledger) fn halves(terms: &str) -> [String; 2] {
    [">> 32", "& 4294967295"].map(|half| {
        let terms: Vec<_> =
            terms.split('+').map(|term| format!("({} {half})", term.trim())).collect();
        format!("sum({})", terms.join(" + "))
    })
}

pub(super) fn open(path: &Path) -> Result<sqlite::Reader, ReadError> {
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(ReadError::NoFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::Absent),
        Err(error) => return Err(error.into()),
    }
    let reader = sqlite::Reader::open(path)?;
    let connection = reader.connection();
    connection.busy_timeout(BUSY)?;
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = 'meta'";
    let found = match connection.query_row(sql, [], |row| row.get(0))? {
        0 => None,
        _ => connection
            .query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))
            .optional()?,
    };
    fits(found, SCHEMA)?;
    Ok(reader)
}

impl Reader for sqlite::Reader {
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<String>>, ReadError> {
        let mut statement = self.connection().prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let cell = |at| {
                let bytes = row.get_ref(at).ok().and_then(|cell| cell.as_bytes_or_null().ok()?);
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            found.push((0..width).map(cell).collect());
        }
        Ok(found)
    }

    fn each(
        &mut self,
        take: &mut dyn FnMut(Result<Record, BadRow>) -> bool,
    ) -> Result<(), ReadError> {
        let sql = format!("SELECT {} FROM attempt ORDER BY node, epoch, seq", names());
        let mut statement = self.connection().prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            if !take(row(&|at| sqlite::cell(found, at))) {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, rows: &[Record], standing: Standing) -> Result<(), ReadError> {
        let (names, marks) = (names(), vec!["?"; NAMES.len()].join(","));
        let transaction = self.connection().unchecked_transaction()?;
        transaction.execute_batch(&format!(
            "CREATE TEMP TABLE IF NOT EXISTS beside AS
             SELECT {names}, 0 AS standing FROM main.attempt WHERE false;
             CREATE UNIQUE INDEX IF NOT EXISTS temp.beside_key ON beside (node, epoch, seq)"
        ))?;
        let sql = format!(
            "INSERT OR IGNORE INTO temp.beside ({names}, standing) VALUES ({marks}, {})",
            standing as u8
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut bound = Vec::new();
        for row in rows {
            columns::bind(&mut statement, &[row], &mut bound)?;
            statement.raw_execute()?;
        }
        drop(statement);
        Ok(transaction.commit()?)
    }

    fn check(&mut self) -> Result<Vec<String>, ReadError> {
        let said = self.ask("PRAGMA integrity_check", &[])?;
        Ok(said.into_iter().flatten().filter(|line| line != "ok").collect())
    }
}
