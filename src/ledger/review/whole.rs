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
/// Lines of dead letters that are named; the rest are counted.
const NAMED: u64 = 10;

/// A database with what its state directory has beside it.
pub(in crate::ledger) struct Whole {
    pub(in crate::ledger) reader: Box<dyn Reader>,
    spool: Spooled,
    aside: Aside,
}

/// What stands beside a database, and what cannot.
#[derive(Default)]
struct Aside {
    /// Something stands there.
    is_any: bool,
    /// Lines of dead letters that are no rows, and rows that the database cannot hold.
    strange: u64,
    /// Of these, dead letters that are rows.
    unfit: u64,
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
    /// Attempts that have ended and are in slots alone.
    pub sealed: u64,
    /// Rows and segments of the spool, and dead letters, that cannot be read or counted.
    pub unreadable: u64,
}

impl Whole {
    /// Opens a database and puts beside it what dead letters, spool and slots have; or, for a comparison,
    /// dead letters and spool, and of that also what the database says it has.
    ///
    /// The spool comes first: what is delivered meanwhile is then in the database. The slots are looked at
    /// before it and count last: what is spooled meanwhile is then in the spool.
    pub(in crate::ledger) fn open(
        books: &Books,
        compares: bool,
        watch: &dyn Watch,
    ) -> Result<Self, ReviewError> {
        let mut reader = books.base.open()?;
        let (mut aside, mut spool) = (Aside::default(), Spooled::default());
        for directory in books.state.iter().chain(&books.dead_letters) {
            for sink in books.base.dead_letters() {
                aside.add_dead(reader.as_mut(), (directory, sink), watch)?;
            }
        }
        if let Some(state) = &books.state {
            let node = writer(state)?.node;
            let place = (books, state.as_path(), node);
            spool =
                spool::walk(place, reader.as_mut(), watch, &mut |reader, rows, is_delivered| {
                    let standing = match is_delivered {
                        false => Standing::Waiting,
                        true if compares => Standing::Delivered,
                        true => return Ok(()),
                    };
                    Ok(aside.add(reader, rows, standing)?)
                })?;
            let sealed = std::mem::take(&mut spool.held.sealed);
            for rows in sealed.chunks(SINK_BATCH).filter(|_| !compares) {
                aside.add(reader.as_mut(), rows, Standing::Sealed)?;
            }
        }
        watch.begin("adding up", 0);
        reader::begin(reader.as_mut())?;
        Ok(Self { reader, spool, aside })
    }

    /// What was found in the spool.
    pub(super) fn into_spool(self) -> Spooled {
        self.spool
    }

    /// Dead letters that are rows, and that the database cannot hold even beside it.
    pub(super) fn unfit(&self) -> u64 {
        self.aside.unfit
    }

    /// How many rows differ from their twins in the database, by epoch.
    pub(super) fn differing(&mut self) -> Result<Vec<(u64, u64)>, ReadError> {
        if !self.aside.is_any {
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
        if !self.aside.is_any {
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
        let counts = Standing::ALL.map(count).join(", ");
        let sql = format!("SELECT CAST(epoch AS text), {counts} FROM {beside} GROUP BY epoch");
        let rows = self.reader.ask(&sql, &[])?;
        let each = rows.iter().map(|row| {
            let (waiting, gone) = (number(row, 1)?, number(row, 2)?);
            let (dead, sealed) = (number(row, 3)?, number(row, 4)?);
            Ok((number(row, 0)?, Beside { waiting, gone, dead, sealed, unreadable: 0 }))
        });
        each.collect()
    }

    /// The same in all, with what cannot be read.
    pub(in crate::ledger) fn settled(&mut self) -> Result<Beside, ReadError> {
        let unreadable = self.spool.unread() + self.aside.strange;
        let none = Beside { unreadable, ..Beside::default() };
        Ok(self.settle()?.iter().fold(none, |sum, (_, more)| Beside {
            waiting: sum.waiting + more.waiting,
            gone: sum.gone + more.gone,
            dead: sum.dead + more.dead,
            sealed: sum.sealed + more.sealed,
            unreadable,
        }))
    }

    /// What a query reads from, so that it counts every attempt once; settled before.
    pub(in crate::ledger) fn table(&self) -> String {
        let Words { attempt, beside, .. } = self.reader.words();
        if !self.aside.is_any {
            return (*attempt).to_owned();
        }
        let names = columns(str::to_owned).join(", ");
        format!("(SELECT {names} FROM {attempt} UNION ALL SELECT {names} FROM {beside}) AS whole")
    }
}

impl Aside {
    /// Adds the dead letters of a sink in a directory.
    fn add_dead(
        &mut self,
        reader: &mut dyn Reader,
        (directory, sink): (&Path, &str),
        watch: &dyn Watch,
    ) -> Result<(), ReviewError> {
        let mut dead = Vec::new();
        let rows = dead_letter::rows(directory, sink).map_err(ReviewError::State)?;
        for (line, row) in (1..).zip(rows) {
            match row.map_err(ReviewError::State)? {
                Some(row) => dead.push(row),
                None => {
                    self.strange += 1;
                    if self.strange <= NAMED {
                        let file = dead_letter::path(directory, sink);
                        watch.odd(&format!("{}, line {line}: this is no row", file.display()));
                    }
                }
            }
            if dead.len() == SINK_BATCH {
                self.add(reader, &dead, Standing::Dead)?;
                dead.clear();
            }
        }
        Ok(self.add(reader, &dead, Standing::Dead)?)
    }

    /// A row that the database would never take cannot stand beside it either.
    fn add(
        &mut self,
        reader: &mut dyn Reader,
        rows: &[Record],
        standing: Standing,
    ) -> Result<(), ReadError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.is_any = true;
        match (reader.add(rows, standing), rows) {
            (Err(ReadError::Unfit(_)), [_]) => {
                self.strange += 1;
                self.unfit += u64::from(standing == Standing::Dead);
                Ok(())
            }
            (Err(ReadError::Unfit(_)), rows) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.add(reader, first, standing)?;
                self.add(reader, second, standing)
            }
            (other, _) => other,
        }
    }
}
