//! An event that is too large to be held, on `/api/v1`: the members of its data are told apart as they pass.

use crate::bounds::USAGE_TAIL_BYTES;
use crate::face::sift::Sift;
use crate::face::{Core, openrouter};
use crate::meter::Tally;
use bytes::BytesMut;
use memchr::memchr2;

/// Bytes of the longest field names of the standard (WHATWG HTML, section 9.2.6): `event` and `retry`.
const NAME_BYTES: usize = 5;

/// Where in a line the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Data,
    /// Behind the name of a field that goes nowhere.
    Other,
}

/// Reads one event.
#[derive(Debug)]
pub(super) struct Oversized {
    sift: Sift,
    place: Place,
    name: Vec<u8>,
    /// The last byte was a CR: a LF after it belongs to the same line end.
    after_cr: bool,
    /// Data came, and begins what leaves.
    pub(super) has_data: bool,
    /// A line is none of the standard's fields.
    pub(super) is_foreign: bool,
    /// The blank line came.
    pub(super) has_ended: bool,
}

impl Oversized {
    /// For an event whose object is to begin with this.
    pub(super) fn new(opening: &[u8]) -> Self {
        Self {
            sift: Sift::new(opening.to_vec(), USAGE_TAIL_BYTES),
            place: Place::Name,
            name: Vec::new(),
            after_cr: false,
            has_data: false,
            is_foreign: false,
            has_ended: false,
        }
    }

    /// Takes a part of the event, and gives out what of it leaves, in one line.
    pub(super) fn pass(&mut self, raw: &[u8], out: &mut BytesMut) {
        let mut rest = raw;
        while !self.has_ended && !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else { return self.text(rest, out) };
            self.text(rest.get(..end).unwrap_or_default(), out);
            self.line_end();
            self.after_cr = rest.get(end) == Some(&b'\r');
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// Ends what leaves of it, and reports the usage that stood in it.
    pub(super) fn close(&self, core: &mut Core, tally: &mut dyn Tally, out: &mut BytesMut) {
        if let Some(report) = core.reply.dialect.tail_usage(&self.sift.usage()) {
            core.account.report(report, tally);
        }
        if self.sift.is_over() {
            if !self.sift.has_created {
                openrouter::created(core, out);
            }
            out.extend_from_slice(b"}");
        }
        if self.has_data {
            out.extend_from_slice(b"\n\n");
        }
    }

    /// Bytes of one line.
    fn text(&mut self, bytes: &[u8], out: &mut BytesMut) {
        match self.place {
            Place::Other => {}
            Place::Data => self.sift.pass(bytes, out),
            Place::Name => {
                let colon = memchr::memchr(b':', bytes);
                let name = bytes.get(..colon.unwrap_or(bytes.len())).unwrap_or_default();
                let room = NAME_BYTES + 1 - self.name.len();
                self.name.extend(name.iter().take(room));
                if self.name.len() > NAME_BYTES {
                    (self.place, self.is_foreign) = (Place::Other, true);
                } else if let Some(colon) = colon {
                    self.named(out);
                    self.text(bytes.get(colon + 1..).unwrap_or_default(), out);
                }
            }
        }
    }

    /// The name of a field is whole, and a value follows.
    fn named(&mut self, out: &mut BytesMut) {
        self.place = if self.name == b"data" { Place::Data } else { Place::Other };
        self.is_foreign |= !matches!(&*self.name, b"data" | b"event" | b"id" | b"retry" | b"");
        if self.place == Place::Data && !std::mem::replace(&mut self.has_data, true) {
            out.extend_from_slice(b"data: ");
        } else if self.place == Place::Data {
            // In place of the line's end.
            self.sift.pass(b" ", out);
        }
    }

    fn line_end(&mut self) {
        self.has_ended = self.place == Place::Name && self.name.is_empty();
        self.place = Place::Name;
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// What leaves of an event in pieces of these sizes, and what is known of it then.
    fn passed(event: &str, sizes: &[usize]) -> (String, bool, bool, bool) {
        let (mut oversized, mut out) = (Oversized::new(br#"{"id":"own""#), BytesMut::new());
        let (mut rest, mut sizes) = (event.as_bytes(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            oversized.pass(piece, &mut out);
            rest = after;
        }
        let Oversized { has_data, is_foreign, has_ended, .. } = oversized;
        (String::from_utf8(out.to_vec()).unwrap(), has_data, is_foreign, has_ended)
    }

    proptest! {
        #[test]
        fn it_leaves_in_one_line_however_it_is_cut_and_written(
            lines in prop::sample::subsequence(vec!["id: 7", "event: message", "data", ":", "retry:1"], 0..5),
            breaks in prop::collection::vec(any::<bool>(), 4),
            ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            text in "[\"\\\\a:\n\r]{0,9}",
            sizes in prop::collection::vec(1usize..9, 1..5),
        ) {
            let choices = json!([{ "delta": { "content": text } }]);
            let mut data = String::from("data:{");
            let members = [r#""id":"c""#.to_owned(), format!("\"choices\":{choices}"), r#","usage":{"a":1}"#.to_owned()];
            for (member, broken) in members.iter().zip(&breaks) {
                data += if *broken { "\ndata: " } else { " " };
                data += member;
                data += if member.contains("\"id\"") { "," } else { "" };
            }
            let event = format!("{}\n{data}}}\n\n", lines.join("\n")).trim_start_matches('\n').replace('\n', ending);
            let whole = passed(&event, &[usize::MAX]);
            let (out, has_data, is_foreign, has_ended) = whole.clone();
            prop_assert!(has_data && has_ended && !is_foreign, "{event:?}");
            let json = out.strip_prefix("data: ").unwrap().to_owned() + "}";
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), json!({ "id": "own", "choices": choices }));
            prop_assert!(!out.contains(['\n', '\r']));
            prop_assert_eq!(whole, passed(&event, &sizes));
        }
    }

    #[test]
    fn what_is_no_data_goes_nowhere() {
        for (event, foreign) in [(": xxxxxxxx\n\n", false), ("xxxxxxx", true), ("dat:\n", true)] {
            for sizes in [&[1][..], &[100]] {
                assert_eq!(
                    passed(event, sizes),
                    (String::new(), false, foreign, event.ends_with("\n\n"))
                );
            }
        }
        assert_eq!(passed("data: <html>\n\n", &[3]).0, "data: <html>");
    }
}
