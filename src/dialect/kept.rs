//! Which members of an object are kept, and the places of those that are not, commas included.

use super::mark::{Mark, Marks};

/// The members of one object, told in document order.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Where the member before ends, once one is kept.
    end: Option<usize>,
    /// Where the members begin that are cut before the first kept one.
    lead: Option<usize>,
}

impl Kept {
    /// A member that is kept begins here; its end follows by [`Self::ends`].
    #[inline]
    pub(super) fn keep(&mut self, at: usize, marks: &mut Marks) {
        if let Some(lead) = self.lead.take() {
            marks.put(Mark::Cut(lead..at));
        }
    }

    /// The member kept last ends here.
    #[inline]
    pub(super) fn ends(&mut self, at: usize) {
        self.end = Some(at);
    }

    /// A member that is not kept, from its key to the end of its value: it goes with the comma before
    /// it, or with the one behind it if nothing is kept before.
    pub(super) fn cut(&mut self, at: usize, end: usize, marks: &mut Marks) {
        match &mut self.end {
            Some(before) => marks.put(Mark::Cut(std::mem::replace(before, end)..end)),
            None => self.lead = self.lead.or(Some(at)),
        }
    }

    /// The object's brace is here; whether anything was kept.
    #[inline]
    pub(super) fn close(mut self, brace: usize, marks: &mut Marks) -> bool {
        self.keep(brace, marks);
        self.end.is_some()
    }
}
