//! The PostgreSQL sink: the ledger of a fleet, in schema `weir`.
//!
//! A batch is copied into a temporary table and moved from there by key, with its cursor, in one
//! transaction. `attempt` has a partition for each month in which attempts ended, made when the
//! first row of it comes. Everything runs on the delivering thread, which owns the runtime.

mod connection;
mod copy;
mod schema;

use super::columns::{self, NAMES};
use super::{Advance, Batch, Position, Receipt, Sink, SinkError, works};
use crate::ledger::record::{Record, RecordKey};
use jiff::civil::Date;
use schema::{month, partition, prepare};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

pub(super) use connection::{connect, why};
pub(super) use copy::copy;
pub(super) use schema::{FRESH, SCHEMA};

/// Longest wait for a batch; the server gives up a statement before.
const BATCH: Duration = Duration::from_secs(30);

pub(super) struct Postgres {
    runtime: Runtime,
    client: Client,
    /// Months that are known to have their partition.
    months: BTreeSet<Date>,
}

impl Postgres {
    /// Connects and brings the schema up to date.
    pub(super) fn open(url: &SecretString) -> Result<Self, SinkError> {
        let (runtime, client) = connect(url)?;
        let limited = async { tokio::time::timeout(BATCH, prepare(&client)).await };
        runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))??;
        Ok(Self { runtime, client, months: BTreeSet::new() })
    }

    /// The one row of a query, if there is one.
    fn one(&self, sql: &str, told: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, SinkError> {
        let limited = async { tokio::time::timeout(BATCH, self.client.query_opt(sql, told)).await };
        Ok(self.runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))??)
    }
}

impl Sink for Postgres {
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError> {
        let sql = "SELECT epoch, segment, \"offset\", rows FROM weir.cursor WHERE node = $1";
        let Some(row) = self.one(sql, &[&&node[..]])? else { return Ok(None) };
        let number = |at: usize| row.try_get::<_, i64>(at).map(|value| value as u64);
        let (epoch, segment) = (number(0)?, number(1)?);
        Ok(Some(Position { epoch, segment, offset: number(2)?, rows: number(3)? }))
    }

    fn deliver(&mut self, batch: &Batch<'_>) -> Result<Receipt, SinkError> {
        let Self { runtime, client, months } = self;
        let limited = async { tokio::time::timeout(BATCH, deliver(client, months, batch)).await };
        let done = runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH)).flatten();
        if done.is_err() {
            // A row whose partition was dropped meanwhile is refused like a poisonous one.
            months.clear();
        }
        done
    }

    fn has(&mut self, key: &RecordKey) -> Result<Option<bool>, SinkError> {
        let sql = "SELECT FROM weir.attempt WHERE node = $1 AND epoch = $2 AND seq = $3 LIMIT 1";
        let told: [&(dyn ToSql + Sync); 3] =
            [&&key.node[..], &(key.epoch as i64), &(key.seq as i64)];
        Ok(Some(self.one(sql, &told)?.is_some()))
    }

    fn works(&mut self, like: &Record) -> Result<bool, SinkError> {
        let Self { runtime, client, .. } = self;
        let limited = async { tokio::time::timeout(BATCH, try_copy(client, like)).await };
        works(runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH)).flatten())
    }
}

/// Inserts the newest row once more, under a key that nobody has, and takes it back.
async fn try_copy(client: &mut Client, like: &Record) -> Result<u64, SinkError> {
    let names = quoted(|name| format!("\"{name}\""));
    let copied = columns::copied("decode(repeat('00', 16), 'hex')", like).join(",");
    let transaction = client.transaction().await?;
    partition(&transaction, month(like)).await?;
    let sql = format!(
        "INSERT INTO weir.attempt ({names}) SELECT {copied} FROM (SELECT * FROM weir.attempt
         ORDER BY node DESC, epoch DESC, seq DESC LIMIT 1) newest"
    );
    let inserted = transaction.execute(sql.as_str(), &[]).await?;
    transaction.rollback().await?;
    Ok(inserted)
}

