//! The PostgreSQL sink: the ledger of a fleet, in schema `weir`.
//!
//! A batch is copied into a temporary table and moved from there by key, with its cursor, in one
//! transaction. `attempt` has a partition for each month in which attempts ended, made when the
//! first row of it comes. Everything runs on the delivering thread, which owns the runtime.

use super::columns::{self, Cell, NAMES};
use super::{Batch, Position, Receipt, Sink, SinkError, works};
use crate::ledger::record::Record;
use crate::usage::KINDS;
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, NoTls, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest wait for a connection, and for a batch; the server gives up a statement before.
const CONNECT: Duration = Duration::from_secs(5);
const BATCH: Duration = Duration::from_secs(30);
const STATEMENT: &str = "20s";

/// Each brings the schema from the version of its index to the next; append only.
const MIGRATIONS: [&str; 3] = [
    include_str!("postgres_1.sql"),
    include_str!("postgres_2.sql"),
    include_str!("postgres_3.sql"),
];
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Makes the table that [`copy`] fills, which each transaction finds empty.
pub(super) const FRESH: &str = "CREATE TEMP TABLE fresh (LIKE weir.attempt) ON COMMIT DELETE ROWS;
     ALTER TABLE fresh ADD COLUMN ordinal bigint";

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
}

/// A client, and the runtime in which it is served.
pub(super) fn connect(url: &SecretString) -> Result<(Runtime, Client), SinkError> {
    let mut config: Config = url.expose_secret().parse()?;
    config.connect_timeout(CONNECT).application_name("weir");
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connecting = async {
        Ok::<_, SinkError>(match config.get_ssl_mode() {
            SslMode::Require => serving(config.connect(tls()?).await?),
            _ => serving(config.connect(NoTls).await?),
        })
    };
    let limited = async { tokio::time::timeout(BATCH, connecting).await };
    let client = runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))??;
    Ok((runtime, client))
}

/// A client whose connection is served. That ends with the client; its error is what the client's next
/// call says.
fn serving<S, T>((client, connection): (Client, Connection<S, T>)) -> Client
where
    Connection<S, T>: Future + Send + 'static,
    <Connection<S, T> as Future>::Output: Send,
{
    tokio::spawn(connection);
    client
}

/// Trusts the system's authorities, or those in the file that `SSL_CERT_FILE` names.
fn tls() -> Result<MakeRustlsConnect, SinkError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

async fn prepare(client: &Client) -> Result<(), SinkError> {
    client
        .batch_execute(&format!(
            "SET statement_timeout = '{STATEMENT}'; SET lock_timeout = '10s';
             SET synchronous_commit = on; SET client_min_messages = warning"
        ))
        .await?;
    migrate(client).await?;
    Ok(client.batch_execute(FRESH).await?)
}

/// One node at a time: the lock goes with the transaction.
async fn migrate(client: &Client) -> Result<(), SinkError> {
    client.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7304981103)").await?;
    let upgraded = async {
        client
            .batch_execute(
                "CREATE SCHEMA IF NOT EXISTS weir;
                 CREATE TABLE IF NOT EXISTS weir.meta (name text PRIMARY KEY, value bigint NOT NULL)",
            )
            .await?;
        let known = SCHEMA;
        let row =
            client.query_opt("SELECT value FROM weir.meta WHERE name = 'schema'", &[]).await?;
        let found: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        if found > known {
            return Err(SinkError::Newer { found, known });
        }
        for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            client.batch_execute(step).await?;
        }
        client
            .execute(
                "INSERT INTO weir.meta (name, value) VALUES ('schema', $1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                &[&known],
            )
            .await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    };
    match upgraded.await {
        Ok(()) => Ok(()),
        Err(error) => {
            // A connection that is gone rolls back by itself.
            drop(client.batch_execute("ROLLBACK").await);
            Err(error)
        }
    }
}

impl Sink for Postgres {
    fn cursor(&mut self, node: [u8; 16]) -> Result<Option<Position>, SinkError> {
        let sql = "SELECT epoch, segment, \"offset\", rows FROM weir.cursor WHERE node = $1";
        let found = self.runtime.block_on(self.client.query_opt(sql, &[&&node[..]]))?;
        let Some(row) = found else { return Ok(None) };
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
    for first in fresh.difference(months) {
        partition(&transaction, *first).await?;
    }
    let receipt = rows(&transaction, batch.rows).await?;
    for price in batch.prices {
        let sql = "INSERT INTO weir.price (hash, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        transaction.execute(sql, &[&&price.hash()[..], &price.text()]).await?;
    }
    if let Some((node, Position { epoch, segment, offset, rows })) = batch.cursor {
        let sql = "INSERT INTO weir.cursor (node, epoch, segment, \"offset\", rows)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (node) DO UPDATE SET
            epoch = excluded.epoch, segment = excluded.segment, \"offset\" = excluded.\"offset\",
            rows = excluded.rows";
        let at = [epoch, segment, offset, rows].map(|number| number as i64);
        transaction.execute(sql, &[&&node[..], &at[0], &at[1], &at[2], &at[3]]).await?;
    }
    transaction.commit().await?;
    months.extend(fresh);
    Ok(receipt)
}

/// The first day of the month in which an attempt ended, in UTC.
fn month(record: &Record) -> Date {
    let ended = i64::try_from(record.ended_us).unwrap_or(i64::MAX);
    let at = Timestamp::from_microsecond(ended).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}

/// Unix microseconds at which a day begins.
fn begins(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(i64::MAX, |at| at.timestamp().as_microsecond())
}

async fn partition(transaction: &Transaction<'_>, first: Date) -> Result<(), SinkError> {
    let next = first.last_of_month().tomorrow().map_or(i64::MAX, begins);
    let name = format!("attempt_{:04}_{:02}", first.year(), first.month());
    let sql = format!(
        "SELECT pg_advisory_xact_lock(7304981104);
         CREATE TABLE IF NOT EXISTS weir.{name} PARTITION OF weir.attempt
         FOR VALUES FROM ({}) TO ({next})",
        begins(first)
    );
    Ok(transaction.batch_execute(&sql).await?)
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

/// Copies rows into the table `fresh`.
pub(super) async fn copy(transaction: &Transaction<'_>, rows: &[Record]) -> Result<(), SinkError> {
    let names = quoted(|name| format!("\"{name}\""));
    let sql = format!("COPY fresh (ordinal, {names}) FROM STDIN");
    let copy = transaction.copy_in::<_, Bytes>(sql.as_str()).await?;
    futures::pin_mut!(copy);
    copy.send(text(rows)).await?;
    copy.as_mut().finish().await?;
    Ok(())
}

fn quoted(each: impl Fn(&str) -> String) -> String {
    NAMES.iter().map(|name| each(name)).collect::<Vec<_>>().join(",")
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

/// What the server says, with its code; else what went wrong on the way to it.
pub(super) fn why(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;

    #[test]
    fn a_month_is_that_of_the_end_in_utc() {
        let mut record = testing::record(1);
        record.ended_us = 1_764_547_199_999_999;
        assert_eq!(month(&record), jiff::civil::date(2025, 11, 1));
        record.ended_us += 1;
        assert_eq!(month(&record), jiff::civil::date(2025, 12, 1));
        assert_eq!(begins(jiff::civil::date(2025, 12, 1)), 1_764_547_200_000_000);
        record.ended_us = u64::MAX;
        assert_eq!(month(&record).year(), 9999);
    }

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
