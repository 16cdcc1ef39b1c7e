//! `weir catalog`: what another catalogue would change.

use super::check;
use crate::catalog::{Catalog, Fate, diff};
use crate::config;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List providers, models and endpoints that another catalogue adds, removes, reprices or changes
    Diff(Diff),
}

#[derive(Debug, clap::Args)]
struct Diff {
    /// Directory of the other catalogue: providers.toml and models.toml
    #[arg(value_name = "DIR")]
    other: PathBuf,
    /// Directory of the catalogue it is compared with
    #[arg(long, value_name = "DIR", default_value = "conf/catalog")]
    against: PathBuf,
}

/// Exit code 1 if a catalogue cannot be read; a reader who went away is no failure.
pub(super) fn run(args: &Args) -> ExitCode {
    let Command::Diff(args) = &args.command;
    let (Some(old), Some(new)) = (load(&args.against), load(&args.other)) else {
        return ExitCode::FAILURE;
    };
    let _ = print(&old, &new, &mut io::stdout().lock());
    ExitCode::SUCCESS
}

fn load(directory: &Path) -> Option<Catalog> {
    let problems = match config::load_catalog(directory) {
        Ok(catalog) => return Some(catalog),
        Err(problems) => problems,
    };
    let _ = check::list(&problems, &mut io::stderr().lock());
    None
}

fn print(old: &Catalog, new: &Catalog, out: &mut impl Write) -> io::Result<()> {
    let changes = diff(old, new);
    for change in &changes {
        writeln!(out, "{change}")?;
    }
    let count = |fate| {
        changes.iter().filter(|change| change.what == "endpoint" && change.fate == fate).count()
    };
    let [added, removed] = [Fate::Added, Fate::Removed].map(count);
    let [repriced, changed] = [Fate::Repriced, Fate::Changed].map(count);
    writeln!(
        out,
        "endpoints: {added} added, {removed} removed, {repriced} repriced, {changed} changed"
    )
}
