//! `weir usage`: totals from the ledger.

use crate::config;
use crate::ledger::report::{self, By};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration directory; it says where the ledger is
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    conf: Option<PathBuf>,
    /// Ledger database, where it is not the configuration's
    #[arg(long, value_name = "FILE", required_unless_present = "conf")]
    ledger: Option<PathBuf>,
    /// What a row stands for
    #[arg(long, value_enum, default_value_t = Group::Model)]
    by: Group,
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
    let sqlite = match (&args.ledger, &args.conf) {
        (Some(file), _) => file.clone(),
        (None, Some(directory)) => match config::load(directory) {
            Ok(loaded) => loaded.settings.ledger.sqlite,
            Err(problems) => {
                return super::run::ended(Err(crate::server::StartError::Configuration(problems)));
            }
        },
        (None, None) => return ExitCode::FAILURE,
    };
    let result = report::usage(&sqlite, args.by.into())
        .map_err(|error| error.to_string())
        .and_then(|rows| {
            write!(std::io::stdout(), "{}", report::table(&rows)).map_err(|error| error.to_string())
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let said = writeln!(std::io::stderr(), "weir: {}: {error}", sqlite.display());
            drop(said);
            ExitCode::FAILURE
        }
    }
}
