//! An unstreamed reply: held to be read and shaped, up to a bound; beyond it, all but its tail passes.

use super::sift::Sift;
use super::{Core, Step, openrouter};
use crate::bounds::{USAGE_TAIL_BYTES, WHOLE_REPLY_BYTES};
use crate::dialect::{Choices, fault};
use crate::meter::Tally;
use crate::request::route::{Face, Operation};
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct Whole {
    /// The first read, which mostly is the body.
    first: Bytes,
    /// First and all later reads, if there are any.
    joined: BytesMut,
    /// The body is too large to be held.
    passing: bool,
    /// Takes its members apart on `/api/v1`.
    sift: Option<Sift>,
    terminal: bool,
}

impl Whole {
    pub(super) fn push(
        &mut self,
        core: &mut Core,
        read: Bytes,
        end: bool,
        tally: &mut dyn Tally,
    ) -> Step {
        let mut step = Step { event: !read.is_empty(), ..Step::default() };
        self.gather(read);
        if core.reply.chunks && self.joined.len() > WHOLE_REPLY_BYTES {
            // No event is as long.
            self.joined.truncate(WHOLE_REPLY_BYTES + 1);
            (step.empty, step.malformed) = (end, end);
        } else if self.passing || self.joined.len() > WHOLE_REPLY_BYTES {
            self.pass(core, end, &mut step, tally);
        } else if end {
            let body = if self.joined.is_empty() {
                std::mem::take(&mut self.first)
            } else {
                std::mem::take(&mut self.joined).freeze()
            };
            self.finish(core, body, &mut step, tally);
        }
        step
    }

    /// See [`super::Relay::is_terminal`].
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    fn gather(&mut self, read: Bytes) {
        if read.is_empty() {
            return;
        }
        if self.first.is_empty() && self.joined.is_empty() && read.len() <= WHOLE_REPLY_BYTES {
            self.first = read;
            return;
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&read);
    }

    /// Beyond the bound: everything leaves but, on `/v1`, the last bytes, where usage stands.
    fn pass(&mut self, core: &mut Core, end: bool, step: &mut Step, tally: &mut dyn Tally) {
        if !std::mem::replace(&mut self.passing, true) {
            core.content_unread();
            if core.reply.face == Face::OpenRouter {
                self.sift = Some(Sift::new(openrouter::opening(&core.reply), USAGE_TAIL_BYTES));
            }
        }
        if self.sift.is_some() {
            self.sift(core, end, step, tally);
        } else if end {
            self.terminal = self.joined.trim_ascii_end().ends_with(b"}");
            match core.reply.dialect.tail_usage(&self.joined) {
                Some(report) => core.account.report(report, tally),
                None => tally.unreadable(),
            }
            step.out = Some(std::mem::take(&mut self.joined).freeze());
        } else {
            let length = self.joined.len().saturating_sub(USAGE_TAIL_BYTES);
            step.out = Some(self.joined.split_to(length).freeze());
        }
    }

    /// See [`Sift`]: top-level members are OpenRouter's, what is inside of the others is the upstream's.
    fn sift(&mut self, core: &mut Core, end: bool, step: &mut Step, tally: &mut dyn Tally) {
        let Some(sift) = &mut self.sift else { return };
        let (first, joined) = (std::mem::take(&mut self.first), std::mem::take(&mut self.joined));
        let mut out = BytesMut::with_capacity(first.len() + joined.len() + 1_024);
        sift.pass(&joined, &mut out);
        sift.pass(&first, &mut out);
        if end {
            match core.reply.dialect.tail_usage(&sift.usage()) {
                Some(report) => core.account.report(report, tally),
                None => tally.unreadable(),
            }
        }
        core.names_tier |= sift.has_tier;
        self.terminal = end && sift.is_over();
        if self.terminal {
            let embeds = core.reply.operation == Operation::Embedding;
            let (created, fingerprint) = (sift.has_created || embeds, sift.has_fingerprint);
            openrouter::closing(core, (created, fingerprint), &mut out);
        }
        step.out = Some(out.freeze());
    }

    fn finish(&mut self, core: &mut Core, body: Bytes, step: &mut Step, tally: &mut dyn Tally) {
        if body.trim_ascii().is_empty() {
            step.empty = true;
            return;
        }
        let faithful = core.reply.face == Face::Faithful;
        let seen = core.observer.observe(&body);
        let Some(mut seen) = seen.filter(|seen| {
            seen.choices != Choices::Absent || seen.embeddings || seen.error.is_some()
        }) else {
            (step.empty, step.malformed) = (true, true);
            step.out = faithful.then_some(body);
            return;
        };
        let failed = seen.error.is_some() && seen.choices != Choices::Some;
        if failed {
            seen.withhold();
        }
        core.note(&body, &seen, tally);
        if let Some(range) = seen.error.as_ref().filter(|_| failed) {
            step.fault = Some(fault::read(body.get(range.clone()).unwrap_or(&body)));
            return;
        }
        if seen.choices == Choices::Empty && !seen.content || core.is_hollow() {
            step.empty = true;
            return;
        }
        self.terminal = true;
        if faithful {
            step.out = Some(body);
            return;
        }
        let mut out = BytesMut::with_capacity(body.len() + 1_024);
        let opening = openrouter::opening(&core.reply);
        if core.reply.chunks {
            core.created = core.observer.marks().created().unwrap_or(core.created);
            out.extend_from_slice(b"data: ");
            openrouter::splice(core, &opening, &body, &mut out);
            // Between members alone can they be, and would end the line.
            let breaks = out.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r'));
            breaks.for_each(|byte| *byte = b' ');
            out.extend_from_slice(b"}\n\n");
            openrouter::ending(core, &opening, &mut out);
            step.out = Some(out.freeze());
            return;
        }
        openrouter::splice(core, &opening, &body, &mut out);
        openrouter::closing(core, (true, core.observer.marks().has_fingerprint()), &mut out);
        step.out = Some(out.freeze());
    }
}
