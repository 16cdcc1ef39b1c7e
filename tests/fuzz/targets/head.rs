//! A request head that Weir takes, the parser behind it reads the same; and however it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::bounds::HEAD_FIELDS;
use weir::request::head::{Body, Head, Reader, check};

fuzz_target!(|data: &[u8]| {
    let Some((step, seen)) = data.split_first() else { return };
    let whole = check(seen);
    let mut reader = Reader::default();
    let mut at = 0;
    let pieces = loop {
        at = (at + usize::from(*step) + 1).min(seen.len());
        match reader.read(&seen[..at]) {
            Ok(None) if at < seen.len() => {}
            other => break other,
        }
    };
    match (&whole, pieces) {
        (Ok(head), pieces) => {
            assert_eq!(pieces, Ok(Some(*head)));
            agree(&seen[..head.end], head);
        }
        (Err(wrong), Err(other)) => assert_eq!(*wrong, other),
        (Err(_), Ok(read)) => assert_eq!(read, None),
    }
});

/// As httparse reads it, on which both hyper and Pingora stand.
fn agree(seen: &[u8], head: &Head) {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let read = request.parse(seen).expect("Weir takes what httparse refuses");
    assert_eq!(read, httparse::Status::Complete(head.end));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let hosts = values("host").len();
    assert!(hosts == 1 || hosts == 0 && request.version == Some(0));
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match head.body {
        Body::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1);
            assert!(codings[0].trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
        Body::Length(length) => {
            assert!(codings.is_empty() && lengths.len() <= 1);
            let text = lengths.first().map_or(b"0".as_slice(), |value| value.trim_ascii());
            assert_eq!(text, length.to_string().as_bytes());
        }
    }
    assert!(request.path.is_some_and(|path| path.starts_with('/') && !path.starts_with("//")));
    assert!(request.headers.iter().all(|field| !field.name.contains('_')));
}
