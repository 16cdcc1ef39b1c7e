//! What a workspace has used by day, model and endpoint: from sink, spool and slots together, each
//! attempt once, from the moment its last byte is out.

use super::prices::Prices;
use super::record::{Record, flag};
use super::report::{BILLED_US, COMPLETION, PROMPT};
use super::settle::settle;
use super::shared::{Shared, now_us};
use super::sink::reader::halves;
use super::sink::{SinkError, sqlite::Reader};
use super::slot::{DISPATCHED, Image, SEALED};
use crate::bounds::RECENT_GENERATIONS;
use crate::outcome::Outcome;
use crate::price::Pico;
use crate::usage::Kind;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

const DAY_US: u64 = 86_400_000_000;
/// How long one search waits for the one before it.
const TURN: Duration = Duration::from_secs(2);

/// Whose attempts, and which.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub workspace: String,
    /// UTC days since 1970 on which attempts ended.
    pub days: RangeInclusive<u64>,
    /// SHA-256 of the one key that counts.
    pub key: Option<[u8; 32]>,
    /// The one user that counts, in any of these forms.
    pub users: Option<[String; 2]>,
}

/// A day's use of a model at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub day: u64,
    pub model: String,
    pub provider_name: String,
    pub endpoint: String,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Attempts of which content reached the caller.
    pub requests: u64,
    pub prompt: i128,
    /// Reasoning included.
    pub completion: i128,
    pub reasoning: i128,
    pub charge: Pico,
}

/// Totals by place.
pub type Activity = BTreeMap<Place, Total>;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    #[error("the database is {0} rows behind")]
    Behind(u64),
    #[error("another search takes too long")]
    Busy,
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Wanted {
    fn has(&self, row: &Record) -> bool {
        let intent = &row.intent;
        let users = self.users.as_ref();
        intent.workspace == self.workspace
            && self.days.contains(&(billed_us(row) / DAY_US))
            && self.key.is_none_or(|key| key == intent.key_hash)
            && users.is_none_or(|users| users.iter().any(|user| *user == intent.user))
    }
}

/// When an attempt counts as used (I8).
fn billed_us(row: &Record) -> u64 {
    match row.flags & flag::CLOCK_JUMP {
        0 => row.ended_us,
        _ => row.started_us.saturating_add(row.duration_us),
    }
}

impl Shared {
    /// Not for the hot path. Looks where attempts go, in that order: one that moves on meanwhile is
    /// seen twice, and told by its key.
    pub(super) fn activity(&self, wanted: &Wanted) -> Result<Activity, ActivityError> {
        let mut pending = self.ended();
        pending.extend(self.undelivered()?);
        pending.retain(|row| wanted.has(row));
        pending.sort_by_key(|row| row.key);
        pending.dedup_by_key(|row| row.key);
        let mut reader = self.searcher.try_lock_for(TURN).ok_or(ActivityError::Busy)?;
        let open = match reader.take() {
            Some(open) => open,
            None => Reader::open(&self.options.sqlite)?,
        };
        let found = open.activity(wanted, &pending)?;
        *reader = Some(open);
        Ok(found)
    }

    /// Records of attempts that have ended, or said their last, and are not appended yet.
    fn ended(&self) -> Vec<Record> {
        let mut prices = Prices::default();
        let images = self.images(None).filter_map(said_all);
        let node = self.writer.node;
        images.filter_map(|image| settle(node, &image, &mut prices)).map(|(row, _)| row).collect()
    }

    /// The newest records in the spool, with all those that the database may lack.
    fn undelivered(&self) -> Result<Vec<Record>, ActivityError> {
        let behind = self.behind();
        if behind > RECENT_GENERATIONS as u64 {
            return Err(ActivityError::Behind(behind));
        }
        Ok(self.recent.lock().newest(self.writer.node, behind as usize))
    }
}

/// An attempt that is over but for its seal counts as sealed.
fn said_all(mut image: Image) -> Option<Image> {
    let over = image.state == DISPATCHED && image.flags & flag::TERMINAL != 0;
    if over && image.outcome == 0 {
        image.outcome = Outcome::Ok as u8;
    }
    if over && image.ended_us == 0 {
        image.ended_us = now_us();
        image.duration_us = image.ended_us.saturating_sub(image.identity.started_us);
    }
    (over || image.state == SEALED).then_some(image)
}

impl Reader {
    /// Totals of the database and of those of `pending` that it lacks, at one moment.
    fn activity(&self, wanted: &Wanted, pending: &[Record]) -> Result<Activity, SinkError> {
        let moment = self.connection().unchecked_transaction()?;
        let mut found = stored(&moment, wanted)?;
        let sql = "SELECT 1 FROM attempt WHERE node = ?1 AND epoch = ?2 AND seq = ?3";
        let mut search = moment.prepare_cached(sql)?;
        for row in pending {
            let key = params![&row.key.node[..], row.key.epoch as i64, row.key.seq as i64];
            if search.query_row(key, |_| Ok(())).optional()?.is_none() {
                add(&mut found, row);
            }
        }
        Ok(found)
    }
}

