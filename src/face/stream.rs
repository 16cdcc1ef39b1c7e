//! A streamed reply: held until first content, then event by event.

use super::out::Out;
use super::{Core, Reply, Step, error, openrouter, wrap_upstream_error};
use crate::bounds::HELD_BYTES;
use crate::dialect::{Choices, Observation, fault};
use crate::error::Error;
use crate::meter::{Account, Block, Event, EventReader, Framer, Part, Tally};
use crate::request::route::Face;
use bytes::{Bytes, BytesMut};

/// What is done to the upstream's bytes.
#[derive(Debug)]
enum Mode {
    /// They pass in the call that received them.
    Pass,
    /// They pass event by event, less a chunk that carries only the usage Weir asked for.
    Filter,
    /// Every event is re-shaped; holds how each begins.
    Shape(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Stream {
    framer: Framer,
    events: EventReader,
    state: State,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// What came before first content.
    held: BytesMut,
    /// Bytes have left, or leave with this read.
    released: bool,
    /// What belongs to the block before goes nowhere, as that did.
    dropping: bool,
    /// `[DONE]` was seen.
    done: bool,
    /// An error event ended the stream.
    faulted: bool,
    /// The upstream has nothing more.
    ended: bool,
    /// An event of the dialect was seen.
    known: bool,
    /// Something else was seen.
    foreign: bool,
}

/// One read on its way through.
struct Pass<'a> {
    core: &'a mut Core,
    tally: &'a mut dyn Tally,
    out: Out<'a>,
    step: Step,
}

impl Stream {
    pub(super) fn new(reply: &Reply) -> Self {
        let mode = match reply.face {
            Face::OpenRouter => Mode::Shape(openrouter::opening(reply)),
            Face::Faithful if reply.injected_usage => Mode::Filter,
            Face::Faithful => Mode::Pass,
        };
        let state = State {
            mode,
            held: BytesMut::new(),
            released: false,
            dropping: false,
            done: false,
            faulted: false,
            ended: false,
            known: false,
            foreign: false,
        };
        Self { framer: Framer::default(), events: EventReader::default(), state }
    }

    pub(super) fn push(
        &mut self,
        core: &mut Core,
        read: &Bytes,
        end: bool,
        tally: &mut dyn Tally,
    ) -> Step {
        let mut pass = Pass { core, tally, out: Out::new(read), step: Step::default() };
        match self.state.mode {
            Mode::Pass => pass.out.all(),
            Mode::Filter => {}
            Mode::Shape(_) => pass.out.reserve(),
        }
        let mut from = 0;
        while let Some(block) = self.framer.next(read, &mut from) {
            self.state.block(&block, &mut self.events, &mut pass);
        }
        if end {
            self.state.ended = true;
            if let Some(block) = self.framer.finish() {
                self.state.block(&block, &mut self.events, &mut pass);
            }
            self.state.end(&mut pass);
        }
        self.state.release(pass)
    }

    /// See [`super::Relay::fail`].
    pub(super) fn fail(&mut self, core: &Core, error: &Error) -> Bytes {
        if std::mem::replace(&mut self.state.faulted, true) {
            return Bytes::new();
        }
        let separator = if !self.is_between_events() && self.state.released { "\n\n" } else { "" };
        Bytes::from(format!("{separator}data: {}\n\n", error::last_event(core, error)))
    }

    /// See [`super::Relay::is_between_events`].
    pub(super) fn is_between_events(&self) -> bool {
        !match self.state.mode {
            Mode::Pass => self.framer.in_block(),
            Mode::Filter if self.state.ended => self.framer.in_block(),
            Mode::Filter | Mode::Shape(_) => self.framer.in_oversized(),
        }
    }

    /// See [`super::Relay::is_terminal`].
    pub(super) fn is_terminal(&self, account: &Account) -> bool {
        let state = &self.state;
        state.released && !state.faulted && (state.done || state.ended && account.has_finished())
    }
}

impl State {
    fn block(&mut self, block: &Block<'_>, events: &mut EventReader, pass: &mut Pass<'_>) {
        if self.faulted && !self.released {
            return;
        }
        match block.part {
            Part::Whole => {}
            Part::Rest if self.dropping => return,
            Part::Rest => return self.keep(block, pass),
            Part::Oversized => {
                pass.step.event = true;
                pass.tally.unreadable();
                pass.core.content_unread();
                self.released = true;
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

    fn end(&mut self, pass: &mut Pass<'_>) {
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
    fn release(&mut self, pass: Pass<'_>) -> Step {
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
