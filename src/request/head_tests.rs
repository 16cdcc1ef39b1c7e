//! Heads that are refused and heads that are read, and Pingora's parser beside this one.

use super::bad_request::BadRequest;
use super::head::{Body, Reader, check};
use crate::bounds::{HEAD_FIELDS, TARGET_BYTES};
use http::header;
use memchr::memmem;
use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

const GOOD: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: weir\r\nContent-Length: 2\r\n\r\n";

fn of(lines: &[&str]) -> Result<Body, BadRequest> {
    let head = lines.join("\r\n") + "\r\n\r\n";
    let read = check(head.as_bytes())?;
    assert_eq!(read.end, head.len(), "{lines:?}");
    Ok(read.body)
}

fn with(field: &str) -> Result<Body, BadRequest> {
    of(&["POST /v1/models HTTP/1.1", "Host: weir", field])
}

#[test]
fn a_length_is_one_plain_number() {
    for (value, length) in
        [("0", 0), (" 7 ", 7), ("\t12\t", 12), ("9999999999999999999", 9_999_999_999_999_999_999)]
    {
        assert_eq!(with(&format!("content-LENGTH:{value}")), Ok(Body::Length(length)));
    }
    assert_eq!(with("X: y"), Ok(Body::Length(0)));
    for value in [
        "",
        "+5",
        "-5",
        "0x5",
        "5,5",
        "5, 5",
        "05",
        "00",
        "5_0",
        "5.0",
        "5 5",
        "١",
        "10000000000000000000",
    ] {
        assert_eq!(with(&format!("Content-Length: {value}")), Err(BadRequest::Length), "{value}");
    }
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 5"), Err(BadRequest::Length));
}

