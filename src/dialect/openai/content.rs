//! What a choice holds: deltas and messages, their text, reasoning and tool calls.

use super::super::kept::Kept;
use super::super::mark::{Lack, Mark, MessageHas};
use super::Walk;
use super::choice::Part;
use crate::meter::Delivered;

/// Members of a content object that hold text a caller reads, or objects that do.
const TEXT_KEYS: &[&[u8]] = &[
    b"text",
    b"content",
    b"function",
    b"arguments",
    b"name",
    b"thinking",
    b"summary",
    b"transcript",
    b"custom",
    b"input",
];
/// Members of a message by which it shows reasoning.
const REASONING: &[&[u8]] = &[b"reasoning", b"reasoning_content", b"reasoning_details"];
/// How deep content nests before its text is no longer counted.
const TEXT_DEPTH: usize = 8;
/// Where in `tool_calls` a call is: an item of the list.
const CALL_DEPTH: usize = 1;

impl Walk<'_, '_> {
    /// A delta or a message: what in it is content.
    pub(super) fn message(&mut self, part: Part) -> Option<()> {
        let (index, at) = (self.marks.len(), self.cursor.at() + 1);
        self.marks.put(Mark::Message { at, has: MessageHas::default() });
        self.cursor.take(b'{')?;
        self.reasoned = false;
        let (mut has, mut kept) = (MessageHas::default(), Kept::default());
        let (mut alias, mut hides, mut other) = (None, false, false);
        while let Some(key) = self.cursor.key()? {
            let hidden = self.marks.hide_reasoning() && REASONING.contains(&&*key.name);
            if hidden || !self.is_kept(&key.name)? {
                // It is paid for all the same.
                if hidden {
                    hides |= self.reasoning()?;
                } else {
                    self.cursor.skip()?;
                }
                kept.cut(key.at, self.cursor.at(), self.marks);
                continue;
            }
            kept.keep(key.at, self.marks);
            match &*key.name {
                b"role" => {
                    has.role = true;
                    self.cursor.skip()?;
                }
                b"content" | b"refusal" | b"function_call" | b"audio" | b"images" => {
                    has.content |= &*key.name == b"content";
                    has.refusal |= &*key.name == b"refusal";
                    self.content()?;
                }
                b"tool_calls" => {
                    self.calls = Some(part);
                    let start = self.cursor.at();
                    self.content()?;
                    self.seen.tool_calls = Some(start..self.cursor.at());
                    self.calls = None;
                }
                b"reasoning" | b"reasoning_details" => {
                    has.reasoning |= &*key.name == b"reasoning";
                    self.seen.content |= self.reasoning()?;
                }
                b"reasoning_content" => {
                    alias = Some(self.key(&key, "reasoning"));
                    self.seen.content |= self.reasoning()?;
                }
                _ => {
                    other = true;
                    self.cursor.skip()?;
                }
            }
            kept.ends(self.cursor.at());
        }
        has.any = kept.close(self.cursor.at().saturating_sub(1), self.marks);
        if let Some(alias) = alias.filter(|_| has.reasoning) {
            self.marks.not_alone(alias);
        }
        has.reasoning |= alias.is_some();
        self.marks.message_has(index, has);
        self.seen.hidden |= hides && !other;
        Some(())
    }

    /// Whether strict clients take the member of a message whose value comes next: they know null of
    /// few, and of roles only the assistant's. No null takes the place of another name's reasoning.
    fn is_kept(&mut self, name: &[u8]) -> Option<bool> {
        Some(match name {
            b"refusal" => true,
            b"content" if !self.marks.are_of_chunks() => true,
            b"role" => self.cursor.rest().starts_with(br#""assistant""#),
            _ => !self.cursor.is_null()?,
        })
    }

    pub(super) fn content(&mut self) -> Option<()> {
        let mut delivered = std::mem::take(&mut self.seen.delivered);
        let content = self.piece(&mut delivered)?;
        self.seen.delivered = delivered;
        self.seen.content |= content;
        Some(())
    }

    /// Reads one piece of content, and notes where it is if it is a plain string.
    fn piece(&mut self, delivered: &mut Delivered) -> Option<bool> {
        let plain = self.cursor.peek()? == b'"';
        let start = self.cursor.at() + 1;
        let content = self.text(delivered, 0)?;
        if content {
            self.contents += 1;
            self.seen.plain_text = plain.then(|| start..self.cursor.at() - 1);
        }
        Some(content)
    }

    /// Providers repeat reasoning under a second key: only the first that has any is counted. Whether this
    /// key has any.
    fn reasoning(&mut self) -> Option<bool> {
        let mut delivered = Delivered::default();
        let content = self.piece(&mut delivered)?;
        if content && !std::mem::replace(&mut self.reasoned, true) {
            self.seen.delivered.add(&delivered);
        }
        Some(content)
    }

    /// Reads content of any shape; whether any string in it is not empty.
    fn text(&mut self, delivered: &mut Delivered, depth: usize) -> Option<bool> {
        let mut content = false;
        match self.cursor.peek()? {
            b'"' => {
                let text = self.cursor.string()?;
                delivered.count(text.raw);
                content = !text.raw.is_empty();
            }
            b'[' if depth < TEXT_DEPTH => {
                self.cursor.take(b'[')?;
                let mut place = 0;
                while self.cursor.item(b']')? {
                    content |= match self.cursor.peek()? {
                        b'{' if depth + 1 < TEXT_DEPTH => {
                            self.object(delivered, depth + 1, place)?
                        }
                        _ => self.text(delivered, depth + 1)?,
                    };
                    place += 1;
                }
            }
            b'{' if depth < TEXT_DEPTH => content = self.object(delivered, depth, 0)?,
            _ => self.cursor.skip()?,
        }
        Some(content)
    }

    /// See [`Self::text`]; the object at this `place` of a list. Of a tool call no null is kept.
    fn object(&mut self, delivered: &mut Delivered, depth: usize, place: u32) -> Option<bool> {
        let (mut content, mut kept) = (false, Kept::default());
        let (mut typed, mut indexed) = (false, false);
        self.cursor.take(b'{')?;
        while let Some(key) = self.cursor.key()? {
            if self.calls.is_some() && self.cursor.is_null()? {
                self.cursor.skip()?;
                kept.cut(key.at, self.cursor.at(), self.marks);
                continue;
            }
            kept.keep(key.at, self.marks);
            typed |= &*key.name == b"type";
            indexed |= &*key.name == b"index";
            let nested = matches!(self.cursor.peek()?, b'{' | b'[');
            let filled = if TEXT_KEYS.contains(&&*key.name) || nested {
                self.text(delivered, depth + 1)?
            } else {
                self.filled_string()?.is_some()
            };
            if filled && &*key.name == b"name" {
                delivered.call();
            }
            content |= filled;
            kept.ends(self.cursor.at());
        }
        let any = kept.close(self.cursor.at().saturating_sub(1), self.marks);
        if self.calls == Some(Part::Message) && depth == CALL_DEPTH {
            if !typed {
                self.lacks(Lack::Type, any);
            }
            if !indexed && self.marks.are_of_chunks() {
                self.lacks(Lack::Index(place), any || !typed);
            }
        }
        Some(content)
    }
}
