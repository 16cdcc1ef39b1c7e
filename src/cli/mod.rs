//! The command line: one file per subcommand.

mod catalog;
mod check;
mod demo;
mod drain;
mod explain;
mod key;
mod ledger;
mod place;
mod progress;
mod reconcile;
mod redeliver;
mod run;
mod usage;

use clap::{Parser, Subcommand};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// One edge proxy and one API key in front of every model and provider.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a configuration directory until SIGTERM
    Run(run::Args),
    /// Serve simulated providers with a key to try: nothing to configure
    Demo(demo::Args),
    /// Print totals of the ledger by key, workspace, model, provider or day
    Usage(usage::Args),
    /// Check or print the ledger's rows
    Ledger(ledger::Args),
    /// Move records from a NATS stream into a database
    Drain(drain::Args),
    /// Compare spool, sink and metrics of a running Weir with each other
    Reconcile(reconcile::Args),
    /// Check a configuration directory: print what it holds, or everything that is wrong with it
    Check(check::Args),
    /// Compare catalogues
    Catalog(catalog::Args),
    /// Say which endpoints a request would be tried at, in which order, and why not at the others
    Explain(explain::Args),
    /// Make API keys
    Key(key::Args),
}

/// Says what went wrong with a file.
fn failed(path: &Path, error: &impl Display) -> ExitCode {
    say(&format!("{}: {error}", path.display()));
    ExitCode::FAILURE
}

/// Standard error may be closed: the exit code says it all then.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "weir: {text}"));
}

/// Runs the command of the process's arguments. Before any of them reads a secret, the process gives
/// up core files and being looked into by others of its user (S19).
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        drop(writeln!(io::stderr(), "weir: core files cannot be turned off: {error}"));
        return ExitCode::FAILURE;
    }
    match command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Usage(args) => usage::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Catalog(args) => catalog::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Key(args) => key::run(&args),
    }
}
