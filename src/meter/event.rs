//! The fields of one SSE block (WHATWG HTML, section 9.2.6).

use memchr::{memchr, memchr2};

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// One event as a parser of the standard sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// Several `data` lines are joined by a space where the standard has a line feed: both are white
    /// space to JSON, and the result fits one line again.
    pub data: Option<&'a [u8]>,
    /// `event:` said `error`.
    pub error: bool,
    /// A line is none of the standard's fields: this may be no event stream at all.
    pub foreign: bool,
}

/// Reads blocks; keeps what only a whole stream knows.
#[derive(Debug, Default)]
pub struct EventReader {
    /// The first block was seen: no byte order mark may come.
    started: bool,
    joined: Vec<u8>,
}

impl EventReader {
    /// The fields of a whole block.
    pub fn read<'a>(&'a mut self, mut block: &'a [u8]) -> Event<'a> {
        if !std::mem::replace(&mut self.started, true) {
            block = block.strip_prefix(BYTE_ORDER_MARK).unwrap_or(block);
        }
        let mut event = Event::default();
        let mut lines = 0;
        while !block.is_empty() {
            let end = memchr2(b'\n', b'\r', block).unwrap_or(block.len());
            let (line, rest) = block.split_at(end);
            block = rest.get(1..).unwrap_or_default();
            let (name, value) = field(line);
            match name {
                b"data" => {
                    lines += 1;
                    self.join(event.data, value, lines);
                    event.data = event.data.or(Some(value));
                }
                b"event" => event.error = value == b"error",
                b"" | b"id" | b"retry" => {}
                _ => event.foreign = true,
            }
        }
        if lines > 1 {
            event.data = Some(&self.joined);
        }
        event
    }

    /// The common event has one line and joins nothing.
    fn join(&mut self, first: Option<&[u8]>, value: &[u8], lines: usize) {
        if lines < 2 {
            return;
        }
        if lines == 2 {
            self.joined.clear();
            self.joined.extend_from_slice(first.unwrap_or_default());
        }
        self.joined.push(b' ');
        self.joined.extend_from_slice(value);
    }
}

/// Name and value of a line; comments and blank lines have an empty name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = memchr(b':', line).unwrap_or(line.len());
    let (name, rest) = line.split_at(colon);
    let value = rest.get(1..).unwrap_or_default();
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &str) -> (Option<String>, bool, bool) {
        let mut reader = EventReader::default();
        let event = reader.read(block.as_bytes());
        let data = event.data.map(|data| String::from_utf8_lossy(data).into_owned());
        (data, event.error, event.foreign)
    }

    #[test]
    fn fields_as_the_standard_has_them() {
        let cases = [
            ("data: a\n\n", Some("a"), false, false),
            ("data:a\r\n\r\n", Some("a"), false, false),
            ("data:  a\r\r", Some(" a"), false, false),
            ("data\n\n", Some(""), false, false),
            ("data: a\ndata: b\ndata: c\n\n", Some("a b c"), false, false),
            (": note\n\n", None, false, false),
            ("id: 1\nretry: 3\nevent: error\ndata: x\n\n", Some("x"), true, false),
            ("\u{feff}data: a\n\n", Some("a"), false, false),
            ("<html>\n", None, false, true),
            ("data: a\0b\n\n", Some("a\0b"), false, false),
            ("\n", None, false, false),
        ];
        for (block, data, error, foreign) in cases {
            assert_eq!(read(block), (data.map(Into::into), error, foreign), "{block:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_one_only_at_the_start() {
        let mut reader = EventReader::default();
        let _ = reader.read(b"data: a\n\n");
        assert!(reader.read("\u{feff}data: b\n\n".as_bytes()).foreign);
    }
}
