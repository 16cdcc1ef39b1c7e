//! Every attempt once: the rows of a database, and beside them those that it lacks.

use super::spool::{self, Spooled};
use super::{Books, ReviewError, Watch, writer};
use crate::bounds::SINK_BATCH;
use crate::ledger::record::Record;
use crate::ledger::sink::dead_letter;
use crate::ledger::sink::reader::{self, ReadError, Reader, Standing, Words, columns, number};
use std::path::Path;

/// Rows of one key.
const TWINS: &str = "a.node = b.node AND a.epoch = b.epoch AND a.seq = b.seq";

/// A database with what its state directory has beside it.
pub(in crate::ledger) struct Whole {
    pub(in crate::ledger) reader: Box<dyn Reader>,
    spool: Spooled,
    /// Lines of dead letters that are no rows, and rows that the database cannot hold.
    strange: u64,
    is_beside: bool,
}

/// What is counted though the database lacks it, and what cannot be counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Attempts that wait in the spool.
    pub waiting: u64,
    /// Attempts that the sink should have by what it says, and has not.
    pub gone: u64,
    /// Attempts that the sink refused for good.
    pub dead: u64,
    /// Rows and segments of the spool, and dead letters, that cannot be read or counted.
    pub unreadable: u64,
}

impl Whole {
    /// Opens a database and puts beside it what dead letters and spool have; of the spool all, or what
    /// the database does not say it has.
    ///
    /// The spool comes first: what is delivered meanwhile is then in the database.
    pub(in crate::ledger) fn open(
        books: &Books,
        all: bool,
        watch: &dyn Watch,
    ) -> Result<Self, ReviewError> {
        let reader = books.base.open()?;
        let mut whole = Self { reader, spool: Spooled::default(), strange: 0, is_beside: false };
        if let Some(state) = &books.state {
            let node = writer(state)?.node;
            let cursor = reader::cursor(whole.reader.as_mut(), node)?;
            whole.add_dead(state, books.base.name())?;
            whole.spool = spool::each(state, cursor, watch, |rows, is_delivered| {
                let standing = match is_delivered {
                    false => Standing::Waiting,
                    true if all => Standing::Delivered,
                    true => return Ok(()),
                };
                Ok(whole.add(rows, standing)?)
            })?;
        }
        watch.begin("adding up", 0);
        reader::begin(whole.reader.as_mut())?;
        Ok(whole)
    }

    fn add_dead(&mut self, state: &Path, sink: &str) -> Result<(), ReviewError> {
        let mut dead = Vec::new();
        for row in dead_letter::rows(state, sink).map_err(ReviewError::State)? {
            match row.map_err(ReviewError::State)? {
                Some(row) => dead.push(row),
                None => self.strange += 1,
            }
            if dead.len() == SINK_BATCH {
                self.add(&dead, Standing::Dead)?;
                dead.clear();
            }
        }
        Ok(self.add(&dead, Standing::Dead)?)
    }

    /// A row that the database would never take cannot stand beside it either.
    fn add(&mut self, rows: &[Record], standing: Standing) -> Result<(), ReadError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.is_beside = true;
        match (self.reader.add(rows, standing), rows) {
            (Err(ReadError::Unfit(_)), [_]) => {
                self.strange += 1;
                Ok(())
            }
            (Err(ReadError::Unfit(_)), rows) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.add(first, standing)?;
                self.add(second, standing)
            }
            (other, _) => other,
        }
    }

    /// What was found in the spool.
    pub(super) fn into_spool(self) -> Spooled {
        self.spool
    }

    /// How many rows differ from their twins in the database, by epoch.
    pub(super) fn differing(&mut self) -> Result<Vec<(u64, u64)>, ReadError> {
        if !self.is_beside {
            return Ok(Vec::new());
        }
        let Words { attempt, beside, .. } = self.reader.words();
        let differ = columns(|name| format!("a.{name} IS DISTINCT FROM b.{name}")).join(" OR ");
        let sql = format!(
            "SELECT CAST(b.epoch AS text), CAST(count(*) AS text) FROM {beside} AS b, {attempt} AS a
             WHERE {TWINS} AND ({differ}) GROUP BY b.epoch"
        );
        let rows = self.reader.ask(&sql, &[])?;
        rows.iter().map(|row| Ok((number(row, 0)?, number(row, 1)?))).collect()
    }

    /// Drops what the database has from what stands beside it; what is left, by epoch.
    pub(super) fn settle(&mut self) -> Result<Vec<(u64, Beside)>, ReadError> {
        if !self.is_beside {
            return Ok(Vec::new());
        }
        let Words { attempt, beside, .. } = self.reader.words();
        let drop = format!(
            "DELETE FROM {beside} AS b WHERE EXISTS (SELECT 1 FROM {attempt} AS a WHERE {TWINS})"
        );
        self.reader.ask(&drop, &[])?;
        let count = |standing: Standing| {
            let standing = standing as u8;
            format!("CAST(sum(CASE standing WHEN {standing} THEN 1 ELSE 0 END) AS text)")
        };
        let [waiting, gone, dead] =
            [Standing::Waiting, Standing::Delivered, Standing::Dead].map(count);
        let sql = format!(
            "SELECT CAST(epoch AS text), {waiting}, {gone}, {dead} FROM {beside} GROUP BY epoch"
        );
        let rows = self.reader.ask(&sql, &[])?;
        let each = rows.iter().map(|row| {
            let (waiting, gone, dead) = (number(row, 1)?, number(row, 2)?, number(row, 3)?);
            Ok((number(row, 0)?, Beside { waiting, gone, dead, unreadable: 0 }))
        });
        each.collect()
    }

    /// The same in all, with what cannot be read.
    pub(in crate::ledger) fn settled(&mut self) -> Result<Beside, ReadError> {
        let unreadable = self.spool.lost + self.spool.foreign + self.strange;
        let none = Beside { unreadable, ..Beside::default() };
        Ok(self.settle()?.iter().fold(none, |sum, (_, more)| Beside {
            waiting: sum.waiting + more.waiting,
            gone: sum.gone + more.gone,
            dead: sum.dead + more.dead,
            unreadable,
        }))
    }

    /// What a query reads from, so that it counts every attempt once; settled before.
    pub(in crate::ledger) fn table(&self) -> String {
        let Words { attempt, beside, .. } = self.reader.words();
        if !self.is_beside {
            return (*attempt).to_owned();
        }
        let names = columns(str::to_owned).join(", ");
        format!("(SELECT {names} FROM {attempt} UNION ALL SELECT {names} FROM {beside}) AS whole")
    }
}
