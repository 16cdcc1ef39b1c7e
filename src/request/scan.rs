//! A bounded, single-pass reader of JSON text (RFC 8259): values are checked and stepped over, never
//! built.
//!
//! It knows nothing of what the fields mean; `envelope` drives it. Time is linear in the text, memory
//! constant: open containers are bits of one word, so depth is capped and there is no recursion.

mod fault;
mod plain;

use crate::bounds::JSON_DEPTH;
use plain::plain;
use std::borrow::Cow;
use std::ops::Range;

pub use fault::{Fault, Flaw};

const _: () = assert!(JSON_DEPTH <= u64::BITS as usize, "open containers are bits of one u64");

/// A string in the text, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// With both quotes.
    pub(super) span: Range<usize>,
    escaped: bool,
}

/// Containers that are open: one bit each, set for an object.
struct Open {
    kinds: u64,
    depth: usize,
}

/// The reader and its place in the text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body)
            .map_err(|error| Fault { offset: error.valid_up_to(), flaw: Flaw::Utf8 })?;
        let scanner = Self { text, at: 0 };
        if text.starts_with('\u{feff}') { Err(scanner.fault(Flaw::Mark)) } else { Ok(scanner) }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes of a range that the scanner has passed.
    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// The byte here. Callers stand on whitespace only before [`Scanner::space`].
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over `byte` and the whitespace after it, if it is here.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.at += 1;
            self.space();
        }
        here
    }

    /// Checks that nothing but whitespace is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.peek().is_none() { Ok(()) } else { Err(self.fault(Flaw::Trailing)) }
    }

    /// Inside a container: goes to its next member or element, or past its end and says `false`.
    pub(super) fn more(&mut self, object: bool, first: bool) -> Result<bool, Fault> {
        let (close, expected) = if object { (b'}', "`,` or `}`") } else { (b']', "`,` or `]`") };
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if first || self.take(b',') { Ok(true) } else { Err(self.expected(expected)) }
    }

    /// Reads a key and its colon; stands on the value then.
    pub(super) fn key(&mut self) -> Result<Text, Fault> {
        let key = self.string()?;
        self.space();
        if self.take(b':') { Ok(key) } else { Err(self.expected("`:`")) }
    }

    /// The characters of `text`, unescaped.
    pub(super) fn decode(&self, text: &Text) -> Result<Cow<'a, str>, Fault> {
        let quoted = self.slice(text.span.clone());
        if text.escaped {
            // The grammar has been checked: only a lone surrogate is left to fail.
            serde_json::from_str(quoted)
                .map(Cow::Owned)
                .map_err(|_| Fault { offset: text.span.start, flaw: Flaw::Surrogate })
        } else {
            Ok(Cow::Borrowed(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()))
        }
    }

    /// Steps over one value of any sort, with `outer` containers open around it.
    pub(super) fn skip(&mut self, outer: usize) -> Result<(), Fault> {
        let mut open = Open { kinds: 0, depth: outer };
        loop {
            let opened = self.start(&mut open)?;
            if !self.advance(&mut open, outer, opened)? {
                return Ok(());
            }
        }
    }

    /// Steps over a scalar, or into a container and says `true`.
    fn start(&mut self, open: &mut Open) -> Result<bool, Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| false),
            Some(bracket @ (b'{' | b'[')) => {
                if open.depth == JSON_DEPTH {
                    return Err(self.fault(Flaw::Depth));
                }
                open.depth += 1;
                open.kinds = open.kinds << 1 | u64::from(bracket == b'{');
                self.at += 1;
                Ok(true)
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word("true").map(|()| false),
            Some(b'f') => self.word("false").map(|()| false),
            Some(b'n') => self.word("null").map(|()| false),
            _ => Err(self.expected("a value")),
        }
    }

    /// Closes what ends here and goes to the next value; `false` when nothing of ours is open.
    fn advance(&mut self, open: &mut Open, outer: usize, opened: bool) -> Result<bool, Fault> {
        let mut first = opened;
        while open.depth > outer {
            let object = open.kinds & 1 == 1;
            if self.more(object, first)? {
                if object {
                    self.key()?;
                }
                return Ok(true);
            }
            open.depth -= 1;
            open.kinds >>= 1;
            first = false;
        }
        Ok(false)
    }

    /// Steps over a string.
    pub(super) fn string(&mut self) -> Result<Text, Fault> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { span: start..self.at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault(Flaw::Control)),
                None => return Err(self.fault(Flaw::End)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let after = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let length = match after {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', digits @ ..] => match digits.first_chunk::<4>() {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => 6,
                _ => return Err(self.fault(Flaw::Escape)),
            },
            _ => return Err(self.fault(Flaw::Escape)),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    /// Steps over one or more digits.
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.expected("a digit")) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        let here = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if here.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    pub(super) fn fault(&self, flaw: Flaw) -> Fault {
        Fault { offset: self.at, flaw }
    }

    pub(super) fn expected(&self, what: &'static str) -> Fault {
        self.fault(if self.at < self.text.len() { Flaw::Expected(what) } else { Flaw::End })
    }
}

#[cfg(test)]
pub(super) mod tests;
