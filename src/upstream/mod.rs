//! Where a request goes next, and by which address and credential.
//!
//! [`attempts`] is the only place that decides about retries; it and [`budget`] are pure. Names are
//! looked up and addresses probed in the background; a request only reads what is known.

pub mod attempts;
pub mod budget;
pub mod credential;
pub mod discovery;
pub mod heads;
pub mod peer;
pub mod pool;
pub mod pools;
pub mod probe;
pub mod scrub;
#[cfg(test)]
mod simulation;

use crate::catalog::Provider;
use crate::endpoint::{Live, Registry, Throttle};
use crate::selection::Facts;
use credential::{Credentials, Unsendable};
use heads::Heads;
use peer::Untrusted;
use pool::Pool;
use pools::Pools;
use std::sync::Arc;

/// Live side of one provider: held by a snapshot, found again by the next.
pub struct Upstream {
    pub pool: Arc<Pool>,
    pub credentials: Credentials,
    pub throttle: Arc<Throttle>,
    pub heads: Heads,
}

/// Why a provider cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error("its base URL cannot be sent: {0}")]
    BaseUrl(#[from] Box<pingora::Error>),
}

impl Upstream {
    /// Attaches a provider of a new snapshot to its live state.
    ///
    /// # Errors
    /// If its TLS settings, a secret or its base URL cannot be used.
    pub fn attach(
        provider: &Provider,
        pools: &Pools,
        registry: &Registry,
    ) -> Result<Self, Unusable> {
        let credentials = Credentials::new(provider, registry)?;
        let pool = pools.attach(provider, &credentials)?;
        let heads = Heads::new(provider, pool.authority())?;
        Ok(Self { pool, credentials, throttle: registry.throttle(&provider.slug), heads })
    }

    /// All that selection may know of one of this provider's endpoints.
    #[must_use]
    pub fn facts(&self, live: &Live, now_ms: u64) -> Facts {
        let mut facts = live.facts(now_ms);
        facts.down = self.pool.is_down(now_ms);
        let refused_ms = self.credentials.cooling_ms(now_ms);
        if refused_ms > facts.cooling_ms.into() {
            facts.cooling_ms = u32::try_from(refused_ms).unwrap_or(u32::MAX);
            (facts.cooling, facts.limited) = (true, false);
        }
        facts
    }
}
