//! Price versions that slots name, read once and then known.

use super::record::Record;
use crate::bounds::PRICES_KNOWN;
use crate::price::PriceVersion;
use std::collections::HashMap;
use std::sync::Arc;

/// A record and the prices it was settled at.
pub(super) type Priced = (Record, Arc<PriceVersion>);

/// Versions by hash.
#[derive(Default)]
pub(super) struct Prices(HashMap<[u8; 32], Arc<PriceVersion>>);

impl Prices {
    /// The version of this hash; `None` if it is not known and the text is not its own.
    pub(super) fn get(&mut self, hash: [u8; 32], text: &str) -> Option<Arc<PriceVersion>> {
        if let Some(known) = self.0.get(&hash) {
            return Some(known.clone());
        }
        let version = PriceVersion::parse(text).ok().filter(|read| read.hash() == hash)?;
        if self.0.len() >= PRICES_KNOWN {
            self.0.clear();
        }
        Some(self.0.entry(hash).or_insert_with(|| Arc::new(version)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(input: usize) -> PriceVersion {
        PriceVersion::parse(&format!("input={input}")).unwrap()
    }

    #[test]
    fn a_version_is_known_by_its_own_text_only_and_up_to_the_bound() {
        let mut prices = Prices::default();
        assert_eq!(prices.get([0; 32], "input=1"), None);
        for input in 1..=PRICES_KNOWN {
            let version = version(input);
            assert_eq!(*prices.get(version.hash(), version.text()).unwrap(), version);
        }
        assert_eq!(prices.0.len(), PRICES_KNOWN);
        assert!(prices.get(version(1).hash(), "").is_some());
        let next = version(PRICES_KNOWN + 1);
        assert!(prices.get(next.hash(), next.text()).is_some());
        assert_eq!(prices.0.len(), 1);
    }
}
