//! What a request can need and an endpoint can have: parameters, modalities, service tiers.

use std::ops::BitOr;

/// Names of parameters, sorted, each with its bit. Names that mean the same share one.
const PARAMETERS: [(&str, u32); 29] = [
    ("audio", 0),
    ("frequency_penalty", 1),
    ("image_config", 2),
    ("include_reasoning", 3),
    ("logit_bias", 4),
    ("logprobs", 5),
    ("max_completion_tokens", 6),
    ("max_tokens", 6),
    ("min_p", 7),
    ("modalities", 8),
    ("parallel_tool_calls", 9),
    ("prediction", 10),
    ("presence_penalty", 11),
    ("reasoning", 3),
    ("reasoning_effort", 3),
    ("repetition_penalty", 12),
    ("response_format", 13),
    ("seed", 14),
    ("stop", 15),
    ("structured_outputs", 16),
    ("temperature", 17),
    ("tool_choice", 18),
    ("tools", 19),
    ("top_a", 20),
    ("top_k", 21),
    ("top_logprobs", 22),
    ("top_p", 23),
    ("verbosity", 24),
    ("web_search_options", 25),
];

/// A set of request parameters (contract 2.1) as `supported_parameters` names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters(u32);

impl Parameters {
    pub const NONE: Self = Self(0);
    pub const REASONING: Self = Self(1 << 3);
    pub const TOOLS: Self = Self(1 << 19);
    pub const TOOL_CHOICE: Self = Self(1 << 18);
    pub const RESPONSE_FORMAT: Self = Self(1 << 13);
    pub const VERBOSITY: Self = Self(1 << 24);
    /// Those of an endpoint that supports them are preferred (contract 3.1).
    pub const PREFERRED: [Self; 3] = [Self::TOOLS, Self::RESPONSE_FORMAT, Self::VERBOSITY];
    /// It bounds what a caller pays.
    const LIMIT: Self = Self(1 << 6);

    /// The parameter of this name; empty for what is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let found = PARAMETERS.binary_search_by(|(known, _)| (*known).cmp(name));
        let bit = found.ok().and_then(|place| PARAMETERS.get(place)).map(|(_, bit)| 1 << bit);
        Self(bit.unwrap_or(0))
    }

    /// Those of `self` that `other` lacks.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        other.without(self).is_empty()
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What an endpoint that honours just these does not, and so is not sent (contract 2.1). Empty where
    /// nothing is known of it; never the limit of output.
    #[must_use]
    pub const fn dropped(self) -> Self {
        if self.is_empty() { self } else { Self(!self.0).without(Self::LIMIT) }
    }

    /// A name of each, the first of those that mean the same.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let mut left = self.0;
        PARAMETERS.into_iter().filter_map(move |(name, bit)| {
            let here = left & 1 << bit != 0;
            left &= !(1 << bit);
            here.then_some(name)
        })
    }
}

impl BitOr for Parameters {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl<'a> FromIterator<&'a str> for Parameters {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        names.into_iter().map(Self::named).fold(Self::default(), BitOr::bitor)
    }
}

/// Modalities of the contract (section 1.4), each with its bit.
const MODALITIES: [(&str, Modalities); 10] = [
    ("text", Modalities::TEXT),
    ("image", Modalities::IMAGE),
    ("file", Modalities::FILE),
    ("audio", Modalities::AUDIO),
    ("video", Modalities::VIDEO),
    ("embeddings", Modalities::EMBEDDINGS),
    ("rerank", Modalities(1 << 6)),
    ("decisions", Modalities(1 << 7)),
    ("speech", Modalities(1 << 8)),
    ("transcription", Modalities(1 << 9)),
];

/// A set of sorts of input or output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modalities(u16);

impl Modalities {
    pub const TEXT: Self = Self(1);
    pub const IMAGE: Self = Self(1 << 1);
    pub const FILE: Self = Self(1 << 2);
    pub const AUDIO: Self = Self(1 << 3);
    pub const VIDEO: Self = Self(1 << 4);
    pub const EMBEDDINGS: Self = Self(1 << 5);
    /// Whatever there is: where the catalogue does not say.
    pub const ANY: Self = Self(u16::MAX);

    /// The modality of this name; empty for what is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        MODALITIES.iter().find(|(known, _)| *known == name).map_or(Self(0), |(_, bit)| *bit)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        other.without(self).is_empty()
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        MODALITIES.into_iter().filter(move |(_, bit)| self.has(*bit)).map(|(name, _)| name)
    }
}

impl BitOr for Modalities {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl<'a> FromIterator<&'a str> for Modalities {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        names.into_iter().map(Self::named).fold(Self::default(), BitOr::bitor)
    }
}

/// Quantizations of the contract (section 1.5).
pub const QUANTIZATIONS: [&str; 12] = [
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32",
    "unknown",
];

/// A service tier that endpoints of their own serve (contract 3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Flex,
    Priority,
    Scale,
    Ultrafast,
}

impl Tier {
    /// Every tier with the word that asks an upstream for it.
    pub const ALL: [(&'static str, Self); 4] = [
        ("flex", Self::Flex),
        ("priority", Self::Priority),
        ("scale", Self::Scale),
        ("ultrafast", Self::Ultrafast),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, tier)| *tier == self).map_or("priority", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_constants_are_theirs() {
        assert!(PARAMETERS.is_sorted_by(|a, b| a.0 < b.0), "binary search needs sorted names");
        for (name, set) in [
            ("tools", Parameters::TOOLS),
            ("tool_choice", Parameters::TOOL_CHOICE),
            ("response_format", Parameters::RESPONSE_FORMAT),
            ("verbosity", Parameters::VERBOSITY),
        ] {
            assert_eq!(Parameters::named(name), set);
            assert_eq!(set.names().collect::<Vec<_>>(), [name]);
        }
        assert!(Parameters::named("user").is_empty());
        for (name, bit) in MODALITIES {
            assert_eq!(bit.names().collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn names_that_mean_the_same_are_one() {
        let served: Parameters = ["max_tokens", "reasoning", "unheard_of"].into_iter().collect();
        assert!(served.has(Parameters::named("max_completion_tokens")));
        assert!(served.has(Parameters::named("reasoning_effort")));
        assert_eq!(
            served.names().collect::<Vec<_>>(),
            ["include_reasoning", "max_completion_tokens"]
        );
        assert!(!served.has(Parameters::TOOLS));
    }
}
