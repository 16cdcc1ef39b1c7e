//! `weir run`: from configuration to a Pingora server, and from a signal to a clean end.

use crate::admin::{self, Admin};
use crate::bounds;
use crate::config::{self, Limits, Loaded, LogFormat, Settings};
use crate::host;
use crate::judge::Judge;
use crate::ledger::{Gate, Ledger, Options};
use crate::listen;
use crate::log;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::pressure::Gauge;
use crate::reload::Hangup;
use crate::shutdown::Shutdown;
use crate::snapshot::BuildError;
use crate::state::State;
use crate::statistics;
use crate::systemd::Notifier;
use crate::upstream::pools::Resolver;
use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the ledger may take to hand its last rows to the sink.
const LEDGER_LIMIT: Duration = Duration::from_secs(30);

/// Why Weir does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration has {} problem(s)", .0.len())]
    Configuration(Vec<config::problem::Problem>),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Ledger(#[from] crate::ledger::OpenError),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    #[error(transparent)]
    Log(#[from] log::InitError),
    #[error("the demonstration cannot be prepared in {}: {source}", place.display())]
    Demo { place: std::path::PathBuf, source: std::io::Error },
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
    /// Pingora would panic.
    #[error("the host's clock is before 1970: set it")]
    Clock,
    #[error("the spool could not be written: start again once the disk is sound")]
    Spool,
    #[error(
        "the process may not have the {wanted} threads it needs: {source}; raise TasksMax= of the unit (elsewhere `ulimit -u`) or lower `threads`"
    )]
    Threads { wanted: usize, source: std::io::Error },
}

/// Serves the configuration in `directory` until a signal ends it.
///
/// # Errors
/// Anything that keeps Weir from serving; nothing has been accepted then.
pub fn run(directory: &Path) -> Result<(), StartError> {
    let hangup = Hangup::catch().map_err(StartError::Signals)?;
    if SystemTime::now() < UNIX_EPOCH {
        return Err(StartError::Clock);
    }
    let loaded = config::load(directory).map_err(StartError::Configuration)?;
    let log = log::init(match loaded.settings.log {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    })?;
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    let running = Running::open(loaded, &hangup)?;
    let notifier = Arc::clone(&running.notifier);
    hangup.serve(Arc::clone(&running.state), directory.to_owned(), notifier);
    running.serve(vec![], log)
}

/// A state ready to be served.
pub struct Running {
    pub state: Arc<State>,
    notifier: Arc<Notifier>,
}

impl Running {
    /// Opens the ledger, builds the first snapshot and looks up every host once.
    ///
    /// # Errors
    /// The state directory is in use or unusable, or a provider cannot be used as configured.
    pub fn open(loaded: Loaded, hangup: &Hangup) -> Result<Self, StartError> {
        use_small_pages();
        let wanted = loaded.settings.threads + bounds::OTHER_THREADS;
        host::have_threads(wanted).map_err(|source| StartError::Threads { wanted, source })?;
        descriptors(&loaded.settings.limits);
        listen::check(&loaded.settings)?;
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new())?);
        let ledger = Ledger::open(options(&loaded.settings))?;
        count_panics(&metrics);
        let judge = Judge::start().map_err(StartError::Thread)?;
        let state = Arc::new(State::new(loaded, ledger, metrics, judge)?);
        state.statistics.take_up(&state.live.endpoints);
        statistics::start(&state).map_err(StartError::Thread)?;
        hangup.block_on(state.live.pools.refresh());
        let notifier = Notifier::from_env().unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told");
            Notifier::default()
        });
        Ok(Self { state, notifier: Arc::new(notifier) })
    }

    /// Runs Pingora until a signal, then drains. `others` are services beside Weir's own.
    ///
    /// # Errors
    /// A listener's certificate cannot be used, or the spool failed while serving.
    pub fn serve(self, others: Vec<Box<dyn Beside>>, log: log::Log) -> Result<(), StartError> {
        let Self { state, notifier } = self;
        let settings = Arc::clone(&state.snapshot.load().settings);
        let mut server = Server::new_with_opt_and_conf(None, server_conf(&settings));
        let conf = Arc::clone(&server.configuration);
        let ready = Ready { state: Arc::clone(&state), notifier: Arc::clone(&notifier) };
        let ready = server.add_service(background_service("ready", ready));
        ready.add_dependency(server.add_service(listen::callers(&conf, &state)?));
        let admin = admin(&state, &settings);
        ready.add_dependency(server.add_service(listen::operators(admin, &state)?));
        server.add_service(background_service("memory", Memory));
        if let Some(gauge) = Gauge::begin(&state) {
            server.add_service(background_service("pressure", gauge));
        }
        server.add_service(background_service("prober", state.live.pools.prober()));
        server.add_service(background_service("resolver", Resolver(Arc::clone(&state.live.pools))));
        for other in others {
            other.add_to(&mut server);
        }
        let end = Shutdown::new(Arc::clone(&state), settings.drain, notifier, log);
        server.run(RunArgs { shutdown_signal: Box::new(end) });
        finish(&state);
        if state.ledger.gate() == Gate::Failed { Err(StartError::Spool) } else { Ok(()) }
    }
}

