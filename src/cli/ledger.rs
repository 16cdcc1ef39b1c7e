//! `weir ledger`: is it whole, and what is in it.

use super::place::{Place, blame};
use super::progress::Steps;
use super::{redeliver, say};
use crate::ledger::review::{self, Books, Form, ReviewError};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
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
    /// Print every row of the database; exit code 1 if one cannot be read
    Export(Export),
    /// Offer the dead letters once more to the database that refused them; exit code 1 if it refuses one
    Redeliver(redeliver::Args),
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
    match &args.command {
        Command::Verify(place) => report(place, |books, out| verify(books, out)),
        Command::Export(of) => {
            let form = if of.csv { Form::Csv } else { Form::Json };
            report(&of.place, |books, out| export(books, form, out))
        }
        Command::Redeliver(args) => redeliver::run(args),
    }
}

/// Prints a report, which says whether all is well.
fn report(
    place: &Place,
    print: impl FnOnce(&Books, &mut BufWriter<StdoutLock<'_>>) -> Result<bool, ReviewError>,
) -> ExitCode {
    let books = match place.find() {
        Ok(books) => books,
        Err(code) => return code,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = print(&books, &mut out);
    match result.and_then(|whole| out.flush().map(|()| whole).map_err(ReviewError::Out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => blame(&books, &error),
    }
}

fn export(books: &Books, form: Form, out: &mut impl Write) -> Result<bool, ReviewError> {
    // Not between rows that are looked at.
    let steps = if io::stdout().is_terminal() { Steps::hidden() } else { Steps::new() };
    let skip = |bad: &str| steps.suspend(|| say(&format!("passed over {bad}")));
    let skipped = review::export(books, form, out, skip, &steps)?;
    if skipped > 0 {
        say(&format!("{skipped} rows cannot be read and are not printed"));
    }
    Ok(skipped == 0)
}

fn verify(books: &Books, out: &mut impl Write) -> Result<bool, ReviewError> {
    let steps = Steps::new();
    let spool = books.state.as_deref().map(|state| review::spooled(state, &steps)).transpose()?;
    let found = review::check(books, &steps)?;
    drop(steps);
    let sound = spool.as_ref().is_none_or(|spool| spool.lost + spool.missing + spool.foreign == 0);
    let print = |out: &mut dyn Write| {
        if let Some(spool) = spool {
            writeln!(
                out,
                "spool  {} segments, {} missing, {} rows, {} lost, {} torn bytes, {} segments of others",
                spool.segments,
                spool.missing,
                spool.rows,
                spool.lost,
                spool.torn_bytes,
                spool.foreign
            )?;
        }
        writeln!(
            out,
            "{} {} rows, {} wrong, {} price versions, {} quarantined",
            books.base.name(),
            found.rows,
            found.wrong,
            found.prices,
            found.quarantined
        )?;
        found.told.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        match found.wrong - found.told.len() as u64 {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more"),
        }
    };
    print(out).map_err(ReviewError::Out)?;
    Ok(sound && found.wrong == 0)
}
