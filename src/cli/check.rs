//! `weir check`: what a configuration holds, or everything that is wrong with it.

use crate::config::problem::Problem;
use crate::config::{self, Loaded};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of weir.toml, providers.toml, models.toml and keys.toml
    #[arg(long, value_name = "DIR", default_value = "conf")]
    conf: PathBuf,
}

/// Exit code 1 if there is a problem; a reader who went away is none.
pub(super) fn run(args: &Args) -> ExitCode {
    match config::load(&args.conf) {
        Ok(loaded) => {
            let _ = summary(&loaded, &mut io::stdout().lock());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let _ = list(&problems, &mut io::stderr().lock());
            ExitCode::FAILURE
        }
    }
}

pub(super) fn list(problems: &[Problem], out: &mut impl Write) -> io::Result<()> {
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    Ok(())
}

fn summary(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let catalog = &loaded.catalog;
    for listener in &loaded.settings.listeners {
        let tls = if listener.tls.is_some() { " (tls)" } else { "" };
        writeln!(out, "listen    {}{tls}", listener.address)?;
    }
    writeln!(out, "operators {}", loaded.settings.admin.address)?;
    for model in catalog.models() {
        let tags: Vec<&str> = model.endpoints.iter().map(|endpoint| &*endpoint.tag).collect();
        writeln!(out, "model     {}: {}", model.slug, tags.join(", "))?;
    }
    for dormant in catalog.dormant() {
        writeln!(
            out,
            "dormant   {} ({}): {}",
            dormant.provider,
            plural(dormant.endpoints, "endpoint"),
            dormant.reason
        )?;
    }
    let is_said = |text: &str| catalog.dormant().iter().any(|dormant| dormant.reason == text);
    for notice in loaded.notices.iter().filter(|notice| !is_said(&notice.message)) {
        writeln!(out, "notice    {notice}")?;
    }
    writeln!(
        out,
        "ok: {}, {}, {}, {}",
        plural(catalog.models().count(), "model"),
        plural(catalog.endpoints().count(), "endpoint"),
        plural(catalog.providers().count(), "provider"),
        plural(loaded.keys.len(), "key"),
    )
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
