//! How an upstream's reply is shaped for the caller: the pure path from upstream bytes to caller bytes.
//!
//! A [`Relay`] takes one attempt's reply read by read. It tells the tally every number before it gives
//! out the bytes the number came from (invariant 6), and holds everything until first content, so that
//! a failure before it stays invisible. `faithful` passes bytes; `openrouter` splices them.

pub mod cors;
mod error;
mod metadata;
mod openrouter;
mod out;
mod sift;
mod stream;
mod usage;
mod whole;

pub use crate::dialect::InBandFault;
pub use crate::dialect::fault::{code, moderated};
pub use error::{Named, error_body, error_event, wrap_upstream_error};
pub use metadata::{Place, Routing};

use crate::catalog::Tier;
use crate::dialect::{Dialect, Observation, Observer, Shown};
use crate::error::Error;
use crate::meter::{Account, Delivered, Estimator, Evidence, Finish, Tally};
use crate::price::{PriceVersion, Terms};
use crate::request::route::{Face, Operation};
use crate::selection::Service;
use crate::tools::Calls;
use crate::usage::Usage;
use bytes::Bytes;
use std::sync::Arc;

/// Constants of one attempt's reply.
#[derive(Debug, Clone)]
pub struct Reply {
    pub face: Face,
    pub operation: Operation,
    pub dialect: Dialect,
    /// The upstream's content type is `text/event-stream`.
    pub streamed: bool,
    /// The caller reads a stream: what `/v1` gets is what came, what `/api/v1` gets is what it asked for.
    pub chunks: bool,
    /// `gen-...`.
    pub generation_id: Arc<str>,
    /// Unix seconds, where the upstream gives none.
    pub created: u64,
    /// The catalogue slug shown on `/api/v1`.
    pub model: Arc<str>,
    /// Display name.
    pub provider: Arc<str>,
    /// Weir added `stream_options.include_usage`.
    pub injected_usage: bool,
    /// `/api/v1` shows no reasoning.
    pub hides_reasoning: bool,
    pub terms: Terms,
    /// The tier it was asked at, and what others of the same offer cost.
    pub tier: Option<Tier>,
    pub tiers: Vec<(Option<Tier>, Arc<PriceVersion>)>,
    /// Bytes of the caller's text.
    pub prompt_bytes: u64,
    /// `openrouter_metadata` as JSON, where it is asked for; on `/api/v1` only.
    pub routing: Option<Arc<str>>,
    pub estimator: Estimator,
    /// Its tool calls are to be judged.
    pub judged: bool,
}

/// What came of one read.
#[derive(Debug, Default)]
pub struct Step {
    /// What may leave now. The first `Some` of a reply commits it, with or without content.
    pub out: Option<Bytes>,
    /// This read passed the first content that the caller is shown.
    pub content: bool,
    /// This read passed the first content of all: its upstream has begun to deliver.
    pub begun: bool,
    /// At least one event (no comment, no blank line) was completed: re-arms the idle clock.
    pub event: bool,
    /// The upstream reported an error inside its 200. Nothing is in `out` if nothing was before; later
    /// the caller is told by `out` itself, and the stream is over.
    pub fault: Option<InBandFault>,
    /// At the end: there is no reply here, and nothing has left.
    pub empty: bool,
    /// With `empty`: there were bytes, but not of the dialect. `/v1` finds them in `out`, to pass as
    /// they came when no other endpoint is left to try.
    pub malformed: bool,
}

/// One reply on its way to the caller.
#[derive(Debug)]
pub struct Relay {
    core: Core,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Stream(stream::Stream),
    Whole(whole::Whole),
}

/// What both sorts of body share.
#[derive(Debug)]
struct Core {
    reply: Reply,
    account: Account,
    observer: Observer,
    /// Unix seconds, as the upstream last gave it.
    created: u64,
    /// Its tool calls, where they are to be judged.
    calls: Option<Calls>,
    /// It says at which tier it is served.
    names_tier: bool,
    /// It is billed at another tier than was asked.
    retiered: bool,
}

impl Core {
    /// Takes in what was observed in `json`.
    fn note(&mut self, json: &[u8], seen: &Observation<'_>, tally: &mut dyn Tally) {
        self.account.note(seen, tally);
        self.names_tier |= seen.tier.is_some();
        if let Some(word) = seen.tier.filter(|_| !self.reply.tiers.is_empty()) {
            self.served(word.raw, tally);
        }
        if let Some(calls) = &mut self.calls {
            self.observer.tool_calls(json, seen, calls);
        }
    }

    /// The upstream says at which tier it serves: billing follows (contract 3.8), unless the record cannot.
    fn served(&mut self, word: &[u8], tally: &mut dyn Tally) {
        let reply = &mut self.reply;
        let Some(tier) = Service::served(word).filter(|tier| *tier != reply.tier) else { return };
        let known = reply.tiers.iter().find(|(known, _)| *known == tier);
        if let Some((_, version)) = known.filter(|_| tally.may_follow()) {
            (reply.tier, reply.terms.version) = (tier, Arc::clone(version));
            self.retiered = true;
        }
    }

