//! `weir explain`: what selection makes of a request, without sending it and without live state.

use super::check;
use crate::access::Caller;
use crate::choose::{Planned, Request};
use crate::config::{self, Loaded};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::price::format_usd;
use crate::request::envelope;
use crate::request::route::Operation;
use crate::selection::{Constraint, Facts, Score};
use crate::snapshot::{Live, Snapshot};
use http::HeaderMap;
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
        Ok((text, tried)) => {
            let _ = io::stdout().lock().write_all(text.as_bytes());
            if tried { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            let _ = writeln!(io::stderr().lock(), "{problem}");
            ExitCode::from(2)
        }
    }
}

fn body(path: &Path) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut body).map(|_| body),
        _ => std::fs::read(path),
    };
    read.map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// The explanation, and whether anything would be tried.
fn explain(args: &Args, loaded: Loaded, body: &[u8]) -> Result<(String, bool), String> {
    let Loaded { settings, catalog, keys, rules, .. } = loaded;
    let caller = match &args.key {
        None => Arc::new(anyone(settings.constraint.clone())),
        Some(name) => {
            let mut known = keys.callers().filter(|caller| *caller.name == **name);
            known.next().cloned().ok_or_else(|| format!("no key is called {name}"))?
        }
    };
    let metrics = Metrics::new(&prometheus::Registry::new()).map_err(|error| error.to_string())?;
    let live = Live::default();
    let snapshot = Snapshot::build(Arc::new(settings), &catalog, rules, &live, &metrics)
        .map_err(|error| error.to_string())?;
    let envelope = match envelope::read(body, Operation::Chat) {
        Ok(envelope) => envelope,
        Err(refusal) => return Ok((refused(&refusal.into()), false)),
    };
    let request = Request {
        snapshot: &snapshot,
        caller: &caller,
        envelope: &envelope,
        headers: &HeaderMap::new(),
        body,
        facts: &|_| Facts::default(),
        last: &|_| None,
        seed: args.seed,
    };
    let chosen = match request.choose() {
        Ok(chosen) => chosen,
        Err(refusal) => return Ok((refused(&refusal), false)),
    };
    let mut text = String::new();
    for planned in &chosen.planned {
        text.push_str(&show(planned));
    }
    let refusal = chosen.refusal();
    text.extend(refusal.as_ref().map(refused));
    Ok((text, refusal.is_none()))
}

/// A caller for whom only the deployment's policy holds.
fn anyone(constraint: Constraint) -> Caller {
    Caller {
        key_hash: [0; 32],
        handle: "".into(),
        name: "".into(),
        workspace: "default".into(),
        constraint,
        models: None,
        requests_at_once: None,
        requests: Arc::default(),
    }
}

fn refused(error: &Error) -> String {
    format!("refused   {} {}\n", error.status, error.message)
}

/// One model: the funnel, who is out and why, who is in with what it was ranked by.
fn show(planned: &Planned<'_>) -> String {
    let slug = &planned.pool.model.slug;
    let mut text = format!("model     {slug}");
    if *planned.asked != **slug {
        text.push_str(&format!(", asked for as {}", planned.asked));
    }
    text.push_str(&format!("\nseed      {}\n", planned.seed));
    for (step, left) in planned.steps() {
        text.push_str(&format!("step      {step}: {left} left\n"));
    }
    let tag = |index: usize| planned.target(index).map_or("?", |target| &*target.endpoint.tag);
    for (index, exclusion) in &planned.plan.excluded {
        text.push_str(&format!("excluded  {}: {}\n", tag(*index), exclusion.as_str()));
    }
    for (rank, score) in planned.plan.ranked.iter().enumerate() {
        text.push_str(&format!("rank {:<4} {}: {}\n", rank + 1, tag(score.index), reasons(score)));
    }
    text
}

fn reasons(score: &Score) -> String {
    let mut parts = vec![format!("expected ${}", format_usd(score.price.into()))];
    if score.cold == 0 {
        parts.push("warm".to_owned());
    }
    if score.tier > 0 {
        parts.push(format!("tier {}", score.tier));
    }
    let demoted: Vec<&str> = score.demotion.labels().collect();
    if !demoted.is_empty() {
        parts.push(format!("demoted by {}", demoted.join(", ")));
    }
    parts.join(", ")
}
