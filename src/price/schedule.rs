//! The price versions of an endpoint over time.

use super::{PriceVersion, Rates};
use std::borrow::Cow;
use std::sync::Arc;

/// Price versions with the moment from which each holds. Never empty: before the first change the
/// first version holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    first: Arc<PriceVersion>,
    /// Unix microseconds, ascending.
    later: Box<[(u64, Arc<PriceVersion>)]>,
}

impl Schedule {
    /// The first version, and each later one with when it begins to hold, in any order.
    #[must_use]
    pub fn new(first: Arc<PriceVersion>, mut later: Vec<(u64, Arc<PriceVersion>)>) -> Self {
        later.sort_by_key(|(from, _)| *from);
        Self { first, later: later.into() }
    }

    /// The version that holds at a moment (Unix microseconds).
    #[must_use]
    pub fn at(&self, now_us: u64) -> &Arc<PriceVersion> {
        let begun = self.later.iter().rfind(|(from, _)| *from <= now_us);
        begun.map_or(&self.first, |(_, version)| version)
    }

    /// When another version than at `now_us` begins to hold; `None` if none will.
    #[must_use]
    pub fn changes_after(&self, now_us: u64) -> Option<u64> {
        self.later.iter().map(|(from, _)| *from).find(|from| *from > now_us)
    }

    /// The prices of a request that starts at `now_us` with a prompt of so many tokens.
    #[must_use]
    pub fn rates(&self, now_us: u64, prompt_tokens: u64) -> Cow<'_, Rates> {
        self.at(now_us).rates(now_us, prompt_tokens)
    }

    /// Every version, the first one first.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<PriceVersion>> {
        self.dated().map(|(_, version)| version)
    }

    /// Every version with when it begins to hold (Unix microseconds): the first one always has.
    pub fn dated(&self) -> impl Iterator<Item = (Option<u64>, &Arc<PriceVersion>)> {
        let later = self.later.iter().map(|(from, version)| (Some(*from), version));
        std::iter::once((None, &self.first)).chain(later)
    }
}

impl From<PriceVersion> for Schedule {
    /// The version that has always held.
    fn from(version: PriceVersion) -> Self {
        Self::new(Arc::new(version), Vec::new())
    }
}
