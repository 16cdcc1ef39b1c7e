//! What is known of a stream between two reads, and what becomes of each of its blocks.

use super::oversized::Oversized;
use crate::bounds::HELD_BYTES;
use crate::dialect::{Choices, Observation, fault};
use crate::face::out::Out;
use crate::face::{Core, Step, error, openrouter, wrap_upstream_error};
use crate::meter::{Block, Event, EventReader, Part, Tally};
use bytes::BytesMut;

/// What is done to the upstream's bytes.
#[derive(Debug)]
pub(super) enum Mode {
    /// They pass in the call that received them.
    Pass,
    /// They pass event by event, less a chunk that carries only the usage Weir asked for.
    Filter,
    /// Every event is re-shaped; holds how each begins.
    Shape(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) mode: Mode,
    /// What came before first content.
    held: BytesMut,
    /// Bytes have left, or leave with this read.
    pub(super) released: bool,
    /// What belongs to the block before goes nowhere, as that did.
    dropping: bool,
    /// The event under way is too large to be held, and re-shaped as it passes.
    pub(super) oversized: Option<Box<Oversized>>,
    /// `[DONE]` was seen.
    pub(super) done: bool,
    /// An error event ended the stream.
    pub(super) faulted: bool,
    /// The upstream has nothing more.
    pub(super) ended: bool,
    /// An event of the dialect was seen.
    known: bool,
    /// Something else was seen.
    foreign: bool,
}

/// One read on its way through.
pub(super) struct Pass<'a> {
    pub(super) core: &'a mut Core,
    pub(super) tally: &'a mut dyn Tally,
    pub(super) out: Out<'a>,
    pub(super) step: Step,
}

