//! What an attempt's evidence comes to: usage, source, cost, charge. Pure, so that the same slot
//! settles to the same record before and after a crash.

use super::codec::Reader;
use super::intent;
use super::prices::{Priced, Prices};
use super::record::{Intent, Record, RecordKey, Source, flag};
use super::slot::{Basis, Image};
use crate::meter::{self, Evidence, Finish, is_plausible};
use crate::outcome::Outcome;
use crate::price::PriceVersion;
use crate::usage::Usage;
use std::borrow::Cow;

/// How far wall clock and monotonic clock may part before the record says so. Wider than any
/// connect: a record starts at its claim, its duration at its dispatch.
const CLOCK_SLACK_US: u64 = 60_000_000;

/// The record of a slot that was dispatched. `None` if its intent or its price cannot be read.
pub(super) fn settle(node: [u8; 16], image: &Image, prices: &mut Prices) -> Option<Priced> {
    let intent = intent::get(&mut Reader(&image.intent))?;
    let price = prices.get(intent.price, &image.price)?;
    let Basis { policy, estimator } = image.basis;
    let outcome = Outcome::from_code(image.outcome).unwrap_or(Outcome::Internal);
    let finish = finish_from_code(image.finish);
    let (source, usage) = evidence(image, &intent).settle();
    let estimated = matches!(source, Source::Estimated | Source::Partial);
    let cost = price.cost(&usage, image.identity.started_us);
    let failed = meter::failed(Some(outcome), finish, &usage, intent.operation);
    let record = Record {
        key: RecordKey { node, epoch: image.identity.epoch, seq: image.identity.seq },
        outcome,
        status: image.status,
        finish,
        native_finish: image.native_finish.clone(),
        upstream_id: image.upstream_id.clone(),
        started_us: image.identity.started_us,
        ended_us: image.ended_us,
        first_content_us: image.first_content_us,
        duration_us: image.duration_us,
        source,
        estimator: if estimated { estimator.to_string().into() } else { Cow::Borrowed("") },
        usage,
        delivered: image.delivered.0,
        committed: image.committed,
        cost,
        charge: policy.charge(cost, image.committed, failed),
        policy: Cow::Borrowed(policy.as_str()),
        flags: image.flags | found(image, &intent, (outcome, source, &usage), &price),
        intent: intent::owned(intent),
    };
    Some((record, price))
}

fn evidence<'a>(image: &'a Image, intent: &Intent<'_>) -> Evidence<'a> {
    Evidence {
        reported: image.reported.as_ref(),
        delivered: &image.delivered,
        content: image.committed || !image.delivered.is_empty(),
        complete: image.flags & flag::TERMINAL != 0 || image.finish != 0,
        prompt_bytes: intent.prompt_bytes,
        operation: intent.operation,
        estimator: image.basis.estimator,
    }
}

/// Flags that follow from all there is.
fn found(
    image: &Image,
    intent: &Intent<'_>,
    (outcome, source, usage): (Outcome, Source, &Usage),
    price: &PriceVersion,
) -> u32 {
    let started_us = image.identity.started_us;
    let expected = started_us.saturating_add(image.duration_us);
    let jumped = expected.abs_diff(image.ended_us) > CLOCK_SLACK_US;
    let media = image.flags & flag::MEDIA != 0;
    let reported = source == Source::Reported || source == Source::Partial;
    let odd = reported && !is_plausible(usage, &image.delivered, intent.prompt_bytes, media)
        || image.flags & flag::SUSPECT_USAGE != 0;
    let tokens = usage.prompt().saturating_add(usage.completion());
    let is_free = price.text().is_empty();
    let nothing = tokens == 0 || (!is_free && price.cost(usage, started_us) == 0);
    let zero = outcome == Outcome::Ok && image.committed && nothing;
    let flags = [(jumped, flag::CLOCK_JUMP), (odd, flag::QUARANTINED), (zero, flag::ZERO)];
    flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit)
}

