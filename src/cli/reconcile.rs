//! `weir reconcile`: spool, sink and metrics of the running process against each other, and a provider's
//! own export against the ledger.

use super::usage::{Found, Place};
use crate::ledger::invoice::{self, InvoiceError};
use crate::ledger::review::{self, ReviewError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
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
    let found = match args.place.find() {
        Ok(found) => found,
        Err(code) => return code,
    };
    let out = &mut io::stdout().lock();
    let compared = match (&args.usage, &args.provider) {
        (Some(export), Some(provider)) => {
            invoiced(&found, export, provider, &args.column, out).map_err(|error| error.to_string())
        }
        _ => compare(&found, args.metrics.as_deref(), out).map_err(|error| error.to_string()),
    };
    match compared {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::failed(&found.sqlite, &error),
    }
}

/// A provider's export against the ledger; how many sums differ.
fn invoiced(
    found: &Found,
    export: &Path,
    provider: &str,
    columns: &[(String, String)],
    out: &mut impl Write,
) -> Result<u64, InvoiceError> {
    let theirs = invoice::exported(File::open(export).map_err(csv::Error::from)?, columns)?;
    let ours = invoice::recorded(&found.sqlite, provider, &theirs)?;
    let differences = differences(&ours, &theirs);
    let say = |out: &mut dyn Write| -> io::Result<()> {
        for ((day, model, measure), ours, theirs) in &differences {
            let more = theirs - ours;
            writeln!(
                out,
                "  {day} {model} {measure}: {ours} in rows, {theirs} exported ({more:+})"
            )?;
        }
        let sums = ours.len().max(theirs.len());
        writeln!(out, "export: {sums} sums, {} differ", differences.len())
    };
    say(out).map_err(csv::Error::from)?;
    Ok(differences.len() as u64)
}

fn compare(
    found: &Found,
    metrics: Option<&Path>,
    out: &mut impl Write,
) -> Result<u64, ReviewError> {
    let state = found.state.as_deref().ok_or(ReviewError::NoNode)?;
    let metrics = metrics.map(read).transpose()?;
    let epoch = review::newest_epoch(state, &found.sqlite)?;
    writeln!(
        out,
        "epoch {}: {} rows, {} of them only in the spool, {} differ between spool and sink, {} are gone \
         from the sink",
        epoch.epoch, epoch.rows, epoch.undelivered, epoch.differing, epoch.gone
    )?;
    let wrong = epoch.differing + epoch.gone;
    let Some(text) = metrics else { return Ok(wrong) };
    let told = review::metrics_sums(&text);
    let differences = differences(&epoch.sums, &told);
    for ((model, provider, kind), rows, metrics) in &differences {
        writeln!(out, "  {kind} of {model} at {provider}: {rows} in rows, {metrics} in metrics")?;
    }
    writeln!(out, "metrics: {} sums, {} differ", told.len(), differences.len())?;
    Ok(wrong + differences.len() as u64)
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
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
