//! `weir drain`: from what carries records to where they are kept.

use super::{progress, say};
use crate::config::connection_string;
use crate::ledger::Target;
use crate::ledger::drain::{Drained, Drainer, Route};
use secrecy::SecretString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Pause after an error: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What carries the records
    #[arg(long, value_enum)]
    from: From,
    /// Where they are kept
    #[arg(long, value_enum)]
    to: To,
    /// File with the NATS servers; default: the systemd credential ledger-nats
    #[arg(long, value_name = "FILE")]
    nats: Option<PathBuf>,
    /// Name of the JetStream stream
    #[arg(long, default_value = "weir")]
    stream: String,
    /// File with the connection string; default: the systemd credential ledger-postgres
    #[arg(long, value_name = "FILE")]
    postgres: Option<PathBuf>,
    /// Directory for rows that the database refuses for good
    #[arg(long, value_name = "DIR", default_value = ".")]
    dead_letters: PathBuf,
    /// End when nothing is left, instead of waiting for more; or when a server has refused for --patience
    #[arg(long)]
    until_empty: bool,
    /// Seconds for which a server may refuse for a reason that passes, with --until-empty
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    Nats,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum To {
    Postgres,
}

/// Runs until it is ended, or until nothing is left. It may be ended at any moment.
pub(super) fn run(args: &Args) -> ExitCode {
    let (From::Nats, To::Postgres) = (args.from, args.to);
    let urls = match secret(args.nats.as_deref(), "ledger-nats") {
        Ok(urls) => urls,
        Err(code) => return code,
    };
    let to = match secret(args.postgres.as_deref(), "ledger-postgres") {
        Ok(url) => Target::Postgres(url),
        Err(code) => return code,
    };
    let (stream, dead_letters) = (args.stream.clone(), args.dead_letters.clone());
    let route = Route { urls, stream, to, dead_letters };
    let aside = route.aside();
    match Drainer::new(route) {
        Ok(mut drainer) => {
            let patience = args.until_empty.then(|| Duration::from_secs(args.patience));
            drain(&mut drainer, &aside, patience)
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The file that was named, else what systemd loaded under this name.
fn secret(file: Option<&Path>, credential: &str) -> Result<SecretString, ExitCode> {
    let loaded = || Some(Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(credential));
    let Some(path) = file.map(Path::to_owned).or_else(loaded) else {
        let option = credential.trim_start_matches("ledger-");
        say(&format!("say where to connect to: --{option} FILE, or the credential {credential}"));
        return Err(ExitCode::FAILURE);
    };
    connection_string(&path).map_err(|why| super::failed(&path, &why))
}

/// With `patience` until nothing is left, or a server has refused for that long.
fn drain(drainer: &mut Drainer, aside: &Path, patience: Option<Duration>) -> ExitCode {
    let bar = progress::rows(0);
    let (mut pause, mut drained, mut refused) = (BACKOFF.0, Drained::default(), None);
    loop {
        match drainer.step() {
            Ok(Some(now)) => {
                if now.conflicts + now.dead > drained.conflicts + drained.dead {
                    bar.suspend(|| say(&summary(&now)));
                }
                (pause, drained, refused) = (BACKOFF.0, now, None);
            }
            Ok(None) if patience.is_some() => break,
            Ok(None) => (pause, refused) = (BACKOFF.0, None),
            Err(error) => {
                let since: Instant = *refused.get_or_insert_with(Instant::now);
                if !error.passes() || patience.is_some_and(|limit| since.elapsed() >= limit) {
                    bar.finish_and_clear();
                    say(&error.to_string());
                    say(&summary(&drained));
                    told_aside(&drained, aside);
                    return ExitCode::FAILURE;
                }
                bar.suspend(|| say(&format!("{error}; trying again")));
                std::thread::sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
        let done = drained.rows + drained.duplicates;
        bar.set_length(done + drained.left);
        bar.set_position(done);
    }
    bar.finish_and_clear();
    drop(writeln!(io::stdout(), "{}", summary(&drained)));
    told_aside(&drained, aside);
    if drained.conflicts + drained.dead == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says where the rows are that were laid aside.
fn told_aside(drained: &Drained, aside: &Path) {
    if drained.dead > 0 {
        say(&format!(
            "{}: what was laid aside; `weir usage --dead-letters` counts its rows, `weir ledger redeliver` offers \
             them again",
            aside.display()
        ));
    }
}

fn summary(drained: &Drained) -> String {
    let Drained { rows, duplicates, conflicts, dead, .. } = drained;
    format!(
        "{rows} rows, {duplicates} known already, {conflicts} known with other content, {dead} laid \
         aside"
    )
}
