//! Looking at a ledger from outside: is it whole, what is in it, does it agree with the metrics.
//!
//! Reads only; Weir may run meanwhile. What it writes at that moment may look like a torn tail.

use super::directory;
use super::reading::{Opened, Reading, Resume};
use super::record::{Record, RecordKey, Source, flag};
use super::segments::Segments;
use super::sink::columns::{self, Cell, NAMES};
use super::sink::{Position, SinkError, sqlite::Reader};
use crate::meter::{self, Delivered, Estimator};
use crate::price::{Pico, Policy, PriceVersion};
use crate::usage::Kind;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;

/// Why a ledger cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the database: {0}")]
    Sink(#[from] SinkError),
    #[error("the spool: {0}")]
    Spool(io::Error),
    #[error("the state directory has no identity")]
    NoNode,
    #[error("{0}")]
    Out(#[from] io::Error),
}

/// What is in the spool's segments, delivered or not.
#[derive(Debug, Default)]
pub struct Spooled {
    pub segments: u64,
    pub rows: u64,
    /// Rows lost to damage, and to what is gone between two segments.
    pub lost: u64,
    /// Segments that are gone though older ones are there.
    pub missing: u64,
    /// Bytes behind the last whole frame.
    pub torn_bytes: u64,
    /// Segments of another node or a newer version.
    pub foreign: u64,
}

/// Reads every segment below a state directory and hands out its rows, each with where it ends.
///
/// # Errors
/// A file cannot be read.
pub(super) fn spooled_at(
    state: &Path,
    mut take: impl FnMut(Record, Position),
) -> Result<Spooled, ReviewError> {
    let mut found = Spooled::default();
    let segments = Segments::list(state).map_err(ReviewError::Spool)?.all();
    if segments.is_empty() {
        return Ok(found);
    }
    let node = directory::node(state).ok_or(ReviewError::NoNode)?;
    let mut before = None;
    let mut accounted = None;
    for (id, segment) in segments {
        found.missing += gap(before.replace(id), id);
        found.segments += 1;
        let mut reading = match Reading::open(id, segment, node) {
            Ok(Opened::Ready(reading)) => reading,
            Ok(Opened::Foreign | Opened::Newer(_)) => {
                found.foreign += 1;
                accounted = None;
                continue;
            }
            // Delivered and gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(ReviewError::Spool(error)),
        };
        reading.resume(Resume { accounted, ..Resume::default() });
        reading.fill().map_err(ReviewError::Spool)?;
        while !reading.at_end() {
            let mut step = reading.step(1);
            found.rows += step.rows.len() as u64;
            let end = reading.position();
            step.rows.drain(..).for_each(|row| take(row, end));
            found.lost += step.lost;
            found.torn_bytes += step.torn;
            reading.reuse(step);
        }
        accounted = Some(reading.rows());
    }
    Ok(found)
}

/// Reads every segment below a state directory.
///
/// # Errors
/// A file cannot be read.
pub fn spooled(state: &Path) -> Result<Spooled, ReviewError> {
    spooled_at(state, |_, _| {})
}

/// How many segments should stand between two.
fn gap(before: Option<(u64, u64)>, id: (u64, u64)) -> u64 {
    let before = before.filter(|before| before.0 == id.0);
    before.map_or(0, |before| id.1.saturating_sub(before.1 + 1))
}

/// How many rows a database has.
///
/// # Errors
/// It cannot be read.
pub fn rows(sqlite: &Path) -> Result<u64, SinkError> {
    Reader::open(sqlite)?.count()
}

/// What a database holds, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub rows: u64,
    /// Price versions.
    pub prices: u64,
    /// Rows to be looked at before they are billed.
    pub quarantined: u64,
    /// A line each: damage; texts of prices that are not their own; rows whose cost, charge or estimate
    /// does not follow from themselves and their price.
    pub wrong: Vec<String>,
}

/// Computes every row anew from itself and the price table. `seen` is called for each row.
///
/// # Errors
/// The database cannot be read.
pub fn check(sqlite: &Path, mut seen: impl FnMut()) -> Result<Checked, ReviewError> {
    let reader = Reader::open(sqlite)?;
    let mut found = Checked { wrong: reader.check()?, ..Checked::default() };
    let mut prices = HashMap::new();
    for (hash, text) in reader.prices()? {
        found.prices += 1;
        match PriceVersion::parse(&text).ok().filter(|price| price.hash() == hash) {
            Some(price) => drop(prices.insert(hash, price)),
            None => found.wrong.push(format!("price {}: its text is changed", hex::encode(hash))),
        }
    }
    reader.each(|row| {
        found.rows += 1;
        seen();
        found.quarantined += u64::from(row.flags & flag::QUARANTINED != 0);
        found.wrong.extend(judge(&row, &prices).map(|why| format!("{}: {why}", name(&row.key))));
    })?;
    Ok(found)
}

