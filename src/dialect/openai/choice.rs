//! The choices of an event or a body, and what each lacks.

use super::super::cursor::Key;
use super::super::kept::Kept;
use super::super::mark::{Lack, Mark};
use super::super::observe::Choices;
use super::{Walk, rank};

/// What holds a choice's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Delta,
    Message,
}

impl Part {
    fn named(key: &[u8]) -> Option<Self> {
        match key {
            b"delta" => Some(Self::Delta),
            b"message" => Some(Self::Message),
            _ => None,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Message => "message",
        }
    }
}

/// What a choice has.
#[derive(Debug, Default)]
struct Has {
    /// The place of the mark of its finish reason.
    finish: Option<usize>,
    native: bool,
    /// A delta where the caller reads chunks, else a message.
    part: bool,
    /// The other of the two: the place of the mark of its key.
    other_part: Option<usize>,
    text: bool,
    index: bool,
    logprobs: bool,
}

impl Walk<'_, '_> {
    pub(super) fn choices(&mut self) -> Option<()> {
        if self.cursor.peek()? != b'[' {
            return self.cursor.skip();
        }
        let start = self.cursor.at();
        self.cursor.take(b'[')?;
        self.seen.choices = Choices::Empty;
        let mut place = 0;
        while self.cursor.item(b']')? {
            self.seen.choices = Choices::Some;
            if self.cursor.peek()? == b'{' {
                self.choice(place)?;
            } else {
                self.cursor.skip()?;
            }
            place += 1;
        }
        if self.seen.choices == Choices::Empty {
            self.marks.put(Mark::NoChoices(start..self.cursor.at()));
        }
        Some(())
    }

    /// The choice at this `place` of the list.
    fn choice(&mut self, place: u32) -> Option<()> {
        self.cursor.take(b'{')?;
        let (mut has, mut kept) = (Has::default(), Kept::default());
        while let Some(key) = self.cursor.key()? {
            let part = Part::named(&key.name);
            let next = self.cursor.peek()?;
            let fits = match (&*key.name, part) {
                (_, Some(_)) => next == b'{',
                (b"index", _) => next.is_ascii_digit(),
                _ => true,
            };
            if !fits {
                self.cursor.skip()?;
                kept.cut(key.at, self.cursor.at(), self.marks);
                continue;
            }
            kept.keep(key.at, self.marks);
            self.member_of_choice(&key, part, &mut has)?;
            kept.ends(self.cursor.at());
        }
        let any = kept.close(self.cursor.at().saturating_sub(1), self.marks);
        self.lacks_of_choice(&has, any, place);
        Some(())
    }

    fn member_of_choice(&mut self, key: &Key<'_>, part: Option<Part>, has: &mut Has) -> Option<()> {
        match (&*key.name, part) {
            (_, Some(part)) => {
                let chunks = self.marks.are_of_chunks();
                let named = if chunks { Part::Delta } else { Part::Message };
                if part == named {
                    has.part = true;
                } else {
                    has.other_part = Some(self.key(key, named.key()));
                }
                self.message(part)?;
            }
            (b"text", _) => {
                has.text = true;
                self.content()?;
            }
            (b"finish_reason", _) => {
                let start = self.cursor.at();
                let reason = self.filled_string()?;
                self.seen.finish = reason.or(self.seen.finish);
                has.finish = Some(self.marks.len());
                let value = start..self.cursor.at();
                self.marks.put(Mark::Finish { value, native: false });
            }
            (b"native_finish_reason", _) => {
                has.native = true;
                self.seen.native_finish = self.filled_string()?.or(self.seen.native_finish);
            }
            (b"usage", _) => {
                let start = self.cursor.at();
                self.usage(rank::CHOICE)?;
                self.marks.put(Mark::NestedUsage(start..self.cursor.at()));
            }
            (b"error", _) => self.error()?,
            (name, _) => {
                has.index |= name == b"index";
                has.logprobs |= name == b"logprobs";
                self.cursor.skip()?;
            }
        }
        Some(())
    }

    /// What the choice that was just closed lacks; whether it has `any` member that is kept.
    fn lacks_of_choice(&mut self, has: &Has, any: bool, place: u32) {
        if let Some(other) = has.other_part.filter(|_| has.part) {
            self.marks.not_alone(other);
        }
        let Has { native, .. } = *has;
        match has.finish {
            Some(index) if native => self.marks.has_native(index),
            Some(_) => {}
            None => self.lacks(Lack::Finish { native }, any),
        }
        if !(has.part || has.other_part.is_some() || has.text) {
            self.lacks(Lack::Content, true);
        }
        if !has.index {
            self.lacks(Lack::Index(place), true);
        }
        if !(has.logprobs || self.marks.are_of_chunks()) {
            self.lacks(Lack::Logprobs, true);
        }
    }

    /// A key that the face gives this name, unless another member has it; the place of its mark.
    pub(super) fn key(&mut self, key: &Key<'_>, name: &'static str) -> usize {
        self.marks.put(Mark::Key { key: key.at..key.end, name, alone: true });
        self.marks.len().saturating_sub(1)
    }

    /// The object that was just closed lacks something; whether it has members, also by other lacks.
    pub(super) fn lacks(&mut self, what: Lack, members: bool) {
        let at = self.cursor.at().saturating_sub(1);
        self.marks.put(Mark::Lacks { at, what, members });
    }
}
