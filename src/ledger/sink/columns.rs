//! A record as a row of table `attempt`. `NAMES` is the order here and in `stored`.

use crate::ledger::record::{Record, flag};
use crate::meter::Finish;
use crate::request::route::{Face, Operation};
use rusqlite::{Result, Statement};
use std::io::{self, Write};

/// Columns of `attempt`; the usage kinds stand at their label.
pub(in crate::ledger) const NAMES: [&str; 57] = [
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
    "cause",
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

pub(super) const FACES: [(Face, &str); 2] =
    [(Face::OpenRouter, "openrouter"), (Face::Faithful, "faithful")];
pub(super) const OPERATIONS: [(Operation, &str); 3] = [
    (Operation::Chat, Operation::Chat.as_str()),
    (Operation::Completion, Operation::Completion.as_str()),
    (Operation::Embedding, Operation::Embedding.as_str()),
];
pub(super) const FINISHES: [(Finish, &str); 5] = [
    (Finish::Stop, "stop"),
    (Finish::Length, "length"),
    (Finish::ToolCalls, "tool_calls"),
    (Finish::ContentFilter, "content_filter"),
    (Finish::Error, "error"),
];

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::ledger) enum Cell<'a> {
    Null,
    /// Wider than any column: whoever stores it saturates.
    Int(i128),
    Bool(bool),
    Text(&'a str),
    Blob(&'a [u8]),
    /// A JSON array.
    Counts(&'a [u64]),
}

impl Cell<'_> {
    fn maybe(value: Option<u64>) -> Self {
        value.map_or(Self::Null, |value| Self::Int(value.into()))
    }
}

/// Hands out the cells of a record in the order of [`NAMES`]. Integers that do not fit 64 bits with
/// sign are saturated, and the last cell, the flags, says so.
pub(in crate::ledger) fn cells<'a>(record: &'a Record, mut put: impl FnMut(Cell<'a>)) {
    let mut saturated = 0;
    walk(record, &mut |cell| {
        put(match cell {
            Cell::Int(value) => {
                let fitted = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                saturated |= if fitted == value { 0 } else { flag::SATURATED };
                Cell::Int(fitted)
            }
            other => other,
        });
    });
    put(Cell::Int((record.flags | saturated).into()));
}

/// The columns of a stored row, as SQL that selects it as `nobody`'s: under the number and time of another.
pub(super) fn copied(nobody: &str, like: &Record) -> [String; NAMES.len()] {
    NAMES.map(|name| match name {
        "node" => nobody.to_owned(),
        "epoch" => like.key.epoch.to_string(),
        "seq" => like.key.seq.to_string(),
        "started_us" => like.started_us.to_string(),
        "ended_us" => like.ended_us.to_string(),
        name => format!("\"{name}\""),
    })
}

fn walk<'a>(record: &'a Record, put: &mut dyn FnMut(Cell<'a>)) {
    use Cell::{Bool, Counts, Int, Null, Text};
    walk_intent(record, put);
    put(Text(record.outcome.as_str()));
    put(record.outcome.cause().map_or(Null, |cause| Text(cause.as_str())));
    put(Int(record.status.into()));
    put(record.finish.map_or(Null, |finish| Text(label(&FINISHES, &finish))));
    put(Text(&record.native_finish));
    put(Text(&record.upstream_id));
    put(Int(record.started_us.into()));
    put(Int(record.ended_us.into()));
    put(Cell::maybe(record.first_content_us));
    put(Int(record.duration_us.into()));
    put(Text(record.source.as_str()));
    put(Text(&record.estimator));
    record.usage.0.iter().for_each(|count| put(Int((*count).into())));
    put(Counts(&record.delivered));
    put(Bool(record.committed));
    put(Int(record.cost));
    put(Int(record.charge));
    put(Text(&record.policy));
}

fn walk_intent<'a>(record: &'a Record, put: &mut dyn FnMut(Cell<'a>)) {
    use Cell::{Blob, Bool, Int, Text};
    let (key, intent) = (&record.key, &record.intent);
    put(Blob(&key.node));
    put(Int(key.epoch.into()));
    put(Int(key.seq.into()));
    put(Text(&intent.generation_id));
    put(Int(intent.attempt.into()));
    put(Text(label(&FACES, &intent.face)));
    put(Text(intent.operation.as_str()));
    put(Bool(intent.streamed));
    put(Text(&intent.workspace));
    put(Blob(&intent.key_hash));
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
        put(Text(text));
    }
    put(Blob(&intent.price));
    put(Int(intent.prompt_bytes.into()));
    put(Cell::maybe(intent.max_tokens));
}

