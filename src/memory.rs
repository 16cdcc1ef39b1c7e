//! Freed memory goes back to the system.
//!
//! mimalloc keeps it for a second in case it is wanted again, and then gives it back when a thread
//! allocates or frees a page, or ends. After a load has passed nobody may do so for long, and all its
//! memory would stay. So a thread ends now and then.
//!
//! What one thread has allocated and another freed, the first sees when it next looks through its pages:
//! after ten thousand blocks it has asked for (`mi_option_generic_collect`). One that serves nobody asks
//! for none. So those that serve are made to, now and then.

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::hint::black_box;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

const EVERY: Duration = Duration::from_secs(5);
/// Blocks asked for until the allocator looks through a thread's pages: it counts by the thousand.
const BLOCKS: usize = 11_000;
/// Smaller blocks are not counted.
const BLOCK_BYTES: usize = 2 << 10;

/// The service that sees to it.
pub struct Memory;

#[async_trait]
impl BackgroundService for Memory {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while tokio::time::timeout(EVERY, shutdown.changed()).await.is_err() {
            // The allocator knows only threads that have asked it for something.
            let ends = || drop(black_box(Box::new(0_u8)));
            if let Err(error) = thread::Builder::new().name("weir-memory".into()).spawn(ends) {
                tracing::debug!(%error, "no thread; memory stays until the next");
            }
        }
    }
}

/// Has the threads of this runtime look through their pages, as long as it runs.
pub async fn look_through() {
    let threads = Handle::current().metrics().num_workers();
    loop {
        tokio::time::sleep(EVERY).await;
        // Two for each: an idle thread takes what a busy one has not come to. It costs a millisecond.
        for _ in 0..2 * threads {
            tokio::spawn(async { ask_for_blocks() });
        }
    }
}

fn ask_for_blocks() {
    for _ in 0..BLOCKS {
        drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
    }
}
