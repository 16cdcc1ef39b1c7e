//! Usage: counts of what an attempt consumed, in disjoint kinds.
//!
//! Every room that speaks of tokens (dialect, meter, price, ledger) uses this one type. Kinds never
//! overlap: a cached prompt token is `CacheRead` and not also `Input`; a reasoning token is
//! `Reasoning` and not also `Output` (design, invariant 8).

/// Number of counters in a [`Usage`]; two are spare so that a new kind needs no new slot format.
pub const KINDS: usize = 16;

/// One kind of unit. The discriminant is the index in [`Usage`] and in the ledger slot: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Input = 0,
    CacheRead = 1,
    CacheWrite5m = 2,
    CacheWrite1h = 3,
    InputAudio = 4,
    InputAudioCached = 5,
    InputImage = 6,
    InputVideo = 7,
    Output = 8,
    Reasoning = 9,
    OutputAudio = 10,
    OutputImage = 11,
    Requests = 12,
    Searches = 13,
}

impl Kind {
    /// Every kind in index order, with its label in metrics, price tables and the ledger.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Input, "input"),
        (Self::CacheRead, "cache_read"),
        (Self::CacheWrite5m, "cache_write_5m"),
        (Self::CacheWrite1h, "cache_write_1h"),
        (Self::InputAudio, "input_audio"),
        (Self::InputAudioCached, "input_audio_cached"),
        (Self::InputImage, "input_image"),
        (Self::InputVideo, "input_video"),
        (Self::Output, "output"),
        (Self::Reasoning, "reasoning"),
        (Self::OutputAudio, "output_audio"),
        (Self::OutputImage, "output_image"),
        (Self::Requests, "requests"),
        (Self::Searches, "searches"),
    ];

    /// The kinds that make up `prompt_tokens` of the contract.
    pub const PROMPT: [Self; 8] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::InputAudio,
        Self::InputAudioCached,
        Self::InputImage,
        Self::InputVideo,
    ];

    /// The kinds that make up `completion_tokens`.
    pub const COMPLETION: [Self; 4] =
        [Self::Output, Self::Reasoning, Self::OutputAudio, Self::OutputImage];

    /// The label in metrics, price tables and the ledger.
    #[must_use]
    pub fn label(self) -> &'static str {
        Self::ALL.get(self.index()).map_or("", |(_, label)| label)
    }

    /// Position of this kind's counter.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Counts per [`Kind`]. Plain data; the ledger slot holds the same array as atomics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage(pub [u64; KINDS]);

impl Usage {
    /// Nothing consumed.
    pub const ZERO: Self = Self([0; KINDS]);

    /// The count of one kind.
    #[must_use]
    pub fn get(&self, kind: Kind) -> u64 {
        self.0.get(kind.index()).copied().unwrap_or(0)
    }

    /// Sets the count of one kind.
    pub fn set(&mut self, kind: Kind, count: u64) {
        if let Some(cell) = self.0.get_mut(kind.index()) {
            *cell = count;
        }
    }

    /// Same as [`Usage::set`], for building a value in one expression.
    #[must_use]
    pub fn with(mut self, kind: Kind, count: u64) -> Self {
        self.set(kind, count);
        self
    }

    /// All prompt-side tokens, cached and media ones included (`prompt_tokens` of the contract).
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.sum(&Kind::PROMPT)
    }

    /// All completion-side tokens, reasoning and media included (`completion_tokens`).
    #[must_use]
    pub fn completion(&self) -> u64 {
        self.sum(&Kind::COMPLETION)
    }

    fn sum(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().fold(0, |total, kind| total.saturating_add(self.get(*kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_kind_at_its_index() {
        for (position, (kind, _)) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), position);
        }
    }

    #[test]
    fn prompt_and_completion_cover_disjoint_kinds() {
        let mut usage = Usage::ZERO;
        for (kind, _) in Kind::ALL {
            usage.set(kind, 1);
        }
        assert_eq!((usage.prompt(), usage.completion()), (8, 4));
    }
}
