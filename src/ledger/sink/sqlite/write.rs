//! What one transaction writes: rows, told apart from those that are there, and the cursor.

use super::reader::stored_row;
use crate::ledger::record::{Record, flag};
use crate::ledger::sink::{Advance, Position, Receipt, SinkError, columns};
use rusqlite::{Transaction, params};

/// Moves a cursor from where it was left.
pub(super) fn advance(transaction: &Transaction<'_>, cursor: Advance) -> Result<(), SinkError> {
    let Advance { node, from, to: Position { epoch, segment, offset, rows } } = cursor;
    let moved = match from {
        Some(from) => transaction
            .prepare_cached(
                "UPDATE cursor SET epoch = ?2, segment = ?3, offset = ?4, rows = ?5
                 WHERE node = ?1 AND epoch = ?6 AND segment = ?7 AND offset = ?8",
            )?
            .execute(params![
                &node[..],
                epoch,
                segment,
                offset,
                rows,
                from.epoch,
                from.segment,
                from.offset
            ])?,
        None => transaction
            .prepare_cached(
                "INSERT INTO cursor (node, epoch, segment, offset, rows)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?
            .execute(params![&node[..], epoch, segment, offset, rows])?,
    };
    if moved == 0 { Err(SinkError::Moved) } else { Ok(()) }
}

/// Inserts rows, as many with each statement as it takes.
pub(super) fn insert<'a>(
    transaction: &Transaction<'_>,
    rows: impl Iterator<Item = &'a [&'a Record]>,
    insert: &str,
    select: &str,
) -> Result<Receipt, SinkError> {
    let mut receipt = Receipt::default();
    let mut statement = transaction.prepare_cached(insert)?;
    let mut bound = Vec::new();
    for rows in rows {
        columns::bind(&mut statement, rows, &mut bound)?;
        let (count, inserted) = (rows.len() as u64, statement.raw_execute()? as u64);
        receipt.inserted += inserted;
        if inserted < count {
            let conflicts = others(transaction, rows, select)?;
            receipt.conflicts += conflicts;
            receipt.duplicates += (count - inserted).saturating_sub(conflicts);
        }
    }
    Ok(receipt)
}

/// How many of these the database has with other content.
fn others(transaction: &Transaction<'_>, rows: &[&Record], select: &str) -> Result<u64, SinkError> {
    let mut statement = transaction.prepare_cached(select)?;
    let mut count = 0;
    for record in rows {
        let key = params![&record.key.node[..], record.key.epoch as i64, record.key.seq as i64];
        count += match statement.query_row(key, stored_row) {
            Ok(stored) => u64::from(!same(&stored, record)),
            // Somebody changed the one that is there into what no record is.
            Err(rusqlite::Error::FromSqlConversionFailure(..)) => 1,
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                return Err(SinkError::Refused("a trigger drops it".to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(count)
}

/// Whether a stored row is this record; where it had to be saturated the key decides.
fn same(stored: &Record, record: &Record) -> bool {
    stored == record || (stored.flags & flag::SATURATED != 0 && stored.key == record.key)
}
