//! What one event, or a whole body, says: read once, used by meter and face alike.

use super::Dialect;
use super::cursor::Text;
use super::mark::{Marks, Shown};
use super::template::Template;
use super::usage::Report;
use crate::meter::Delivered;
use crate::tools::Calls;
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
    /// Its messages have reasoning that the caller is not shown, and nothing that he could miss.
    pub hidden: bool,
    /// Content by class of byte, what is hidden of it too.
    pub delivered: Delivered,
    pub usage: Option<Report>,
    /// A usage object stands at the top level.
    pub top_usage: bool,
    pub choices: Choices,
    /// `data` or `embedding` is there: an embedding reply.
    pub embeddings: bool,
    /// The finish reason as the upstream wrote it; absent, null and empty are none.
    pub finish: Option<Text<'a>>,
    /// The reason behind that one, where the upstream is itself a gateway and says it.
    pub native_finish: Option<Text<'a>>,
    /// The upstream's id, unless empty.
    pub id: Option<Text<'a>>,
    /// The tier that served it, as the upstream names it.
    pub tier: Option<Text<'a>>,
    /// Where the one string is that is all of the content, quotes excluded.
    pub(super) plain_text: Option<Range<usize>>,
    /// Where a string of padding is, quotes excluded.
    pub(super) padding: Option<Range<usize>>,
    /// Where its tool calls are; those of the last choice that has any.
    pub(super) tool_calls: Option<Range<usize>>,
    /// Where an error's value is: a member `error`, or the whole document.
    pub error: Option<Range<usize>>,
}

impl Observation<'_> {
    /// A chunk that carries usage and nothing else.
    #[must_use]
    pub fn is_usage_only(&self) -> bool {
        self.top_usage && self.choices != Choices::Some && self.error.is_none() && !self.embeddings
    }

    /// A chunk that a caller of `/api/v1` is not shown: of a list of choices, of embeddings and of an error
    /// it has none, or only usage, which stands in the last chunk (contract 4.3), or only hidden reasoning.
    #[must_use]
    pub fn is_for_nobody(&self) -> bool {
        let lacks_choices = self.choices == Choices::Absent;
        let hides_all = self.hidden && !self.content && self.finish.is_none();
        self.is_usage_only()
            || (lacks_choices || hides_all) && self.error.is_none() && !self.embeddings
    }

    /// Its content never leaves.
    pub fn withhold(&mut self) {
        (self.content, self.delivered) = (false, Delivered::default());
    }
}

/// Reads the events of one reply.
#[derive(Debug)]
pub struct Observer {
    dialect: Dialect,
    marks: Marks,
    template: Template,
}

impl Observer {
    /// For a face that re-shapes events, what it shows; for one that does not, places are not looked for.
    #[must_use]
    pub fn new(dialect: Dialect, shown: Option<Shown>) -> Self {
        Self { dialect, marks: Marks::new(shown), template: Template::default() }
    }

    /// Reads one event's data, or a whole body, once: numbers for the meter, and places for the face.
    /// `None`: not a JSON object.
    pub fn observe<'a>(&mut self, json: &'a [u8]) -> Option<Observation<'a>> {
        if let Some(fit) = self.template.fit(json) {
            let mut seen = Observation { choices: Choices::Some, ..Observation::default() };
            let text = json.get(fit.text.clone()).unwrap_or_default();
            let says = !text.is_empty();
            (seen.content, seen.hidden) = (says && !fit.hidden, says && fit.hidden);
            seen.delivered.count(text);
            self.marks.follow(self.template.moves(&fit));
            return Some(seen);
        }
        let seen = self.dialect.observe(json, &mut self.marks);
        if let Some(seen) = &seen {
            self.template.learn(json, seen);
        }
        seen
    }

    /// Adds to `calls` what tool calls `seen` has, which was observed in `json`.
    pub fn tool_calls(&self, json: &[u8], seen: &Observation<'_>, calls: &mut Calls) {
        let Some(range) = &seen.tool_calls else { return };
        let read = json.get(range.clone()).and_then(|json| self.dialect.tool_calls(json, calls));
        if read.is_none() {
            calls.lose();
        }
    }

    /// Where things are in what was observed last.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }
}
