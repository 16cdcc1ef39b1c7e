//! Where records are delivered. One file per sink, one trait.

pub(super) mod columns;
pub(super) mod sqlite;

use super::record::Record;
use crate::usage::KINDS;
use std::path::Path;

/// Everything up to here has been delivered: `offset` bytes of a segment of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A price version that rows name by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) hash: [u8; 32],
    pub(super) unit: [u64; KINDS],
}

/// What one transaction writes.
pub(super) struct Batch<'a> {
    pub(super) node: [u8; 16],
    pub(super) rows: &'a [Record],
    pub(super) prices: &'a [Price],
    pub(super) cursor: Position,
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

/// Delivered at least once, kept once: by the primary key (node, epoch, seq).
pub(super) trait Sink: Send {
    /// How far a node's records have been delivered.
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError>;

    /// Writes rows, prices and cursor in one durable transaction, or nothing.
    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError>;
}

/// Why a sink refuses.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "the database has schema {found}, this version knows {known}: use the newer version, or \
         another file"
    )]
    Newer { found: i64, known: i64 },
}

/// Creates the database where there is none. One that is there and refuses is tried again later by
/// the deliverer, unless a newer version wrote it.
pub(super) fn probe(path: &Path) -> Result<(), SinkError> {
    let existed = path.exists();
    match sqlite::Sqlite::open(path) {
        Ok(_) => Ok(()),
        Err(error @ SinkError::Sqlite(_)) if existed => {
            tracing::error!(%error, "the ledger database does not open: rows stay in the spool");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
