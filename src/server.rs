//! `weir run`: from configuration to a Pingora server, and from a signal to a clean end.

use crate::admin;
use crate::config::{self, Loaded, Settings};
use crate::ledger::{Ledger, Options};
use crate::metrics::Metrics;
use crate::proxy::Weir;
use crate::reload;
use crate::shutdown::Shutdown;
use crate::snapshot::Live;
use crate::state::State;
use crate::{listen, log, systemd};
use parking_lot::Mutex;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::{BackgroundService, background_service};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long the ledger may take to hand its last rows to the sink.
const LEDGER_LIMIT: Duration = Duration::from_secs(30);

/// Why Weir does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration has {} problem(s)", .0.len())]
    Configuration(Vec<config::problem::Problem>),
    #[error("the ledger cannot be opened: {0}")]
    Ledger(#[from] crate::ledger::OpenError),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("{0}")]
    Listen(#[from] listen::ListenError),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
}

/// Serves the configuration in `directory` until a signal ends it.
///
/// # Errors
/// Anything that keeps Weir from serving; nothing has been accepted then.
pub fn run(directory: &Path) -> Result<ExitCode, StartError> {
    let hangup = reload::Hangup::catch().map_err(StartError::Signals)?;
    let loaded = config::load(directory).map_err(StartError::Configuration)?;
    log::init(loaded.settings.log);
    confine();
    let settings = loaded.settings.clone();
    let state = open(loaded)?;
    hangup.serve(Arc::clone(&state), PathBuf::from(directory));
    serve(&state, &settings)
}

/// Opens the ledger and builds the first snapshot.
///
/// # Errors
/// The state directory is in use or unreadable.
pub fn open(loaded: Loaded) -> Result<Arc<State>, StartError> {
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let ledger = Ledger::open(Options::from(&loaded.settings))?;
    let live = Live::default();
    Ok(Arc::new(State::new(loaded, live, ledger, metrics)?))
}

/// Runs Pingora until a signal, then drains.
///
/// # Errors
/// A listener's address cannot be bound.
pub fn serve(state: &Arc<State>, settings: &Settings) -> Result<ExitCode, StartError> {
    listen::check(settings)?;
    let conf = Arc::new(server_conf(settings));
    let mut server = Server::new_with_opt_and_conf(None, (*conf).clone());
    let mut ready = background_service("ready", Ready(Mutex::new(Some(Arc::clone(state)))));
    ready.threads = Some(1);
    let ready = server.add_service(ready);
    for service in listen::services(&conf, settings, || Weir::new(Arc::clone(state))) {
        ready.add_dependency(&server.add_service(service?));
    }
    ready.add_dependency(&server.add_service(admin::service(state, &settings.admin)?));
    for probing in state.live.services() {
        server.add_boxed_service(probing);
    }
    let shutdown = Shutdown::new(Arc::clone(state), settings.drain);
    server.run(RunArgs { shutdown_signal: Box::new(shutdown) });
    Ok(finish(state))
}

/// Hands the last rows to the sink. What does not get there stays in the spool.
pub fn finish(state: &State) -> ExitCode {
    if state.ledger.shutdown(LEDGER_LIMIT) {
        return ExitCode::SUCCESS;
    }
    tracing::warn!("the sink did not take every row in time; the spool keeps them for the next start");
    ExitCode::SUCCESS
}

fn server_conf(settings: &Settings) -> ServerConf {
    ServerConf {
        threads: settings.threads,
        work_stealing: true,
        upstream_keepalive_pool_size: crate::bounds::IDLE_UPSTREAM_CONNECTIONS,
        max_retries: crate::bounds::TRIES_PER_REQUEST,
        grace_period_seconds: Some(settings.drain.as_secs().max(1)),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// Memory and secrets: no huge pages under mimalloc (three times the memory of a stream), no core
/// file and no debugger (S19).
fn confine() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = rustix::thread::set_thp_disable(true) {
        tracing::warn!(%error, "transparent huge pages stay on");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core files stay possible");
    }
}

/// Tells the operators' listener and systemd that every listener is bound.
struct Ready(Mutex<Option<Arc<State>>>);

#[async_trait::async_trait]
impl BackgroundService for Ready {
    async fn start(&self, _: pingora::server::ShutdownWatch) {
        if let Some(state) = self.0.lock().take() {
            state.set_ready();
            systemd::notify("READY=1\nSTATUS=serving");
            tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
        }
    }
}
