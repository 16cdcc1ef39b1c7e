//! Whether a request head is one that every HTTP/1 parser reads alike (S4, S5; RFC 9112).
//!
//! Stricter than any parser behind it and run before them: what two of them could read differently
//! is refused. Reads each line once, however few bytes come at a time.

use super::bad_request::BadRequest;
use crate::bounds::{HEAD_FIELDS, TARGET_BYTES};
use memchr::{memchr, memchr2};

/// What a whole head says of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, its last empty line included.
    pub end: usize,
    pub body: Body,
}

/// How far the body reaches behind the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; 0 when nothing is said (RFC 9112, section 6.3).
    Length(u64),
    Chunked,
}

/// Reads one head.
#[derive(Debug, Default)]
pub struct Reader {
    /// Where the first line begins that has not been read.
    at: usize,
    stage: Stage,
    fields: Fields,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Begin,
    /// One empty line was skipped (RFC 9112, section 2.2).
    RequestLine,
    Fields,
}

/// What the fields so far say.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    old: bool,
    host: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Reader {
    /// Reads on, where `seen` is everything since the head's first byte. `None`: more is needed.
    ///
    /// # Errors
    /// What is wrong with the head, as soon as the line it is in has ended.
    pub fn read(&mut self, seen: &[u8]) -> Result<Option<Head>, BadRequest> {
        loop {
            let rest = seen.get(self.at..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                return unended(rest).map(|()| None);
            };
            let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(BadRequest::Line)?;
            if memchr2(b'\r', 0, line).is_some() {
                return Err(BadRequest::Line);
            }
            self.at += end + 1;
            match self.stage {
                Stage::Begin if line.is_empty() => self.stage = Stage::RequestLine,
                Stage::Begin | Stage::RequestLine => {
                    self.fields.old = request_line(line)?;
                    self.stage = Stage::Fields;
                }
                Stage::Fields if line.is_empty() => {
                    return Ok(Some(Head { end: self.at, body: self.fields.body()? }));
                }
                Stage::Fields => self.fields.add(line)?,
            }
        }
    }
}

/// A whole head, read at once.
///
/// # Errors
/// What is wrong with it; [`BadRequest::Line`] also when it has not ended.
pub fn check(head: &[u8]) -> Result<Head, BadRequest> {
    Reader::default().read(head)?.ok_or(BadRequest::Line)
}

/// A line without its end can be wrong already; its last CR may still find its LF.
fn unended(line: &[u8]) -> Result<(), BadRequest> {
    let sure = line.strip_suffix(b"\r").unwrap_or(line);
    memchr2(b'\r', 0, sure).map_or(Ok(()), |_| Err(BadRequest::Line))
}

/// Whether the version is 1.0.
fn request_line(line: &[u8]) -> Result<bool, BadRequest> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), None) = (method, target, parts.next()) else {
        return Err(BadRequest::RequestLine);
    };
    if !is_token(method) {
        return Err(BadRequest::RequestLine);
    }
    let old = match version {
        Some(b"HTTP/1.1") => false,
        Some(b"HTTP/1.0") => true,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(BadRequest::Version);
        }
        None if !target.is_empty() => return Err(BadRequest::Version),
        _ => return Err(BadRequest::RequestLine),
    };
    match (method, target) {
        (b"CONNECT" | b"TRACE", _) => Err(BadRequest::Method),
        // Two slashes begin an authority in some parsers.
        (_, [b'/', b'/', ..]) => Err(BadRequest::Target),
        (_, [b'/', path @ ..]) if are(TARGET, path) => {
            if target.len() > TARGET_BYTES {
                Err(BadRequest::TargetSize)
            } else {
                Ok(old)
            }
        }
        _ => Err(BadRequest::Target),
    }
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), BadRequest> {
        self.count += 1;
        if self.count > HEAD_FIELDS {
            return Err(BadRequest::Fields);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(BadRequest::Fold);
        }
        let (name, value) = memchr(b':', line)
            .and_then(|colon| line.split_at_checked(colon))
            .filter(|(name, _)| is_token(name))
            .ok_or(BadRequest::Name)?;
        if memchr(b'_', name).is_some() {
            return Err(BadRequest::Underscore);
        }
        let value = value.get(1..).unwrap_or_default();
        if !are(VALUE, value) {
            return Err(BadRequest::Value);
        }
        self.note(name, trimmed(value))
    }

    /// Remembers what steers.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadRequest> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = plain_number(value).filter(|_| self.length.is_none());
            self.length = Some(length.ok_or(BadRequest::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadRequest::Coding);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            if self.host || !are(HOST, value) {
                return Err(BadRequest::Host);
            }
            self.host = true;
        }
        Ok(())
    }

    /// What all of them say together.
    fn body(&self) -> Result<Body, BadRequest> {
        if !self.host && !self.old {
            return Err(BadRequest::Host);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(BadRequest::LengthAndCoding),
            (Some(1..), false) | (None, true) if self.old => Err(BadRequest::OldBody),
            (None, true) => Ok(Body::Chunked),
            (length, false) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// Digits only, none of them a leading zero, and no more than a `u64` always holds.
fn plain_number(value: &[u8]) -> Option<u64> {
    let plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let value = std::str::from_utf8(value).ok().filter(|_| plain)?;
    value.parse().ok()
}

/// Without the blanks around it (RFC 9110, section 5.6.3: OWS is SP and HTAB).
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && are(TOKEN, bytes)
}

/// Part of a token (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// Part of a field's value (section 5.5).
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;

/// What each byte may be part of.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let value = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        #[expect(clippy::indexing_slicing, reason = "there are as many as bytes")]
        {
            classes[byte as usize] = (token as u8 * TOKEN)
                | (value as u8 * VALUE)
                | (is_target(byte) as u8 * TARGET)
                | (is_host(byte) as u8 * HOST);
        }
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// Whether all bytes are of a class. Looks at each without a branch: heads are read with every request.
fn are(class: u8, bytes: &[u8]) -> bool {
    let of = |byte: u8| CLASSES.get(usize::from(byte)).copied().unwrap_or_default();
    bytes.iter().fold(class, |all, byte| all & of(*byte)) == class
}

/// `pchar`, `/` and `?` (RFC 3986, section 3.3 and 3.4).
const fn is_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'/' | b'?' | b':' | b'@')
        || matches!(byte, b'!' | b'$'..=b',' | b';' | b'=')
}

/// What a registered name, an address or a port is made of (RFC 3986, section 3.2.2).
const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
        || matches!(byte, b'!' | b'$'..=b',' | b';' | b'=')
}
