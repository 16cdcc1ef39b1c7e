//! Gives a simulated provider its socket, alone or as a service of a Pingora server.

use super::upstream::Simulated;
use crate::bounds::SIMULATED_CONNECTIONS;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::background::{BackgroundService, GenBackgroundService};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

/// Accepts for a provider until its runtime ends.
///
/// # Errors
/// When the listener cannot be handed to the runtime.
pub async fn serve(provider: Arc<Simulated>, listener: TcpListener) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(SIMULATED_CONNECTIONS));
    // Weir drains through its providers, so they take no part in its shutdown.
    let (_never, shutdown) = watch::channel(false);
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (provider, shutdown) = (Arc::clone(&provider), shutdown.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = socket.set_nodelay(true);
            provider.process_new(Box::new(Stream::from(socket)), &shutdown).await;
        });
    }
    Ok(())
}

/// A provider and its bound listener, taken when the service starts.
pub struct Hosted {
    provider: Arc<Simulated>,
    listener: Mutex<Option<TcpListener>>,
}

/// A simulated provider as a service of a Pingora server.
#[must_use]
pub fn service(provider: Simulated, listener: TcpListener) -> GenBackgroundService<Hosted> {
    let name = format!("provider {}", provider.name);
    let listener = Mutex::new(Some(listener));
    GenBackgroundService::new(name, Arc::new(Hosted { provider: Arc::new(provider), listener }))
}

#[async_trait]
impl BackgroundService for Hosted {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let listener = self.listener.lock().take();
        if let Some(listener) = listener
            && let Err(error) = serve(Arc::clone(&self.provider), listener).await
        {
            tracing::error!(provider = self.provider.name, %error, "simulated provider cannot serve");
        }
    }
}
