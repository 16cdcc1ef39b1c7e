//! What is wrong with a text that should be JSON, and where.

use crate::bounds::JSON_DEPTH;
use std::fmt;

/// What is wrong with a text. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// What should have stood there.
    Expected(&'static str),
    /// The text ends in the middle.
    End,
    /// A raw control character inside a string.
    Control,
    /// A backslash with the wrong character after it.
    Escape,
    /// Half of a surrogate pair, in a string that is read.
    Surrogate,
    Utf8,
    /// A byte order mark.
    Mark,
    /// Something after the document.
    Trailing,
    /// Nested deeper than [`JSON_DEPTH`].
    Depth,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::End => f.write_str("unexpected end"),
            Self::Control => f.write_str("unescaped control character in a string"),
            Self::Escape => f.write_str("invalid escape in a string"),
            Self::Surrogate => f.write_str("unpaired surrogate in a string"),
            Self::Utf8 => f.write_str("invalid UTF-8"),
            Self::Mark => f.write_str("byte order mark"),
            Self::Trailing => f.write_str("characters after the end"),
            Self::Depth => write!(f, "nested deeper than {JSON_DEPTH}"),
        }
    }
}

/// A [`Flaw`] and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Bytes from the start of the text.
    pub offset: usize,
    pub flaw: Flaw,
}
