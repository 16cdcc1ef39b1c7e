//! The choices of an event or a body, and what each lacks.

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
        let (mut finish, mut native, mut content, mut indexed) = (None, false, false, false);
        let mut kept = Kept::default();
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
            indexed |= &*key.name == b"index";
            match (&*key.name, part) {
                (_, Some(part)) => {
                    content = true;
                    self.message(part)?;
                }
                (b"text", _) => {
                    content = true;
                    self.content()?;
                }
                (b"finish_reason", _) => {
                    let start = self.cursor.at();
                    let reason = self.filled_string()?;
                    self.seen.finish = reason.or(self.seen.finish);
                    finish = Some(self.marks.len());
                    let value = start..self.cursor.at();
                    self.marks.put(Mark::Finish { value, native: false });
                }
                (b"native_finish_reason", _) => {
                    native = true;
                    self.seen.native_finish = self.filled_string()?.or(self.seen.native_finish);
                }
                (b"usage", _) => {
                    let start = self.cursor.at();
                    self.usage(rank::CHOICE)?;
                    self.marks.put(Mark::NestedUsage(start..self.cursor.at()));
                }
                (b"error", _) => self.error()?,
                _ => self.cursor.skip()?,
            }
            kept.ends(self.cursor.at());
        }
        let any = kept.close(self.cursor.at().saturating_sub(1), self.marks);
        match finish {
            Some(index) if native => self.marks.has_native(index),
            Some(_) => {}
            None => self.lacks(Lack::Finish { native }, any),
        }
        let mut members = any || finish.is_none();
        if !content {
            self.lacks(Lack::Content, members);
            members = true;
        }
        if !indexed {
            self.lacks(Lack::Index(place), members);
        }
        Some(())
    }

    /// The object that was just closed lacks something.
    pub(super) fn lacks(&mut self, what: Lack, members: bool) {
        let at = self.cursor.at().saturating_sub(1);
        self.marks.put(Mark::Lacks { at, what, members });
    }
}
