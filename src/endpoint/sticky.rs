//! Which endpoint a conversation was at last (contract 3.7): a table of fixed size, without a lock.

use crate::bounds::CONVERSATIONS;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Idle time after which a conversation is forgotten.
const IDLE_SECONDS: u64 = 600;

const TAG_BITS: u32 = 24;
const ENDPOINT_BITS: u32 = 20;
const TIME_BITS: u32 = 20;
/// Entries that one key may be in; the one idle for longest makes way.
const WAYS: usize = 8;

/// Conversations by key, each with an endpoint's [`fingerprint`] and when it was there last.
///
/// An entry is one word: part of the key, the fingerprint, seconds. Two of a set that agree in 24
/// further bits of their keys are taken for one, which sends one of them to the other's endpoint.
#[derive(Debug)]
pub struct Stickiness {
    sets: Box<[[AtomicU64; WAYS]]>,
}

impl Default for Stickiness {
    fn default() -> Self {
        Self::new(CONVERSATIONS)
    }
}

impl Stickiness {
    /// A table for about so many conversations.
    #[must_use]
    pub fn new(conversations: usize) -> Self {
        let sets = (conversations / WAYS).max(1).next_power_of_two();
        Self { sets: (0..sets).map(|_| [const { AtomicU64::new(0) }; WAYS]).collect() }
    }

    /// The endpoint of a conversation that has not been idle for too long.
    #[must_use]
    pub fn find(&self, key: u64, now_ms: u64) -> Option<u32> {
        let entries = self.set(key)?.iter().map(|cell| cell.load(Relaxed));
        let mut own =
            entries.filter(|entry| is_of(*entry, key) && idle(*entry, now_ms) <= IDLE_SECONDS);
        own.next().map(endpoint)
    }

    /// Notes that a conversation was well served by an endpoint.
    pub fn keep(&self, key: u64, endpoint: u32, now_ms: u64) {
        let Some(set) = self.set(key) else { return };
        let entry = pack(key, endpoint, now_ms);
        let age = |cell: &&AtomicU64| match cell.load(Relaxed) {
            0 => u64::MAX,
            known if is_of(known, key) => u64::MAX,
            known => idle(known, now_ms),
        };
        let own = set.iter().find(|cell| is_of(cell.load(Relaxed), key));
        if let Some(cell) = own.or_else(|| set.iter().max_by_key(age)) {
            cell.store(entry, Relaxed);
        }
    }

    fn set(&self, key: u64) -> Option<&[AtomicU64; WAYS]> {
        let place = usize::try_from(key >> TAG_BITS).unwrap_or(0) & (self.sets.len() - 1);
        self.sets.get(place)
    }
}

/// What stands for an endpoint in the table: never 0. Two endpoints of one pool share one once in a
/// million pools.
#[must_use]
pub fn fingerprint(id: &str) -> u32 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 44) ^ (hash & ((1 << ENDPOINT_BITS) - 1));
    u32::try_from(folded & ((1 << ENDPOINT_BITS) - 1)).unwrap_or(0).max(1)
}

fn pack(key: u64, endpoint: u32, now_ms: u64) -> u64 {
    tag(key) << (ENDPOINT_BITS + TIME_BITS) | u64::from(endpoint) << TIME_BITS | seconds(now_ms)
}

const fn tag(key: u64) -> u64 {
    key & ((1 << TAG_BITS) - 1)
}

const fn is_of(entry: u64, key: u64) -> bool {
    entry != 0 && entry >> (ENDPOINT_BITS + TIME_BITS) == tag(key)
}

fn endpoint(entry: u64) -> u32 {
    u32::try_from(entry >> TIME_BITS & ((1 << ENDPOINT_BITS) - 1)).unwrap_or(0)
}

/// Seconds, which begin anew after 12 days: an entry exactly so old is found once more.
const fn seconds(now_ms: u64) -> u64 {
    (now_ms / 1_000) & ((1 << TIME_BITS) - 1)
}

const fn idle(entry: u64, now_ms: u64) -> u64 {
    seconds(now_ms).wrapping_sub(entry) & ((1 << TIME_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_found_until_it_is_idle_for_too_long() {
        let table = Stickiness::new(64);
        assert_eq!(table.find(7, 0), None);
        table.keep(7, 3, 0);
        assert_eq!(table.find(7, 600_000), Some(3));
        assert_eq!(table.find(7, 601_000), None);
        table.keep(7, 3, 599_000);
        assert_eq!(table.find(7, 1_199_000), Some(3), "each success begins the time anew");
        table.keep(7, 5, 1_199_000);
        assert_eq!(table.find(7, 1_199_000), Some(5), "it moves");
        assert_eq!(table.find(8, 1_199_000), None);
    }

    #[test]
    fn at_the_bound_the_one_idle_for_longest_makes_way() {
        let table = Stickiness::new(WAYS);
        for key in 0..WAYS as u64 {
            table.keep(key, 1, key * 1_000);
        }
        let kept =
            |now| (0..=WAYS as u64).map(|key| table.find(key, now).is_some()).collect::<Vec<_>>();
        assert_eq!(kept(8_000), [true, true, true, true, true, true, true, true, false]);
        table.keep(WAYS as u64, 1, 8_000);
        assert_eq!(kept(8_000), [false, true, true, true, true, true, true, true, true]);
    }

    #[test]
    fn fingerprints_fit_and_differ() {
        let ids = (0..1_000).map(|n| fingerprint(&format!("author/model@provider-{n}")));
        let mut all: Vec<u32> = ids.collect();
        assert!(all.iter().all(|print| (1..1 << ENDPOINT_BITS).contains(print)));
        all.sort_unstable();
        all.dedup();
        assert!(all.len() >= 995, "{}", all.len());
    }
}