fn stored(moment: &Transaction<'_>, wanted: &Wanted) -> Result<Activity, SinkError> {
    let day = format!("(({BILLED_US}) / {DAY_US})");
    let sums =
        [PROMPT, COMPLETION, "reasoning", "charge_pico"].map(|terms| halves(terms).join(", "));
    let sums = sums.join(", ");
    let mut statement = moment.prepare_cached(&format!(
        "SELECT {day}, model, provider_name, endpoint, sum(committed), {sums} FROM attempt
         WHERE workspace = ?1 AND ended_us >= ?2 AND ended_us < ?3 AND {day} BETWEEN ?4 AND ?5
         AND (?6 IS NULL OR key_hash = ?6) AND (?7 IS NULL OR user IN (?7, ?8))
         GROUP BY 1, 2, 3, 4"
    ))?;
    let (first, last) = (*wanted.days.start(), *wanted.days.end());
    // A clock that jumped has rows a day beside their own.
    let around = (first.saturating_sub(1) * DAY_US, last.saturating_add(2).saturating_mul(DAY_US));
    let (one, other) = wanted.users.as_ref().map(|[one, other]| (one, other)).unzip();
    let values = params![
        wanted.workspace,
        around.0,
        around.1,
        first,
        last,
        wanted.key.as_ref().map(|key| &key[..]),
        one,
        other
    ];
    let rows = statement.query_map(values, |row| {
        let place = Place {
            day: row.get(0)?,
            model: row.get(1)?,
            provider_name: row.get(2)?,
            endpoint: row.get(3)?,
        };
        let total = Total {
            requests: row.get(4)?,
            prompt: sum(row, 5)?,
            completion: sum(row, 7)?,
            reasoning: sum(row, 9)?,
            charge: sum(row, 11)?,
        };
        Ok((place, total))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The sum whose [`halves`] stand at `at` and behind it.
fn sum(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<i128> {
    let (high, low): (i64, i64) = (row.get(at)?, row.get(at + 1)?);
    Ok((i128::from(high) << 32) + i128::from(low))
}

fn add(activity: &mut Activity, row: &Record) {
    let place = Place {
        day: billed_us(row) / DAY_US,
        model: row.intent.model.to_string(),
        provider_name: row.intent.provider_name.to_string(),
        endpoint: row.intent.endpoint.to_string(),
    };
    let total = activity.entry(place).or_default();
    total.requests += u64::from(row.committed);
    total.prompt += i128::from(row.usage.prompt());
    total.completion += i128::from(row.usage.completion());
    total.reasoning += i128::from(row.usage.get(Kind::Reasoning));
    total.charge = total.charge.saturating_add(row.charge);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sink::{Batch, Position, Sink, sqlite::Sqlite};
    use crate::ledger::{Ledger, Options, testing};
    use crate::meter::Tally;
    use crate::usage::Usage;

    const DAY: u64 = testing::NOW_US / DAY_US;

    fn wanted() -> Wanted {
        Wanted { workspace: "acme".to_owned(), days: DAY..=DAY, key: None, users: None }
    }

    #[test]
    fn an_attempt_counts_once_wherever_it_is() {
        let place = tempfile::tempdir().unwrap();
        // As many as there are attempts: a slot is free again only once its record is synced.
        let options = Options { slots: 300, ..testing::options(place.path()) };
        let ledger = Ledger::open(options).unwrap();
        for n in 1..=300 {
            testing::complete(&ledger, &format!("gen-{n}"), 1);
            let found = ledger.activity(&wanted()).unwrap();
            let total = found.values().next().copied().unwrap();
            let n = i128::from(n);
            assert_eq!((found.len(), i128::from(total.requests)), (1, n));
            assert_eq!((total.prompt, total.completion, total.charge), (10 * n, 5 * n, 55 * n));
        }
    }

    #[test]
    fn an_answer_that_has_ended_counts_before_it_is_sealed_and_an_open_one_does_not() {
        let place = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(testing::options(place.path())).unwrap();
        let claim = testing::dispatched(&ledger, "gen-1", 1);
        let days = DAY..=now_us() / DAY_US + 1;
        let wanted = Wanted { days, ..wanted() };
        claim.committed();
        assert_eq!(ledger.activity(&wanted).unwrap(), Activity::new());
        let mut tally = &claim;
        tally.reported(&Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5));
        claim.terminal();
        let found = ledger.activity(&wanted).unwrap();
        let total = found.values().next().unwrap();
        assert_eq!((total.requests, total.charge), (1, 55));
    }

    #[test]
    fn others_other_days_other_keys_and_other_users_do_not_count() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger.db");
        let mut rows: Vec<_> = (1..=6).map(testing::record).collect();
        rows[0].intent.workspace = "other".into();
        rows[1].ended_us += DAY_US;
        rows[2].intent.key_hash = [9; 32];
        rows[3].intent.user = "u-2".into();
        rows[4].intent.model = "meta/other".into();
        let cursor = Position { epoch: 1, segment: 0, offset: 0, rows: 0 };
        let mut sqlite = Sqlite::open(&path).unwrap();
        let cursor = testing::advance(&mut sqlite, [7; 16], cursor);
        let batch = Batch { rows: &rows[..3], prices: &[], cursor };
        sqlite.deliver(&batch).unwrap();
        let reader = Reader::open(&path).unwrap();
        let count = |wanted: &Wanted| {
            // The last three are pending, one of them is stored too.
            let pending: Vec<_> = rows[2..].iter().filter(|row| wanted.has(row)).cloned().collect();
            let found = reader.activity(wanted, &pending).unwrap();
            found.values().map(|total| total.requests).collect::<Vec<_>>()
        };
        assert_eq!(count(&wanted()), [3, 1]);
        assert_eq!(count(&Wanted { days: DAY..=DAY + 1, ..wanted() }), [3, 1, 1]);
        assert_eq!(count(&Wanted { key: Some([9; 32]), ..wanted() }), [1]);
        let users = Some(["u-2".to_owned(), "hashed".to_owned()]);
        assert_eq!(count(&Wanted { users, ..wanted() }), [1]);
        assert_eq!(count(&Wanted { workspace: "none".to_owned(), ..wanted() }), [0_u64; 0]);
    }
}
