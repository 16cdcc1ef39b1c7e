//! `weir usage`: totals from the ledger.

use super::place::{Place, blame, tell, unwritten};
use super::progress::Steps;
use crate::ledger::report::{self, By, Usage};
use crate::ledger::review::Books;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// What a row stands for
    #[arg(long, value_enum, default_value_t = Group::Model)]
    by: Group,
    /// Directory of dead letters beside those of the state directory, as of `weir drain`
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// Comma-separated values instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Group {
    Key,
    Workspace,
    Model,
    Provider,
    Day,
}

impl From<Group> for By {
    fn from(group: Group) -> Self {
        match group {
            Group::Key => Self::Key,
            Group::Workspace => Self::Workspace,
            Group::Model => Self::Model,
            Group::Provider => Self::Provider,
            Group::Day => Self::Day,
        }
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    let books = match args.place.find() {
        Ok(books) => Books { dead_letters: args.dead_letters.clone(), ..books },
        Err(code) => return code,
    };
    let Usage { rows, generations, beside } =
        match report::usage(&books, args.by.into(), &Steps::new()) {
            Ok(found) => found,
            Err(error) => return blame(&books, &error),
        };
    let text = match (args.csv, args.json) {
        (true, _) => report::csv(&rows),
        (_, true) => report::json(&rows),
        _ => report::table(&rows, generations),
    };
    tell(&beside);
    match write!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unwritten(&error),
    }
}
