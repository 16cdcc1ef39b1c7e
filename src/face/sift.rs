//! The members of a body that is too large to be held, told apart as they pass: those that `/api/v1` writes
//! itself are left out, the others leave as they came.

use bytes::BytesMut;
use memchr::memchr2;

/// No key that is looked for is longer, with every letter escaped.
const KEY_BYTES: usize = 128;

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// Dropped, and remembered.
    Usage,
}

/// Where in the document the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// In the document's object, before a key.
    Between,
    Key,
    /// Behind a key.
    Value(Fate),
    End,
    /// In what is no object: it passes.
    Strange,
}

/// Reads one body.
#[derive(Debug)]
pub(super) struct Sift {
    /// What the object begins with.
    opening: Vec<u8>,
    /// Longest usage that is remembered.
    most: usize,
    place: Place,
    depth: u32,
    in_string: bool,
    escaped: bool,
    key: Vec<u8>,
    usage: Vec<u8>,
    pub(super) has_created: bool,
    pub(super) has_fingerprint: bool,
    pub(super) has_tier: bool,
}

impl Sift {
    /// For a body that is to begin with this, and whose usage counts up to so many bytes.
    pub(super) fn new(opening: Vec<u8>, most: usize) -> Self {
        Self {
            opening,
            most,
            place: Place::Start,
            depth: 0,
            in_string: false,
            escaped: false,
            key: Vec::new(),
            usage: Vec::new(),
            has_created: false,
            has_fingerprint: false,
            has_tier: false,
        }
    }

    /// Whether the object was closed, which what leaves is not: more members may follow.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// An object with the body's usage; of one that is too long a part.
    pub(super) fn usage(&self) -> Vec<u8> {
        [b"{\"usage\"", &*self.usage, b"}"].concat()
    }

