//! Databases as reports read them: one trait, one file per database.
//!
//! What is asked is SQL that both databases understand, with each one's [`Words`] where they differ.

mod postgres;
mod sqlite;

use super::columns::{Cell, NAMES};
use super::stored::{self, Unreadable};
use super::{Position, SinkError};
use crate::ledger::record::Record;
use rusqlite::ErrorCode;
use secrecy::SecretString;
use std::io;
use std::path::PathBuf;
use tokio_postgres::error::SqlState;

pub(in crate::ledger) use sqlite::halves;

/// A database that can be read: a sink's, or a copy of one.
#[derive(Debug, Clone)]
pub enum Base {
    Sqlite(PathBuf),
    /// A connection string.
    Postgres(SecretString),
}

impl Base {
    /// The name of the sink that writes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The sinks whose dead letters are its rows: what NATS refuses does not get to PostgreSQL either.
    pub(in crate::ledger) fn dead_letters(&self) -> &'static [&'static str] {
        match self {
            Self::Sqlite(_) => &["sqlite"],
            Self::Postgres(_) => &["postgres", "nats"],
        }
    }

    /// Opens what is there, and changes nothing in it.
    pub(in crate::ledger) fn open(&self) -> Result<Box<dyn Reader>, ReadError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(sqlite::open(path)?),
            Self::Postgres(url) => Box::new(postgres::Postgres::open(url)?),
        })
    }
}

/// A database with a table `attempt`, and room for rows beside it that go with the reader.
pub(in crate::ledger) trait Reader {
    fn words(&self) -> &'static Words;

    /// The rows of a query with texts for `$1` and on: every cell is to be a text, and NULL is empty.
    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<String>>, ReadError>;

    /// Hands out every row of the table in order of its key, until `take` says no. Begins after
    /// [`begin`]; its memory is that of a batch.
    fn each(
        &mut self,
        take: &mut dyn FnMut(Result<Record, BadRow>) -> bool,
    ) -> Result<(), ReadError>;

    /// Puts rows into the table `beside`, made with the first of them. The first of a key stays.
    fn add(&mut self, rows: &[Record], standing: Standing) -> Result<(), ReadError>;

    /// What the database finds wrong with itself.
    fn check(&mut self) -> Result<Vec<String>, ReadError>;
}

/// Where a row beside the table was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Standing {
    /// In the spool, not yet delivered.
    Waiting = 0,
    /// In the spool, before the place up to which all is delivered.
    Delivered = 1,
    /// Among the rows that the sink refused for good.
    Dead = 2,
    /// In a slot, ended and not known to be in the spool.
    Sealed = 3,
}

impl Standing {
    pub(in crate::ledger) const ALL: [Self; 4] =
        [Self::Waiting, Self::Delivered, Self::Dead, Self::Sealed];
}

/// The last second of the year 9999: neither database has a day behind it.
const LAST: i64 = 253_402_300_799;

/// What the databases have different words for.
pub(in crate::ledger) struct Words {
    /// The table of rows, and what stands before the names of the other tables.
    pub(in crate::ledger) attempt: &'static str,
    pub(in crate::ledger) schema: &'static str,
    /// The table of rows beside it.
    pub(in crate::ledger) beside: &'static str,
    pub(in crate::ledger) begin: &'static str,
    /// The exact sum of terms joined by `+`, for [`number`].
    pub(in crate::ledger) sum: fn(terms: &str) -> String,
    /// Bytes as hex digits, and back.
    pub(in crate::ledger) hex: fn(bytes: &str) -> String,
    pub(in crate::ledger) bytes: fn(hex: &str) -> String,
    /// The day of Unix seconds, `2026-11-20`, UTC.
    pub(in crate::ledger) day: fn(seconds: &str) -> String,
}

/// A cell of an answer that is a whole number, or the halves of one that [`Words::sum`] makes.
pub(in crate::ledger) fn number<T: TryFrom<i128>>(
    row: &[String],
    at: usize,
) -> Result<T, ReadError> {
    let cell = row.get(at).map_or("", String::as_str);
    let mut parts = cell.split(' ').map(str::parse::<i128>);
    let sum = parts.try_fold(0, |sum: i128, part| (sum << 32).checked_add(part.ok()?));
    let number = sum.and_then(|sum| T::try_from(sum).ok());
    number.ok_or_else(|| ReadError::Damaged(format!("{cell:?} is no number")))
}

/// From here on the database is seen as it is at this moment.
pub(in crate::ledger) fn begin(reader: &mut dyn Reader) -> Result<(), ReadError> {
    reader.ask(reader.words().begin, &[]).map(drop)
}

