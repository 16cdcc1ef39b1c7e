//! `weir reconcile`: spool, sink and metrics of the running process against each other.

use super::usage::{Found, Place};
use crate::ledger::review::{self, ReviewError, Sums};
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
}

/// Exit code 1 if anything differs.
pub(super) fn run(args: &Args) -> ExitCode {
    let found = match args.place.find() {
        Ok(found) => found,
        Err(code) => return code,
    };
    match compare(&found, args.metrics.as_deref(), &mut io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::failed(&found.sqlite, &error),
    }
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
        "epoch {}: {} rows, {} of them only in the spool, {} differ between spool and sink",
        epoch.epoch, epoch.rows, epoch.undelivered, epoch.differing
    )?;
    let Some(text) = metrics else { return Ok(epoch.differing) };
    let told = review::metrics_sums(&text);
    let differences = differences(&epoch.sums, &told);
    for (label, rows, metrics) in &differences {
        writeln!(out, "  {label}: {rows} in rows, {metrics} in metrics")?;
    }
    writeln!(out, "metrics: {} sums, {} differ", told.len(), differences.len())?;
    Ok(epoch.differing + differences.len() as u64)
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}

fn differences(rows: &Sums, metrics: &Sums) -> Vec<(String, i128, i128)> {
    let labels: std::collections::BTreeSet<_> = rows.keys().chain(metrics.keys()).collect();
    let sum = |sums: &Sums, label| sums.get(label).copied().unwrap_or(0);
    let each = labels.into_iter().map(|label| (label, sum(rows, label), sum(metrics, label)));
    each.filter(|(_, rows, metrics)| rows != metrics)
        .map(|((model, provider, kind), rows, metrics)| {
            (format!("{kind} of {model} at {provider}"), rows, metrics)
        })
        .collect()
}