/// The finish reason stored as `code`; 0 is none.
pub(super) fn finish_from_code(code: u8) -> Option<Finish> {
    [Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::ContentFilter, Finish::Error]
        .into_iter()
        .find(|finish| *finish as u8 == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing;
    use crate::meter::{CLASSES, Delivered};
    use crate::price::Policy;
    use crate::usage::Kind;

    fn image() -> Image {
        testing::image(&testing::intent("gen-1", 1))
    }

    fn settled(image: &Image) -> Record {
        settle([1; 16], image, &mut Prices::default()).unwrap().0
    }

    #[test]
    fn a_reported_usage_is_taken_whatever_was_delivered() {
        let usage = Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5);
        let record = settled(&Image { reported: Some(usage), ..image() });
        assert_eq!((record.source, record.usage, record.cost), (Source::Reported, usage, 10 + 45));
        assert_eq!(record.charge, 0, "nothing reached the caller");
        let paid = settled(&Image { reported: Some(usage), committed: true, ..image() });
        assert_eq!(paid.charge, 55);
    }

    #[test]
    fn delivered_content_without_a_report_is_estimated() {
        let mut cut = Image { committed: true, ..image() };
        cut.delivered.0[0] = 400;
        let record = settled(&cut);
        let estimator = testing::ESTIMATOR.to_string();
        assert_eq!((record.source, &*record.estimator), (Source::Estimated, &*estimator));
        assert!(record.usage.get(Kind::Output) > 0 && record.charge == record.cost);
    }

    #[test]
    fn nothing_delivered_and_nothing_reported_costs_nothing() {
        let record = settled(&image());
        assert_eq!((record.source, record.usage), (Source::None, Usage::ZERO));
        assert_eq!((record.cost, record.charge), (0, 0));
    }

    #[test]
    fn an_hour_between_the_clocks_is_flagged_and_a_second_is_not() {
        let hour = 3_600_000_000;
        for (drift, flagged) in [(1_000_000, false), (hour, true)] {
            let mut image = image();
            image.ended_us += drift;
            let record = settled(&image);
            assert_eq!(record.flags & flag::CLOCK_JUMP != 0, flagged);
        }
    }

    fn reported(usage: Usage) -> Image {
        let mut image = Image { committed: true, reported: Some(usage), ..image() };
        image.delivered = Delivered([50; CLASSES]);
        image
    }

    #[test]
    fn a_policy_holds_that_was_in_force_at_the_start_and_the_row_says_which() {
        let usage = Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5);
        for (policy, charges) in [
            (Policy::Insured, [55, 0, 0]),
            (Policy::Delivered, [55, 55, 0]),
            (Policy::All, [55; 3]),
        ] {
            let mut image = reported(usage);
            image.basis.policy = policy;
            let mut charge = |committed: bool, outcome: Outcome| {
                (image.committed, image.outcome) = (committed, outcome as u8);
                let record = settled(&image);
                assert_eq!((record.cost, &*record.policy), (55, policy.as_str()));
                record.charge
            };
            let found = [
                charge(true, Outcome::Ok),
                charge(true, Outcome::Truncated),
                charge(false, Outcome::InBand),
            ];
            assert_eq!(found, charges, "{policy:?}");
        }
    }

    #[test]
    fn a_report_of_a_reply_that_was_cut_is_partial_and_names_its_estimator() {
        let mut image = reported(Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 1));
        (image.finish, image.outcome) = (0, Outcome::ClientAbort as u8);
        let record = settled(&image);
        assert_eq!((record.source, record.usage.prompt()), (Source::Partial, 10));
        assert!(record.usage.completion() > 1 && !record.estimator.is_empty());
        assert_eq!(record.charge, record.cost);
        image.flags |= flag::TERMINAL;
        assert_eq!(settled(&image).source, Source::Reported);
    }

    #[test]
    fn what_bytes_do_not_explain_is_quarantined_unless_media_may() {
        let odd = |usage: Usage, flags: u32| {
            let image = Image { flags, ..reported(usage) };
            settled(&image).flags & flag::QUARANTINED != 0
        };
        let usage = Usage::ZERO.with(Kind::Input, 50_000).with(Kind::Output, 5);
        assert!(odd(usage, 0) && !odd(usage, flag::MEDIA));
        assert!(odd(Usage::ZERO.with(Kind::Output, 50_000), flag::MEDIA));
        assert!(!odd(Usage::ZERO.with(Kind::Input, 90).with(Kind::Output, 40), 0));
    }

    #[test]
    fn a_whole_answer_of_no_tokens_or_no_cost_is_marked_and_a_free_price_is_none() {
        let marked = |usage: Usage, text: &str, outcome: Outcome| {
            let price = PriceVersion::parse(text).unwrap();
            let intent = Intent { price: price.hash(), ..testing::intent("gen-1", 1) };
            let mut image = testing::image(&intent);
            image.committed = true;
            (image.reported, image.outcome) = (Some(usage), outcome as u8);
            image.price = price.text().to_owned();
            settled(&image).flags & flag::ZERO != 0
        };
        let some = Usage::ZERO.with(Kind::Input, 3).with(Kind::Output, 2);
        assert!(!marked(some, "input=1 output=1", Outcome::Ok));
        assert!(marked(Usage::ZERO, "input=1 output=1", Outcome::Ok));
        assert!(marked(some, "searches=9", Outcome::Ok));
        assert!(!marked(some, "", Outcome::Ok) && marked(Usage::ZERO, "", Outcome::Ok));
        assert!(!marked(Usage::ZERO, "input=1", Outcome::Empty));
    }
}
