//! The calls of one reply, put together from the pieces of its events. They go with the reply.

use crate::bounds::{CALLS, CALLS_BYTES};

/// One call: what it calls, and its arguments as they stand in the reply.
#[derive(Default)]
pub(super) struct Call {
    index: Option<u64>,
    id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// What one event, or a whole reply, says of one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its place among the calls, in a stream.
    pub index: Option<u64>,
    pub id: &'a str,
    pub name: &'a str,
    pub arguments: &'a str,
}

/// All calls of a reply.
#[derive(Default)]
pub struct Calls {
    list: Vec<Call>,
    bytes: usize,
    incomplete: bool,
}

/// Says nothing of what was called: a reply's text reaches no log.
impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Calls({}, {} bytes)", self.list.len(), self.bytes)
    }
}

impl Calls {
    /// Takes in the next piece.
    pub fn add(&mut self, piece: &Piece<'_>) {
        let known = self.place(piece);
        let more = piece.id.len() + piece.name.len() + piece.arguments.len();
        if self.bytes + more > CALLS_BYTES || known.is_none() && self.list.len() == CALLS {
            self.lose();
        }
        if self.incomplete {
            return;
        }
        self.bytes += more;
        let place = known.unwrap_or_else(|| {
            self.list.push(Call { index: piece.index, ..Call::default() });
            self.list.len() - 1
        });
        let Some(call) = self.list.get_mut(place) else { return };
        if call.id.is_empty() {
            call.id.push_str(piece.id);
        }
        // Some repeat the name with every piece.
        if call.name != piece.name {
            call.name.push_str(piece.name);
        }
        call.arguments.push_str(piece.arguments);
    }

    /// The call that a piece goes on with: the last of its place, but for another id; without a place,
    /// the last of all, if the piece names nothing.
    fn place(&self, piece: &Piece<'_>) -> Option<usize> {
        let same = |call: &Call| match piece.index {
            Some(_) => call.index == piece.index,
            None => piece.id.is_empty() && piece.name.is_empty(),
        };
        let place = self.list.iter().rposition(same)?;
        let another = self
            .list
            .get(place)
            .is_some_and(|call| !call.id.is_empty() && !piece.id.is_empty() && call.id != piece.id);
        (!another).then_some(place)
    }

    /// Something was called that is not here.
    pub fn lose(&mut self) {
        *self = Self { incomplete: true, ..Self::default() };
    }

    pub(super) fn are_incomplete(&self) -> bool {
        self.incomplete
    }

    pub(super) fn list(&self) -> &[Call] {
        &self.list
    }

    /// Whether nothing was called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.incomplete
    }
}
