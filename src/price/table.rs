//! How configuration names prices, and what a price that is not given is taken to be.

use crate::usage::{KINDS, Kind};

/// One price an endpoint can have.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// Key in `price = { ... }`.
    pub key: &'static str,
    pub kind: Kind,
    /// Units the dollars are for: a million tokens, or one request or search.
    pub per: u64,
    /// The kind whose price holds where this one is not given; none means free.
    pub or: Option<Kind>,
}

const fn token(key: &'static str, kind: Kind, or: Option<Kind>) -> Price {
    Price { key, kind, per: 1_000_000, or }
}

const fn each(key: &'static str, kind: Kind) -> Price {
    Price { key, kind, per: 1, or: None }
}

/// Every price; one that others fall back to stands before them.
pub const PRICES: [Price; 14] = [
    token("input", Kind::Input, None),
    token("output", Kind::Output, None),
    token("cache_read", Kind::CacheRead, Some(Kind::Input)),
    token("cache_write_5m", Kind::CacheWrite5m, Some(Kind::Input)),
    token("cache_write_1h", Kind::CacheWrite1h, Some(Kind::CacheWrite5m)),
    token("input_audio", Kind::InputAudio, Some(Kind::Input)),
    token("input_audio_cached", Kind::InputAudioCached, Some(Kind::InputAudio)),
    token("input_image", Kind::InputImage, Some(Kind::Input)),
    token("input_video", Kind::InputVideo, Some(Kind::Input)),
    token("reasoning", Kind::Reasoning, Some(Kind::Output)),
    token("output_audio", Kind::OutputAudio, Some(Kind::Output)),
    token("output_image", Kind::OutputImage, Some(Kind::Output)),
    each("request", Kind::Requests),
    each("search", Kind::Searches),
];

/// Prices of all kinds from those that are given.
#[must_use]
pub fn complete(given: &[(Kind, u64)]) -> [u64; KINDS] {
    let mut unit = [0; KINDS];
    for price in PRICES {
        let own = given.iter().find(|(kind, _)| *kind == price.kind).map(|(_, pico)| *pico);
        let inherited = || price.or.and_then(|kind| unit.get(kind.index()).copied());
        let pico = own.or_else(inherited).unwrap_or(0);
        if let Some(cell) = unit.get_mut(price.kind.index()) {
            *cell = pico;
        }
    }
    unit
}

/// What an override changes: the prices it gives, and those that fall back to one of them and are not
/// `given` beside it.
#[must_use]
pub fn implied(given: &[(Kind, u64)], own: &[(Kind, u64)]) -> Vec<(Kind, u64)> {
    let mut changed: Vec<(Kind, u64)> = Vec::new();
    for price in PRICES {
        let of = |list: &[(Kind, u64)], kind| list.iter().find(|each| each.0 == kind).copied();
        let inherited = || {
            let (_, pico) = of(&changed, price.or?)?;
            of(given, price.kind).is_none().then_some((price.kind, pico))
        };
        changed.extend(of(own, price.kind).or_else(inherited));
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_price_and_fallbacks_come_first() {
        for (kind, _) in Kind::ALL {
            assert_eq!(PRICES.iter().filter(|price| price.kind == kind).count(), 1);
        }
        for (position, price) in PRICES.iter().enumerate() {
            let earlier = &PRICES[..position];
            assert!(price.or.is_none_or(|or| earlier.iter().any(|other| other.kind == or)));
        }
    }

    #[test]
    fn prices_not_given_never_make_tokens_free() {
        let unit = complete(&[(Kind::Input, 2), (Kind::Output, 8), (Kind::InputAudio, 40)]);
        let of = |kind: Kind| unit[kind.index()];
        assert_eq!(
            (of(Kind::CacheRead), of(Kind::CacheWrite5m), of(Kind::CacheWrite1h)),
            (2, 2, 2)
        );
        assert_eq!((of(Kind::InputAudio), of(Kind::InputAudioCached)), (40, 40));
        assert_eq!((of(Kind::InputImage), of(Kind::InputVideo)), (2, 2));
        assert_eq!((of(Kind::Reasoning), of(Kind::OutputAudio), of(Kind::OutputImage)), (8, 8, 8));
        assert_eq!((of(Kind::Requests), of(Kind::Searches)), (0, 0));
    }

    #[test]
    fn a_given_zero_stays_zero() {
        let unit = complete(&[(Kind::Input, 2), (Kind::CacheRead, 0)]);
        assert_eq!(unit[Kind::CacheRead.index()], 0);
    }

    #[test]
    fn an_override_changes_what_falls_back_to_it_and_nothing_that_was_given() {
        let given = [(Kind::Input, 2), (Kind::Output, 8), (Kind::CacheRead, 1)];
        let changed = implied(&given, &[(Kind::Input, 4)]);
        let of = |kind| changed.iter().find(|each| each.0 == kind).map(|each| each.1);
        assert_eq!((of(Kind::Input), of(Kind::InputAudioCached)), (Some(4), Some(4)));
        assert_eq!((of(Kind::CacheRead), of(Kind::Output), of(Kind::Requests)), (None, None, None));
        assert_eq!(implied(&given, &[(Kind::CacheRead, 0)]), [(Kind::CacheRead, 0)]);
    }
}
