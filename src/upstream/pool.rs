//! The addresses of one provider: which are ready, and which is next.

use super::credential::Credentials;
use super::discovery::Addresses;
use super::peer::{Template, Untrusted};
use super::probe::{self, Target};
use crate::bounds::ADDRESSES_PER_PROVIDER;
use crate::catalog::{Endpoint, Provider};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::upstreams::peer::HttpPeer;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::{Backend, BackendView, Extensions, HealthRegistry};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};

/// Time without an address after its first failed connection; doubled by each further one.
const AVOID_MS: u64 = 1_000;
const AVOID_MAX_MS: u64 = 60_000;
/// How long it is taken for granted whether a pool is down.
const FOUND_MS: u64 = 50;

/// An address this provider may not be reached at (F04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a public address; set private_addresses if it is meant")]
pub struct Forbidden(pub SocketAddr);

/// The addresses of one provider, with their active and passive health.
pub struct Pool {
    target: Arc<Target>,
    addresses: Arc<Addresses>,
    view: BackendView,
    /// In step with the view's backends.
    slots: ArcSwap<Vec<Slot>>,
    turn: AtomicUsize,
    /// What [`Pool::is_down`] found last: until when it holds, and in the lowest bit the answer.
    found: AtomicU64,
    /// Updates of a view must not overlap.
    publishing: Mutex<()>,
}

struct Slot {
    address: SocketAddr,
    backend: Backend,
    passive: Arc<Passive>,
}

/// What failed connections say of an address.
#[derive(Default)]
struct Passive {
    in_a_row: AtomicU32,
    avoid_until: AtomicU64,
}

impl Pool {
    /// A pool for a provider. `addresses` may be those of an older pool: what is known already
    /// serves at once.
    ///
    /// # Errors
    /// As [`Template::new`].
    pub fn new(
        provider: &Provider,
        credentials: &Credentials,
        addresses: Arc<Addresses>,
        health: Arc<HealthRegistry>,
    ) -> Result<Self, Untrusted> {
        let target = Arc::new(Target {
            slug: Arc::clone(&provider.slug),
            template: Template::new(provider)?,
            probe: provider.probe.clone(),
            authority: probe::authority(&provider.base_url),
            tls: provider.base_url.tls,
            authorization: credentials.first().map(|key| key.authorization.clone()),
        });
        let members = Members { target: Arc::clone(&target), addresses: Arc::clone(&addresses) };
        let pool = Self {
            target,
            addresses,
            view: BackendView::new_with_health_registry(Box::new(members), health),
            slots: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            found: AtomicU64::new(0),
            publishing: Mutex::new(()),
        };
        pool.publish();
        Ok(pool)
    }

    /// The next address by turns among those that are ready, without the `exclude`d ones.
    ///
    /// On a first try, with nothing excluded, an address that is not ready is better than none:
    /// selection comes here with such a pool only when it has nothing else.
    #[must_use]
    pub fn pick(&self, exclude: &[SocketAddr], now_ms: u64) -> Option<SocketAddr> {
        let slots = self.slots.load();
        let start = self.turn.fetch_add(1, Relaxed) % slots.len().max(1);
        let (before, after) = slots.split_at_checked(start)?;
        let by_turns = || after.iter().chain(before);
        let ready =
            by_turns().find(|slot| !exclude.contains(&slot.address) && self.is_ready(slot, now_ms));
        let any = || by_turns().next().filter(|_| exclude.is_empty());
        ready.or_else(any).map(|slot| slot.address)
    }

    /// The peer for one try at an address that [`Pool::pick`] gave.
    ///
    /// # Errors
    /// If the address may not be connected to: checked here once more, right before (F04).
    pub fn peer(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
        body_bytes: usize,
    ) -> Result<HttpPeer, Forbidden> {
        if !self.addresses.may_connect(address.ip()) {
            return Err(Forbidden(address));
        }
        Ok(self.target.template.peer(&endpoint.timeouts, address, body_bytes))
    }

