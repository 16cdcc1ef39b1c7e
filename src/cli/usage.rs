//! `weir usage`: totals from the ledger.

use crate::config::{self, Loaded};
use crate::ledger::report::{self, By};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where a ledger is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Configuration directory; it says where the ledger is
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    conf: Option<PathBuf>,
    /// Ledger database, where it is not the configuration's
    #[arg(long, value_name = "FILE", required_unless_present = "conf")]
    ledger: Option<PathBuf>,
}

/// What a [`Place`] comes to.
pub(super) struct Found {
    pub(super) sqlite: PathBuf,
    /// Known where there is a configuration.
    pub(super) state: Option<PathBuf>,
}

impl Place {
    /// Reads the configuration if need be; an error has been said.
    pub(super) fn find(&self) -> Result<Found, ExitCode> {
        let found = self.named()?;
        if found.sqlite.exists() {
            return Ok(found);
        }
        let here =
            if found.sqlite.is_relative() { ", seen from the current directory" } else { "" };
        let error = format!("there is no ledger here{here}; `weir run` begins one when it starts");
        Err(super::failed(&found.sqlite, &error))
    }

    fn named(&self) -> Result<Found, ExitCode> {
        match (&self.ledger, &self.conf) {
            (Some(file), _) => Ok(Found { sqlite: file.clone(), state: None }),
            (None, Some(directory)) => match config::load(directory) {
                Ok(Loaded { settings, .. }) => Ok(Found {
                    sqlite: settings.ledger.sqlite,
                    state: Some(settings.state_directory),
                }),
                Err(problems) => {
                    Err(super::run::ended(Err(crate::server::StartError::Configuration(problems))))
                }
            },
            (None, None) => Err(ExitCode::FAILURE),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// What a row stands for
    #[arg(long, value_enum, default_value_t = Group::Model)]
    by: Group,
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
    let sqlite = match args.place.find() {
        Ok(found) => found.sqlite,
        Err(code) => return code,
    };
    let result = report::usage(&sqlite, args.by.into())
        .map_err(|error| error.to_string())
        .and_then(|rows| {
            let text = match (args.csv, args.json) {
                (true, _) => report::csv(&rows),
                (_, true) => report::json(&rows),
                _ => report::table(&rows),
            };
            write!(std::io::stdout(), "{text}").map_err(|error| error.to_string())
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failed(&sqlite, &error),
    }
}
