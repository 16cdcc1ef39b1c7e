//! Where in an event the things are that a face may re-shape, in document order.

use std::ops::Range;

/// One place. Offsets are bytes of the JSON that was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// A top-level member that is kept begins here. `id`, `model`, `provider`, `usage` and an absent
    /// `created` have no marks: the face writes its own.
    Member(usize),
    /// The member begun last ends here.
    End(usize),
    /// `choices` is an empty array.
    NoChoices(Range<usize>),
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

/// The marks of one observation; kept from event to event so that none allocates.
#[derive(Debug, Default)]
pub struct Marks {
    /// Nothing is marked unless this is set.
    wanted: bool,
    list: Vec<Mark>,
    created: Option<u64>,
}

impl Marks {
    /// Marks that are kept.
    #[must_use]
    pub fn wanted() -> Self {
        Self { wanted: true, ..Self::default() }
    }

    /// The marks in document order.
    #[must_use]
    pub fn list(&self) -> &[Mark] {
        &self.list
    }

    /// `created`, if it is there and not zero.
    #[must_use]
    pub fn created(&self) -> Option<u64> {
        self.created
    }

    pub(super) fn set_created(&mut self, created: Option<u64>) {
        self.created = created;
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.created = None;
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

    /// Says of the finish mark at `index` that its choice has a native reason too.
    pub(super) fn has_native(&mut self, index: usize) {
        if let Some(Mark::Finish { native, .. }) = self.list.get_mut(index) {
            *native = true;
        }
    }
}