#[test]
fn a_coding_is_one_chunked_and_alone() {
    for value in ["chunked", "Chunked", "\tCHUNKED "] {
        assert_eq!(with(&format!("Transfer-Encoding:{value}")), Ok(Body::Chunked));
    }
    for value in [
        "",
        "xchunked",
        "chunked, chunked",
        "gzip, chunked",
        "chunked,",
        "identity",
        "\"chunked\"",
        "chunked;q=1",
    ] {
        assert_eq!(
            with(&format!("Transfer-Encoding: {value}")),
            Err(BadRequest::Coding),
            "{value}"
        );
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked";
    assert_eq!(with(twice), Err(BadRequest::Coding));
    for both in [
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(with(both), Err(BadRequest::LengthAndCoding));
    }
}

#[test]
fn a_field_is_a_name_a_colon_and_a_value() {
    assert_eq!(with("x!#$%&'*+-.^`|~:\t\u{e9} \t"), Ok(Body::Length(0)));
    for (field, why) in [
        ("X", BadRequest::Name),
        (": y", BadRequest::Name),
        ("X : y", BadRequest::Name),
        ("X\t: y", BadRequest::Name),
        ("X(: y", BadRequest::Name),
        ("é: y", BadRequest::Name),
        ("X\u{1}: y", BadRequest::Name),
        ("X_Y: z", BadRequest::Underscore),
        (" folded", BadRequest::Fold),
        ("\tfolded: x", BadRequest::Fold),
        ("X: \u{1}", BadRequest::Value),
        ("X: \u{b}", BadRequest::Value),
        ("X: \u{7f}", BadRequest::Value),
        ("X: y\0", BadRequest::Line),
        ("X: y\rZ: a", BadRequest::Line),
        ("X: y\nZ: a", BadRequest::Line),
        ("X: y\r", BadRequest::Line),
    ] {
        assert_eq!(with(field), Err(why), "{field:?}");
    }
}

#[test]
fn a_host_is_there_once() {
    let host = |lines: &[&str]| of(&[&["GET /v1/models HTTP/1.1"], lines].concat());
    for value in ["weir", "weir:8080", "[::1]:80", "a.b-c_d", ""] {
        assert!(host(&[&format!("Host: {value}")]).is_ok(), "{value}");
    }
    assert_eq!(host(&[]), Err(BadRequest::Host));
    assert_eq!(host(&["Host: a", "host: a"]), Err(BadRequest::Host));
    for value in ["a b", "a/b", "u@a", "a,b\\", "a?b", "a#b", "\u{e9}"] {
        assert_eq!(host(&[&format!("Host: {value}")]), Err(BadRequest::Host), "{value}");
    }
    assert!(of(&["GET /v1/models HTTP/1.0"]).is_ok());
}

#[test]
fn a_request_line_is_three_words() {
    for (line, why) in [
        ("GET /v1/models", BadRequest::Version),
        ("PRI * HTTP/2.0", BadRequest::Version),
        ("GET / HTTP/1.2", BadRequest::Version),
        ("GET / HTTP/0.9", BadRequest::Version),
        ("GET / HTTP/3.0", BadRequest::Version),
        ("GET / http/1.1", BadRequest::RequestLine),
        ("GET / HTTP/1.1 ", BadRequest::RequestLine),
        ("GET  / HTTP/1.1", BadRequest::RequestLine),
        ("GET /\tHTTP/1.1", BadRequest::Version),
        (" GET / HTTP/1.1", BadRequest::RequestLine),
        ("GET / HTTP/11", BadRequest::RequestLine),
        ("GET / HTTP/1.1x", BadRequest::RequestLine),
        ("G(T / HTTP/1.1", BadRequest::RequestLine),
        ("GET", BadRequest::RequestLine),
        ("GET /a b HTTP/1.1", BadRequest::RequestLine),
        ("TRACE / HTTP/1.1", BadRequest::Method),
        ("CONNECT a:443 HTTP/1.1", BadRequest::Method),
        ("GET http://a/ HTTP/1.1", BadRequest::Target),
        ("GET * HTTP/1.1", BadRequest::Target),
        ("GET a:443 HTTP/1.1", BadRequest::Target),
        ("GET //a/b HTTP/1.1", BadRequest::Target),
        ("GET /\u{1} HTTP/1.1", BadRequest::Target),
        ("GET /# HTTP/1.1", BadRequest::Target),
        ("GET /\\ HTTP/1.1", BadRequest::Target),
        ("GET /é HTTP/1.1", BadRequest::Target),
        ("GET /\" HTTP/1.1", BadRequest::Target),
    ] {
        assert_eq!(of(&[line, "Host: weir"]), Err(why), "{line:?}");
    }
    assert!(of(&["", "get /a?b=%20;c HTTP/1.1", "Host: weir"]).is_ok(), "one empty line first");
    assert_eq!(of(&["", "", "GET / HTTP/1.1", "Host: weir"]), Err(BadRequest::RequestLine));
}

#[test]
fn an_old_request_has_no_body() {
    let old = |field: &str| of(&["POST /v1/models HTTP/1.0", field]);
    assert_eq!(old("Content-Length: 0"), Ok(Body::Length(0)));
    assert_eq!(old("Content-Length: 1"), Err(BadRequest::OldBody));
    assert_eq!(old("Transfer-Encoding: chunked"), Err(BadRequest::OldBody));
}

#[test]
fn there_are_bounds() {
    let target = |bytes| of(&[&format!("GET /{} HTTP/1.1", "a".repeat(bytes - 1)), "Host: weir"]);
    assert!(target(TARGET_BYTES).is_ok());
    assert_eq!(target(TARGET_BYTES + 1), Err(BadRequest::TargetSize));
    let fields = |count| with(&vec!["X: y"; count - 1].join("\r\n"));
    assert!(fields(HEAD_FIELDS).is_ok());
    assert_eq!(fields(HEAD_FIELDS + 1), Err(BadRequest::Fields));
}

#[test]
fn what_is_wrong_is_said_when_its_line_has_ended() {
    let said = |bytes: &[u8]| Reader::default().read(bytes);
    assert_eq!(said(b"GET /v1/models\r\n"), Err(BadRequest::Version));
    assert_eq!(said(b"GET /\rx"), Err(BadRequest::Line));
    assert_eq!(said(b"GET /\r"), Ok(None));
    assert_eq!(said(b"GET /\0"), Err(BadRequest::Line));
    assert_eq!(said(b"GET / HTTP/1.1\n"), Err(BadRequest::Line));
    assert_eq!(check(&GOOD.as_bytes()[..GOOD.len() - 1]), Err(BadRequest::Line));
}

/// A head made of good parts, with a few bytes of it changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET /v1/models HTTP/1.1",
        "POST /v1/chat/completions?x=%2f HTTP/1.1",
        "POST /v1/x HTTP/1.0",
        "GET http://weir/v1/models HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT weir:80 HTTP/1.1",
    ]);
    let field = prop::sample::select(vec![
        "Host: weir",
        "Host: [::1]:8",
        "Content-Length: 7",
        "Content-Length: 0",
        "content-length:\t7 ",
        "Transfer-Encoding: chunked",
        "transfer-encoding:CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Connection: close",
        "Connection: keep-alive, upgrade",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "X: \u{e9}",
        "X:",
        " folded",
        "Host : weir",
        "A_b: c",
    ]);
    let byte = prop_oneof![
        prop::sample::select(b" \t\r\n\0\x0b:;,@/\\#\"_-+0123456789aZ\x7f\x80\xff".to_vec()),
        any::<u8>()
    ];
    let edit = (0..3_u8, any::<prop::sample::Index>(), byte);
    let parts = (line, prop::collection::vec(field, 0..5), any::<bool>());
    (parts, prop::collection::vec(edit, 0..4)).prop_map(|((line, fields, host), edits)| {
        let host = if host { "\r\nHost: weir" } else { "" };
        let fields: String = fields.iter().map(|field| format!("\r\n{field}")).collect();
        let mut head = format!("{line}{host}{fields}\r\n\r\n").into_bytes();
        for (what, at, byte) in edits {
            let at = at.index(head.len());
            match what {
                0 => head[at] = byte,
                1 => head.insert(at, byte),
                _ => drop(head.remove(at)),
            }
        }
        head
    })
}

