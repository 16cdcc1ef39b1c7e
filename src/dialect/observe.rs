//! What one event, or a whole body, says: read once, used by attempts, meter and face alike.

use super::cursor::Text;
use super::usage::Report;
use crate::meter::Delivered;
use std::ops::Range;

/// The `choices` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choices {
    #[default]
    Absent,
    Empty,
    Some,
}

/// One event, observed.
#[derive(Debug, Clone, Default)]
pub struct Observation<'a> {
    /// Something the caller asked for: text, reasoning, a tool call, media, an embedding.
    pub content: bool,
    /// That content by class of byte.
    pub delivered: Delivered,
    pub usage: Option<Report>,
    /// A usage object stands at the top level.
    pub top_usage: bool,
    pub choices: Choices,
    /// `data` or `embedding` is there: an embedding reply.
    pub embeddings: bool,
    /// The finish reason as the upstream wrote it; absent, null and empty are none.
    pub finish: Option<Text<'a>>,
    /// The upstream's id, unless empty.
    pub id: Option<Text<'a>>,
    /// Where an error's value is: a member `error`, or the whole document.
    pub error: Option<Range<usize>>,
}

impl Observation<'_> {
    /// A chunk that carries usage and nothing else.
    #[must_use]
    pub fn is_usage_only(&self) -> bool {
        self.top_usage && self.choices != Choices::Some && self.error.is_none() && !self.embeddings
    }
}
