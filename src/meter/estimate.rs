//! The estimate where no usage was reported, or only a part of it (F34, I14).
//!
//! Weights per tokenizer family and class of byte make a first estimate; what complete replies of the
//! same endpoint reported corrects it. Recalibrate with `tests/calibrate`: new weights, new name.

use super::{CLASSES, Delivered};
use crate::request::route::Operation;
use crate::usage::{Kind, Usage};
use std::fmt;

/// Name and version of the estimator below, as the ledger's rows carry it.
pub const ESTIMATOR: &str = "classes-2";

/// Tokens per thousand bytes of the caller's text, JSON included: between the medians of bodies under
/// 300 bytes (140) and of 1 to 10 kB (173).
const PROMPT_WEIGHT: u64 = 170;
/// Bounds of a correction, percent.
const CORRECTION: (u16, u16) = (25, 400);

/// Tokenizers that cut text alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Family {
    /// Any other: fitted to what hosts of many models report.
    #[default]
    Other = 0,
    /// GPT-4o and what came after it.
    O200k = 1,
    /// GPT-4, GPT-3.5 and the embeddings of their time.
    Cl100k = 2,
}

/// A family, its label, tokens per thousand of each class of [`Delivered`], and how names of its models
/// begin, author left out.
type Row = (Family, &'static str, [u64; CLASSES], &'static [&'static str]);

const FAMILIES: [Row; 3] = [
    (Family::Other, "other", [161, 789, 427, 692, 707, 733, 1_528, 3_338], &[]),
    (
        Family::O200k,
        "o200k",
        [139, 702, 421, 587, 703, 723, 1_503, 10_600],
        &["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "chatgpt", "o1", "o3", "o4"],
    ),
    (
        Family::Cl100k,
        "cl100k",
        [142, 706, 426, 589, 703, 742, 1_505, 10_600],
        &["gpt-4", "gpt-3.5", "text-embedding-3", "text-embedding-ada"],
    ),
];

impl Family {
    /// The family of a model, by the name its provider knows it by.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let named = |(.., prefixes): &&Row| prefixes.iter().any(|prefix| name.starts_with(prefix));
        FAMILIES.iter().find(named).map_or(Self::Other, |(family, ..)| *family)
    }

    fn row(self) -> &'static Row {
        let [other, ..] = &FAMILIES;
        FAMILIES.iter().find(|(family, ..)| *family == self).unwrap_or(other)
    }
}

/// How an endpoint's tokens are estimated: by a family's weights, corrected by percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimator {
    pub family: Family,
    input: u16,
    output: u16,
}

impl Estimator {
    /// A family's weights as they are.
    #[must_use]
    pub const fn of(family: Family) -> Self {
        Self { family, input: 100, output: 100 }
    }

    /// The same, input and output corrected by so many percent of the estimate.
    #[must_use]
    pub fn corrected(self, input: u64, output: u64) -> Self {
        let (least, most) = CORRECTION;
        let clamp = |percent: u64| u16::try_from(percent).unwrap_or(most).clamp(least, most);
        Self { input: clamp(input), output: clamp(output), ..self }
    }

    /// Usage of a reply that reported none: output from what was delivered, input from the size of the
    /// caller's text. Nothing delivered: no output.
    #[must_use]
    pub fn estimate(self, delivered: &Delivered, prompt_bytes: u64, operation: Operation) -> Usage {
        let (_, _, weights, _) = self.family.row();
        let output = match operation {
            Operation::Embedding => 0,
            Operation::Chat | Operation::Completion => {
                delivered.0.iter().zip(weights).fold(0u64, |sum, (count, weight)| {
                    sum.saturating_add(count.saturating_mul(*weight))
                })
            }
        };
        let corrected = |thousandths: u64, percent: u16| {
            let exact = u128::from(thousandths) * u128::from(percent);
            u64::try_from(exact.div_ceil(100_000)).unwrap_or(u64::MAX)
        };
        let input = prompt_bytes.saturating_mul(PROMPT_WEIGHT);
        Usage::ZERO
            .with(Kind::Input, corrected(input, self.input))
            .with(Kind::Output, corrected(output, self.output))
            .with(Kind::Requests, 1)
    }

