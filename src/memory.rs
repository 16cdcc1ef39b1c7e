//! Freed memory goes back to the system.
//!
//! mimalloc keeps it for a second in case it is wanted again, and then gives it back when a thread
//! allocates or frees a page, or ends. After a load has passed nobody may do so for long, and all its
//! memory would stay. So a thread ends now and then.

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(5);

/// The service that sees to it.
pub struct Memory;

#[async_trait]
impl BackgroundService for Memory {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while tokio::time::timeout(EVERY, shutdown.changed()).await.is_err() {
            // The allocator knows only threads that have asked it for something.
            let ends = || drop(std::hint::black_box(Box::new(0_u8)));
            if let Err(error) = thread::Builder::new().name("weir-memory".into()).spawn(ends) {
                tracing::debug!(%error, "no thread; memory stays until the next");
            }
        }
    }
}
