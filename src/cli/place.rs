//! Where a ledger is: the options that all commands share which read one.

use super::{failed, say};
use crate::config::{self, DATABASE, LedgerPlace, STATE};
use crate::ledger::Base;
use crate::ledger::review::{Beside, Books, ReviewError, Spooled};
use crate::server::StartError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Place {
    /// Configuration directory; it says where ledger and state directory are
    #[arg(long, value_name = "DIR")]
    conf: Option<PathBuf>,
    /// State directory, where the configuration leaves it to systemd: /var/lib/weir
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Ledger database, where it is not the configuration's
    #[arg(long, value_name = "FILE", conflicts_with = "postgres")]
    ledger: Option<PathBuf>,
    /// Read the ledger in PostgreSQL: the configuration's, or by the connection string in this file
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    postgres: Option<Option<PathBuf>>,
}

impl Place {
    /// Reads the configuration if need be; an error has been said.
    pub(super) fn find(&self) -> Result<Books, ExitCode> {
        let of_conf = matches!(self.postgres, Some(None));
        let environment = |name: &str| std::env::var_os(name);
        let conf = match &self.conf {
            Some(conf) => config::ledger_place(conf, of_conf, &environment)
                .map_err(|problems| super::run::ended(Err(StartError::Configuration(problems))))?,
            None => LedgerPlace { state_directory: None, sqlite: None, postgres: None },
        };
        let here =
            || Some(PathBuf::from(STATE)).filter(|state| self.conf.is_some() && state.is_dir());
        let state = self.state.clone().or(conf.state_directory).or_else(here);
        if state.is_none() && self.conf.is_some() {
            return Err(self.stateless());
        }
        let base = match (&self.postgres, &self.ledger, conf.postgres, conf.sqlite) {
            (Some(Some(file)), ..) => {
                Base::Postgres(config::connection_string(file).map_err(|why| failed(file, &why))?)
            }
            (_, _, Some(url), _) => Base::Postgres(url),
            (Some(None), ..) => {
                say("--postgres alone reads the configuration's: name that with --conf, or a FILE");
                return Err(ExitCode::FAILURE);
            }
            (None, Some(file), ..) => Base::Sqlite(file.clone()),
            (None, None, _, Some(file)) => Base::Sqlite(file),
            (None, None, None, None) => {
                Base::Sqlite(state.as_deref().ok_or_else(|| self.stateless())?.join(DATABASE))
            }
        };
        Ok(Books { base, state, dead_letters: None })
    }

    /// Says that nobody knows the state directory.
    pub(super) fn stateless(&self) -> ExitCode {
        say(match self.conf {
            Some(_) => {
                "the configuration leaves state_directory to systemd, and $STATE_DIRECTORY is not set \
                 here: name it with --state DIR (/var/lib/weir for weir.service)"
            }
            None => {
                "nothing says where the state directory is: name it with --state DIR, or --conf DIR"
            }
        });
        ExitCode::FAILURE
    }
}

/// Says what went wrong, and with what.
pub(super) fn blame(books: &Books, error: &ReviewError) -> ExitCode {
    let state = books.state.as_deref().unwrap_or(Path::new(STATE));
    match (error, &books.base) {
        (ReviewError::Base(error), Base::Sqlite(path)) => failed(path, error),
        (ReviewError::Base(error), Base::Postgres(_)) => {
            say(&format!("the PostgreSQL ledger: {error}"));
            ExitCode::FAILURE
        }
        (ReviewError::State(_) | ReviewError::NoNode, _) => failed(state, error),
        (ReviewError::Out(error), _) => unwritten(error),
    }
}

/// Says that standard output took nothing more.
pub(super) fn unwritten(error: &std::io::Error) -> ExitCode {
    say(&format!("standard output: {error}"));
    ExitCode::FAILURE
}

/// Says which of the attempts that were counted the database lacks.
pub(super) fn tell(beside: &Beside) {
    let Beside { waiting, dead, sealed, unreadable, .. } = *beside;
    let notes = [
        (waiting, "attempts are counted that wait in the spool and are not in the database yet"),
        (dead, "attempts are counted that the database refused: they are in the dead letters"),
        (sealed, "attempts are counted that have ended and are in the slot file alone"),
        (
            unreadable,
            "rows or files of spool and dead letters cannot be counted: `weir ledger verify` tells those \
             of the spool",
        ),
    ];
    for (count, note) in notes.iter().filter(|(count, _)| *count > 0) {
        say(&format!("{count} {note}"));
    }
}

/// What a spool has, a line for each thing that is to be said.
pub(super) fn spool_lines(spool: &Spooled) -> Vec<String> {
    let Spooled { segments, rows, lost, passed, slots, missing, torn_bytes, foreign, .. } = spool;
    let Spooled { newer, newer_rows, .. } = spool;
    let notes = [
        (
            true,
            format!(
                "spool  {segments} segments, {missing} missing, {rows} rows, {lost} lost, {torn_bytes} torn \
                 bytes, {foreign} segments of others"
            ),
        ),
        (
            *newer > 0,
            format!(
                "  {newer} segments of {newer_rows} rows are a newer version's: start that once"
            ),
        ),
        (
            passed + slots > 0,
            format!(
                "  {passed} rows were lost earlier, and {slots} attempts of damaged slots: losses.jsonl in \
                 the state directory says when"
            ),
        ),
        (spool.strange > 0, format!("  {} lines of losses.jsonl are no losses", spool.strange)),
        (
            spool.endless,
            "  no sound slot file tells how many rows the spool should have".to_owned(),
        ),
    ];
    let others = spool.others.iter().map(|(sink, rows)| {
        format!("  {rows} rows were lost to {sink}: losses.jsonl in the state directory says when")
    });
    notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note).chain(others).collect()
}
