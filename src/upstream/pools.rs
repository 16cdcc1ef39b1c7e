//! All pools of the process: what a reload finds again, and what is looked up in the background.

use super::credential::Credentials;
use super::discovery::{Addresses, Lookups};
use super::peer::Untrusted;
use super::pool::Pool;
use super::probe;
use crate::catalog::Provider;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora_load_balancing::{HealthCheckService, HealthRegistry};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// Between two lookups of the same host.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
/// Lookups at the same time: each takes a thread.
const LOOKUPS_AT_ONCE: usize = 16;

/// All pools that a snapshot or a request still holds.
pub struct Pools {
    health: Arc<HealthRegistry>,
    pub lookups: Arc<Lookups>,
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl Default for Pools {
    fn default() -> Self {
        Self { health: probe::registry(), lookups: Arc::default(), pools: Mutex::default() }
    }
}

impl Pools {
    /// The pool of a provider: the one in use if nothing has changed, else a new one that starts
    /// with the last good addresses and the health of what is probed as before.
    ///
    /// # Errors
    /// As [`super::peer::Template::new`].
    pub fn attach(
        &self,
        provider: &Provider,
        credentials: &Credentials,
    ) -> Result<Arc<Pool>, Untrusted> {
        let live = self.live();
        let lookups = Arc::clone(&self.lookups);
        let fresh = Addresses::new(&provider.base_url, provider.private_addresses, lookups);
        let fresh = Arc::new(fresh);
        let known = live.iter().map(|pool| pool.addresses()).find(|known| known.is_same(&fresh));
        let addresses = known.map_or(fresh, Arc::clone);
        let pool = Pool::new(provider, credentials, addresses, Arc::clone(&self.health))?;
        if let Some(same) = live.into_iter().find(|old| old.is_same(&pool)) {
            return Ok(same);
        }
        let pool = Arc::new(pool);
        self.pools.lock().push(Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Looks up the hosts of all pools. To be awaited before the first snapshot serves, and before
    /// a new one does; bounded by the lookup timeout.
    pub async fn refresh(&self) {
        for some in self.live().chunks(LOOKUPS_AT_ONCE) {
            let mut lookups = JoinSet::new();
            for pool in some.iter().map(Arc::clone) {
                lookups.spawn(async move { pool.refresh().await });
            }
            while lookups.join_next().await.is_some() {}
        }
    }

    /// The service that probes all addresses. To be added to the server once.
    #[must_use]
    pub fn prober(&self) -> HealthCheckService {
        probe::service(Arc::clone(&self.health))
    }

    /// All pools in use, for metrics.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Pool>> {
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Keeps the addresses of all pools fresh.
pub struct Resolver(pub Arc<Pools>);

#[async_trait]
impl BackgroundService for Resolver {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                changed = shutdown.changed() => {
                    if changed.is_err() || *shutdown.borrow() {
                        return;
                    }
                }
                () = tokio::time::sleep(LOOKUP_INTERVAL) => self.0.refresh().await,
            }
        }
    }
}
