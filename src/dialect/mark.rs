//! Where in an event the things are that a face may re-shape, in document order.

use super::template::Moves;
use std::ops::Range;

/// One place. Offsets become bytes of the JSON that was observed by [`Marks::at`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A top-level member that is kept begins here. `id`, `object`, `model`, `provider`, `usage`, an
    /// absent `created` and what is null have no marks: the face writes its own or nothing.
    Member(usize),
    /// The member begun last ends here.
    End(usize),
    /// `choices` is an empty array.
    NoChoices(Range<usize>),
    /// A delta or a message begins here, past its brace; which members it has.
    Message { at: usize, has: MessageHas },
    /// Members that are not kept, with the comma that goes with them.
    Cut(Range<usize>),
    /// A choice's finish reason, a string or null; whether the choice also has a native one.
    Finish { value: Range<usize>, native: bool },
    /// An object that lacks something ends here; whether it has other members.
    Lacks { at: usize, what: Lack, members: bool },
    /// A key with its quotes, however it is escaped; the name it has at OpenRouter, and whether no other
    /// member has that name already.
    Key { key: Range<usize>, name: &'static str, alone: bool },
    /// A usage object inside a kept member.
    NestedUsage(Range<usize>),
}

/// What strict clients want of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A choice without a finish reason; whether it has a native one.
    Finish { native: bool },
    /// A choice without a delta, message or text.
    Content,
    /// A choice without an index, or a tool call of a message that becomes a chunk; its place among its like.
    Index(u32),
    /// A tool call of a whole message that does not say its type.
    Type,
    /// A choice of a whole reply without log probabilities.
    Logprobs,
}

/// Members that OpenRouter has in every delta, or in every whole message (contract 4.1, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageHas {
    /// `assistant`: no other is kept.
    pub role: bool,
    pub content: bool,
    pub refusal: bool,
    /// By this name or by that of which it takes the place.
    pub reasoning: bool,
    /// These or others that are kept.
    pub any: bool,
}

/// What a face that re-shapes makes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The caller reads a stream: choices have deltas, and no messages.
    pub chunks: bool,
    /// Messages have no reasoning.
    pub hides_reasoning: bool,
}

/// The marks of one observation; kept from event to event so that none allocates.
#[derive(Debug)]
pub struct Marks {
    /// Nothing is marked unless this is set.
    shown: Option<Shown>,
    list: Vec<Mark>,
    created: Option<u64>,
    fingerprint: bool,
    /// How far the places of the event that was marked are moved in the one observed now.
    moves: Moves,
}

const UNMOVED: Moves = [(usize::MAX, usize::MAX); 2];

impl Marks {
    pub(super) fn new(shown: Option<Shown>) -> Self {
        Self { shown, list: Vec::new(), created: None, fingerprint: false, moves: UNMOVED }
    }

    /// The marks in document order.
    #[must_use]
    pub fn list(&self) -> &[Mark] {
        &self.list
    }

    /// The place a mark's offset stands for.
    #[must_use]
    pub fn at(&self, offset: usize) -> usize {
        let [text, padding] = self.moves;
        match offset {
            _ if offset >= padding.0 => offset - padding.0 + padding.1,
            _ if offset >= text.0 => offset - text.0 + text.1,
            _ => offset,
        }
    }

    /// The next event has the same marks, moved.
    pub(super) fn follow(&mut self, moves: Moves) {
        self.moves = moves;
    }

    /// `created`, if it is there and not zero.
    #[must_use]
    pub fn created(&self) -> Option<u64> {
        self.created
    }

    pub(super) fn set_created(&mut self, created: Option<u64>) {
        self.created = created;
    }

    /// Whether `system_fingerprint` is among the members.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    pub(super) fn set_fingerprint(&mut self) {
        self.fingerprint = true;
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.shown.is_some()
    }

    /// The caller is shown no reasoning.
    pub(super) fn hide_reasoning(&self) -> bool {
        self.shown.is_some_and(|shown| shown.hides_reasoning)
    }

    /// The caller reads chunks.
    pub(super) fn are_of_chunks(&self) -> bool {
        self.shown.is_some_and(|shown| shown.chunks)
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.created = None;
        self.fingerprint = false;
        self.moves = UNMOVED;
    }

    #[inline]
    pub(super) fn put(&mut self, mark: Mark) {
        if self.shown.is_some() {
            self.list.push(mark);
        }
    }

    /// Takes back the marks of a member that turned out not to be kept.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.list.truncate(length);
    }

    /// Says of the message mark at `index` what its message has.
    pub(super) fn message_has(&mut self, index: usize, members: MessageHas) {
        if let Some(Mark::Message { has, .. }) = self.list.get_mut(index) {
            *has = members;
        }
    }

    /// Says of the key mark at `index` that a member of the name it would get stands beside it.
    pub(super) fn not_alone(&mut self, index: usize) {
        if let Some(Mark::Key { alone, .. }) = self.list.get_mut(index) {
            *alone = false;
        }
    }

    /// Says of the finish mark at `index` that its choice has a native reason too.
    pub(super) fn has_native(&mut self, index: usize) {
        if let Some(Mark::Finish { native, .. }) = self.list.get_mut(index) {
            *native = true;
        }
    }
}

#[cfg(test)]
impl Mark {
    /// The mark with its offsets moved.
    pub(super) fn moved(&self, at: impl Fn(usize) -> usize) -> Self {
        let range = |range: &Range<usize>| at(range.start)..at(range.end);
        match self {
            Self::Member(offset) => Self::Member(at(*offset)),
            Self::End(offset) => Self::End(at(*offset)),
            Self::NoChoices(place) => Self::NoChoices(range(place)),
            Self::Message { at: offset, has } => Self::Message { at: at(*offset), has: *has },
            Self::Finish { value, native } => Self::Finish { value: range(value), native: *native },
            Self::Cut(place) => Self::Cut(range(place)),
            Self::Lacks { at: offset, what, members } => {
                Self::Lacks { at: at(*offset), what: *what, members: *members }
            }
            Self::Key { key, name, alone } => Self::Key { key: range(key), name, alone: *alone },
            Self::NestedUsage(place) => Self::NestedUsage(range(place)),
        }
    }
}
