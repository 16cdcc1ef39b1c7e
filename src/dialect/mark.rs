//! Where in an event the things are that a face may re-shape, in document order.

use super::template::Moves;
use std::ops::Range;

/// One place. Offsets become bytes of the JSON that was observed by [`Marks::at`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A top-level member that is kept begins here. `id`, `model`, `provider`, `usage` and an absent
    /// `created` have no marks: the face writes its own.
    Member(usize),
    /// The member begun last ends here.
    End(usize),
    /// `choices` is an empty array.
    NoChoices(Range<usize>),
    /// A delta begins here, past its brace; which members it has.
    Delta { at: usize, has: DeltaHas },
    /// A choice's finish reason, a string or null; whether the choice also has a native one.
    Finish { value: Range<usize>, native: bool },
    /// A choice that has no finish reason ends here; whether it has other members, a native finish
    /// reason among them.
    NoFinish { at: usize, members: bool, native: bool },
    /// The key `reasoning_content` begins here in a message that has no `reasoning`.
    ReasoningKey(usize),
    /// A usage object inside a kept member.
    NestedUsage(Range<usize>),
}

/// Members of a delta that OpenRouter repeats in each one (contract 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeltaHas {
    pub role: bool,
    pub content: bool,
    /// These or others.
    pub any: bool,
}

/// The marks of one observation; kept from event to event so that none allocates.
#[derive(Debug)]
pub struct Marks {
    /// Nothing is marked unless this is set.
    wanted: bool,
    list: Vec<Mark>,
    created: Option<u64>,
    /// How far the places of the event that was marked are moved in the one observed now.
    moves: Moves,
}

const UNMOVED: Moves = [(usize::MAX, usize::MAX); 2];

impl Marks {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, list: Vec::new(), created: None, moves: UNMOVED }
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

    pub(super) fn are_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.created = None;
        self.moves = UNMOVED;
    }

    #[inline]
    pub(super) fn put(&mut self, mark: Mark) {
        if self.wanted {
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

    /// Says of the delta mark at `index` what its delta has.
    pub(super) fn delta_has(&mut self, index: usize, members: DeltaHas) {
        if let Some(Mark::Delta { has, .. }) = self.list.get_mut(index) {
            *has = members;
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
            Self::Delta { at: offset, has } => Self::Delta { at: at(*offset), has: *has },
            Self::Finish { value, native } => Self::Finish { value: range(value), native: *native },
            Self::NoFinish { at: offset, members, native } => {
                Self::NoFinish { at: at(*offset), members: *members, native: *native }
            }
            Self::ReasoningKey(offset) => Self::ReasoningKey(at(*offset)),
            Self::NestedUsage(place) => Self::NestedUsage(range(place)),
        }
    }
}
