//! `weir ledger`: is it whole, and what is in it.

use super::progress;
use super::usage::Place;
use crate::ledger::review::{self, Form, ReviewError};
use indicatif::ProgressBar;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compute every row anew from itself and the price table, and read every segment of the spool; exit
    /// code 1 if anything is wrong
    Verify(Place),
    /// Print every row
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    place: Place,
    /// Comma-separated values instead of a JSON object a line
    #[arg(long)]
    csv: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let place = match &args.command {
        Command::Verify(place) => place,
        Command::Export(export) => &export.place,
    };
    let found = match place.find() {
        Ok(found) => found,
        Err(code) => return code,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let bar = match &args.command {
        // Not between rows that are looked at.
        Command::Export(_) if io::stdout().is_terminal() => ProgressBar::hidden(),
        _ => progress::rows(review::rows(&found.sqlite).unwrap_or(0)),
    };
    let result = match &args.command {
        Command::Verify(_) => verify(found.state.as_deref(), &found.sqlite, &bar, &mut out),
        Command::Export(export) => {
            let form = if export.csv { Form::Csv } else { Form::Json };
            review::export(&found.sqlite, form, &mut out, || bar.inc(1)).map(|()| true)
        }
    };
    bar.finish_and_clear();
    let result = result.and_then(|whole| Ok(out.flush().map(|()| whole)?));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::failed(&found.sqlite, &error),
    }
}

fn verify(
    state: Option<&Path>,
    sqlite: &Path,
    bar: &ProgressBar,
    out: &mut impl Write,
) -> Result<bool, ReviewError> {
    let mut whole = true;
    if let Some(state) = state {
        let spool = review::spooled(state)?;
        whole &= spool.lost == 0 && spool.missing == 0 && spool.foreign == 0;
        writeln!(
            out,
            "spool  {} segments, {} missing, {} rows, {} lost, {} torn bytes, {} segments of others",
            spool.segments, spool.missing, spool.rows, spool.lost, spool.torn_bytes, spool.foreign
        )?;
    }
    let found = review::check(sqlite, || bar.inc(1))?;
    whole &= found.wrong.is_empty();
    writeln!(
        out,
        "sqlite {} rows, {} wrong, {} price versions, {} quarantined",
        found.rows,
        found.wrong.len(),
        found.prices,
        found.quarantined
    )?;
    found.wrong.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    Ok(whole)
}
