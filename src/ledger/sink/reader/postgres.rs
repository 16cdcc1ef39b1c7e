//! The ledger of a fleet, read from its PostgreSQL server.

use super::{BadRow, LAST, ReadError, Reader, Standing, Words, fits, names, row};
use crate::bounds::SINK_BATCH;
use crate::ledger::record::Record;
use crate::ledger::sink::SinkError;
use crate::ledger::sink::columns::Cell;
use crate::ledger::sink::postgres::{FRESH, SCHEMA, connect, copy};
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

const WORDS: Words = Words {
    attempt: "weir.attempt",
    schema: "weir.",
    beside: "pg_temp.beside",
    begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    sum: |terms| {
        let terms: Vec<_> =
            terms.split('+').map(|term| format!("CAST({term} AS numeric)")).collect();
        format!("CAST(sum({}) AS text)", terms.join(" + "))
    },
    hex: |bytes| format!("encode({bytes}, 'hex')"),
    bytes: |hex| format!("decode({hex}, 'hex')"),
    day: |seconds| {
        let at = format!("to_timestamp(least({seconds}, {LAST}))");
        format!("to_char({at} AT TIME ZONE 'UTC', 'YYYY-MM-DD')")
    },
};

/// A report may take long, and whoever waits for it ends it; but not for a lock. A
/// role may be read-only by default: the temporary table is no write to anyone else.
const SESSION: &str = "SET statement_timeout = 0; SET lock_timeout = '5s';
     SET default_transaction_read_only = off; SET client_min_messages = warning";

pub(super) struct Postgres {
    runtime: Runtime,
    client: Client,
    /// Whether the table `beside` is there.
    is_beside: bool,
}

impl Postgres {
    pub(super) fn open(url: &SecretString) -> Result<Self, ReadError> {
        let (runtime, client) = connect(url)?;
        let found = async {
            client.batch_execute(SESSION).await?;
            let sql = "SELECT to_regclass('weir.meta') IS NOT NULL";
            if !client.query_one(sql, &[]).await?.try_get::<_, bool>(0)? {
                return Ok(None);
            }
            let sql = "SELECT value FROM weir.meta WHERE name = 'schema'";
            let row = client.query_opt(sql, &[]).await?;
            row.map(|row| row.try_get(0)).transpose()
        };
        fits(runtime.block_on(found)?, SCHEMA)?;
        Ok(Self { runtime, client, is_beside: false })
    }
}

const BESIDE: &str = "CREATE TEMP TABLE beside (LIKE weir.attempt, standing int);
     CREATE UNIQUE INDEX ON beside (node, epoch, seq)";

/// A column of a row of `attempt`.
fn cell(row: &Row, at: usize) -> Option<Cell<'_>> {
    Some(
        match *row.columns().get(at)?.type_() {
            Type::INT8 => {
                row.try_get::<_, Option<i64>>(at).ok()?.map(|value| Cell::Int(value.into()))
            }
            Type::TEXT => row.try_get::<_, Option<&str>>(at).ok()?.map(Cell::Text),
            Type::BYTEA => row.try_get::<_, Option<&[u8]>>(at).ok()?.map(Cell::Blob),
            Type::BOOL => row.try_get::<_, Option<bool>>(at).ok()?.map(Cell::Bool),
            _ => return None,
        }
        .unwrap_or(Cell::Null),
    )
}

/// Whether a row holds what the database cannot, as a character that its encoding lacks: class 22.
fn is_unfit(error: &SinkError) -> bool {
    let SinkError::Postgres(error) = error else { return false };
    error.code().is_some_and(|code| code.code().starts_with("22"))
}

impl Reader for Postgres {
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<String>>, ReadError> {
        let values: Vec<_> =
            values.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let rows = self.runtime.block_on(self.client.query_typed(sql, &values))?;
        let texts = rows.iter().map(|row| {
            let cell = |at| Ok(row.try_get::<_, Option<String>>(at)?.unwrap_or_default());
            (0..row.len()).map(cell).collect::<Result<_, ReadError>>()
        });
        texts.collect()
    }

    fn each(
        &mut self,
        take: &mut dyn FnMut(Result<Record, BadRow>) -> bool,
    ) -> Result<(), ReadError> {
        let Self { runtime, client, .. } = self;
        let declare = format!(
            "DECLARE rows NO SCROLL CURSOR FOR
             SELECT {} FROM weir.attempt ORDER BY node, epoch, seq",
            names()
        );
        runtime.block_on(async {
            client.batch_execute(&declare).await?;
            let fetch = client.prepare(&format!("FETCH {SINK_BATCH} FROM rows")).await?;
            loop {
                let rows = client.query(&fetch, &[]).await?;
                if rows.is_empty() || !rows.iter().all(|found| take(row(&|at| cell(found, at)))) {
                    return Ok(client.batch_execute("CLOSE rows").await?);
                }
            }
        })
    }

    fn add(&mut self, rows: &[Record], standing: Standing) -> Result<(), ReadError> {
        let Self { runtime, client, is_beside } = self;
        let names = names();
        if !*is_beside {
            let made = runtime.block_on(client.batch_execute(&format!("{FRESH}; {BESIDE}")));
            made.map_err(|error| match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE | &SqlState::READ_ONLY_SQL_TRANSACTION) => {
                    ReadError::NoRoomBeside(SinkError::from(error))
                }
                _ => error.into(),
            })?;
            *is_beside = true;
        }
        let added = async {
            let transaction = client.transaction().await?;
            copy(&transaction, rows).await?;
            let insert = format!(
                "INSERT INTO beside ({names}, standing) SELECT {names}, {} FROM fresh
                 ORDER BY ordinal ON CONFLICT DO NOTHING",
                standing as u8
            );
            transaction.execute(&insert, &[]).await?;
            transaction.commit().await?;
            Ok::<_, SinkError>(())
        };
        runtime.block_on(added).map_err(|error| match is_unfit(&error) {
            true => ReadError::Unfit(error),
            false => error.into(),
        })
    }

    /// The server looks after its files itself.
    fn check(&mut self) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }
}
