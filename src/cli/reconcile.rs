//! `weir reconcile`: spool, sink and metrics of the running process against each other, and a provider's
//! own export against the ledger.

use super::place::{Place, blame, tell, unwritten};
use super::progress::Steps;
use super::{failed, say};
use crate::ledger::invoice::{self, InvoiceError};
use crate::ledger::review::{self, Beside, Books, Compared, Epoch, Spooled, Sums};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// The operators' /metrics, saved a moment ago; "-" reads standard input
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// A provider's export of what was used, as CSV: compares it with the ledger and nothing else
    #[arg(long, value_name = "FILE", requires = "provider", conflicts_with = "metrics")]
    usage: Option<PathBuf>,
    /// The provider whose export it is
    #[arg(long, value_name = "SLUG", requires = "usage")]
    provider: Option<String>,
    /// What a column of it stands for, where its header does not say: day, model, attempts, prompt,
    /// input, cache_read, cache_write_5m, cache_write_1h, completion, searches
    #[arg(long, value_name = "HEADER=WHAT", value_parser = column)]
    column: Vec<(String, String)>,
}

fn column(text: &str) -> Result<(String, String), String> {
    let (header, what) = text.rsplit_once('=').ok_or("expected HEADER=WHAT")?;
    Ok((header.to_owned(), what.to_owned()))
}

/// Exit code 1 if anything differs.
pub(super) fn run(args: &Args) -> ExitCode {
    let books = match args.place.find() {
        Ok(books) => books,
        Err(code) => return code,
    };
    let compared = match (&args.usage, &args.provider) {
        (Some(export), Some(provider)) => invoiced(&books, export, provider, &args.column),
        _ if books.state.is_none() => Err(args.place.stateless()),
        _ => compare(&books, args.metrics.as_deref()),
    };
    match compared {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}

/// A provider's export against the ledger; how many sums differ.
fn invoiced(
    books: &Books,
    export: &Path,
    provider: &str,
    columns: &[(String, String)],
) -> Result<u64, ExitCode> {
    let wrong = |error: InvoiceError| match &error {
        InvoiceError::Ledger(error) => blame(books, error),
        InvoiceError::NoProvider { .. } => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
        _ => failed(export, &error),
    };
    let file = File::open(export).map_err(|error| failed(export, &error))?;
    let theirs = invoice::exported(file, columns).map_err(wrong)?;
    let (ours, beside) =
        invoice::recorded(books, provider, &theirs, &Steps::new()).map_err(wrong)?;
    tell(&beside);
    let differences = differences(&ours, &theirs);
    let mut lines = Vec::new();
    for ((day, model, measure), ours, theirs) in &differences {
        let more = theirs - ours;
        lines.push(format!(
            "  {day} {model} {measure}: {ours} in rows, {theirs} exported ({more:+})"
        ));
    }
    let sums = ours.len().max(theirs.len());
    lines.push(format!("export: {sums} sums, {} differ", differences.len()));
    print(&lines)?;
    Ok(differences.len() as u64)
}

/// Spool, sink and metrics against each other; how many things differ.
fn compare(books: &Books, metrics: Option<&Path>) -> Result<u64, ExitCode> {
    let told = metrics.map(told).transpose()?;
    let found = review::compare(books, &Steps::new()).map_err(|error| blame(books, &error))?;
    let (mut lines, mut wrong) = epochs(&found);
    if let Some(told) = told {
        let differences = differences(&found.sums, &told);
        for ((model, provider, kind), rows, metrics) in &differences {
            lines.push(format!(
                "  {kind} of {model} at {provider}: {rows} in rows, {metrics} in metrics"
            ));
        }
        lines.push(format!(
            "metrics: {} sums of epoch {}, the one that runs, {} differ",
            told.len(),
            found.newest,
            differences.len()
        ));
        wrong += differences.len() as u64;
    }
    print(&lines)?;
    Ok(wrong)
}

/// A line for each epoch that there is something to say of, and how many things are wrong.
fn epochs(found: &Compared) -> (Vec<String>, u64) {
    let Spooled { lost, missing, foreign, .. } = found.spool;
    let (mut lines, mut wrong) = (Vec::new(), lost + missing + foreign);
    let alone = |(number, epoch): &(&u64, &Epoch)| {
        **number != found.newest && epoch.differing == 0 && epoch.beside == Beside::default()
    };
    let (stored, other): (Vec<_>, Vec<_>) = found.epochs.iter().partition(alone);
    if let (Some((first, _)), Some((last, _))) = (stored.first(), stored.last()) {
        let rows: u64 = stored.iter().map(|(_, epoch)| epoch.stored).sum();
        lines.push(format!(
            "epochs {first} to {last}: {rows} rows of {} epochs, in the sink alone",
            stored.len()
        ));
    }
    for (number, epoch) in other {
        let Beside { waiting, gone, dead, .. } = epoch.beside;
        lines.push(format!(
            "epoch {number}: {} rows, {waiting} of them only in the spool, {} differ between spool and \
             sink, {gone} are gone from the sink, {dead} are dead letters",
            epoch.rows(),
            epoch.differing
        ));
        wrong += epoch.differing + gone + dead;
    }
    if lost + missing + foreign > 0 {
        lines.push(format!(
            "spool: {lost} rows lost, {missing} segments missing, {foreign} of others"
        ));
    }
    (lines, wrong)
}

fn print(lines: &[String]) -> Result<(), ExitCode> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(|error| unwritten(&error))
}

/// The sums of a page of metrics.
fn told(path: &Path) -> Result<Sums, ExitCode> {
    let text = match path == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| failed(path, &error))?;
    if !text.lines().any(|line| line.starts_with("weir_")) {
        return Err(failed(path, &"there is no metric of Weir's in it"));
    }
    Ok(review::metrics_sums(&text))
}

/// What two places say differently, absence being zero.
fn differences<K: Ord + Clone>(
    ours: &BTreeMap<K, i128>,
    theirs: &BTreeMap<K, i128>,
) -> Vec<(K, i128, i128)> {
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let sum = |sums: &BTreeMap<K, i128>, key| sums.get(key).copied().unwrap_or(0);
    let each = keys.into_iter().map(|key| (key.clone(), sum(ours, key), sum(theirs, key)));
    each.filter(|(_, ours, theirs)| ours != theirs).collect()
}
