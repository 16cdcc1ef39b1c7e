//! `weir key new`: makes a key and shows it once.

use crate::access::NewKey;
use crate::config;
use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::ExposeSecret;
use std::io::{self, Write};
use std::process::ExitCode;
use zeroize::Zeroizing;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a new key, once, and the block to add to keys.toml
    New(New),
}

#[derive(Debug, clap::Args)]
struct New {
    /// What to call the key
    #[arg(long, default_value = "default", value_parser = |text: &str| config::title(text.to_owned()))]
    name: String,
    /// Workspace that pays
    #[arg(long, default_value = "default", value_parser = |text: &str| config::slug(text.to_owned()))]
    workspace: String,
}

/// Exit code 1 if the system gives no randomness or the key could not be printed.
pub(super) fn run(args: &Args) -> ExitCode {
    let Command::New(new) = &args.command;
    match print(new, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "no key was made: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(new: &New, out: &mut impl Write) -> io::Result<()> {
    let mut random = Zeroizing::new([0; 32]);
    OsRng.try_fill_bytes(random.as_mut()).map_err(io::Error::other)?;
    let made = NewKey::from_random(&random);
    let quoted = |text: &str| toml::Value::from(text).to_string();
    writeln!(out, "{}\n", made.key.expose_secret())?;
    writeln!(out, "# The line above is shown this once. Add this to keys.toml, then send SIGHUP:")?;
    writeln!(out, "[[key]]")?;
    writeln!(out, "name = {}", quoted(&new.name))?;
    writeln!(out, "hash = \"{}\"", made.handle)?;
    writeln!(out, "workspace = {}", quoted(&new.workspace))
}
