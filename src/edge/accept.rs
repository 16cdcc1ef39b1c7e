//! The accept loops of a service: Pingora's, with a pause at every shortage (P7, F77).
//!
//! Pingora's own loop pauses only where the process is out of descriptors; where the host is out of
//! them, or of memory, it tries again at once and logs each time.

use super::socket::{Bound, Listener};
use crate::bounds::{ACCEPT_LOG_PAUSE, ACCEPT_PAUSE};
use crate::memory;
use crate::metrics::Metrics;
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// A service that accepts at its sockets and hands each connection to the socket's application.
pub struct Accepting<A> {
    name: &'static str,
    doors: Vec<(Bound, Arc<A>)>,
    metrics: Arc<Metrics>,
    threads: Option<usize>,
    spares: usize,
}

impl<A> Accepting<A> {
    /// A service with a thread per core, or as many as configured.
    #[must_use]
    pub fn new(name: &'static str, doors: Vec<(Bound, Arc<A>)>, metrics: Arc<Metrics>) -> Self {
        Self { name, doors, metrics, threads: None, spares: 0 }
    }

    /// One thread, and at each socket so many descriptors kept for times when none is left.
    #[must_use]
    pub fn on_one_thread_with_spares(mut self, spares: usize) -> Self {
        self.threads = Some(1);
        self.spares = spares;
        self
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Accepting<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, shutdown: ShutdownWatch, _: usize) {
        // The runtime's first thread for blocking work: later there may be none to be had (F80).
        drop(tokio::task::spawn_blocking(|| ()).await);
        tokio::spawn(memory::look_through());
        let doors = std::mem::take(&mut self.doors);
        let apps: Vec<_> = doors.iter().map(|(_, app)| Arc::clone(app)).collect();
        let loops = doors.into_iter().map(|(socket, app)| {
            let metrics = Arc::clone(&self.metrics);
            let (shutdown, spares) = (shutdown.clone(), Spares::new(self.spares));
            tokio::spawn(async move {
                match socket.listen() {
                    Ok(listener) => Door { listener, app, metrics, spares }.serve(shutdown).await,
                    Err(error) => tracing::error!(%error, "a socket cannot be served"),
                }
            })
        });
        futures::future::join_all(loops).await;
        for app in apps {
            app.cleanup().await;
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

struct Door<A> {
    listener: Listener,
    app: Arc<A>,
    metrics: Arc<Metrics>,
    spares: Spares,
}

impl<A: ServerApp + Send + Sync + 'static> Door<A> {
    /// Accepts until a shutdown. Connections go on without it.
    async fn serve(mut self, mut shutdown: ShutdownWatch) {
        let mut logged: Option<Instant> = None;
        loop {
            let came = tokio::select! {
                came = self.listener.accept() => came,
                changed = shutdown.changed() => match changed {
                    Ok(()) if !*shutdown.borrow() => continue,
                    _ => return,
                },
            };
            match came {
                Ok(stream) => {
                    tokio::spawn(handle(Box::new(stream), Arc::clone(&self.app), shutdown.clone()));
                    self.spares.fill(&self.listener);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) if self.spares.give() => {}
                Err(error) => {
                    self.metrics.accept_errors.inc();
                    if logged.is_none_or(|last| last.elapsed() >= ACCEPT_LOG_PAUSE) {
                        logged = Some(Instant::now());
                        tracing::error!(%error, "connections cannot be accepted; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn handle<A: ServerApp + Send + Sync>(stream: Stream, app: Arc<A>, shutdown: ShutdownWatch) {
    let mut next = Some(stream);
    while let Some(stream) = next {
        next = app.process_new(stream, &shutdown).await;
    }
}

/// Descriptors kept for when none is left.
#[derive(Debug)]
struct Spares {
    held: Vec<OwnedFd>,
    most: usize,
}

impl Spares {
    fn new(most: usize) -> Self {
        Self { held: Vec::with_capacity(most), most }
    }

    /// Takes back what was given up, as far as there are descriptors.
    fn fill(&mut self, of: &Listener) {
        use std::os::fd::AsFd as _;
        let spare = || -> io::Result<OwnedFd> { of.as_fd().try_clone_to_owned() };
        while self.held.len() < self.most {
            match spare() {
                Ok(spare) => self.held.push(spare),
                Err(_) => return,
            }
        }
    }

    /// Gives one up. False where there is none.
    fn give(&mut self) -> bool {
        self.held.pop().is_some()
    }
}