/// What Pingora's parser makes of bytes that are all it gets.
fn pingora(bytes: &[u8]) -> Option<(usize, HttpSession)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = duplex(64 << 10);
        far.write_all(bytes).await.unwrap();
        drop(far);
        let mut session = HttpSession::new(Box::new(near));
        let end = session.read_request().await.ok()??;
        Some((end, session))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn pingora_reads_what_passes_and_reads_it_alike(bytes in mutated()) {
        let Ok(Some(head)) = Reader::default().read(&bytes) else { return Ok(()) };
        let (end, session) = pingora(&bytes).expect("refused by Pingora");
        prop_assert_eq!(end, head.end);
        let request = session.req_header();
        let text = bytes[..end].to_vec();
        let lines = memmem::find_iter(&text, "\r\n").count();
        let skipped = usize::from(text.starts_with(b"\r\n"));
        prop_assert_eq!(request.headers.len(), lines - 2 - skipped);
        let length = request.headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap());
        let length = length.map(|text| text.parse::<u64>().unwrap());
        let chunked = request.headers.contains_key(header::TRANSFER_ENCODING);
        match head.body {
            Body::Length(known) => prop_assert!(!chunked && length.unwrap_or(0) == known),
            Body::Chunked => prop_assert!(chunked && length.is_none()),
        }
        prop_assert!(request.raw_path().starts_with(b"/"));
    }

    #[test]
    fn cuts_change_nothing(bytes in mutated(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let whole = Reader::default().read(&bytes);
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut reader = Reader::default();
        let mut last = Ok(None);
        for end in ends {
            last = reader.read(&bytes[..end]);
            if last != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(last, whole);
    }
}