fn judge(row: &Record, prices: &HashMap<[u8; 32], PriceVersion>) -> Option<&'static str> {
    if row.flags & flag::SATURATED != 0 {
        return None;
    }
    let Some(price) = prices.get(&row.intent.price) else {
        return Some("its price version is not in the database");
    };
    if price.cost(&row.usage, row.started_us) != row.cost {
        return Some("its cost is not that of its usage at its price");
    }
    let failed = meter::failed(Some(row.outcome), row.finish, &row.usage, row.intent.operation);
    let Some(policy) = Policy::named(&row.policy) else {
        return Some("its charge policy is not known");
    };
    if policy.charge(row.cost, row.committed, failed) != row.charge {
        return Some("its charge does not follow from its policy");
    }
    // Of an estimator that is known no more, the result stands.
    let estimator = Estimator::parse(&row.estimator).filter(|_| row.source == Source::Estimated)?;
    let intent = &row.intent;
    let estimate =
        estimator.estimate(&Delivered(row.delivered), intent.prompt_bytes, intent.operation);
    (estimate != row.usage).then_some("its usage is not what its estimator makes of it")
}

fn name(key: &RecordKey) -> String {
    format!("{}/{}/{}", hex::encode(key.node), key.epoch, key.seq)
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Csv,
}

/// Prints every row of a database in order of its key, calling `seen` for each.
///
/// # Errors
/// The database cannot be read, or `out` not be written.
pub fn export(
    sqlite: &Path,
    form: Form,
    out: &mut impl Write,
    mut seen: impl FnMut(),
) -> Result<(), ReviewError> {
    let reader = Reader::open(sqlite)?;
    if form == Form::Csv {
        writeln!(out, "{}", NAMES.join(","))?;
    }
    let (mut written, mut line) = (Ok(()), Vec::new());
    reader.each(|row| {
        seen();
        if written.is_ok() {
            written = match form {
                Form::Json => {
                    line.clear();
                    columns::put_json(&mut line, &row);
                    line.push(b'\n');
                    out.write_all(&line)
                }
                Form::Csv => writeln!(out, "{}", csv(&row)),
            };
        }
    })?;
    Ok(written?)
}

fn csv(row: &Record) -> String {
    let mut cells = Vec::with_capacity(NAMES.len());
    columns::cells(row, |cell| {
        cells.push(match cell {
            Cell::Null => String::new(),
            Cell::Int(value) => value.to_string(),
            Cell::Bool(value) => value.to_string(),
            Cell::Text(text) => super::report::quoted(text),
            Cell::Blob(bytes) => hex::encode(bytes),
            Cell::Counts(counts) => super::report::quoted(&columns::array(counts)),
        });
    });
    cells.join(",")
}

