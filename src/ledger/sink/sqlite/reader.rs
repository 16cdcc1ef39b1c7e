//! Reads the ledger while the sink writes it.

use super::BUSY;
use crate::ledger::record::{Record, RecordKey};
use crate::ledger::sink::columns::{Cell, NAMES};
use crate::ledger::sink::{SinkError, stored};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params};
use std::path::Path;

/// A connection that changes nothing.
pub(in crate::ledger) struct Reader(Connection);

impl Reader {
    /// Opens an existing database, read only.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, SinkError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self(connection))
    }

    pub(in crate::ledger) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Whether the ledger has the row of this key.
    pub(in crate::ledger) fn has(&self, key: &RecordKey) -> Result<bool, SinkError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT 1 FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3")?;
        Ok(statement.exists(params![&key.node[..], key.epoch as i64, key.seq as i64])?)
    }

    /// All attempts of a generation, in order.
    pub(in crate::ledger) fn generation(&self, id: &str) -> Result<Vec<Record>, SinkError> {
        let names = NAMES.join(",");
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {names} FROM attempt WHERE generation_id = ?1 ORDER BY attempt, epoch, seq"
        ))?;
        let rows = statement.query_map([id], stored_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What a column of a row holds, if any row has that.
pub(in crate::ledger::sink) fn cell<'a>(row: &'a Row<'_>, at: usize) -> Option<Cell<'a>> {
    match row.get_ref(at).ok()? {
        ValueRef::Null => Some(Cell::Null),
        ValueRef::Integer(value) => Some(Cell::Int(value.into())),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Cell::Text),
        ValueRef::Blob(bytes) => Some(Cell::Blob(bytes)),
        ValueRef::Real(_) => None,
    }
}

/// Reads a row whose columns are [`NAMES`].
pub(super) fn stored_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    stored::read(&|at| cell(row, at)).map_err(|unreadable| {
        let (at, of) = (unreadable.0, rusqlite::types::Type::Null);
        rusqlite::Error::FromSqlConversionFailure(at, of, unreadable.into())
    })
}
