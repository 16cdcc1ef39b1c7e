//! A row of table `attempt` as a record again.

use super::columns::{FACES, FINISHES, NAMES, OPERATIONS};
use crate::ledger::record::{Intent, Record, RecordKey, Source};
use crate::outcome::Outcome;
use crate::usage::{KINDS, Usage};
use rusqlite::{Error, Result, Row};
use std::borrow::Cow;

/// Reads columns in order.
struct Taker<'a, 'r> {
    row: &'a Row<'r>,
    at: usize,
}

impl Taker<'_, '_> {
    fn take<T: rusqlite::types::FromSql>(&mut self) -> Result<T> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    fn count(&mut self) -> Result<u64> {
        let value: i64 = self.take()?;
        u64::try_from(value).map_err(|_| self.wrong())
    }

    fn maybe(&mut self) -> Result<Option<u64>> {
        let value: Option<i64> = self.take()?;
        value.map(|value| u64::try_from(value).map_err(|_| self.wrong())).transpose()
    }

    fn text(&mut self) -> Result<Cow<'static, str>> {
        self.take().map(Cow::Owned)
    }

    fn named<T: Copy>(&mut self, table: &[(T, &str)]) -> Result<T> {
        let name: String = self.take()?;
        let found = table.iter().find(|(_, label)| *label == name);
        found.map(|(value, _)| *value).ok_or_else(|| self.wrong())
    }

    fn wrong(&self) -> Error {
        let column = self.at - 1;
        let name = NAMES.get(column).copied().unwrap_or_default().to_owned();
        Error::InvalidColumnType(column, name, rusqlite::types::Type::Null)
    }
}

/// Reads a row whose columns are [`NAMES`].
pub(super) fn read(row: &Row<'_>) -> Result<Record> {
    let mut t = Taker { row, at: 0 };
    let key = RecordKey { node: t.take()?, epoch: t.count()?, seq: t.count()? };
    let intent = read_intent(&mut t)?;
    let outcome = t.named(&Outcome::ALL)?;
    let status = t.take()?;
    let finish: Option<String> = t.take()?;
    let finish = match finish {
        None => None,
        Some(name) => {
            let found = FINISHES.iter().find(|(_, label)| *label == name);
            Some(found.map(|(finish, _)| *finish).ok_or_else(|| t.wrong())?)
        }
    };
    Ok(Record {
        key,
        intent,
        outcome,
        status,
        finish,
        native_finish: t.take()?,
        upstream_id: t.take()?,
        started_us: t.count()?,
        ended_us: t.count()?,
        first_content_us: t.maybe()?,
        duration_us: t.count()?,
        source: t.named(&Source::ALL)?,
        estimator: t.text()?,
        usage: {
            let mut counts = [0; KINDS];
            counts.iter_mut().try_for_each(|count| t.count().map(|value| *count = value))?;
            Usage(counts)
        },
        delivered: {
            let text: String = t.take()?;
            serde_json::from_str(&text).map_err(|_| t.wrong())?
        },
        committed: t.take()?,
        cost: t.take::<i64>()?.into(),
        charge: t.take::<i64>()?.into(),
        policy: t.text()?,
        flags: t.take()?,
    })
}

fn read_intent(t: &mut Taker<'_, '_>) -> Result<Intent<'static>> {
    Ok(Intent {
        generation_id: t.text()?,
        attempt: t.take()?,
        face: t.named(&FACES)?,
        operation: t.named(&OPERATIONS)?,
        streamed: t.take()?,
        workspace: t.text()?,
        key_hash: t.take()?,
        app: t.text()?,
        session: t.text()?,
        user: t.text()?,
        model: t.text()?,
        provider: t.text()?,
        provider_name: t.text()?,
        endpoint: t.text()?,
        upstream_model: t.text()?,
        credential: t.text()?,
        tier: t.text()?,
        price: t.take()?,
        prompt_bytes: t.count()?,
        max_tokens: t.maybe()?,
    })
}
