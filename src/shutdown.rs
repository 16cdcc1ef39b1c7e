//! SIGTERM: stop accepting, end when idle or at the limit. SIGINT: end now. A spool that failed: as
//! SIGTERM with a short limit and exit code 1, so that the service manager starts Weir again (F63).
//!
//! Pingora sleeps out its whole grace period even when nothing is left to do, so the limit is its
//! grace period and a thread of ours ends the process as soon as it is idle.

use crate::bounds::FAILED_DRAIN;
use crate::edge::clock::now_ms;
use crate::ledger::Gate;
use crate::log::Log;
use crate::server;
use crate::state::State;
use crate::systemd::Notifier;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Nothing may be under way or owed for this long before the process ends: a head that is still being
/// read counts as nothing.
const QUIET: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(20);

/// Waits for the signal that ends Weir.
pub struct Shutdown {
    state: Arc<State>,
    limit: Duration,
    notifier: Arc<Notifier>,
    log: Arc<Log>,
}

impl Shutdown {
    /// `limit` is how long open requests may go on after SIGTERM.
    #[must_use]
    pub fn new(state: Arc<State>, limit: Duration, notifier: Arc<Notifier>, log: Log) -> Self {
        Self { state, limit, notifier, log: Arc::new(log) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut term), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("SIGTERM and SIGINT cannot be handled; only SIGKILL ends Weir");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {
                self.state.set_serving(false);
                if let Err(error) = self.notifier.stopping() {
                    tracing::warn!(%error, "the service manager was not told");
                }
                tracing::info!(active = self.state.active(), "draining");
                let (state, limit, log) = (Arc::clone(&self.state), self.limit, Arc::clone(&self.log));
                std::thread::spawn(move || {
                    if end_when_idle(&state, limit) {
                        exit(&state, &log);
                    }
                });
                ShutdownSignal::GracefulTerminate
            }
            () = failed(&self.state) => {
                self.state.set_serving(false);
                tracing::error!(active = self.state.active(), "draining: the spool has failed");
                let (state, limit) = (Arc::clone(&self.state), self.limit.min(FAILED_DRAIN));
                let log = Arc::clone(&self.log);
                std::thread::spawn(move || {
                    end_when_idle(&state, limit);
                    exit(&state, &log);
                });
                ShutdownSignal::GracefulTerminate
            }
            _ = int.recv() => ShutdownSignal::FastShutdown,
        }
    }
}

/// Returns once the ledger admits nothing more for good.
async fn failed(state: &State) {
    while state.ledger.gate() != Gate::Failed {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends the process in order.
fn exit(state: &State, log: &Log) {
    server::finish(state);
    let failed = state.ledger.gate() == Gate::Failed;
    log.flush();
    std::process::exit(i32::from(failed));
}

/// Waits until the process has been idle for [`QUIET`]: true. Gives up shortly before the limit,
/// where after SIGTERM Pingora cancels what is left and `server::serve` returns.
fn end_when_idle(state: &State, limit: Duration) -> bool {
    let began = Instant::now();
    let mut quiet_since = Instant::now();
    while began.elapsed() + Duration::from_millis(100) < limit {
        std::thread::sleep(STEP);
        if state.active() > 0 || !state.owed.is_nothing(now_ms()) {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() >= QUIET {
            tracing::info!(took = ?began.elapsed(), "drained");
            return true;
        }
    }
    false
}
