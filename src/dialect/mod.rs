//! Wire formats: which keys hold what, edits to send, errors to show. Pure; one file per format.

mod cursor;
pub mod fault;
pub mod finish;
mod kept;
mod mark;
mod observe;
mod openai;
mod template;
mod usage;

pub use cursor::Text;
pub use fault::InBandFault;
pub use mark::{Lack, Mark, Marks, MessageHas, Shown};
pub use observe::{Choices, Observation, Observer};
pub use usage::{Predictions, Report};

use crate::tools::Calls;

/// A wire format an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    OpenAiChat,
}

impl Dialect {
    /// Every dialect with its word in configuration.
    pub const ALL: [(&'static str, Self); 1] = [("openai-chat", Self::OpenAiChat)];

    /// See [`Observer::observe`], which remembers the event before.
    fn observe<'a>(self, json: &'a [u8], marks: &mut Marks) -> Option<Observation<'a>> {
        match self {
            Self::OpenAiChat => openai::observe(json, marks),
        }
    }

    /// Whether this event's data says that nothing follows.
    #[must_use]
    pub fn ends(self, data: &[u8]) -> bool {
        match self {
            Self::OpenAiChat => data.trim_ascii() == b"[DONE]",
        }
    }

    /// See [`Observer::tool_calls`].
    fn tool_calls(self, json: &[u8], calls: &mut Calls) -> Option<()> {
        match self {
            Self::OpenAiChat => openai::calls::read(json, calls),
        }
    }

    /// Usage from the last bytes of a body too large to be held.
    #[must_use]
    pub fn tail_usage(self, tail: &[u8]) -> Option<Report> {
        match self {
            Self::OpenAiChat => openai::tail_usage(tail),
        }
    }
}
