//! A forward reader of one JSON document, in place: no tree, no allocation, no recursion of its own.
//!
//! It is lenient about what does not matter for finding members (commas, bare words) and strict about
//! what does: strings, brackets, the colon after a key. Bytes pass as they came whatever it says.

use memchr::memchr2;
use std::borrow::Cow;
use std::ops::Range;

/// A JSON string's inside, escapes still in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The text itself; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self) -> Cow<'a, str> {
        if !self.escaped {
            return String::from_utf8_lossy(self.raw);
        }
        let quoted = [b"\"", self.raw, b"\""].concat();
        serde_json::from_str::<String>(&String::from_utf8_lossy(&quoted))
            .map_or_else(|_| String::from_utf8_lossy(self.raw), Cow::Owned)
    }

    /// The text as a key to compare with; only an escaped one costs a copy.
    fn key(&self) -> Cow<'a, [u8]> {
        if self.escaped {
            Cow::Owned(self.decode().into_owned().into_bytes())
        } else {
            Cow::Borrowed(self.raw)
        }
    }
}

/// A member's key: its name, unescaped, and where it stands, both quotes included.
#[derive(Debug)]
pub(super) struct Key<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) at: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next unread byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Takes `byte`, which must come next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Inside an object: the next member's key, its value coming next; `Some(None)` at the end.
    #[inline]
    pub(super) fn key(&mut self) -> Option<Option<Key<'a>>> {
        if !self.item(b'}')? {
            return Some(None);
        }
        let at = self.at;
        let name = self.string()?.key();
        let end = self.at;
        self.take(b':')?;
        self.peek()?;
        Some(Some(Key { name, at, end }))
    }

    /// Inside an array or object: whether another item comes, before the closing `end`.
    #[inline]
    pub(super) fn item(&mut self, end: u8) -> Option<bool> {
        let mut next = self.peek()?;
        if next == b',' {
            self.at += 1;
            next = self.peek()?;
        }
        if next == end {
            self.at += 1;
            return Some(false);
        }
        Some(true)
    }

    /// A string, which must come next.
    #[inline]
    pub(super) fn string(&mut self) -> Option<Text<'a>> {
        self.take(b'"')?;
        let rest = self.bytes.get(self.at..)?;
        let end = quote_or_escape(rest)?;
        let (end, escaped) =
            if rest.get(end) == Some(&b'"') { (end, false) } else { (closing_quote(rest)?, true) };
        self.at += end + 1;
        Some(Text { raw: rest.get(..end)?, escaped })
    }

    /// Whether the value that comes next is null.
    pub(super) fn is_null(&mut self) -> Option<bool> {
        Some(self.peek()? == b'n')
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Skips the value that comes next.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_nested(),
            _ => self.skip_word(),
        }
    }

    /// Skips the value that comes next and tells where it is.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Some(start..self.at)
    }

    /// The bytes of a range [`Cursor::value`] gave.
    pub(super) fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_word(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b':') {
                break;
            }
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// Offset of the quote that ends the string whose inside `bytes` begin with.
#[inline]
pub(super) fn closing_quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += quote_or_escape(bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// Offset of the first quote or backslash. Most strings of an event are shorter than the call of a
/// vector search is long, so the first words are looked at in place, eight bytes at once.
#[inline]
fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // The lowest set bit is that of the first byte that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    for chunk in bytes.chunks_exact(8).take(4) {
        let word = u64::from_le_bytes(chunk.try_into().ok()?);
        let found = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', bytes.get(at..)?).map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_ends_where_the_value_does() {
        for value in [r#""a\"}b""#, r#"{"a":[1,{"]":"}"}]}"#, "[]", "-1.5e3", "true", r#""\\""#] {
            for tail in ["", ",1", "}", " \n]"] {
                let text = format!("{value}{tail}");
                assert_eq!(Cursor::new(text.as_bytes()).value(), Some(0..value.len()), "{text}");
            }
        }
    }

    #[test]
    fn the_first_quote_or_escape_is_found_anywhere() {
        for length in 0..80 {
            for found in ["\"", "\\", "\"\\\"", "\\\"#"] {
                for filler in ["x", "!", "#", "[", "]", "\u{1}", "é"] {
                    let text = filler.repeat(length) + found + "tail \" tail tail";
                    assert_eq!(
                        quote_or_escape(text.as_bytes()),
                        Some(filler.len() * length),
                        "{text}"
                    );
                }
            }
            assert_eq!(quote_or_escape("x".repeat(length).as_bytes()), None);
        }
    }

    #[test]
    fn cut_values_are_not_values() {
        for text in ["", "\"a", "\"a\\", "\"a\\\"", "{\"a\":[1}", "[", " ", ","] {
            assert_eq!(Cursor::new(text.as_bytes()).value(), None, "{text}");
        }
    }

    #[test]
    fn keys_are_compared_unescaped() {
        let mut cursor = Cursor::new(br#"{"us\u0061ge" : 1 , "b":2}"#);
        cursor.take(b'{').unwrap();
        let key = cursor.key().unwrap().unwrap();
        assert_eq!((&*key.name, key.at, key.end), (&b"usage"[..], 1, 13));
        cursor.skip().unwrap();
        assert_eq!(&*cursor.key().unwrap().unwrap().name, b"b");
        cursor.skip().unwrap();
        assert!(cursor.key().unwrap().is_none());
        assert!(cursor.is_done());
    }

    #[test]
    fn text_decodes_escapes_and_bad_utf8() {
        let text = |raw: &str| Cursor::new(raw.as_bytes()).string().unwrap().decode().into_owned();
        assert_eq!(text(r#""a\n\u00e9""#), "a\né");
        assert_eq!(Cursor::new(b"\"a\xff\"").string().unwrap().decode(), "a\u{fffd}");
    }
}
