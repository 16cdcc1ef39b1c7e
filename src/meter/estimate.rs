//! The estimate where no usage was reported (F34, I14). Recalibrate: new weights, new name.

use super::Delivered;
use crate::request::route::Operation;
use crate::usage::{Kind, Usage};

/// Name of the estimator below, as the ledger's rows carry it.
pub const ESTIMATOR: &str = "bytes-v1";

/// Tokens per thousand of each class of [`Delivered`]: ridge least squares, weighted by the inverse of
/// the count, over 427 recorded replies of 15 hosts that report usage and no reasoning; replies off by
/// more than 1.8 times (hidden reasoning) were left out, letters held at 150 because words make them
/// one with white space, digits at 700 because most replies with digits hold one only. Of replies of
/// 50 tokens and more, half are estimated within -24 % and +3 %, the median at -8 %.
const WEIGHTS: [u64; super::CLASSES] = [150, 700, 380, 600, 700, 725, 1_500, 10_600];
/// Tokens per thousand bytes of the caller's body, JSON included: between the medians of bodies under
/// 300 bytes (140) and of 1 to 10 kB (173).
const PROMPT_WEIGHT: u64 = 170;

/// Tokens of a caller's body of so many bytes.
#[must_use]
pub const fn prompt_tokens(bytes: u64) -> u64 {
    bytes.saturating_mul(PROMPT_WEIGHT).div_ceil(1_000)
}

/// Usage of a reply that reported none: output from what was delivered, input from the size of the
/// caller's body. Nothing delivered: no output.
#[must_use]
pub fn estimate(delivered: &Delivered, prompt_bytes: u64, operation: Operation) -> Usage {
    let output = match operation {
        Operation::Embedding => 0,
        Operation::Chat | Operation::Completion => delivered
            .0
            .iter()
            .zip(WEIGHTS)
            .fold(0u64, |sum, (count, weight)| sum.saturating_add(count.saturating_mul(weight)))
            .div_ceil(1_000),
    };
    Usage::ZERO
        .with(Kind::Input, prompt_tokens(prompt_bytes))
        .with(Kind::Output, output)
        .with(Kind::Requests, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_delivered_is_no_output() {
        let usage = estimate(&Delivered::default(), 1_000, Operation::Chat);
        assert_eq!(usage.completion(), 0);
        assert!(usage.prompt() > 0);
    }

    #[test]
    fn a_byte_of_content_is_at_least_a_token_and_text_stays_in_proportion() {
        let mut delivered = Delivered::default();
        delivered.count(b"x");
        assert_eq!(estimate(&delivered, 0, Operation::Chat).completion(), 1);
        let mut delivered = Delivered::default();
        delivered.count("The quick brown fox jumps over the lazy dog. ".repeat(100).as_bytes());
        let tokens = estimate(&delivered, 0, Operation::Chat).completion();
        assert!((700..1_600).contains(&tokens), "{tokens} for a text of about 1000");
    }

    #[test]
    fn the_largest_counts_do_not_wrap() {
        let usage = estimate(&Delivered([u64::MAX; 8]), u64::MAX, Operation::Completion);
        assert!(usage.completion() > 1 << 53 && usage.prompt() > 1 << 53);
    }
}