async fn deliver(
    client: &mut Client,
    months: &mut BTreeSet<Date>,
    batch: &Batch<'_>,
) -> Result<Receipt, SinkError> {
    let fresh: BTreeSet<Date> = batch.rows.iter().map(month).collect();
    let transaction = client.transaction().await?;
    if let Some(cursor) = batch.cursor {
        advance(&transaction, cursor).await?;
    }
    for first in fresh.difference(months) {
        partition(&transaction, *first).await?;
    }
    let receipt = rows(&transaction, batch.rows).await?;
    for price in batch.prices {
        let sql = "INSERT INTO weir.price (hash, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        transaction.execute(sql, &[&&price.hash()[..], &price.text()]).await?;
    }
    transaction.commit().await?;
    months.extend(fresh);
    Ok(receipt)
}

async fn advance(transaction: &Transaction<'_>, cursor: Advance) -> Result<(), SinkError> {
    let Advance { node, from, to: Position { epoch, segment, offset, rows } } = cursor;
    let [epoch, segment, offset, rows] = [epoch, segment, offset, rows].map(|it| it as i64);
    let moved = match from {
        Some(from) => {
            let sql = "UPDATE weir.cursor SET epoch = $2, segment = $3, \"offset\" = $4, rows = $5
                WHERE node = $1 AND epoch = $6 AND segment = $7 AND \"offset\" = $8";
            let from = [from.epoch, from.segment, from.offset].map(|it| it as i64);
            let told: [&(dyn ToSql + Sync); 8] =
                [&&node[..], &epoch, &segment, &offset, &rows, &from[0], &from[1], &from[2]];
            transaction.execute(sql, &told).await?
        }
        None => {
            let sql = "INSERT INTO weir.cursor (node, epoch, segment, \"offset\", rows)
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            transaction.execute(sql, &[&&node[..], &epoch, &segment, &offset, &rows]).await?
        }
    };
    if moved == 0 { Err(SinkError::Moved) } else { Ok(()) }
}

async fn rows(transaction: &Transaction<'_>, rows: &[Record]) -> Result<Receipt, SinkError> {
    if rows.is_empty() {
        return Ok(Receipt::default());
    }
    copy(transaction, rows).await?;
    let names = quoted(|name| format!("\"{name}\""));
    let same = quoted(|name| format!("a.\"{name}\" IS NOT DISTINCT FROM f.\"{name}\""));
    let same = same.replace(',', " AND ");
    // Rows of one key may differ in their end, and so in month: the primary key alone does not tell. The
    // first of a key stays; the rest are duplicates of it or conflicts.
    let insert = format!(
        "INSERT INTO weir.attempt ({names}) SELECT {names} FROM
         (SELECT DISTINCT ON (node, epoch, seq) * FROM fresh ORDER BY node, epoch, seq, ordinal) f
         WHERE NOT EXISTS (SELECT FROM weir.attempt a
         WHERE a.node = f.node AND a.epoch = f.epoch AND a.seq = f.seq)
         ON CONFLICT (node, epoch, seq, ended_us) DO NOTHING"
    );
    let moved = transaction.execute(insert.as_str(), &[]).await?;
    let count = rows.len() as u64;
    if moved == count {
        return Ok(Receipt { inserted: moved, ..Receipt::default() });
    }
    let sql = format!(
        "SELECT count(DISTINCT ordinal), count(DISTINCT ordinal) FILTER (WHERE NOT ({same}))
         FROM fresh f JOIN weir.attempt a USING (node, epoch, seq)"
    );
    let found = transaction.query_one(sql.as_str(), &[]).await?;
    let number = |at: usize| found.try_get::<_, i64>(at).map(|value| value as u64);
    if number(0)? < count {
        return Err(SinkError::Refused("a trigger or a rule drops it".to_owned()));
    }
    let conflicts = number(1)?;
    let duplicates = (count - moved).saturating_sub(conflicts);
    Ok(Receipt { inserted: moved, duplicates, conflicts })
}

fn quoted(each: impl Fn(&str) -> String) -> String {
    NAMES.iter().map(|name| each(name)).collect::<Vec<_>>().join(",")
}