/// A service that runs beside Weir's own, as the demonstration's providers do.
pub trait Beside {
    /// Adds itself.
    fn add_to(self: Box<Self>, server: &mut Server);
}

/// Writes statistics, and hands the last rows to the sink. What does not get there stays in the spool, unless the whole
/// directory goes with the process.
pub fn finish(state: &State) {
    state.statistics.write(&state.live.endpoints);
    let delivered = state.ledger.shutdown(LEDGER_LIMIT);
    let Some(scratch) = state.scratch.get() else {
        if !delivered {
            tracing::warn!("the sink did not take every row; the spool keeps them");
        }
        return;
    };
    match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "{} stays", scratch.display());
        }
        _ => {}
    }
}

fn options(settings: &Settings) -> Options {
    Options {
        directory: settings.state_directory.clone(),
        slots: settings.ledger.slots,
        durability: settings.ledger.durability,
        sqlite: settings.ledger.sqlite.clone(),
        others: settings.ledger.others.clone(),
        spool_bytes: settings.ledger.spool_bytes,
        spool_full: settings.ledger.spool_full,
    }
}

fn server_conf(settings: &Settings) -> ServerConf {
    ServerConf {
        threads: settings.threads,
        upstream_keepalive_pool_size: idle_upstream_connections() / settings.threads.max(1),
        // The first of each runtime's stays: where the host gives no more, its work waits for that one.
        max_blocking_threads: Some(bounds::BLOCKING_THREADS),
        blocking_threads_ttl_seconds: Some(bounds::DURATION_MAX.as_secs()),
        max_retries: bounds::TRIES_PER_REQUEST,
        grace_period_seconds: Some(settings.drain.as_secs().max(1)),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// In all; Pingora multiplies what it is told by the number of threads.
fn idle_upstream_connections() -> usize {
    let share = bounds::IDLE_UPSTREAM_CONNECTIONS_PERCENT;
    bounds::IDLE_UPSTREAM_CONNECTIONS.min(host::share(host::descriptors(), share))
}

fn admin(state: &Arc<State>, settings: &Settings) -> Admin {
    let status: Arc<dyn admin::Status> = Arc::clone(state) as _;
    Admin::new(Arc::clone(&state.metrics), status, settings.admin.token.as_ref())
}

/// No huge pages under mimalloc: three times the memory of a stream.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "transparent huge pages stay on");
    }
}

/// Takes all the file descriptors the process may have, and says how they are shared out.
fn descriptors(limits: &Limits) {
    let descriptors = host::raise_descriptors().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
        host::descriptors()
    });
    tracing::info!(
        descriptors,
        connections = limits.connections,
        per_address = limits.connections_per_address,
        requests = limits.requests,
        "limits"
    );
}

/// A panic costs one request its answer and is counted; its backtrace would block a worker.
fn count_panics(metrics: &Arc<Metrics>) {
    let metrics = Arc::clone(metrics);
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.inc();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: this is a bug of Weir");
    }));
}

/// Tells operators and the service manager that every listener is bound.
struct Ready {
    state: Arc<State>,
    notifier: Arc<Notifier>,
}

#[async_trait]
impl BackgroundService for Ready {
    async fn start(&self, _: ShutdownWatch) {
        self.state.set_serving(true);
        if let Err(error) = self.notifier.ready("serving") {
            tracing::warn!(%error, "the service manager was not told");
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn f74_a_panic_is_counted_its_thread_alone_ends_and_its_message_is_not_logged() {
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        let said = Said::default();
        let writer = said.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let before = std::panic::take_hook();
        count_panics(&metrics);
        let fails = || tracing::subscriber::with_default(log, || panic!("canary in a message"));
        let ended = std::thread::spawn(fails).join();
        std::panic::set_hook(before);
        assert!(ended.is_err());
        assert!(metrics.panics.get() >= 1);
        let said = String::from_utf8(said.0.lock().clone()).unwrap();
        assert!(said.contains("server.rs") && !said.contains("canary"), "{said}");
    }
}