impl State {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            held: BytesMut::new(),
            released: false,
            dropping: false,
            oversized: None,
            done: false,
            faulted: false,
            ended: false,
            known: false,
            foreign: false,
        }
    }

    pub(super) fn block(
        &mut self,
        block: &Block<'_>,
        events: &mut EventReader,
        pass: &mut Pass<'_>,
    ) {
        if self.faulted && !self.released {
            return;
        }
        match block.part {
            Part::Whole => {}
            Part::Rest if self.oversized.is_some() => return self.oversized(block.raw, pass),
            Part::Rest if self.dropping => return,
            Part::Rest => return self.keep(block, pass),
            Part::Oversized => {
                pass.step.event = true;
                if let Mode::Shape(opening) = &self.mode {
                    let over = self.done || self.faulted;
                    self.oversized = (!over).then(|| Box::new(Oversized::new(opening)));
                    self.dropping = true;
                    return self.oversized(block.raw, pass);
                }
                self.unread(pass);
                self.dropping = false;
                return self.keep(block, pass);
            }
        }
        let event = events.read(block.raw);
        self.foreign |= event.foreign;
        self.dropping = matches!(self.mode, Mode::Shape(_));
        // Empty data is an event to the standard and JSON to nobody.
        let said = |data: &&[u8]| event.error || !data.trim_ascii().is_empty();
        let Some(data) = event.data.filter(said) else { return self.keep_faithful(block, pass) };
        pass.step.event = true;
        if pass.core.reply.dialect.ends(data) {
            self.terminal(block, pass);
        } else if !(self.dropping && (self.done || self.faulted)) {
            self.data(data, &event, block, pass);
        }
    }

    /// More of an event that is too large to be held.
    fn oversized(&mut self, raw: &[u8], pass: &mut Pass<'_>) {
        let Some(mut event) = self.oversized.take() else { return };
        let had_data = event.has_data;
        event.pass(raw, pass.out.buffer());
        self.foreign |= event.is_foreign;
        if event.has_data && !had_data {
            self.unread(pass);
        }
        if event.has_ended {
            event.close(pass.core, pass.tally, pass.out.buffer());
        } else {
            self.oversized = Some(event);
        }
    }

    /// What was not read may be content.
    fn unread(&mut self, pass: &mut Pass<'_>) {
        pass.tally.unreadable();
        pass.core.content_unread();
        self.released = true;
    }

    fn data(&mut self, data: &[u8], event: &Event<'_>, block: &Block<'_>, pass: &mut Pass<'_>) {
        let core = &mut *pass.core;
        let Some(mut seen) = core.observer.observe(data) else {
            if event.error {
                return self.fault(data, block, pass);
            }
            pass.tally.unreadable();
            self.foreign = true;
            self.keep_faithful(block, pass);
            // What a stream was cut in is no event, and would only confuse.
            if matches!(self.mode, Mode::Shape(_)) && !self.ended {
                write_event(pass.out.buffer(), |out| out.extend_from_slice(data));
            }
            return;
        };
        core.created = core.observer.marks().created().unwrap_or(core.created);
        let fault = seen.error.is_some() || event.error;
        if fault && !self.released {
            seen.withhold();
        }
        core.note(data, &seen, pass.tally);
        if fault {
            let value = seen.error.and_then(|range| data.get(range)).unwrap_or(data);
            return self.fault(value, block, pass);
        }
        self.known |= seen.choices != Choices::Absent || seen.top_usage;
        self.released |= seen.content;
        self.pass_on(&seen, data, block, pass);
    }

    fn pass_on(
        &mut self,
        seen: &Observation<'_>,
        data: &[u8],
        block: &Block<'_>,
        pass: &mut Pass<'_>,
    ) {
        match &self.mode {
            Mode::Pass => {}
            Mode::Filter if seen.is_usage_only() => self.dropping = true,
            Mode::Filter => pass.out.keep(block),
            Mode::Shape(_) if seen.is_for_nobody() => {}
            Mode::Shape(opening) => {
                let core = &*pass.core;
                write_event(pass.out.buffer(), |out| {
                    openrouter::splice(core, opening, data, out);
                    out.extend_from_slice(b"}");
                });
            }
        }
    }

    fn terminal(&mut self, block: &Block<'_>, pass: &mut Pass<'_>) {
        let again = std::mem::replace(&mut self.done, true);
        self.released |= !pass.core.is_hollow();
        match &self.mode {
            Mode::Shape(opening) if !again && !self.faulted => {
                openrouter::ending(pass.core, opening, pass.out.buffer());
            }
            Mode::Shape(_) => {}
            Mode::Pass | Mode::Filter => self.keep(block, pass),
        }
    }

    /// An error event. Before anything has left, nothing leaves; after, the caller is told.
    fn fault(&mut self, value: &[u8], block: &Block<'_>, pass: &mut Pass<'_>) {
        let fault = fault::read(value);
        self.faulted = true;
        if self.released {
            let core = &*pass.core;
            if let Mode::Shape(_) = self.mode {
                let error = wrap_upstream_error(
                    fault.status,
                    value,
                    (&core.reply.provider, &core.reply.model),
                );
                write_event(pass.out.buffer(), |out| {
                    out.extend_from_slice(error::last_event(core, &error).as_bytes());
                });
            }
            self.keep_faithful(block, pass);
        }
        pass.step.fault.get_or_insert(fault);
    }

    pub(super) fn end(&mut self, pass: &mut Pass<'_>) {
        if let Some(event) = self.oversized.take() {
            event.close(pass.core, pass.tally, pass.out.buffer());
        }
        if self.faulted {
            return;
        }
        let finished = pass.core.account.has_finished() && !self.done;
        if finished && (self.released || !pass.core.is_hollow()) {
            self.released = true;
            if let Mode::Shape(opening) = &self.mode {
                openrouter::ending(pass.core, opening, pass.out.buffer());
            }
        }
        pass.step.empty = !self.released;
        pass.step.malformed = pass.step.empty && self.foreign && !self.known;
    }

    /// What of this read, and of what was held, may leave.
    pub(super) fn release(&mut self, pass: Pass<'_>) -> Step {
        let Pass { mut step, out, .. } = pass;
        if self.faulted && !self.released {
            self.held.clear();
            return step;
        }
        if self.released {
            step.out = Some(out.after(std::mem::take(&mut self.held)));
            return step;
        }
        out.into_held(&mut self.held);
        let faithful = !matches!(self.mode, Mode::Shape(_));
        if self.held.len() > HELD_BYTES || step.malformed && faithful {
            self.released = !step.empty;
            step.out = Some(std::mem::take(&mut self.held).freeze());
        }
        step
    }

    /// The block as it came; in [`Mode::Pass`] it is in the output already.
    fn keep(&self, block: &Block<'_>, pass: &mut Pass<'_>) {
        if !matches!(self.mode, Mode::Pass) {
            pass.out.keep(block);
        }
    }

    /// The block as it came, on `/v1` only.
    fn keep_faithful(&self, block: &Block<'_>, pass: &mut Pass<'_>) {
        if matches!(self.mode, Mode::Filter) {
            pass.out.keep(block);
        }
    }
}

fn write_event(out: &mut BytesMut, json: impl FnOnce(&mut BytesMut)) {
    out.extend_from_slice(b"data: ");
    json(out);
    out.extend_from_slice(b"\n\n");
}
