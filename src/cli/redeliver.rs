//! `weir ledger redeliver`: what was laid aside goes to its database after all.

use super::place::{Place, blame, unwritten};
use super::progress::Steps;
use super::{failed, say};
use crate::ledger::redeliver::{RedeliverError, Redelivered, redeliver, respool};
use crate::ledger::review::ReviewError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Directory of the dead letters, where it is not the state directory
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// A segment of a spool instead, of whatever node, as one that was set aside
    #[arg(long, value_name = "FILE", conflicts_with = "dead_letters")]
    segment: Option<PathBuf>,
}

/// Exit code 1 if a row is refused again.
pub(super) fn run(args: &Args) -> ExitCode {
    let books = match args.place.find() {
        Ok(books) => books,
        Err(code) => return code,
    };
    let directory = args.dead_letters.as_ref().or(books.state.as_ref());
    let done = match (&args.segment, directory) {
        (Some(segment), _) => respool(segment, &books, &Steps::new()),
        (None, Some(directory)) => redeliver(directory, &books.base, &Steps::new()),
        (None, None) => return args.place.stateless(),
    };
    let done = match done {
        Ok(done) => done,
        Err(RedeliverError::Review(ReviewError::State(error))) if args.segment.is_some() => {
            return failed(args.segment.as_deref().unwrap_or(Path::new("")), &error);
        }
        Err(RedeliverError::Review(error)) => return blame(&books, &error),
        Err(error @ RedeliverError::Sink(_)) => {
            say(&format!("the ledger ({}): {error}", books.base.name()));
            return ExitCode::FAILURE;
        }
    };
    let Redelivered { taken, known, conflicts, refused, strange } = done;
    let told = writeln!(
        io::stdout(),
        "{taken} rows, {known} known already, {conflicts} known with other content, {refused} refused again, \
         {strange} that are no rows or cannot be read"
    );
    match (told, conflicts + refused + strange) {
        (Err(error), _) => unwritten(&error),
        (Ok(()), 0) => ExitCode::SUCCESS,
        (Ok(()), _) => ExitCode::FAILURE,
    }
}
