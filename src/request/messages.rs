//! What `messages` tell about what an endpoint must be able to do, and which conversation they are.
//!
//! Everything is read leniently: what is oddly formed is the upstream's to refuse.

use super::body_error::BodyError;
use super::scan::{Fault, Scanner};
use crate::catalog::Modalities;
use std::ops::Range;

/// What was found in `messages`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Modalities of its parts beside text.
    pub input: Modalities,
    /// Bytes of parts that are no text: addresses and data of pictures, sound and files.
    pub other_bytes: usize,
    /// The first system or developer message.
    pub system: Option<Range<usize>>,
    /// The first message that is neither.
    pub opening: Option<Range<usize>>,
}

/// Types of content parts, by dialects, and what a model must take to read them.
const PARTS: [(&str, Modalities); 10] = [
    ("image_url", Modalities::IMAGE),
    ("input_image", Modalities::IMAGE),
    ("image", Modalities::IMAGE),
    ("input_audio", Modalities::AUDIO),
    ("audio_url", Modalities::AUDIO),
    ("file", Modalities::FILE),
    ("input_file", Modalities::FILE),
    ("document", Modalities::FILE),
    ("video_url", Modalities::VIDEO),
    ("input_video", Modalities::VIDEO),
];

/// Containers open around the members of a message, and around those of a part of its content.
const MESSAGE: usize = 3;
const PART: usize = 5;

/// Reads the value of `messages`; `None` for `null`.
pub(super) fn messages(scanner: &mut Scanner<'_>) -> Result<Option<Conversation>, BodyError> {
    if scanner.peek() != Some(b'[') {
        let given = scanner.peek() != Some(b'n');
        scanner.skip(1)?;
        return Ok(given.then(Conversation::default));
    }
    let mut found = Conversation::default();
    scanner.take(b'[');
    let mut first = true;
    while scanner.more(false, first)? {
        first = false;
        let start = scanner.at();
        if scanner.peek() != Some(b'{') {
            scanner.skip(MESSAGE - 1)?;
            continue;
        }
        let is_system = message(scanner, &mut found)?;
        let place = if is_system { &mut found.system } else { &mut found.opening };
        place.get_or_insert(start..scanner.at());
    }
    Ok(Some(found))
}

/// Reads one message; whether it is a system or developer message.
fn message(scanner: &mut Scanner<'_>, found: &mut Conversation) -> Result<bool, Fault> {
    let mut is_system = false;
    members(scanner, |scanner, key| {
        match key {
            "role" => is_system = matches!(word(scanner, MESSAGE)?, "system" | "developer"),
            "content" if scanner.peek() == Some(b'[') => parts(scanner, found)?,
            _ => scanner.skip(MESSAGE)?,
        }
        Ok(())
    })?;
    Ok(is_system)
}

fn parts(scanner: &mut Scanner<'_>, found: &mut Conversation) -> Result<(), Fault> {
    scanner.take(b'[');
    let mut first = true;
    while scanner.more(false, first)? {
        first = false;
        if scanner.peek() != Some(b'{') {
            scanner.skip(PART - 1)?;
            continue;
        }
        let start = scanner.at();
        let mut sort = "";
        members(scanner, |scanner, key| {
            match key {
                "type" => sort = word(scanner, PART)?,
                _ => scanner.skip(PART)?,
            }
            Ok(())
        })?;
        if let Some((_, modality)) = PARTS.iter().find(|(name, _)| *name == sort) {
            found.input = found.input | *modality;
            found.other_bytes += scanner.at() - start;
        }
    }
    Ok(())
}

/// Goes over the members of the object that starts here; `each` stands on a value and leaves it behind.
fn members<'a>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(&mut Scanner<'a>, &'a str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    scanner.take(b'{');
    let mut first = true;
    while scanner.more(true, first)? {
        first = false;
        let key = scanner.key()?;
        let key = inside(scanner.slice(key.span));
        each(scanner, key)?;
    }
    Ok(())
}

/// The characters of a string as they stand, or nothing for any other value.
fn word<'a>(scanner: &mut Scanner<'a>, outer: usize) -> Result<&'a str, Fault> {
    let start = scanner.at();
    scanner.skip(outer)?;
    Ok(inside(scanner.slice(start..scanner.at())))
}

/// What stands between quotes. An escape in it makes it no word of ours.
fn inside(quoted: &str) -> &str {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default()
}
