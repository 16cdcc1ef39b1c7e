//! Failed authentications by address, so that guessing is slowed down and told apart (S11).
//!
//! A fixed table: no flood of addresses makes it grow. Addresses that share a cell share its count,
//! which costs nobody with a good key anything, because only failed requests are counted here.

use crate::bounds::FAILED_KEY_CELLS;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of a window, seconds.
const WINDOW: u64 = 60;

/// Counts of the minute each cell was last used in.
#[derive(Debug)]
pub struct Failures {
    /// The number of the minute above, the count below.
    cells: Box<[AtomicU64]>,
    /// Keyed at random: nobody can aim at another's cell.
    hash: RandomState,
}

impl Default for Failures {
    fn default() -> Self {
        let cells = (0..FAILED_KEY_CELLS).map(|_| AtomicU64::new(0)).collect();
        Self { cells, hash: RandomState::new() }
    }
}

impl Failures {
    /// Counts one failure at `now` (seconds of any clock that does not go back).
    ///
    /// # Errors
    /// Seconds to wait, if the address has had more than `most` in this minute.
    pub fn count(&self, address: IpAddr, now: u64, most: u32) -> Result<(), u32> {
        let hash = self.hash.hash_one(network(address)) as usize;
        let Some(cell) = self.cells.get(hash % FAILED_KEY_CELLS) else { return Ok(()) };
        let window = (now / WINDOW) & u64::from(u32::MAX);
        let next = |old: u64| {
            let so_far = if old >> 32 == window { old & u64::from(u32::MAX) } else { 0 };
            Some(window << 32 | (so_far + 1).min(u64::from(u32::MAX)))
        };
        let old = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        let count = next(old).unwrap_or(0) & u64::from(u32::MAX);
        if count <= u64::from(most) { Ok(()) } else { Err((WINDOW - now % WINDOW) as u32) }
    }
}

/// What one caller can be expected to own: an IPv4 address, or 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_limit_holds_within_its_minute() {
        let failures = Failures::default();
        let caller = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(failures.count(caller, 130, 3), Ok(()));
        }
        assert_eq!(failures.count(caller, 130, 3), Err(50));
        assert_eq!(failures.count(caller, 179, 3), Err(1));
        assert_eq!(failures.count(caller, 180, 3), Ok(()));
    }

    #[test]
    fn a_network_counts_as_one_address() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|text| network(address(text)));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.2.2")));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory() {
        let failures = Failures::default();
        for bits in 0..100_000_u32 {
            let _counted = failures.count(IpAddr::V4(bits.into()), 0, 1);
        }
        assert_eq!(failures.cells.len(), FAILED_KEY_CELLS);
    }
}
