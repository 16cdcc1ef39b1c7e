//! A record as a row of table `attempt`, and back. `NAMES` is the order of both.

use crate::ledger::record::{Intent, Record, RecordKey, Source, flag};
use crate::meter::Finish;
use crate::outcome::Outcome;
use crate::request::route::{Face, Operation};
use crate::usage::{KINDS, Usage};
use rusqlite::types::ToSql;
use rusqlite::{Error, Result, Row, Statement};
use std::borrow::Cow;

/// Columns of `attempt`; the usage kinds stand at their label.
pub(super) const NAMES: [&str; 56] = [
    "node",
    "epoch",
    "seq",
    "generation_id",
    "attempt",
    "face",
    "operation",
    "streamed",
    "workspace",
    "key_hash",
    "app",
    "session",
    "user",
    "model",
    "provider",
    "provider_name",
    "endpoint",
    "upstream_model",
    "credential",
    "tier",
    "price",
    "prompt_bytes",
    "max_tokens",
    "outcome",
    "status",
    "finish",
    "native_finish",
    "upstream_id",
    "started_us",
    "ended_us",
    "first_content_us",
    "duration_us",
    "source",
    "estimator",
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "input_audio_cached",
    "input_image",
    "input_video",
    "output",
    "reasoning",
    "output_audio",
    "output_image",
    "requests",
    "searches",
    "spare_1",
    "spare_2",
    "delivered",
    "committed",
    "cost_pico",
    "charge_pico",
    "policy",
    "flags",
];

const FACES: [(Face, &str); 2] = [(Face::OpenRouter, "openrouter"), (Face::Faithful, "faithful")];
const OPERATIONS: [(Operation, &str); 3] = [
    (Operation::Chat, Operation::Chat.as_str()),
    (Operation::Completion, Operation::Completion.as_str()),
    (Operation::Embedding, Operation::Embedding.as_str()),
];
const FINISHES: [(Finish, &str); 5] = [
    (Finish::Stop, "stop"),
    (Finish::Length, "length"),
    (Finish::ToolCalls, "tool_calls"),
    (Finish::ContentFilter, "content_filter"),
    (Finish::Error, "error"),
];

/// Binds values in order. SQLite's integers are signed: what does not fit is saturated and flagged.
struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    at: usize,
    saturated: bool,
}

impl Binder<'_, '_> {
    fn put(&mut self, value: impl ToSql) -> Result<()> {
        self.at += 1;
        self.statement.raw_bind_parameter(self.at, value)
    }

    fn int(&mut self, value: i128) -> Result<()> {
        let fitted = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        self.saturated |= fitted != value;
        self.put(i64::try_from(fitted).unwrap_or(i64::MAX))
    }

    fn count(&mut self, value: u64) -> Result<()> {
        self.int(i128::from(value))
    }

    fn maybe(&mut self, value: Option<u64>) -> Result<()> {
        match value {
            Some(value) => self.count(value),
            None => self.put(rusqlite::types::Null),
        }
    }
}

/// Binds a record to a statement with one parameter per column.
pub(super) fn bind(statement: &mut Statement<'_>, record: &Record) -> Result<()> {
    let mut binder = Binder { statement, at: 0, saturated: false };
    bind_intent(&mut binder, record)?;
    let b = &mut binder;
    b.put(record.outcome.as_str())?;
    b.put(record.status)?;
    b.put(record.finish.map(|finish| label(&FINISHES, &finish)))?;
    b.put(&record.native_finish)?;
    b.put(&record.upstream_id)?;
    b.count(record.started_us)?;
    b.count(record.ended_us)?;
    b.maybe(record.first_content_us)?;
    b.count(record.duration_us)?;
    b.put(record.source.as_str())?;
    b.put(&*record.estimator)?;
    record.usage.0.iter().try_for_each(|count| b.count(*count))?;
    b.put(serde_json::to_string(&record.delivered).unwrap_or_default())?;
    b.put(record.committed)?;
    b.int(record.cost)?;
    b.int(record.charge)?;
    b.put(&*record.policy)?;
    let saturated = if b.saturated { flag::SATURATED } else { 0 };
    b.put(record.flags | saturated)
}

fn bind_intent(b: &mut Binder<'_, '_>, record: &Record) -> Result<()> {
    let (key, intent) = (&record.key, &record.intent);
    b.put(&key.node[..])?;
    b.count(key.epoch)?;
    b.count(key.seq)?;
    b.put(&*intent.generation_id)?;
    b.put(intent.attempt)?;
    b.put(label(&FACES, &intent.face))?;
    b.put(intent.operation.as_str())?;
    b.put(intent.streamed)?;
    b.put(&*intent.workspace)?;
    b.put(&intent.key_hash[..])?;
    for text in [
        &intent.app,
        &intent.session,
        &intent.user,
        &intent.model,
        &intent.provider,
        &intent.provider_name,
        &intent.endpoint,
        &intent.upstream_model,
        &intent.credential,
        &intent.tier,
    ] {
        b.put(&**text)?;
    }
    b.put(&intent.price[..])?;
    b.count(intent.prompt_bytes)?;
    b.maybe(intent.max_tokens)
}

fn label<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(own, _)| own == value).map_or("", |(_, label)| label)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Kind;

    #[test]
    fn usage_columns_are_the_kinds_in_order() {
        let first = NAMES.iter().position(|name| *name == Kind::ALL[0].1).unwrap();
        let labels = Kind::ALL.iter().map(|(_, label)| *label).chain(["spare_1", "spare_2"]);
        assert!(labels.eq(NAMES[first..first + KINDS].iter().copied()));
    }
}
