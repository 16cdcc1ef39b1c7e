//! The OpenAI chat dialect: chat, completions and embeddings replies, streamed or whole.

pub(super) mod calls;
mod choice;
mod content;

use super::cursor::{Cursor, Text};
use super::mark::{Mark, Marks};
use super::observe::Observation;
use super::usage::{self, Report};
use choice::Part;

/// See [`super::Observer::observe`].
pub(super) fn observe<'a>(json: &'a [u8], marks: &mut Marks) -> Option<Observation<'a>> {
    marks.clear();
    let mut walk = Walk {
        cursor: Cursor::new(json),
        seen: Observation::default(),
        marks,
        usage_rank: 0,
        reasoned: false,
        contents: 0,
        calls: None,
    };
    walk.document()?;
    if walk.contents != 1 {
        walk.seen.plain_text = None;
    }
    walk.cursor.is_done().then_some(walk.seen)
}

/// See [`super::Dialect::tail_usage`]. A quoted `usage` before a colon and an object is a key in any
/// valid JSON, for inside a string its quotes would be escaped; it is the body's own when only one
/// object is left to close after it.
pub(super) fn tail_usage(tail: &[u8]) -> Option<Report> {
    const KEY: &[u8] = b"\"usage\"";
    let at = memchr::memmem::rfind_iter(tail, KEY)
        .find(|at| at.checked_sub(1).and_then(|before| tail.get(before)) != Some(&b'\\'))?;
    let mut cursor = Cursor::new(tail.get(at + KEY.len()..)?);
    cursor.take(b':')?;
    let report = usage::read(&mut cursor)?;
    while cursor.key()?.is_some() {
        cursor.skip()?;
    }
    cursor.is_done().then_some(report)?
}

struct Walk<'a, 'm> {
    cursor: Cursor<'a>,
    seen: Observation<'a>,
    marks: &'m mut Marks,
    /// Rank of the place `seen.usage` is from: a better place wins, whatever the order.
    usage_rank: u8,
    /// This message's reasoning was counted; other keys repeat it.
    reasoned: bool,
    /// Pieces of content so far.
    contents: u32,
    /// Inside tool calls: those of what.
    calls: Option<Part>,
}

/// Where usage may stand, the better the higher.
mod rank {
    pub(super) const X_GROQ: u8 = 1;
    pub(super) const CHOICE: u8 = 2;
    pub(super) const TOP: u8 = 3;
}

impl<'a> Walk<'a, '_> {
    fn document(&mut self) -> Option<()> {
        self.cursor.take(b'{')?;
        while let Some(key) = self.cursor.key()? {
            let before = self.marks.len();
            self.marks.put(Mark::Member(key.at));
            if self.member(&key.name)? {
                self.marks.put(Mark::End(self.cursor.at()));
            } else {
                self.marks.truncate(before);
            }
        }
        Some(())
    }

    /// Reads a top-level member; whether a face keeps it as it is.
    fn member(&mut self, name: &[u8]) -> Option<bool> {
        if self.cursor.is_null()? {
            self.cursor.skip()?;
            return Some(false);
        }
        match name {
            b"id" => {
                self.seen.id = self.filled_string()?;
                return Some(false);
            }
            b"model" | b"provider" => {
                self.cursor.skip()?;
                return Some(false);
            }
            b"usage" => {
                self.seen.top_usage = self.cursor.peek()? == b'{';
                self.usage(rank::TOP)?;
                return Some(false);
            }
            b"created" if self.marks.are_wanted() => {
                let range = self.cursor.value()?;
                let word = std::str::from_utf8(self.cursor.slice(&range)).unwrap_or_default();
                let created = word.parse().ok().filter(|seconds| *seconds > 0);
                self.marks.set_created(created);
                return Some(created.is_some());
            }
            b"choices" => self.choices()?,
            b"x_groq" => self.x_groq()?,
            b"error" => self.error()?,
            b"object" => {
                let error = self.filled_string()?.is_some_and(|text| text.raw == b"error");
                if error {
                    self.seen.error = Some(0..usize::MAX);
                }
                return Some(false);
            }
            b"service_tier" => {
                self.seen.tier = self.filled_string()?;
                return Some(self.seen.tier.is_some());
            }
            b"system_fingerprint" => {
                self.marks.set_fingerprint();
                self.cursor.skip()?;
            }
            b"obfuscation" if self.cursor.peek()? == b'"' => {
                let value = self.cursor.value()?;
                self.seen.padding = Some(value.start + 1..value.end - 1);
            }
            b"data" | b"embedding" => self.embeddings()?,
            _ => self.cursor.skip()?,
        }
        Some(true)
    }

    fn embeddings(&mut self) -> Option<()> {
        let range = self.cursor.value()?;
        if let Some((b'[', inside)) = self.cursor.slice(&range).split_first() {
            self.seen.embeddings = true;
            self.seen.content |= inside.trim_ascii_start().first() != Some(&b']');
        }
        Some(())
    }

    fn x_groq(&mut self) -> Option<()> {
        if self.cursor.peek()? != b'{' {
            return self.cursor.skip();
        }
        self.cursor.take(b'{')?;
        while let Some(key) = self.cursor.key()? {
            let start = self.cursor.at();
            if &*key.name == b"usage" {
                self.usage(rank::X_GROQ)?;
                self.marks.put(Mark::NestedUsage(start..self.cursor.at()));
            } else {
                self.cursor.skip()?;
            }
        }
        Some(())
    }

    fn usage(&mut self, rank: u8) -> Option<()> {
        if let Some(report) = usage::read(&mut self.cursor)?
            && rank >= self.usage_rank
        {
            self.usage_rank = rank;
            self.seen.usage = Some(report);
        }
        Some(())
    }

    /// An `error` member: null, false and empty ones are none.
    fn error(&mut self) -> Option<()> {
        let range = self.cursor.value()?;
        let value = self.cursor.slice(&range);
        if !matches!(value, b"null" | b"false" | b"\"\"" | b"{}") {
            self.seen.error = Some(range);
        }
        Some(())
    }

    /// A value that may be a string; one that is, and is not empty.
    fn filled_string(&mut self) -> Option<Option<Text<'a>>> {
        if self.cursor.peek()? == b'"' {
            Some(Some(self.cursor.string()?).filter(|text| !text.raw.is_empty()))
        } else {
            self.cursor.skip().map(|_| None)
        }
    }
}
