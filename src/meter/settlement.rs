//! What the evidence of an attempt comes to: its usage and where that is from, whether it is to be
//! believed, and whether the caller got what is paid for.

use super::{Delivered, Estimator, Finish};
use crate::outcome::{Cause, Outcome};
use crate::request::route::Operation;
use crate::usage::{Kind, Usage};

/// Where a usage came from (I14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Source {
    /// Nothing was reported, nothing was delivered.
    #[default]
    None = 0,
    /// The reply's own last report, and the reply came to its end.
    Reported = 1,
    Estimated = 2,
    /// A report of a reply that went on after it and was cut: its prompt, and what was delivered as
    /// far as it did not tell.
    Partial = 3,
}

impl Source {
    /// Every source with its label.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::Reported, "reported"),
        (Self::Estimated, "estimated"),
        (Self::Partial, "partial"),
    ];

    /// The label in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(source, _)| *source == self).map_or("none", |(_, name)| name)
    }
}

/// All that is known of what an attempt used.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The last valid report.
    pub reported: Option<&'a Usage>,
    pub delivered: &'a Delivered,
    /// Content came.
    pub content: bool,
    /// The reply came to its end, or said why it ends: no later report is missing.
    pub complete: bool,
    /// Bytes of the caller's text.
    pub prompt_bytes: u64,
    pub operation: Operation,
    pub estimator: Estimator,
}

impl Evidence<'_> {
    /// Where the usage is from, and what it is.
    #[must_use]
    pub fn settle(&self) -> (Source, Usage) {
        let estimate =
            || self.estimator.estimate(self.delivered, self.prompt_bytes, self.operation);
        match self.reported {
            Some(usage) if self.complete => (Source::Reported, *usage),
            Some(usage) => {
                let untold = estimate().completion().saturating_sub(usage.completion());
                let output = usage.get(Kind::Output).saturating_add(untold);
                (Source::Partial, usage.with(Kind::Output, output))
            }
            None if self.content => (Source::Estimated, estimate()),
            None => (Source::None, Usage::ZERO),
        }
    }
}

/// Tokens that a report may claim beyond what bytes explain: templates, hidden instructions, marks.
const SLACK: u64 = 2_048;
/// Tokens that pictures, sound and files of a prompt may come to.
const MEDIA: u64 = 2_000_000;

/// Whether a report fits what was sent and received: a token of text stands for at least a byte (I15).
#[must_use]
pub fn is_plausible(usage: &Usage, delivered: &Delivered, prompt_bytes: u64, media: bool) -> bool {
    let most_input =
        prompt_bytes.saturating_add(SLACK).saturating_add(if media { MEDIA } else { 0 });
    let most_output = delivered.bytes().saturating_add(SLACK);
    // What a search found is prompt too, and nobody but the provider saw it.
    let input_fits = usage.get(Kind::Searches) > 0 || usage.prompt() <= most_input;
    input_fits && usage.get(Kind::Output) <= most_output
}

/// Whether a delivered attempt failed its caller, who then pays nothing (contract 4.7): it ended with an
/// error or was cut by anybody else, or it has neither completion tokens nor a finish reason. `outcome`
/// is `None` while it goes on.
#[must_use]
pub fn failed(
    outcome: Option<Outcome>,
    finish: Option<Finish>,
    usage: &Usage,
    operation: Operation,
) -> bool {
    let cut = outcome.and_then(Outcome::cause).is_some_and(|cause| cause != Cause::Caller);
    let empty = operation != Operation::Embedding && usage.completion() == 0 && finish.is_none();
    cut || empty || finish == Some(Finish::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Family;

    fn settle(reported: Option<Usage>, content: bool, complete: bool) -> (Source, Usage) {
        let mut delivered = Delivered::default();
        if content {
            delivered.count("one two three four five six seven".as_bytes());
        }
        let evidence = Evidence {
            reported: reported.as_ref(),
            delivered: &delivered,
            content,
            complete,
            prompt_bytes: 100,
            operation: Operation::Chat,
            estimator: Estimator::of(Family::Other),
        };
        evidence.settle()
    }

    fn usage(input: u64, output: u64) -> Usage {
        Usage::ZERO.with(Kind::Input, input).with(Kind::Output, output)
    }

    #[test]
    fn a_report_of_a_whole_reply_is_taken_as_it_is() {
        assert_eq!(settle(Some(usage(9, 1)), true, true), (Source::Reported, usage(9, 1)));
    }

    #[test]
    fn a_report_before_a_cut_keeps_its_prompt_and_gains_what_was_delivered_after() {
        let (source, early) = settle(Some(usage(9, 1)), true, false);
        assert_eq!((source, early.prompt()), (Source::Partial, 9));
        assert!(early.completion() > 4, "{early:?}");
        assert_eq!(settle(Some(usage(9, 99)), true, false), (Source::Partial, usage(9, 99)));
    }

    #[test]
    fn without_a_report_content_is_estimated_and_nothing_is_nothing() {
        let (source, estimate) = settle(None, true, false);
        assert!(source == Source::Estimated && estimate.prompt() > 0 && estimate.completion() > 0);
        assert_eq!(settle(None, false, true), (Source::None, Usage::ZERO));
    }

    #[test]
    fn a_token_more_than_bytes_explain_is_implausible() {
        let mut delivered = Delivered::default();
        delivered.count("ab€".as_bytes());
        let fits =
            |input, output, media| is_plausible(&usage(input, output), &delivered, 100, media);
        assert!(fits(100 + SLACK, 5 + SLACK, false));
        assert!(!fits(101 + SLACK, 5, false) && !fits(1, 6 + SLACK, false));
        assert!(fits(100 + SLACK + MEDIA, 1, true) && !fits(101 + SLACK + MEDIA, 1, true));
        let hidden = usage(1, 0).with(Kind::Reasoning, 9_000);
        assert!(is_plausible(&hidden, &delivered, 100, false), "reasoning need not be shown");
        let searched = usage(50_000, 1).with(Kind::Searches, 1);
        assert!(is_plausible(&searched, &delivered, 100, false));
    }

    #[test]
    fn errors_cuts_and_empty_completions_fail_and_what_the_caller_ends_does_not() {
        let some = usage(9, 1);
        let chat = |outcome, finish, usage| failed(Some(outcome), finish, &usage, Operation::Chat);
        assert!(!chat(Outcome::Ok, Some(Finish::Stop), some));
        assert!(!chat(Outcome::Ok, Some(Finish::Stop), usage(9, 0)), "it says why it is empty");
        assert!(chat(Outcome::Ok, None, usage(9, 0)));
        assert!(!chat(Outcome::Ok, None, some));
        assert!(chat(Outcome::Ok, Some(Finish::Error), some));
        assert!(!chat(Outcome::ClientAbort, None, some));
        for cut in [Outcome::InBand, Outcome::Truncated, Outcome::Shutdown, Outcome::CrashRecovered]
        {
            assert!(chat(cut, Some(Finish::Stop), some), "{cut:?}");
        }
        assert!(!failed(Some(Outcome::Ok), None, &usage(9, 0), Operation::Embedding));
        assert!(!failed(None, None, &some, Operation::Chat));
    }
}
