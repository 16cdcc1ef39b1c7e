//! `weir demo`: Weir as it runs anywhere else, on a configuration written to a temporary directory,
//! beside the providers that configuration names.

use super::run::ended;
use crate::config;
use crate::demo::conf::{self, Places};
use crate::demo::{self, fleet};
use crate::log::{self, Format};
use crate::reload::Hangup;
use crate::server::{Beside, Running, StartError};
use pingora::server::Server;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where callers connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where operators connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin: String,
    /// Seed of the simulated failures
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let place = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
    let result = serve(args, &place);
    if result.is_err() {
        // Nothing has been served, so nothing in it is missed; nor is it, if it was never made.
        drop(std::fs::remove_dir_all(&place));
    }
    ended(result)
}

fn serve(args: &Args, place: &Path) -> Result<(), StartError> {
    let hangup = Hangup::catch().map_err(StartError::Signals)?;
    let key = conf::new_key();
    let listeners = prepare(args, place, &key)
        .map_err(|source| StartError::Demo { place: PathBuf::from(place), source })?;
    let loaded = config::load(place).map_err(StartError::Configuration)?;
    let log = log::init(Format::Text)?;
    let running = Running::open(loaded, &hangup)?;
    running.state.scratch.get_or_init(|| place.to_owned());
    running.state.divert_access(Box::new(|access| say(&demo::line(access))));
    let (listen, admin) = (&*args.listen, &*args.admin);
    say(&demo::banner(&demo::Running { listen, admin, key: &key, place }));
    let providers = fleet::providers(args.seed).into_iter().zip(listeners);
    let beside = providers.map(|(provider, listener)| {
        let provider: Box<dyn Beside> = Box::new(Provider(demo::service(provider, listener)));
        provider
    });
    running.serve(beside.collect(), log)
}

/// Writes the configuration; the sockets are bound first, because it names their ports.
fn prepare(args: &Args, place: &Path, key: &str) -> io::Result<Vec<TcpListener>> {
    let mut ports = [0; fleet::PROVIDERS.len()];
    let mut listeners = Vec::with_capacity(ports.len());
    for port in &mut ports {
        let listener = fleet::bind()?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    let state = place.join("state");
    std::fs::create_dir_all(&state)?;
    let places = Places { listen: &args.listen, admin: &args.admin, state: &state, ports };
    conf::write(place, &places, key)?;
    Ok(listeners)
}

/// Standard output may be closed, as by `head`: the demonstration goes on.
fn say(text: &str) {
    let said = writeln!(io::stdout(), "{text}");
    drop(said);
}

struct Provider(pingora::services::background::GenBackgroundService<demo::Hosted>);

impl Beside for Provider {
    fn add_to(self: Box<Self>, server: &mut Server) {
        server.add_service(self.0);
    }
}