    /// Content passed that was too large to be read.
    fn content_unread(&mut self) {
        self.account.content_unread();
        if let Some(calls) = &mut self.calls {
            calls.lose();
        }
    }

    /// Nothing that was asked for is in it, nor a reason why: as good as no reply.
    fn is_hollow(&self) -> bool {
        let tokens = self.account.reported().map_or(0, Usage::completion);
        let reason = match self.account.finish() {
            None => tokens > 0,
            Some(finish) => finish != Finish::Error,
        };
        !reason && !self.account.has_content() && self.reply.operation != Operation::Embedding
    }

    fn evidence(&self) -> Evidence<'_> {
        let account = &self.account;
        Evidence {
            reported: account.reported(),
            delivered: account.delivered(),
            content: account.has_content(),
            complete: account.has_finished(),
            prompt_bytes: self.reply.prompt_bytes,
            operation: self.reply.operation,
            estimator: self.reply.estimator,
        }
    }
}

impl Relay {
    #[must_use]
    pub fn new(reply: Reply) -> Self {
        let body = if reply.streamed {
            Body::Stream(stream::Stream::new(&reply))
        } else {
            Body::Whole(whole::Whole::default())
        };
        let Reply { chunks, hides_reasoning, .. } = reply;
        let shown = Shown { chunks, hides_reasoning };
        let shaped = (reply.face == Face::OpenRouter).then_some(shown);
        let observer = Observer::new(reply.dialect, shaped);
        let created = reply.created;
        let calls = reply.judged.then(Calls::default);
        let account = Account::default();
        Self {
            core: Core {
                reply,
                account,
                observer,
                created,
                calls,
                names_tier: false,
                retiered: false,
            },
            body,
        }
    }

    /// One upstream read; `end` with the last, maybe empty one. Numbers go to `tally` before the bytes
    /// they came from are in the result.
    pub fn push(&mut self, input: Option<Bytes>, end: bool, tally: &mut dyn Tally) -> Step {
        let input = input.unwrap_or_default();
        let (had_content, had_begun) = (self.has_content(), self.has_begun());
        let mut step = match &mut self.body {
            Body::Stream(stream) => stream.push(&mut self.core, &input, end, tally),
            Body::Whole(whole) => whole.push(&mut self.core, input, end, tally),
        };
        self.core.account.tell(tally);
        step.out = step.out.filter(|out| !out.is_empty());
        step.content = !had_content && self.has_content();
        step.begun = !had_begun && self.has_begun();
        step
    }

    /// Whether the upstream has just said that it serves at another tier than was known.
    pub fn take_retiered(&mut self) -> bool {
        std::mem::take(&mut self.core.retiered)
    }

    /// The tier at which it is served, and the terms of that.
    #[must_use]
    pub fn served(&self) -> (Option<Tier>, &Terms) {
        (self.core.reply.tier, &self.core.reply.terms)
    }

    /// The final event after a cut (contract 4.4), same on both faces, separated from a half-sent event
    /// so that a client parses it as its own. No `[DONE]` follows. Empty where there is nothing to say
    /// it in: an unstreamed body, or a stream that already ended with an error event.
    pub fn fail(&mut self, error: &Error) -> Bytes {
        match &mut self.body {
            Body::Stream(stream) => stream.fail(&self.core, error),
            Body::Whole(_) => Bytes::new(),
        }
    }

    /// Whether a comment could stand where the reply is now: on `/api/v1` events leave whole, but for
    /// those too long to be held.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        match &self.body {
            Body::Stream(stream) => stream.is_between_events(),
            Body::Whole(_) => false,
        }
    }

    /// Content has come that the caller is shown.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.core.account.has_content()
    }

    /// Content has come, shown or not.
    fn has_begun(&self) -> bool {
        self.has_content() || !self.delivered().is_empty()
    }

    /// The reply came to its own end: `[DONE]`, a finish reason before the end, or a whole body.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match &self.body {
            Body::Stream(stream) => stream.is_terminal(&self.core.account),
            Body::Whole(whole) => whole.is_terminal(),
        }
    }

    /// Content delivered so far, by class of byte.
    #[must_use]
    pub fn delivered(&self) -> &Delivered {
        self.core.account.delivered()
    }

    /// What is known so far of what it used.
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        let evidence = self.core.evidence();
        Evidence { complete: evidence.complete || self.is_terminal(), ..evidence }
    }

    /// Gives away the tool calls of a reply that came to an end at which they are whole.
    pub fn take_calls(&mut self) -> Option<Calls> {
        let calls = self.core.calls.take()?;
        match self.finish() {
            Some(Finish::ToolCalls) => Some(calls),
            Some(Finish::Stop) | None => (!calls.is_empty()).then_some(calls),
            // Cut short for another reason than the tools.
            Some(Finish::Length | Finish::ContentFilter | Finish::Error) => None,
        }
    }

    /// Why it ended, if it said so.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.core.account.finish()
    }
}

#[cfg(test)]
mod tests;