/// What one place says was consumed: by model, provider and kind, cost under the kind "cost".
pub type Sums = BTreeMap<(String, String, &'static str), Pico>;

/// Rows of the newest epoch, in the sink or the spool, each once, and their sums.
///
/// # Errors
/// Either cannot be read.
pub fn newest_epoch(state: &Path, sqlite: &Path) -> Result<Epoch, ReviewError> {
    let node = directory::node(state).ok_or(ReviewError::NoNode)?;
    let epoch = directory::epoch(state).ok_or(ReviewError::NoNode)?;
    let own = |row: &Record| row.key.node == node && row.key.epoch == epoch;
    // The spool first: what is delivered meanwhile is then in the database.
    let mut pending = BTreeMap::new();
    spooled_at(state, |row, end| {
        if own(&row) {
            pending.insert(row.key, (row, end));
        }
    })?;
    let mut found =
        Epoch { epoch, rows: 0, undelivered: 0, gone: 0, differing: 0, sums: Sums::new() };
    let reader = Reader::open(sqlite)?;
    // Before the rows: all that end there are among them.
    let cursor = reader.cursor(node)?;
    reader.each(|row| {
        if own(&row) {
            let other = pending.remove(&row.key);
            let differs = other.is_some_and(|(other, _)| other != row);
            found.differing += u64::from(differs && row.flags & flag::SATURATED == 0);
            found.add(&row);
        }
    })?;
    for (row, end) in pending.values() {
        found.undelivered += 1;
        found.gone += u64::from(cursor.is_some_and(|cursor| *end <= cursor));
        found.add(row);
    }
    found.sums.retain(|_, sum| *sum != 0);
    Ok(found)
}

/// One start of one node.
#[derive(Debug)]
pub struct Epoch {
    pub epoch: u64,
    pub rows: u64,
    /// Of these, only in the spool.
    pub undelivered: u64,
    /// Of these, what the sink says it has, and has not.
    pub gone: u64,
    /// In both, and not the same.
    pub differing: u64,
    pub sums: Sums,
}

impl Epoch {
    fn add(&mut self, row: &Record) {
        self.rows += 1;
        let counts = Kind::ALL.iter().zip(row.usage.0);
        let counts = counts.map(|((_, kind), count)| (*kind, Pico::from(count)));
        for (kind, count) in counts.chain([("cost", row.cost)]) {
            let label = (row.intent.model.to_string(), row.intent.provider.to_string(), kind);
            *self.sums.entry(label).or_default() += count;
        }
    }
}

/// The same sums as Prometheus metrics tell them.
#[must_use]
pub fn metrics_sums(text: &str) -> Sums {
    let mut sums = Sums::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((family, labels)) = series.split_once('{') else { continue };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let kind = match family {
            "weir_cost_picodollars_total" => Some("cost"),
            "weir_tokens_total" => label("kind").and_then(|kind| {
                Kind::ALL.iter().map(|(_, known)| *known).find(|known| *known == kind)
            }),
            _ => None,
        };
        let (Some(kind), Some(model), Some(provider)) = (kind, label("model"), label("provider"))
        else {
            continue;
        };
        let Ok(count) = value.parse::<Pico>() else { continue };
        if count != 0 {
            sums.insert((model, provider, kind), count);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, testing};
    use std::time::Duration;

    #[test]
    fn a_sound_ledger_has_nothing_wrong_and_a_changed_one_has() {
        let place = tempfile::tempdir().unwrap();
        let options = testing::options(place.path());
        let ledger = Ledger::open(options.clone()).unwrap();
        (0..5).for_each(|n| testing::complete(&ledger, &format!("gen-{n}"), 1));
        assert!(ledger.shutdown(Duration::from_secs(10)));
        let sound = Checked { rows: 5, prices: 1, ..Checked::default() };
        assert_eq!(check(&options.sqlite, || ()).unwrap(), sound);
        assert_eq!(rows(&options.sqlite).unwrap(), 5);
        let epoch = newest_epoch(&options.directory, &options.sqlite).unwrap();
        assert_eq!((epoch.rows, epoch.undelivered, epoch.differing), (5, 0, 0));
        let label = |kind| ("meta/llama".to_owned(), "deepinfra".to_owned(), kind);
        assert_eq!(epoch.sums[&label("input")], 50);
        assert_eq!(epoch.sums[&label("cost")], 5 * (10 + 45));
        for form in [Form::Json, Form::Csv] {
            let mut out = Vec::new();
            export(&options.sqlite, form, &mut out, || ()).unwrap();
            let lines = String::from_utf8(out).unwrap().lines().count();
            assert_eq!(lines, 5 + usize::from(form == Form::Csv));
        }
        let database = rusqlite::Connection::open(&options.sqlite).unwrap();
        database.execute("UPDATE attempt SET output = output + 1 WHERE seq = 2", []).unwrap();
        database.execute("UPDATE attempt SET charge_pico = 0 WHERE seq = 3", []).unwrap();
        let found = check(&options.sqlite, || ()).unwrap().wrong;
        assert!(found.len() == 2 && found[0].ends_with("at its price"), "{found:?}");
        database.execute("UPDATE price SET text = text || ' '", []).unwrap();
        let found = check(&options.sqlite, || ()).unwrap().wrong;
        assert!(found.len() == 6 && found[0].ends_with("its text is changed"), "{found:?}");
    }

    #[test]
    fn metrics_are_read_by_their_labels() {
        let text = "# HELP x y\nweir_tokens_total{kind=\"input\",model=\"m/a\",provider=\"p\"} 12\n\
                    weir_tokens_total{kind=\"output\",model=\"m/a\",provider=\"p\"} 0\n\
                    weir_cost_picodollars_total{model=\"m/a\",provider=\"p\"} 99\nweir_slots 4\n";
        let sums = metrics_sums(text);
        let label = |kind| ("m/a".to_owned(), "p".to_owned(), kind);
        assert_eq!(sums, Sums::from([(label("input"), 12), (label("cost"), 99)]));
    }
}
