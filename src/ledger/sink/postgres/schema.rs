//! Schema `weir`: its versions, and a partition for each month.

use crate::ledger::record::Record;
use crate::ledger::sink::SinkError;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_postgres::{Client, Transaction};

const STATEMENT: &str = "20s";

/// Each brings the schema from the version of its index to the next; append only.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
pub(in crate::ledger::sink) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Makes the table that [`super::copy::copy`] fills, which each transaction finds empty.
pub(in crate::ledger::sink) const FRESH: &str =
    "CREATE TEMP TABLE fresh (LIKE weir.attempt) ON COMMIT DELETE ROWS;
     ALTER TABLE fresh ADD COLUMN ordinal bigint";

pub(super) async fn prepare(client: &Client) -> Result<(), SinkError> {
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

/// The first day of the month in which an attempt ended, in UTC.
pub(super) fn month(record: &Record) -> Date {
    let ended = i64::try_from(record.ended_us).unwrap_or(i64::MAX);
    let at = Timestamp::from_microsecond(ended).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}

/// Unix microseconds at which a day begins.
fn begins(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(i64::MAX, |at| at.timestamp().as_microsecond())
}

pub(super) async fn partition(transaction: &Transaction<'_>, first: Date) -> Result<(), SinkError> {
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
}
