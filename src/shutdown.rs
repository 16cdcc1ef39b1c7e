//! SIGTERM: stop accepting, end when idle or at the limit. SIGINT: end now.
//!
//! Pingora sleeps out its whole grace period even when nothing is left to do, so the limit is its
//! grace period and a thread of ours ends the process as soon as it is idle.

use crate::server;
use crate::state::State;
use crate::systemd;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Nothing may be under way for this long before the process ends: a head that is still being read
/// counts as nothing.
const QUIET: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(20);

/// Waits for the signal that ends Weir.
pub struct Shutdown {
    state: Arc<State>,
    limit: Duration,
}

impl Shutdown {
    /// `limit` is how long open requests may go on after SIGTERM.
    #[must_use]
    pub fn new(state: Arc<State>, limit: Duration) -> Self {
        Self { state, limit }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut term), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("SIGTERM and SIGINT cannot be handled; kill ends Weir without a drain");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {
                systemd::notify("STOPPING=1\nSTATUS=draining");
                tracing::info!(active = self.state.active(), "draining");
                let (state, limit) = (Arc::clone(&self.state), self.limit);
                std::thread::spawn(move || end_when_idle(&state, limit));
                ShutdownSignal::GracefulTerminate
            }
            _ = int.recv() => ShutdownSignal::FastShutdown,
        }
    }
}

/// Ends the process once it has been idle for [`QUIET`]; gives up shortly before the limit, where
/// Pingora cancels what is left and `server::serve` returns.
fn end_when_idle(state: &State, limit: Duration) {
    let began = Instant::now();
    let mut quiet_since = Instant::now();
    while began.elapsed() + Duration::from_millis(100) < limit {
        std::thread::sleep(STEP);
        if state.active() > 0 {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() >= QUIET {
            let took = began.elapsed();
            let code = server::finish(state);
            tracing::info!(?took, "drained");
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
        }
    }
}