    /// As a word of a slot.
    #[must_use]
    pub fn code(self) -> u64 {
        self.family as u64 | u64::from(self.input) << 8 | u64::from(self.output) << 24
    }

    /// What [`Estimator::code`] gave; `None` for any other word.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        let (family, ..) = FAMILIES.iter().find(|(family, ..)| *family as u64 == code & 0xff)?;
        let (input, output) = (code >> 8 & 0xffff, code >> 24);
        let read = Self::of(*family).corrected(input, output);
        (read.code() == code).then_some(read)
    }

    /// Reads the text of a ledger's row; `None` if another estimator, or none, wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix(ESTIMATOR)?.split(' ').skip(1);
        let label = words.next()?;
        let (family, ..) = FAMILIES.iter().find(|(_, known, ..)| *known == label)?;
        let read =
            Self::of(*family).corrected(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (read.to_string() == text).then_some(read)
    }
}

impl fmt::Display for Estimator {
    /// `classes-2 o200k 100 97`: name, family, percent of input and of output.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, label, ..) = self.family.row();
        write!(out, "{ESTIMATOR} {label} {} {}", self.input, self.output)
    }
}

/// Tokens of a caller's text of so many bytes.
#[must_use]
pub const fn prompt_tokens(bytes: u64) -> u64 {
    bytes.saturating_mul(PROMPT_WEIGHT).div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Estimator = Estimator::of(Family::Other);

    #[test]
    fn nothing_delivered_is_no_output() {
        let usage = PLAIN.estimate(&Delivered::default(), 1_000, Operation::Chat);
        assert_eq!(usage.completion(), 0);
        assert_eq!(usage.prompt(), prompt_tokens(1_000));
    }

    #[test]
    fn a_byte_of_content_is_at_least_a_token_and_text_stays_in_proportion() {
        for (family, ..) in FAMILIES {
            let tokens = |text: &str| {
                let mut delivered = Delivered::default();
                delivered.count(text.as_bytes());
                Estimator::of(family).estimate(&delivered, 0, Operation::Chat).completion()
            };
            assert_eq!(tokens("x"), 1);
            let long = tokens(&"The quick brown fox jumps over the lazy dog. ".repeat(100));
            assert!((700..1_600).contains(&long), "{long} for a text of about 1000");
        }
    }

    #[test]
    fn the_largest_counts_do_not_wrap() {
        let most = PLAIN.corrected(u64::MAX, u64::MAX);
        let usage = most.estimate(&Delivered([u64::MAX; 8]), u64::MAX, Operation::Completion);
        assert!(usage.completion() > 1 << 53 && usage.prompt() > 1 << 53);
    }

    #[test]
    fn models_are_of_the_family_of_their_names() {
        for (model, family) in [
            ("gpt-4o-mini", Family::O200k),
            ("openai/gpt-oss-120b", Family::O200k),
            ("gpt-4-turbo", Family::Cl100k),
            ("o3-mini", Family::O200k),
            ("text-embedding-3-small", Family::Cl100k),
            ("llama-3.3-70b", Family::Other),
            ("", Family::Other),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }

    #[test]
    fn corrections_scale_and_are_bounded() {
        let input = |estimator: Estimator| {
            estimator.estimate(&Delivered::default(), 100_000, Operation::Chat).prompt()
        };
        assert_eq!(input(PLAIN), 17_000);
        assert_eq!(input(PLAIN.corrected(150, 100)), 25_500);
        assert_eq!(input(PLAIN.corrected(0, 100)), 4_250);
        assert_eq!(input(PLAIN.corrected(70_000, 100)), 68_000);
    }

    proptest! {
        #[test]
        fn word_and_text_are_read_as_they_were_written(
            family in 0..FAMILIES.len(), input in any::<u64>(), output in any::<u64>(),
        ) {
            let estimator = Estimator::of(FAMILIES[family].0).corrected(input, output);
            prop_assert_eq!(Estimator::from_code(estimator.code()), Some(estimator));
            prop_assert_eq!(Estimator::parse(&estimator.to_string()), Some(estimator));
        }

        #[test]
        fn any_word_and_any_text_are_read_or_refused(code in any::<u64>(), text in "(classes-2| |[a-z0-9]){0,9}") {
            let _ = (Estimator::from_code(code), Estimator::parse(&text));
        }
    }
}