/// Appends a record as a JSON object with a member per column; byte strings in hex, `delivered` as an
/// array.
pub(in crate::ledger) fn put_json(out: &mut Vec<u8>, record: &Record) {
    let (mut names, mut before) = (NAMES.iter(), '{');
    cells(record, |cell| {
        let Some(name) = names.next() else { return };
        // Writing to a vector cannot fail.
        let _ = write!(out, "{before}\"{name}\":");
        before = ',';
        let _ = match cell {
            Cell::Null => write!(out, "null"),
            Cell::Int(value) => write!(out, "{value}"),
            Cell::Bool(value) => write!(out, "{value}"),
            Cell::Text(text) => serde_json::to_writer(&mut *out, text).map_err(io::Error::from),
            Cell::Blob(bytes) => write!(out, "\"{}\"", hex::encode(bytes)),
            Cell::Counts(counts) => write!(out, "{}", array(counts)),
        };
    });
    out.push(b'}');
}

/// Counts as a JSON array.
pub(in crate::ledger) fn array(counts: &[u64]) -> String {
    let (mut text, mut digits) = (String::with_capacity(64), itoa::Buffer::new());
    let mut before = '[';
    for count in counts {
        text.push(before);
        text.push_str(digits.format(*count));
        before = ',';
    }
    text.push(']');
    text
}

/// Binds records to a statement with a parameter per column of each. `bound` is what its parameters hold
/// from the records before, and most of that stays: to bind costs more than to compare.
pub(super) fn bind<'a>(
    statement: &mut Statement<'_>,
    records: &[&'a Record],
    bound: &mut Vec<Cell<'a>>,
) -> Result<()> {
    let (mut at, mut done) = (0, Ok(()));
    for record in records {
        cells(record, |cell| {
            at += 1;
            match bound.get_mut(at - 1) {
                Some(before) if *before == cell => return,
                Some(before) => *before = cell,
                None => bound.push(cell),
            }
            if done.is_ok() {
                done = bind_one(statement, at, cell);
            }
        });
    }
    done
}

fn bind_one(statement: &mut Statement<'_>, at: usize, cell: Cell<'_>) -> Result<()> {
    match cell {
        Cell::Null => statement.raw_bind_parameter(at, rusqlite::types::Null),
        Cell::Int(value) => statement.raw_bind_parameter(at, value as i64),
        Cell::Bool(value) => statement.raw_bind_parameter(at, value),
        Cell::Text(text) => statement.raw_bind_parameter(at, text),
        Cell::Blob(bytes) => statement.raw_bind_parameter(at, bytes),
        Cell::Counts(counts) => statement.raw_bind_parameter(at, array(counts)),
    }
}

fn label<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(own, _)| own == value).map_or("", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{KINDS, Kind};

    #[test]
    fn usage_columns_are_the_kinds_in_order() {
        let first = NAMES.iter().position(|name| *name == Kind::ALL[0].1).unwrap();
        let labels = Kind::ALL.iter().map(|(_, label)| *label).chain(["spare_1", "spare_2"]);
        assert!(labels.eq(NAMES[first..first + KINDS].iter().copied()));
    }
}
