//! `weir explain`: what selection makes of a request, without sending it and without live state.

use super::check;
use crate::choose::{Explanation, Request};
use crate::config::{self, Loaded};
use crate::edge::clock::wall_us;
use crate::endpoint::Report;
use crate::metrics::Metrics;
use crate::selection::Facts;
use crate::snapshot::{Live, Snapshot};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of weir.toml, providers.toml, models.toml and keys.toml
    #[arg(long, value_name = "DIR", default_value = "conf")]
    conf: PathBuf,
    /// Name of the key that would send it: what holds for it and its workspace holds
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Seed of the draw
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// A header field it would have, for rules and conversations; may be given more than once
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The request's JSON body; - reads standard input
    #[arg(value_name = "FILE")]
    request: PathBuf,
}

/// Exit code 1 if the request could not be tried, 2 if it could not be explained.
pub(super) fn run(args: &Args) -> ExitCode {
    let loaded = match config::load(&args.conf) {
        Ok(loaded) => loaded,
        Err(problems) => {
            let _ = check::list(&problems, &mut io::stderr().lock());
            return ExitCode::from(2);
        }
    };
    match body(&args.request).and_then(|body| explain(args, loaded, &body)) {
        Ok(Explanation { text, tried }) => {
            let _ = io::stdout().lock().write_all(text.as_bytes());
            if tried { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            let _ = writeln!(io::stderr().lock(), "{problem}");
            ExitCode::from(2)
        }
    }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "not the name of a header field")?;
    let value = value.trim().parse().map_err(|_| "not the value of a header field")?;
    Ok((name, value))
}

fn body(path: &Path) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut body).map(|_| body),
        _ => std::fs::read(path),
    };
    read.map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

fn explain(args: &Args, loaded: Loaded, body: &[u8]) -> Result<Explanation, String> {
    let Loaded { settings, catalog, keys, rules, .. } = loaded;
    let caller = keys.named(args.key.as_deref(), &settings.constraint)?;
    let headers: HeaderMap = args.header.iter().cloned().collect();
    let metrics = Metrics::new(&prometheus::Registry::new()).map_err(|error| error.to_string())?;
    let live = Live::default();
    let snapshot = Snapshot::build(Arc::new(settings), &catalog, rules, &live, &metrics)
        .map_err(|error| error.to_string())?;
    Ok(Explanation::of(body, |envelope| {
        let request = Request {
            snapshot: &snapshot,
            caller: &caller,
            envelope,
            headers: &headers,
            body,
            facts: &|_| Facts::default(),
            report: &|_| Report::default(),
            last: &|_| None,
            seed: args.seed,
            dry: true,
            now_us: wall_us(),
        };
        request.explain()
    }))
}