    /// Takes an address out for a while after a failed connection or handshake.
    pub fn connect_failed(&self, address: SocketAddr, now_ms: u64) {
        if let Some(passive) = self.passive(address) {
            let doublings = passive.in_a_row.fetch_add(1, Relaxed).min(16);
            let ms = (AVOID_MS << doublings).min(AVOID_MAX_MS);
            passive.avoid_until.fetch_max(now_ms.saturating_add(ms), Relaxed);
            self.found.store(0, Relaxed);
        }
    }

    /// An address could be connected to: it is as good as new.
    pub fn connected(&self, address: SocketAddr) {
        if let Some(passive) = self.passive(address)
            && passive.in_a_row.load(Relaxed) > 0
        {
            passive.in_a_row.store(0, Relaxed);
            passive.avoid_until.store(0, Relaxed);
            self.found.store(0, Relaxed);
        }
    }

    /// Whether no address is ready: `down` of [`crate::selection::Facts`]. What was found holds for
    /// [`FOUND_MS`], or until a connection tells otherwise: every plan asks every pool.
    #[must_use]
    pub fn is_down(&self, now_ms: u64) -> bool {
        let found = self.found.load(Relaxed);
        if now_ms < found >> 1 {
            return found & 1 == 1;
        }
        let down = self.all_down(now_ms);
        self.found.store(now_ms.saturating_add(FOUND_MS) << 1 | u64::from(down), Relaxed);
        down
    }

    /// Whether no address is ready at this moment.
    #[must_use]
    pub fn all_down(&self, now_ms: u64) -> bool {
        !self.slots.load().iter().any(|slot| self.is_ready(slot, now_ms))
    }

    /// Each address and whether it is ready, for metrics and the operators' listener.
    #[must_use]
    pub fn health(&self, now_ms: u64) -> Vec<(SocketAddr, bool)> {
        let slots = self.slots.load();
        slots.iter().map(|slot| (slot.address, self.is_ready(slot, now_ms))).collect()
    }

    /// What is known of the provider's host.
    #[must_use]
    pub fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// `host` or `host:port`, for the `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.target.authority
    }

    /// Routing slug of the provider.
    #[must_use]
    pub fn slug(&self) -> &Arc<str> {
        &self.target.slug
    }

    /// Whether `other` would connect and probe in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.target.is_same(&other.target) && self.addresses.is_same(&other.addresses)
    }

    /// Looks the host up and takes in what is found.
    pub async fn refresh(&self) {
        self.addresses.refresh().await;
        self.publish();
    }

    fn is_ready(&self, slot: &Slot, now_ms: u64) -> bool {
        now_ms >= slot.passive.avoid_until.load(Relaxed) && self.view.ready(&slot.backend)
    }

    fn passive(&self, address: SocketAddr) -> Option<Arc<Passive>> {
        let slots = self.slots.load();
        let slot = slots.iter().find(|slot| slot.address == address)?;
        Some(Arc::clone(&slot.passive))
    }

    /// Puts the known addresses into the view and the slots.
    fn publish(&self) {
        let _alone = self.publishing.lock();
        // `Members` answers without waiting, so one poll completes the update.
        let update = pin!(self.view.update(|_| {}));
        if update.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tracing::error!(provider = %self.target.slug, "address update did not complete");
        }
        let backends = self.view.get_backend();
        let slots = backends.iter().filter_map(|backend| {
            let address = *backend.addr.as_inet()?;
            let passive = self.passive(address).unwrap_or_default();
            Some(Slot { address, backend: backend.clone(), passive })
        });
        self.slots.store(Arc::new(slots.take(ADDRESSES_PER_PROVIDER).collect()));
        self.found.store(0, Relaxed);
    }
}

/// The known addresses as Pingora's discovery: never looks anything up itself.
struct Members {
    target: Arc<Target>,
    addresses: Arc<Addresses>,
}

#[async_trait]
impl ServiceDiscovery for Members {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let backend = |address: &SocketAddr| {
            let mut ext = Extensions::new();
            ext.insert(Arc::clone(&self.target));
            Backend { addr: PingoraAddr::Inet(*address), weight: 1, ext }
        };
        Ok((self.addresses.known().iter().map(backend).collect(), HashMap::new()))
    }
}

#[cfg(test)]
mod tests;