/// How many rows the table has.
pub(in crate::ledger) fn count(reader: &mut dyn Reader) -> Result<u64, ReadError> {
    let sql = format!("SELECT CAST(count(*) AS text) FROM {}", reader.words().attempt);
    reader.ask(&sql, &[])?.first().map_or(Ok(0), |row| number(row, 0))
}

/// How far the spool of a node has been delivered.
pub(in crate::ledger) fn cursor(
    reader: &mut dyn Reader,
    node: [u8; 16],
) -> Result<Option<Position>, ReadError> {
    let Words { schema, bytes, .. } = reader.words();
    let places = ["epoch", "segment", "offset", "rows"];
    let sql = format!(
        "SELECT {} FROM {schema}cursor WHERE node = {}",
        places.map(|name| format!("CAST(\"{name}\" AS text)")).join(", "),
        bytes("$1")
    );
    let found = reader.ask(&sql, &[&hex::encode(node)])?;
    let Some(row) = found.first() else { return Ok(None) };
    let (epoch, segment) = (number(row, 0)?, number(row, 1)?);
    Ok(Some(Position { epoch, segment, offset: number(row, 2)?, rows: number(row, 3)? }))
}

/// A row that no version's record is.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
pub(in crate::ledger) struct BadRow {
    name: String,
    why: Unreadable,
}

/// Reads a row out of its cells.
fn row<'a>(cell: &'a dyn Fn(usize) -> Option<Cell<'a>>) -> Result<Record, BadRow> {
    let name = || {
        let part = |at| match cell(at) {
            Some(Cell::Blob(bytes)) => hex::encode(bytes),
            Some(Cell::Int(number)) => number.to_string(),
            _ => "?".to_owned(),
        };
        format!("{}/{}/{}", part(0), part(1), part(2))
    };
    stored::read(cell).map_err(|why| BadRow { name: name(), why })
}

/// Something of each column, whose name is quoted so that no database takes it for a word of its own.
pub(in crate::ledger) fn columns(each: impl Fn(&str) -> String) -> Vec<String> {
    NAMES.iter().map(|name| each(&format!("\"{name}\""))).collect()
}

fn names() -> String {
    columns(str::to_owned).join(",")
}

/// Whether this version can read a schema.
fn fits(found: Option<i64>, known: i64) -> Result<(), ReadError> {
    match found {
        None => Err(ReadError::Stranger),
        Some(found) if found > known => Err(SinkError::Newer { found, known }.into()),
        Some(found) if found < known => Err(ReadError::Older { found, known }),
        Some(_) => Ok(()),
    }
}

/// Why a database cannot be read, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no ledger here; `weir run` begins one when it starts")]
    Absent,
    #[error("this is no ledger of Weir's; `weir run` makes one of it when it starts")]
    Stranger,
    #[error(
        "the database has schema {found}, this version reads {known}: start `weir run` on it once, or \
         read it with the version that wrote it"
    )]
    Older { found: i64, known: i64 },
    #[error(
        "this is no database, or a damaged one ({0}): put a copy of it back, or save what can be read \
         with `sqlite3 FILE .recover`"
    )]
    Damaged(String),
    #[error("another process keeps it locked: try again when that has ended")]
    Locked,
    #[error(
        "it cannot be opened ({0}): read it as a user who may write beside it, or copy it and the file \
         of its name with -wal to a directory of your own"
    )]
    Closed(String),
    #[error(
        "there is no room for what the database lacks: name a larger temporary directory in \
         $SQLITE_TMPDIR"
    )]
    Full,
    #[error(
        "what the database lacks needs a temporary table beside it ({0}): GRANT TEMPORARY on the database to \
         this user, and let it be no standby; or count the database alone, by --postgres FILE without --conf \
         and --state"
    )]
    NoRoomBeside(SinkError),
    #[error("{0}: grant this user USAGE on schema weir and SELECT on its tables")]
    Forbidden(SinkError),
    #[error("this is no file: name the database itself with --ledger FILE")]
    NoFile,
    #[error("the database cannot hold a row: {0}")]
    Unfit(SinkError),
    #[error(transparent)]
    Refused(SinkError),
}

impl From<SinkError> for ReadError {
    fn from(error: SinkError) -> Self {
        let inner = match &error {
            SinkError::Sqlite(inner) => inner,
            SinkError::Postgres(inner) => {
                return match inner.code() {
                    Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Locked,
                    Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(error),
                    _ => Self::Refused(error),
                };
            }
            _ => return Self::Refused(error),
        };
        match inner.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged(inner.to_string())
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Closed(inner.to_string())
            }
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Refused(error),
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        SinkError::from(error).into()
    }
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        SinkError::from(error).into()
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Closed(error.to_string())
    }
}
