//! `weir run`.

use crate::server::{self, StartError};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory with weir.toml, providers.toml, models.toml and keys.toml
    #[arg(long, value_name = "DIR")]
    conf: PathBuf,
}

pub(super) fn run(args: &Args) -> ExitCode {
    ended(server::run(&args.conf))
}

/// The exit code, with every reason on standard error.
pub(super) fn ended(result: Result<(), StartError>) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let written = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(StartError::Configuration(problems)) => {
            problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))
        }
        Err(error) => writeln!(out, "weir: {error}"),
    };
    // Standard error is closed: the exit code says it all.
    drop(written);
    ExitCode::FAILURE
}
