//! Where records are delivered. One file per sink, one trait.

pub(super) mod columns;
pub(super) mod dead_letter;
mod fault;
mod json_lines;
pub(super) mod nats;
pub(super) mod poison;
mod postgres;
pub(super) mod reader;
#[cfg(test)]
mod refused_tests;
pub(super) mod sqlite;
pub(super) mod stored;

use super::record::{Record, RecordKey};
use crate::price::PriceVersion;
use secrecy::SecretString;
use std::io;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

/// A place for rows, and how to get there.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database file.
    Sqlite(PathBuf),
    /// Files `attempts-000001.jsonl` and on in this directory, each ended once it has as many bytes.
    JsonLines { directory: PathBuf, rotate_bytes: u64 },
    /// A connection string, `postgresql://...`.
    Postgres(SecretString),
    /// A JetStream stream of the servers at these comma-separated addresses, `nats://...`.
    Nats { urls: SecretString, stream: String },
}

impl Target {
    /// What logs and files of this sink are called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::JsonLines { .. } => "jsonl",
            Self::Postgres(_) => "postgres",
            Self::Nats { .. } => "nats",
        }
    }

    /// Whether it is the same place, reached in the same way.
    pub(crate) fn is(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret;
        match (self, other) {
            (Self::Sqlite(own), Self::Sqlite(other)) => own == other,
            (
                Self::JsonLines { directory, rotate_bytes },
                Self::JsonLines { directory: other, rotate_bytes: bytes },
            ) => (directory, rotate_bytes) == (other, bytes),
            (Self::Postgres(own), Self::Postgres(other)) => {
                own.expose_secret() == other.expose_secret()
            }
            (Self::Nats { urls, stream }, Self::Nats { urls: other, stream: name }) => {
                (urls.expose_secret(), stream) == (other.expose_secret(), name)
            }
            _ => false,
        }
    }

    /// What those who run it call it.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite database",
            Self::JsonLines { .. } => "JSON Lines files",
            Self::Postgres(_) => "PostgreSQL server",
            Self::Nats { .. } => "NATS servers",
        }
    }

    /// Opens it, bringing its schema up to date.
    pub(super) fn open(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(sqlite::Sqlite::open(path)?),
            Self::JsonLines { directory, rotate_bytes } => {
                Box::new(json_lines::JsonLines::open(directory, *rotate_bytes)?)
            }
            Self::Postgres(url) => Box::new(postgres::Postgres::open(url)?),
            Self::Nats { urls, stream } => Box::new(nats::Nats::open(urls, stream)?),
        })
    }
}

impl From<&reader::Base> for Target {
    fn from(base: &reader::Base) -> Self {
        match base {
            reader::Base::Sqlite(path) => Self::Sqlite(path.clone()),
            reader::Base::Postgres(url) => Self::Postgres(url.clone()),
        }
    }
}

/// Everything up to here has been delivered: `offset` bytes of a segment of an epoch, and so many `rows` of
/// all that the node ever spooled; 0 where an earlier version wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) rows: u64,
}

/// A step of a node's cursor, from where its sink last said that it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advance {
    pub(super) node: [u8; 16],
    pub(super) from: Option<Position>,
    pub(super) to: Position,
}

/// What one transaction writes.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) rows: &'a [Record],
    pub(super) prices: &'a [PriceVersion],
    /// Up to where the node's records are delivered then; `None` leaves its cursor.
    pub(super) cursor: Option<Advance>,
}

/// What became of a batch's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) inserted: u64,
    /// There already, with the same content.
    pub(super) duplicates: u64,
    /// There already, with other content; the first one stays (I3).
    pub(super) conflicts: u64,
}

impl AddAssign for Receipt {
    fn add_assign(&mut self, part: Self) {
        self.inserted += part.inserted;
        self.duplicates += part.duplicates;
        self.conflicts += part.conflicts;
    }
}

/// Whether a search has taken long enough.
pub(super) type Enough = Box<dyn FnMut() -> bool + Send>;

/// Delivered at least once, kept once: by the primary key (node, epoch, seq).
pub(super) trait Sink: Send {
    /// How far a node's records have been delivered.
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError>;

    /// Writes rows, prices and cursor in one durable transaction, or nothing: also where the cursor stands
    /// elsewhere than it was left, because somebody put the sink back ([`SinkError::Moved`]). Files that only
    /// one process writes need not look.
    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError>;

    /// Whether it keeps each key once, whatever it is given again.
    fn tells_keys(&self) -> bool {
        true
    }

    /// Whether it has a row; `None`: it cannot be asked.
    fn has(&mut self, _key: &RecordKey) -> Result<Option<bool>, SinkError> {
        Ok(None)
    }

    /// Looks for damage, until that is `enough`; asked before the first rows (F71).
    fn examine(&mut self, _enough: Enough) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether it takes rows of a refused one's time and number at all: it tries its newest row under those,
    /// and takes it back. Asked where it has just refused all it was given. A sink that refuses a row only
    /// for its own sake need not try.
    fn works(&mut self, _like: &Record) -> Result<bool, SinkError> {
        Ok(true)
    }
}

/// Why a sink refuses.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", postgres::why(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("{0}")]
    Nats(String),
    /// The servers can be reached, and take no such user, password or certificate.
    #[error("{0}")]
    Denied(String),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Slow(std::time::Duration),
    /// It was put back to an earlier state, or another process delivers for the same node.
    #[error("its cursor is not where it was left")]
    Moved,
    /// What the database finds wrong with itself.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A row of the batch is not accepted, though nothing is wrong with the sink.
    #[error("a row is refused: {0}")]
    Refused(String),
    #[error(
        "the database has schema {found}, this version knows {known}: use the newer version, or \
         another file"
    )]
    Newer { found: i64, known: i64 },
}

/// What a try of [`Sink::works`] came to: how many rows it inserted.
fn works(tried: Result<u64, SinkError>) -> Result<bool, SinkError> {
    match tried {
        Err(error) if error.fault() != fault::Fault::Row => Err(error),
        tried => Ok(tried.is_ok_and(|rows| rows > 0)),
    }
}

/// Creates the database where there is none. One that is there and refuses is tried again later by
/// the deliverer, unless a newer version wrote it.
pub(super) fn probe(path: &Path) -> Result<(), SinkError> {
    let existed = path.exists();
    match sqlite::Sqlite::open(path) {
        Ok(_) => Ok(()),
        Err(error @ SinkError::Sqlite(_)) if existed => {
            let remedy = error.remedy();
            tracing::error!(%error, remedy, "the ledger database does not open: rows stay in the spool");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
