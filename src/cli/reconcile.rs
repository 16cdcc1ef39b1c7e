//! `weir reconcile`: spool, sink and metrics of the running process against each other, and a provider's
//! own export against the ledger.

use super::place::{Place, blame, spool_lines, tell, unwritten};
use super::progress::Steps;
use super::{failed, say};
use crate::ledger::invoice::{self, Export, InvoiceError};
use crate::ledger::review::{self, Balance, Beside, Books, Compared, Epoch, Told};
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
    /// The database is not to have every row: it was added later, or older rows were deleted from it
    #[arg(long)]
    partial: bool,
    /// Directory of dead letters beside those of the state directory, as of `weir drain`
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// A provider's export of what was used, as CSV: compares it with the ledger and nothing else
    #[arg(long, value_name = "FILE", requires = "provider", conflicts_with_all = ["metrics", "partial"])]
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
        Ok(books) => Books { dead_letters: args.dead_letters.clone(), ..books },
        Err(code) => return code,
    };
    let compared = match (&args.usage, &args.provider) {
        (Some(export), Some(provider)) => invoiced(&books, export, provider, &args.column),
        _ if books.state.is_none() => Err(args.place.stateless()),
        _ => compare(&books, args),
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
    let Export { account: theirs, skipped } = invoice::exported(file, columns).map_err(wrong)?;
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
    if skipped > 0 {
        say(&format!("{skipped} lines without a day, as of totals, are passed over"));
    }
    lines.push(format!("export: {sums} sums, {} differ", differences.len()));
    print(&lines)?;
    Ok(differences.len() as u64)
}

/// Spool, sink and metrics against each other; how many things are wrong.
fn compare(books: &Books, args: &Args) -> Result<u64, ExitCode> {
    let told = args.metrics.as_deref().map(told).transpose()?;
    let found = review::compare(books, &Steps::new()).map_err(|error| blame(books, &error))?;
    let (mut lines, mut wrong) = epochs(&found);
    wrong += found.spool.wrong();
    if found.spool.wrong() > 0 {
        lines.extend(spool_lines(&found.spool));
    }
    if let Some(unread) = found.damaged {
        lines.push(format!(
            "sink: damaged, {unread} rows cannot be read; what can be is counted and nothing compared"
        ));
        wrong += 1 + unread;
    } else {
        wrong += balance(&found, args.partial, &mut lines);
        wrong += told.map_or(0, |told| metrics(&found, &told, &mut lines));
    }
    print(&lines)?;
    if found.balance.is_none() && found.epochs.values().any(|epoch| epoch.stored > 0) {
        say(
            "the database has no cursor of this node, as where `weir drain` fills it: what it was given and lacks \
             since cannot be told, and what is on its way to it counts as waiting",
        );
    }
    Ok(wrong)
}

/// Says what became of the rows that the sink has come past, unless it has them all. How many are gone, beyond
/// those that the epochs tell.
fn balance(found: &Compared, partial: bool, lines: &mut Vec<String>) -> u64 {
    let Some(balance) = found.balance.filter(|balance| !partial && balance.gone() > 0) else {
        return 0;
    };
    let Balance { delivered, stored, dead, lost } = balance;
    lines.push(format!(
        "sink: {delivered} rows were delivered, {stored} are in the database, {dead} are dead letters, {lost} were \
         lost before: {} are gone from it (--partial: older ones were deleted on purpose)",
        balance.gone()
    ));
    let told: u64 = found.epochs.values().map(|epoch| epoch.beside.gone).sum();
    balance.gone().saturating_sub(told)
}

/// Says what metrics tell otherwise than rows; how many things are wrong.
fn metrics(found: &Compared, told: &Told, lines: &mut Vec<String>) -> u64 {
    // A page of metrics has floating-point numbers: beyond 2^53 the last digits are not in it.
    let exact = |(_, rows, metrics): &(_, i128, i128)| *rows as f64 != *metrics as f64;
    let mut differences = differences(&found.sums, &told.sums);
    differences.retain(exact);
    for ((model, provider, kind), rows, metrics) in &differences {
        lines.push(format!(
            "  {kind} of {model} at {provider}: {rows} in rows, {metrics} in metrics"
        ));
    }
    lines.extend(
        told.alarms.iter().map(|(count, what)| format!("  {count} {what}, say the metrics")),
    );
    lines.push(format!(
        "metrics: {} sums of epoch {}, the one that runs, {} differ",
        told.sums.len(),
        found.newest,
        differences.len()
    ));
    (differences.len() + told.alarms.len()) as u64
}

/// A line for each epoch that there is something to say of, and how many things are wrong.
fn epochs(found: &Compared) -> (Vec<String>, u64) {
    let (mut lines, mut wrong) = (Vec::new(), 0);
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
    (lines, wrong)
}

fn print(lines: &[String]) -> Result<(), ExitCode> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(|error| unwritten(&error))
}

/// What a page of metrics tells.
fn told(path: &Path) -> Result<Told, ExitCode> {
    let text = match path == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| failed(path, &error))?;
    review::told(&text).ok_or_else(|| failed(path, &"there is no metric of Weir's in it"))
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
