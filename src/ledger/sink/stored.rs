//! The cells of a row of table `attempt` as a record again: what [`super::columns::cells`] made.

use super::columns::{Cell, FACES, FINISHES, NAMES, OPERATIONS};
use crate::ledger::record::{Intent, Record, RecordKey, Source};
use crate::outcome::Outcome;
use crate::usage::{KINDS, Usage};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The cell that holds what no row has, by its place among the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {} holds what no row has there", NAMES.get(*.0).unwrap_or(&"?"))]
pub(in crate::ledger) struct Unreadable(pub(in crate::ledger) usize);

type Result<T> = std::result::Result<T, Unreadable>;

/// Reads cells in order.
struct Taker<'a> {
    cell: &'a dyn Fn(usize) -> Option<Cell<'a>>,
    at: usize,
}

impl<'a> Taker<'a> {
    fn next(&mut self) -> Result<Cell<'a>> {
        self.at += 1;
        (self.cell)(self.at - 1).ok_or(self.wrong())
    }

    fn wrong(&self) -> Unreadable {
        Unreadable(self.at - 1)
    }

    fn int<T: TryFrom<i128>>(&mut self) -> Result<T> {
        match self.next()? {
            Cell::Int(value) => T::try_from(value).map_err(|_| self.wrong()),
            _ => Err(self.wrong()),
        }
    }

    fn maybe(&mut self) -> Result<Option<u64>> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Int(value) => u64::try_from(value).map(Some).map_err(|_| self.wrong()),
            _ => Err(self.wrong()),
        }
    }

    /// SQLite knows no truth, only 0 and 1.
    fn bool(&mut self) -> Result<bool> {
        match self.next()? {
            Cell::Bool(value) => Ok(value),
            Cell::Int(value @ (0 | 1)) => Ok(value == 1),
            _ => Err(self.wrong()),
        }
    }

    /// Bytes, or what JSON has for them.
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let read = match self.next()? {
            Cell::Blob(blob) => blob.try_into().map(|blob| bytes = blob).is_ok(),
            Cell::Text(digits) => hex::decode_to_slice(digits, &mut bytes).is_ok(),
            _ => false,
        };
        if read { Ok(bytes) } else { Err(self.wrong()) }
    }

    fn str(&mut self) -> Result<&'a str> {
        match self.next()? {
            Cell::Text(text) => Ok(text),
            _ => Err(self.wrong()),
        }
    }

    fn text(&mut self) -> Result<Cow<'static, str>> {
        Ok(Cow::Owned(self.str()?.to_owned()))
    }

    fn named<T: Copy>(&mut self, table: &[(T, &str)]) -> Result<T> {
        let name = self.str()?;
        let found = table.iter().find(|(_, label)| *label == name);
        found.map(|(value, _)| *value).ok_or(self.wrong())
    }

    /// The same where there may be none.
    fn named_maybe<T: Copy>(&mut self, table: &[(T, &str)]) -> Result<Option<T>> {
        if (self.cell)(self.at) == Some(Cell::Null) {
            self.at += 1;
            return Ok(None);
        }
        self.named(table).map(Some)
    }
}

/// Reads a row out of its cells, which stand in the order of [`NAMES`].
///
/// # Errors
/// A cell is absent, or holds what no record makes.
pub(in crate::ledger) fn read<'a>(cell: &'a dyn Fn(usize) -> Option<Cell<'a>>) -> Result<Record> {
    let mut t = Taker { cell, at: 0 };
    let key = RecordKey { node: t.bytes()?, epoch: t.int()?, seq: t.int()? };
    let intent = read_intent(&mut t)?;
    Ok(Record {
        key,
        intent,
        outcome: t.named(&Outcome::ALL)?,
        status: {
            // The cause follows from the outcome; it is for those who ask the database.
            t.at += 1;
            t.int()?
        },
        finish: t.named_maybe(&FINISHES)?,
        native_finish: t.str()?.to_owned(),
        upstream_id: t.str()?.to_owned(),
        started_us: t.int()?,
        ended_us: t.int()?,
        first_content_us: t.maybe()?,
        duration_us: t.int()?,
        source: t.named(&Source::ALL)?,
        estimator: t.text()?,
        usage: {
            let mut counts = [0; KINDS];
            counts.iter_mut().try_for_each(|count| t.int().map(|value| *count = value))?;
            Usage(counts)
        },
        delivered: serde_json::from_str(t.str()?).map_err(|_| t.wrong())?,
        committed: t.bool()?,
        cost: t.int()?,
        charge: t.int()?,
        policy: t.text()?,
        flags: t.int()?,
    })
}

fn read_intent(t: &mut Taker<'_>) -> Result<Intent<'static>> {
    Ok(Intent {
        generation_id: t.text()?,
        attempt: t.int()?,
        face: t.named(&FACES)?,
        operation: t.named(&OPERATIONS)?,
        streamed: t.bool()?,
        workspace: t.text()?,
        key_hash: t.bytes()?,
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
        price: t.bytes()?,
        prompt_bytes: t.int()?,
        max_tokens: t.maybe()?,
    })
}

/// Reads the object that [`super::columns::put_json`] wrote.
///
/// # Errors
/// As [`read`].
pub(in crate::ledger) fn from_json(object: &Map<String, Value>) -> Result<Record> {
    let delivered = object.get("delivered").map(Value::to_string).unwrap_or_default();
    read(&|at| {
        let name = *NAMES.get(at)?;
        Some(match object.get(name)? {
            Value::Null => Cell::Null,
            Value::Bool(value) => Cell::Bool(*value),
            Value::Number(number) => Cell::Int(number.as_i128()?),
            Value::String(text) => Cell::Text(text),
            Value::Array(_) if name == "delivered" => Cell::Text(&delivered),
            Value::Array(_) | Value::Object(_) => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::flag;
    use crate::ledger::sink::columns;
    use crate::ledger::testing;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_from_json_as_it_was_written(record in testing::records()) {
            let mut text = Vec::new();
            columns::put_json(&mut text, &record);
            let object: Map<String, Value> = serde_json::from_slice(&text).unwrap();
            let read = from_json(&object).unwrap();
            prop_assert!(read == record || read.flags & flag::SATURATED != 0);
            // The cause is not read: it follows from the outcome.
            for name in NAMES.into_iter().filter(|name| *name != "cause") {
                let mut less = object.clone();
                less.remove(name);
                prop_assert!(from_json(&less).unwrap_err().to_string().contains(name));
            }
        }
    }
}
