//! One reply through a [`Relay`], read in pieces, and all that came of it.

use bytes::Bytes;
use std::sync::Arc;
use weir::dialect::Dialect;
use weir::face::{Relay, Reply};
use weir::meter::{Delivered, Estimator, Family, Finish, Tally};
use weir::price::{Policy, PriceVersion, Terms};
use weir::request::route::{Face, Operation};
use weir::usage::{KINDS, Usage};

/// How the reply is shaped: its face, and on `/v1` whether Weir asked for the usage.
pub(crate) type Mode = (Face, bool);
/// Every way a reply is shaped.
pub(crate) const MODES: [Mode; 3] =
    [(Face::Faithful, false), (Face::Faithful, true), (Face::OpenRouter, false)];

/// What the ledger, the metrics and the attempt are told of one reply.
#[derive(Default, Debug, Clone, PartialEq)]
pub(crate) struct Sheet {
    pub(crate) usage: Option<Usage>,
    pub(crate) delivered: Delivered,
    /// As the contract has it, and as the upstream wrote it.
    pub(crate) finish: Option<(Finish, String)>,
    pub(crate) id: Option<String>,
    pub(crate) suspects: u32,
    pub(crate) unreadable: u32,
    /// Status of the error event, where there was one.
    pub(crate) fault: Option<u16>,
    pub(crate) content: bool,
    pub(crate) terminal: bool,
    pub(crate) empty: bool,
    pub(crate) malformed: bool,
}

impl Tally for Sheet {
    fn reported(&mut self, usage: &Usage) {
        self.usage = Some(*usage);
    }
    fn delivered(&mut self, delivered: &Delivered) {
        self.delivered = *delivered;
    }
    fn finish(&mut self, finish: Finish, native: &str) {
        self.finish = Some((finish, native.to_owned()));
    }
    fn upstream_id(&mut self, id: &str) {
        self.id = Some(id.to_owned());
    }
    fn suspect(&mut self) {
        self.suspects += 1;
    }
    fn unreadable(&mut self) {
        self.unreadable += 1;
    }
}

/// A relay for one reply, with constants of the test's own.
#[must_use]
pub(crate) fn relay(mode: Mode, operation: Operation, streamed: bool) -> Relay {
    Relay::new(Reply {
        face: mode.0,
        operation,
        dialect: Dialect::OpenAiChat,
        streamed,
        chunks: streamed,
        generation_id: "gen-1-abc".into(),
        created: 1,
        model: "author/model".into(),
        provider: "Provider".into(),
        injected_usage: mode.1,
        hides_reasoning: false,
        terms: Terms {
            version: Arc::new(PriceVersion::flat([7; KINDS])),
            started_us: 0,
            policy: Policy::Insured,
            earlier: 0,
        },
        tier: None,
        tiers: Vec::new(),
        routing: None,
        prompt_bytes: 100,
        estimator: Estimator::of(Family::Other),
        judged: false,
    })
}

/// Output and sheet of `reply`, read in pieces as `size` says.
pub(crate) fn replay(
    mut relay: Relay,
    reply: &[u8],
    mut size: impl FnMut() -> usize,
) -> (Vec<u8>, Sheet) {
    let (mut sheet, mut out, mut rest) = (Sheet::default(), Vec::new(), reply);
    loop {
        let (read, later) = rest.split_at(size().clamp(1, rest.len().max(1)).min(rest.len()));
        let end = later.is_empty();
        let step = relay.push(Some(Bytes::copy_from_slice(read)), end, &mut sheet);
        out.extend_from_slice(step.out.as_deref().unwrap_or_default());
        sheet.fault = sheet.fault.or(step.fault.map(|fault| fault.status));
        sheet.content |= step.content;
        if end {
            (sheet.empty, sheet.malformed) = (step.empty, step.malformed);
            sheet.terminal = relay.is_terminal();
            return (out, sheet);
        }
        rest = later;
    }
}
