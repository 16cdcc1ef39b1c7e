//! A streamed reply: held until first content, then event by event.

mod oversized;
mod state;

use super::out::Out;
use super::{Core, Reply, Step, error, openrouter};
use crate::error::Error;
use crate::meter::{Account, EventReader, Framer, Tally};
use crate::request::route::Face;
use bytes::Bytes;
use state::{Mode, Pass, State};

#[derive(Debug)]
pub(super) struct Stream {
    framer: Framer,
    events: EventReader,
    state: State,
}

impl Stream {
    pub(super) fn new(reply: &Reply) -> Self {
        let mode = match reply.face {
            Face::OpenRouter => Mode::Shape(openrouter::opening(reply)),
            Face::Faithful if reply.injected_usage => Mode::Filter,
            Face::Faithful => Mode::Pass,
        };
        Self { framer: Framer::default(), events: EventReader::default(), state: State::new(mode) }
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
            Mode::Filter => self.framer.in_oversized(),
            Mode::Shape(_) => self.state.oversized.as_ref().is_some_and(|event| event.has_data),
        }
    }

    /// See [`super::Relay::is_terminal`].
    pub(super) fn is_terminal(&self, account: &Account) -> bool {
        let state = &self.state;
        state.released && !state.faulted && (state.done || state.ended && account.has_finished())
    }
}
