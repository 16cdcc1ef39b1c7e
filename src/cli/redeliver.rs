//! `weir ledger redeliver`: what was laid aside goes to its database after all.

use super::place::{Place, blame, unwritten};
use super::progress::Steps;
use super::say;
use crate::ledger::redeliver::{RedeliverError, Redelivered, redeliver};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Directory of the dead letters, where it is not the state directory
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
}

/// Exit code 1 if a row is refused again.
pub(super) fn run(args: &Args) -> ExitCode {
    let books = match args.place.find() {
        Ok(books) => books,
        Err(code) => return code,
    };
    let Some(directory) = args.dead_letters.as_ref().or(books.state.as_ref()) else {
        return args.place.stateless();
    };
    let done = match redeliver(directory, &books.base, &Steps::new()) {
        Ok(done) => done,
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
         {strange} lines that are no rows"
    );
    match (told, conflicts + refused + strange) {
        (Err(error), _) => unwritten(&error),
        (Ok(()), 0) => ExitCode::SUCCESS,
        (Ok(()), _) => ExitCode::FAILURE,
    }
}
