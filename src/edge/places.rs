//! How many connections callers may hold: in all, and from one address (S9, F60).

use crate::metrics::ConnectionCap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who counts as one caller: an IPv4 address, or the 64 bits of IPv6 that one site is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    /// The network of an address; an IPv4 address in IPv6's clothes is one of IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            // The upper half: what is shifted out fits.
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Open connections of callers, those of one service or of several together.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: AtomicUsize,
    /// Networks with a connection open, so never more than there are connections.
    by_network: Mutex<HashMap<Network, usize>>,
}

impl Places {
    /// A place for one more connection. One from a Unix socket has no address and counts in all only.
    ///
    /// # Errors
    /// The cap that is reached.
    pub fn take(
        &self,
        from: Option<IpAddr>,
        most: usize,
        most_per_address: usize,
    ) -> Result<Place, ConnectionCap> {
        let taken = self.0.all.fetch_add(1, Ordering::Relaxed);
        // Dropped at once where there is no place.
        let mut place = Place { taken: Arc::clone(&self.0), network: None };
        if taken >= most {
            return Err(ConnectionCap::Total);
        }
        if let Some(network) = from.map(Network::of) {
            let mut by_network = self.0.by_network.lock();
            let count = by_network.entry(network).or_default();
            if *count >= most_per_address {
                return Err(ConnectionCap::Address);
            }
            *count += 1;
            place.network = Some(network);
        }
        Ok(place)
    }
}

/// The place of one connection, free again when this drops.
#[derive(Debug)]
pub struct Place {
    taken: Arc<Taken>,
    network: Option<Network>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.all.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut by_network = self.taken.by_network.lock();
        if let Some(count) = by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn there_are_as_many_places_as_the_cap_says_now() {
        let places = Places::default();
        let taken: Vec<_> = (0..3).filter_map(|_| places.take(None, 2, 1).ok()).collect();
        assert_eq!(taken.len(), 2, "a Unix socket has no address");
        let refused = places.take(None, 2, 1).unwrap_err();
        assert_eq!(refused, ConnectionCap::Total, "a refusal takes no place and frees none");
        assert!(places.take(None, 3, 1).is_ok(), "a reload can raise the cap");
        drop(taken);
        assert!(places.take(None, 1, 1).is_ok());
    }

    #[test]
    fn an_address_has_its_own_cap_and_leaves_nothing_behind() {
        let places = Places::default();
        let mut held = vec![places.take(at("192.0.2.1"), 9, 1).unwrap()];
        for same in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(places.take(at(same), 9, 1).unwrap_err(), ConnectionCap::Address);
        }
        held.push(places.take(at("192.0.2.2"), 9, 1).unwrap());
        held.push(places.take(at("2001:db8:0:1::1"), 9, 1).unwrap());
        assert!(places.take(at("2001:db8:0:1:ffff::2"), 9, 1).is_err(), "the same 64 bits");
        held.push(places.take(at("2001:db8:0:2::1"), 9, 1).unwrap());
        assert_eq!(places.take(at("192.0.2.9"), 4, 1).unwrap_err(), ConnectionCap::Total);
        drop(held);
        assert!(places.0.by_network.lock().is_empty());
        assert_eq!(places.0.all.load(Ordering::Relaxed), 0);
    }
}
