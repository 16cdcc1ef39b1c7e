//! What an attempt's evidence comes to: usage, source, cost, charge. Pure, so that the same slot
//! settles to the same record before and after a crash.

use super::codec::Reader;
use super::intent;
use super::record::{Record, RecordKey, Source, flag};
use super::slot::Image;
use crate::meter::{Delivered, ESTIMATOR, Finish, estimate};
use crate::outcome::Outcome;
use crate::price::{Pico, PriceVersion};
use crate::usage::Usage;
use std::borrow::Cow;

/// The one policy so far: who received content pays the attempt's cost (I12).
pub(super) const POLICY: &str = "delivered";

/// How far wall clock and monotonic clock may part before the record says so. Wider than any
/// connect: a record starts at its claim, its duration at its dispatch.
const CLOCK_SLACK_US: u64 = 60_000_000;

/// The record of a slot that was dispatched. `None` if the intent cannot be read.
pub(super) fn settle(node: [u8; 16], image: &Image) -> Option<Record> {
    let intent = intent::get(&mut Reader(&image.intent))?;
    let price = PriceVersion { hash: intent.price, unit: image.unit };
    let content = image.committed || image.delivered.iter().any(|bytes| *bytes > 0);
    let (source, usage, estimator) = match image.reported {
        Some(usage) => (Source::Reported, usage, ""),
        None if content => {
            let delivered = Delivered(image.delivered);
            let usage = estimate(&delivered, intent.prompt_bytes, intent.operation);
            (Source::Estimated, usage, ESTIMATOR)
        }
        None => (Source::None, Usage::ZERO, ""),
    };
    let cost = price.cost(&usage);
    let mut flags = image.flags;
    let expected = image.identity.started_us.saturating_add(image.duration_us);
    if expected.abs_diff(image.ended_us) > CLOCK_SLACK_US {
        flags |= flag::CLOCK_JUMP;
    }
    Some(Record {
        key: RecordKey { node, epoch: image.identity.epoch, seq: image.identity.seq },
        outcome: Outcome::from_code(image.outcome).unwrap_or(Outcome::Internal),
        status: image.status,
        finish: finish_from_code(image.finish),
        native_finish: image.native_finish.clone(),
        upstream_id: image.upstream_id.clone(),
        started_us: image.identity.started_us,
        ended_us: image.ended_us,
        first_content_us: image.first_content_us,
        duration_us: image.duration_us,
        source,
        estimator: Cow::Borrowed(estimator),
        usage,
        delivered: image.delivered,
        committed: image.committed,
        cost,
        charge: charge(cost, image),
        policy: Cow::Borrowed(POLICY),
        flags,
        intent: intent::owned(intent),
    })
}

fn charge(cost: Pico, image: &Image) -> Pico {
    if image.committed { cost } else { 0 }
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
    use crate::usage::Kind;

    fn image() -> Image {
        testing::image(&testing::intent("gen-1", 1))
    }

    #[test]
    fn a_reported_usage_is_taken_whatever_was_delivered() {
        let usage = Usage::ZERO.with(Kind::Input, 10).with(Kind::Output, 5);
        let record = settle([1; 16], &Image { reported: Some(usage), ..image() }).unwrap();
        assert_eq!((record.source, record.usage, record.cost), (Source::Reported, usage, 10 + 45));
        assert_eq!(record.charge, 0, "nothing reached the caller");
        let paid =
            settle([1; 16], &Image { reported: Some(usage), committed: true, ..image() }).unwrap();
        assert_eq!(paid.charge, 55);
    }

    #[test]
    fn delivered_content_without_a_report_is_estimated() {
        let mut cut = Image { committed: true, ..image() };
        cut.delivered[0] = 400;
        let record = settle([1; 16], &cut).unwrap();
        assert_eq!((record.source, record.estimator.as_ref()), (Source::Estimated, ESTIMATOR));
        assert!(record.usage.get(Kind::Output) > 0 && record.charge == record.cost);
    }

    #[test]
    fn nothing_delivered_and_nothing_reported_costs_nothing() {
        let record = settle([1; 16], &image()).unwrap();
        assert_eq!((record.source, record.usage), (Source::None, Usage::ZERO));
        assert_eq!((record.cost, record.charge), (0, 0));
    }

    #[test]
    fn an_hour_between_the_clocks_is_flagged_and_a_second_is_not() {
        let hour = 3_600_000_000;
        for (drift, flagged) in [(1_000_000, false), (hour, true)] {
            let mut image = image();
            image.ended_us += drift;
            let record = settle([1; 16], &image).unwrap();
            assert_eq!(record.flags & flag::CLOCK_JUMP != 0, flagged);
        }
    }
}