    /// Takes a part of the body, and gives out what of it leaves.
    pub(super) fn pass(&mut self, read: &[u8], out: &mut BytesMut) {
        let mut rest = read;
        while let Some(first) = rest.first() {
            let taken = match self.place {
                Place::Key => self.key(rest, out),
                Place::Value(fate) => self.value(fate, rest, out),
                Place::End => rest.len(),
                Place::Strange => {
                    out.extend_from_slice(rest);
                    rest.len()
                }
                Place::Start | Place::Between => {
                    self.outside(*first, out);
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn outside(&mut self, byte: u8, out: &mut BytesMut) {
        self.place = match (self.place, byte) {
            (place, b' ' | b'\t' | b'\n' | b'\r') | (place @ Place::Between, b',') => place,
            (Place::Start, b'{') => {
                out.extend_from_slice(&self.opening);
                Place::Between
            }
            (Place::Between, b'}') => Place::End,
            (Place::Between, b'"') => {
                self.key.clear();
                self.key.push(byte);
                self.in_string = true;
                Place::Key
            }
            _ => {
                out.extend_from_slice(&[byte]);
                Place::Strange
            }
        };
    }

    /// Takes bytes of a key.
    fn key(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        let taken = self.string(bytes);
        self.key.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.in_string && self.key.len() <= KEY_BYTES {
            return taken;
        }
        let name = serde_json::from_slice::<String>(&self.key).unwrap_or_default();
        let fate = match &*name {
            "id" | "object" | "model" | "provider" => Fate::Drop,
            "usage" => Fate::Usage,
            _ => Fate::Keep,
        };
        self.has_created |= name == "created";
        self.has_fingerprint |= name == "system_fingerprint";
        self.has_tier |= name == "service_tier";
        if fate == Fate::Keep {
            out.extend_from_slice(b",");
            out.extend_from_slice(&self.key);
        }
        if fate == Fate::Usage {
            self.usage.clear();
        }
        self.key = Vec::new();
        self.place = Place::Value(fate);
        taken
    }

    /// Takes bytes from behind a key up to the comma or brace behind its value.
    fn value(&mut self, fate: Fate, bytes: &[u8], out: &mut BytesMut) -> usize {
        let taken = self.inside(bytes);
        let value = bytes.get(..taken).unwrap_or_default();
        match fate {
            Fate::Keep => out.extend_from_slice(value),
            Fate::Drop => {}
            Fate::Usage => {
                let room = self.most.saturating_sub(self.usage.len());
                self.usage.extend(value.iter().take(room));
            }
        }
        if taken < bytes.len() {
            self.place = Place::Between;
        }
        taken
    }

    /// How many of these bytes are the value's; fewer than all where it ends.
    fn inside(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.in_string {
                at += self.string(bytes.get(at..).unwrap_or_default());
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b',' if self.depth == 0 => return at,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        at
    }

    /// How many of these bytes are of the string in which the first is; its last is a quote where it ends.
    fn string(&mut self, bytes: &[u8]) -> usize {
        let mut at = usize::from(std::mem::take(&mut self.escaped));
        while let Some(found) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
            at += found + 1;
            if bytes.get(at - 1) == Some(&b'"') {
                self.in_string = false;
                return at;
            }
            if at == bytes.len() {
                self.escaped = true;
                return at;
            }
            at += 1;
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    const OPENING: &[u8] = br#"{"id":"own""#;

    /// What leaves of a body in pieces of these sizes, closed; the usage; and whether it was over.
    fn sifted(body: &[u8], sizes: &[usize]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut sift, mut out) = (Sift::new(OPENING.to_vec(), 1_000), BytesMut::new());
        let (mut rest, mut sizes) = (body, sizes.iter().cycle());
        while !rest.is_empty() {
            let (read, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            sift.pass(read, &mut out);
            rest = after;
        }
        if sift.is_over() {
            out.extend_from_slice(b"}");
        }
        (out.to_vec(), sift.usage(), sift.is_over())
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\"\\\\{}\\[\\],:a-cé\n]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[\"\\\\{}a]{0,4}|usage|id", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Keys as they are, and with a letter escaped.
    fn key() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            prop::sample::select(vec![
                "id", "object", "model", "provider", "usage", "created", "data", "choices"
            ])
            .prop_map(str::to_owned),
            "[a\"\\\\]{0,200}"
        ];
        (name, any::<bool>()).prop_map(|(name, escaped)| {
            let text = Value::from(name.as_str()).to_string();
            match name.chars().next().filter(|first| escaped && first.is_ascii_alphabetic()) {
                Some(first) => format!("\"\\u{:04x}{}", u32::from(first), &text[2..]),
                None => text,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_the_bodys_own_leaves_whole_however_it_is_cut(
            members in prop::collection::vec((key(), json()), 0..8),
            space in prop::sample::select(vec!["", " ", "\r\n\t"]),
            sizes in prop::collection::vec(1usize..40, 1..6),
        ) {
            let written = members.iter().map(|(key, value)| format!("{key}{space}:{space}{value}{space}"));
            let body = format!("{space}{{{space}{}}}{space}", written.collect::<Vec<_>>().join(&format!(",{space}")));
            let all: Map<String, Value> = serde_json::from_str(&body).unwrap();
            let (out, usage, over) = sifted(body.as_bytes(), &[usize::MAX]);
            prop_assert!(over);
            let mut expected = all.clone();
            expected.retain(|name, _| !["id", "object", "model", "provider", "usage"].contains(&&**name));
            expected.insert("id".to_owned(), "own".into());
            let found: Map<String, Value> = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(found, expected);
            if let Some(own) = all.get("usage").filter(|own| own.to_string().len() < 500) {
                let found: Value = serde_json::from_slice(&usage).unwrap();
                prop_assert_eq!(&found["usage"], own);
            }
            prop_assert_eq!(sifted(body.as_bytes(), &sizes), (out, usage, over));
        }

        #[test]
        fn anything_at_all_is_taken(body in prop::collection::vec(any::<u8>(), 0..60), sizes in prop::collection::vec(1usize..9, 1..4)) {
            prop_assert_eq!(sifted(&body, &sizes), sifted(&body, &[usize::MAX]));
        }
    }

    #[test]
    fn a_body_that_is_no_object_passes_and_one_that_is_cut_is_not_over() {
        for body in ["[1, 2]", "\"a\"", "12", "<html>"] {
            assert_eq!(sifted(body.as_bytes(), &[2]).0, body.as_bytes(), "{body}");
        }
        for body in [r#"{"a":[1,2"#, r#"{"a":1"#, r#"{"a"#, "{", ""] {
            assert!(!sifted(body.as_bytes(), &[3]).2, "{body}");
        }
    }
}
