//! Typed readers of the fields that steer. Each stands on a value and leaves it behind.

use super::body_error::BodyError;
use super::envelope::{Envelope, StreamOptions};
use super::keys::{self, Clash, Fate, Names, Table};
use super::scan::Scanner;
use crate::catalog::Modalities;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// What is known of a key.
type Known = (&'static str, Fate);

/// A walk over the members of an object.
pub(super) struct Object {
    names: Names,
    first: bool,
    /// Containers open inside the object, itself included.
    depth: usize,
}

impl Object {
    /// Steps into the object that starts here.
    pub(super) fn open(scanner: &mut Scanner<'_>, table: &'static Table, depth: usize) -> Self {
        scanner.take(b'{');
        Self { names: Names::new(table), first: true, depth }
    }

    /// Goes to the next value: what is known of its key, and where the key starts. `None` at the end.
    pub(super) fn next(
        &mut self,
        scanner: &mut Scanner<'_>,
    ) -> Result<Option<(Option<Known>, usize)>, BodyError> {
        if !scanner.more(true, self.first)? {
            return Ok(None);
        }
        self.first = false;
        let start = scanner.at();
        let key = scanner.key()?;
        let known = self.names.meet(scanner, &key).map_err(|clash| match clash {
            Clash::Fault(fault) => BodyError::Json(fault),
            Clash::Repeated(name) => BodyError::Repeated(name),
            Clash::Twin(name) => BodyError::Twin(name),
        })?;
        Ok(Some((known, start)))
    }

    /// Steps over the value of a member.
    pub(super) fn skip(&self, scanner: &mut Scanner<'_>) -> Result<(), BodyError> {
        Ok(scanner.skip(self.depth)?)
    }
}

/// The text of the number that starts here.
pub(super) fn number<'a>(scanner: &mut Scanner<'a>) -> Result<&'a str, BodyError> {
    let start = scanner.at();
    scanner.skip(1)?;
    Ok(scanner.slice(start..scanner.at()))
}

/// Where the value is, if it is an array with something in it.
pub(super) fn filled(scanner: &mut Scanner<'_>) -> Result<Option<Range<usize>>, BodyError> {
    let start = scanner.at();
    scanner.skip(1)?;
    let range = start..scanner.at();
    let text = scanner.slice(range.clone());
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    Ok(inside.filter(|inside| !inside.trim_ascii().is_empty()).map(|_| range))
}

pub(super) fn text<'a>(
    scanner: &mut Scanner<'a>,
    param: &'static str,
) -> Result<Option<Cow<'a, str>>, BodyError> {
    if !expect(scanner, b"\"", BodyError::Type { param, wanted: "a string" })? {
        return Ok(None);
    }
    let text = scanner.string()?;
    Ok(Some(scanner.decode(&text)?))
}

/// An array of strings, each made by `make`; empty for `null`.
pub(super) fn texts(
    scanner: &mut Scanner<'_>,
    param: &'static str,
    most: usize,
    make: impl Fn(&str) -> Result<Arc<str>, BodyError>,
) -> Result<Vec<Arc<str>>, BodyError> {
    let wanted = || BodyError::Type { param, wanted: "an array of strings" };
    let mut made = Vec::new();
    if !expect(scanner, b"[", wanted())? {
        return Ok(made);
    }
    scanner.take(b'[');
    while scanner.more(false, made.is_empty())? {
        if made.len() == most {
            return Err(BodyError::TooMuch { param, most, unit: "entries" });
        }
        if scanner.peek() != Some(b'"') {
            // Not JSON at all comes before the wrong type.
            scanner.skip(1)?;
            return Err(wanted());
        }
        let text = scanner.string()?;
        made.push(make(&scanner.decode(&text)?)?);
    }
    Ok(made)
}

pub(super) fn boolean(
    scanner: &mut Scanner<'_>,
    param: &'static str,
) -> Result<Option<bool>, BodyError> {
    if !expect(scanner, b"tf", BodyError::Type { param, wanted: "true or false" })? {
        return Ok(None);
    }
    let value = scanner.peek() == Some(b't');
    scanner.skip(1)?;
    Ok(Some(value))
}

/// A whole number that every parser reads exactly; `None` for `null` and for a negative one.
///
/// A parser whose numbers are all binary64 rounds beyond 2^53 - 1 (RFC 8259, section 6).
pub(super) fn count(
    scanner: &mut Scanner<'_>,
    param: &'static str,
) -> Result<Option<u64>, BodyError> {
    const EXACT: u64 = (1 << 53) - 1;
    let wanted = || BodyError::Type { param, wanted: "an integer within ±(2^53 - 1)" };
    if !expect(scanner, b"-0123456789", wanted())? {
        return Ok(None);
    }
    let number = number(scanner)?;
    let value: i64 = number.parse().map_err(|_| wanted())?;
    if value.unsigned_abs() > EXACT { Err(wanted()) } else { Ok(u64::try_from(value).ok()) }
}

/// `true` when the value starts with one of `starts`, `false` past a `null`, else `wrong`.
pub(super) fn expect(
    scanner: &mut Scanner<'_>,
    starts: &[u8],
    wrong: BodyError,
) -> Result<bool, BodyError> {
    match scanner.peek() {
        Some(byte) if starts.contains(&byte) => Ok(true),
        Some(b'n') => {
            scanner.skip(1)?;
            Ok(false)
        }
        Some(_) => {
            // Not JSON at all comes before the wrong type.
            scanner.skip(1)?;
            Err(wrong)
        }
        None => Err(scanner.expected("a value").into()),
    }
}

/// Known modalities of an array of names, and whatever else stands there.
pub(super) fn modalities(scanner: &mut Scanner<'_>) -> Result<Modalities, BodyError> {
    let mut found = Modalities::default();
    if scanner.peek() != Some(b'[') {
        scanner.skip(1)?;
        return Ok(found);
    }
    scanner.take(b'[');
    let mut first = true;
    while scanner.more(false, first)? {
        first = false;
        let start = scanner.at();
        scanner.skip(2)?;
        found = found | Modalities::named(scanner.slice(start..scanner.at()).trim_matches('"'));
    }
    Ok(found)
}

/// `stream_options`.
pub(super) fn stream_options(
    scanner: &mut Scanner<'_>,
    envelope: &mut Envelope,
) -> Result<(), BodyError> {
    let wrong = BodyError::Type { param: "stream_options", wanted: "an object" };
    if !expect(scanner, b"{", wrong)? {
        return Ok(());
    }
    let mut options = StreamOptions { open: scanner.at() + 1, empty: true, include_usage: None };
    let mut object = Object::open(scanner, keys::STREAM_OPTIONS, 2);
    while let Some((known, _)) = object.next(scanner)? {
        options.empty = false;
        if known.is_some() {
            let start = scanner.at();
            envelope.include_usage = boolean(scanner, "stream_options.include_usage")?;
            options.include_usage = Some(start..scanner.at());
        } else {
            object.skip(scanner)?;
        }
    }
    envelope.stream_options = Some(options);
    Ok(())
}
