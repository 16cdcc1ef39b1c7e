//! SIGHUP: a whole new snapshot, or the old one and one clear line.
//!
//! The signal is caught before anything else starts, because its default kills the process (F84),
//! and handled on a thread of its own, so that no request waits for files.

use crate::config;
use crate::metrics::Reload;
use crate::state::State;
use crate::systemd::Notifier;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP, caught and queued.
#[derive(Debug)]
pub struct Hangup {
    runtime: Runtime,
    signal: Signal,
}

impl Hangup {
    /// From here on SIGHUP does not end the process.
    ///
    /// # Errors
    /// The signal cannot be registered.
    pub fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signal = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup())?
        };
        Ok(Self { runtime, signal })
    }

    /// Waits for work of the start.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Reloads `directory` into `state` at every signal; those that come while one is served count
    /// as one more (F82).
    pub fn serve(self, state: Arc<State>, directory: PathBuf, notifier: Arc<Notifier>) {
        let Self { runtime, mut signal } = self;
        std::thread::spawn(move || {
            runtime.block_on(async {
                while signal.recv().await.is_some() {
                    tell(notifier.reloading());
                    reload(&state, &directory).await;
                    tell(notifier.ready("serving"));
                }
            });
        });
    }
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// One reload: everything is read and checked before anything is swapped.
async fn reload(state: &State, directory: &Path) {
    match config::load(directory) {
        Ok(mut loaded) => {
            let kept = loaded.settings.kept(&state.began).join(", ");
            let notices = std::mem::take(&mut loaded.notices);
            match state.apply(loaded).await {
                Ok(epoch) => {
                    state.metrics.reload.inc(Reload::Applied);
                    tracing::info!(epoch, "configuration reloaded");
                    notices.iter().for_each(|notice| tracing::warn!("{notice}"));
                    if !kept.is_empty() {
                        tracing::warn!("{kept}: stays as it was at the start, until a restart");
                    }
                }
                Err(error) => rejected(state, &error.to_string(), 1),
            }
        }
        Err(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            rejected(state, &first, problems.len());
        }
    }
}

/// One line that says where; `weir check` lists the rest.
fn rejected(state: &State, first: &str, problems: usize) {
    state.metrics.reload.inc(Reload::Rejected);
    tracing::error!(problems, "configuration rejected, the old one stays: {first}");
}
