//! Every row of a database, printed.

use super::{Books, ReviewError, Watch};
use crate::ledger::record::Record;
use crate::ledger::report::quoted;
use crate::ledger::sink::columns::{self, Cell, NAMES};
use crate::ledger::sink::reader;
use std::io::{self, Write};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Csv,
}

/// Prints every row of a database in order of its key. `skip` hears of each row that cannot be read;
/// says how many these are.
///
/// # Errors
/// The database cannot be read, or `out` not be written.
pub fn export(
    books: &Books,
    form: Form,
    out: &mut impl Write,
    mut skip: impl FnMut(&str),
    watch: &dyn Watch,
) -> Result<u64, ReviewError> {
    let mut reader = books.base.open()?;
    let reader = reader.as_mut();
    reader::begin(reader)?;
    watch.begin("rows", reader::count(reader)?);
    let (mut skipped, mut line) = (0, Vec::new());
    let mut written = match form {
        Form::Csv => writeln!(out, "{}", NAMES.join(",")),
        Form::Json => Ok(()),
    };
    reader.each(&mut |row| {
        watch.seen(1);
        match (row, form) {
            (Ok(row), Form::Json) => written = write_json(out, &mut line, &row),
            (Ok(row), Form::Csv) => written = writeln!(out, "{}", csv(&row)),
            (Err(bad), _) => {
                skip(&bad.to_string());
                skipped += 1;
            }
        }
        written.is_ok()
    })?;
    written.map_err(ReviewError::Out)?;
    Ok(skipped)
}

fn write_json(out: &mut impl Write, line: &mut Vec<u8>, row: &Record) -> io::Result<()> {
    line.clear();
    columns::put_json(line, row);
    line.push(b'\n');
    out.write_all(line)
}

fn csv(row: &Record) -> String {
    let mut cells = Vec::with_capacity(NAMES.len());
    columns::cells(row, |cell| {
        cells.push(match cell {
            Cell::Null => String::new(),
            Cell::Int(value) => value.to_string(),
            Cell::Bool(value) => value.to_string(),
            Cell::Text(text) => quoted(text),
            Cell::Blob(bytes) => hex::encode(bytes),
            Cell::Counts(counts) => quoted(&columns::array(counts)),
        });
    });
    cells.join(",")
}
