use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;

fn check(body: &[u8]) -> Result<(), Fault> {
    let mut scanner = Scanner::new(body)?;
    scanner.space();
    scanner.skip(0)?;
    scanner.end()
}

fn flaw(body: &[u8]) -> Option<(usize, Flaw)> {
    check(body).err().map(|fault| (fault.offset, fault.flaw))
}

/// Deepest nesting of a valid document.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn agrees(body: &[u8]) {
    let theirs = std::str::from_utf8(body).is_ok_and(|text| {
        serde_json::from_str::<IgnoredAny>(text).is_ok() && depth(text) <= JSON_DEPTH
    });
    assert_eq!(check(body).is_ok(), theirs, "{:?}", String::from_utf8_lossy(body));
}

/// JSON text with odd spacing, numbers and escapes.
pub(in crate::request) fn json() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", " ", "\n", "\t\r ", "\n  "]);
    let scalar = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1e5",
            "-12.50E+07",
            "1e999",
            "0.1e-9",
            "\"\"",
            "\"\\ud83d\\ude00 \\u0000\"",
            "\"\\\\\\\"\\/\\b\\f\\n\\r\\t\"",
            "123456789012345678901234567890",
        ])
        .prop_map(String::from),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        "[ -~]{30,70}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    scalar.prop_recursive(5, 40, 6, move |inner| {
        let element = (space(), inner, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member =
            (space(), any::<String>(), space(), element.clone()).prop_map(|(a, key, b, value)| {
                format!("{a}{}{b}:{value}", serde_json::Value::from(key))
            });
        prop_oneof![
            prop::collection::vec(element, 0..6).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn accepts_generated_json(text in json()) {
        agrees(text.as_bytes());
        prop_assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn agrees_with_serde_json_on_damaged_json(
        text in json(), at in any::<prop::sample::Index>(), kind in 0..4, byte in any::<u8>(),
    ) {
        let mut body = text.into_bytes();
        let at = at.index(body.len());
        match kind {
            0 => drop(body.remove(at)),
            1 => body.insert(at, byte),
            2 => body.insert(at, b"{}[]\",:\\-.eE+0 "[usize::from(byte) % 15]),
            _ => body.truncate(at),
        }
        agrees(&body);
    }

    #[test]
    fn agrees_with_serde_json_on_token_soup(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "1", "-", "0", ".", "e", "true", "null", " ", "\"\\u12",
        ]), 0..12),
    ) {
        agrees(tokens.concat().as_bytes());
    }

    #[test]
    fn plain_stops_at_the_first_special_byte(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let naive = bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
        prop_assert_eq!(plain(&bytes), naive.unwrap_or(bytes.len()));
    }

    #[test]
    fn plain_stops_anywhere(length in 0_usize..200, at in 0_usize..200, byte in prop::sample::select(vec![0_u8, 0x1f, b'"', b'\\'])) {
        let mut bytes = vec![0x7f_u8; length];
        if let Some(place) = bytes.get_mut(at) { *place = byte; }
        prop_assert_eq!(plain(&bytes), at.min(length));
    }
}

#[test]
fn names_the_flaw_and_its_place() {
    let cases: &[(&[u8], usize, Flaw)] = &[
        (b"", 0, Flaw::End),
        (b"  ", 2, Flaw::End),
        (b"\xef\xbb\xbf{}", 0, Flaw::Mark),
        (b"{\"a\":\"\xff\"}", 6, Flaw::Utf8),
        (b"{} {}", 3, Flaw::Trailing),
        (b"{}\0", 2, Flaw::Trailing),
        (b"{\"a\":1,}", 7, Flaw::Expected("a string")),
        (b"[1,]", 3, Flaw::Expected("a value")),
        (b"[,1]", 1, Flaw::Expected("a value")),
        (b"{\"a\" 1}", 5, Flaw::Expected("`:`")),
        (b"[1 2]", 3, Flaw::Expected("`,` or `]`")),
        (b"[1}", 2, Flaw::Expected("`,` or `]`")),
        (b"{\"a\":1]", 6, Flaw::Expected("`,` or `}`")),
        (b"{a:1}", 1, Flaw::Expected("a string")),
        (b"['a']", 1, Flaw::Expected("a value")),
        (b"[01]", 2, Flaw::Expected("`,` or `]`")),
        (b"[1.]", 3, Flaw::Expected("a digit")),
        (b"[+1]", 1, Flaw::Expected("a value")),
        (b"[NaN]", 1, Flaw::Expected("a value")),
        (b"[nul]", 1, Flaw::Expected("null")),
        (b"[\"\n\"]", 2, Flaw::Control),
        (b"[\"\\x\"]", 2, Flaw::Escape),
        (b"[\"\\u12g4\"]", 2, Flaw::Escape),
        (b"[\"abc", 5, Flaw::End),
        (b"// c\n{}", 0, Flaw::Expected("a value")),
    ];
    for (body, offset, expected) in cases {
        assert_eq!(flaw(body), Some((*offset, *expected)), "{:?}", String::from_utf8_lossy(body));
        agrees(body);
    }
}

#[test]
fn depth_is_held_at_the_bound_and_one_past_it() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(JSON_DEPTH).as_bytes()), Ok(()));
    assert_eq!(flaw(nested(JSON_DEPTH + 1).as_bytes()), Some((JSON_DEPTH, Flaw::Depth)));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(check(objects(JSON_DEPTH).as_bytes()), Ok(()));
    assert_eq!(flaw(objects(JSON_DEPTH + 1).as_bytes()), Some((5 * JSON_DEPTH, Flaw::Depth)));
    assert_eq!(flaw("[".repeat(100_000).as_bytes()), Some((JSON_DEPTH, Flaw::Depth)));
    let mixed = format!("{}[{{}}]{}", "[{\"a\":".repeat(31), "}]".repeat(31));
    assert_eq!(depth(&mixed), JSON_DEPTH);
    assert_eq!(check(mixed.as_bytes()), Ok(()));
}

#[test]
fn strings_decode_or_name_the_lone_surrogate() {
    let decode = |body: &str| {
        let mut scanner = Scanner::new(body.as_bytes()).unwrap();
        let text = scanner.string().unwrap();
        scanner.decode(&text).map(Cow::into_owned)
    };
    assert_eq!(decode(r#""plain""#).as_deref(), Ok("plain"));
    assert_eq!(decode(r#""mod\u0065l\ud83d\ude00""#).as_deref(), Ok("model\u{1f600}"));
    for lone in [r#""\ud83d""#, r#""\ude00x""#, r#""\ud83d\u0041""#] {
        let fault = Fault { offset: 0, flaw: Flaw::Surrogate };
        assert_eq!(decode(lone), Err(fault), "{lone}");
        assert_eq!(check(lone.as_bytes()), Ok(()), "passes where it is not read");
    }
}
