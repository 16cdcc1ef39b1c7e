//! Tool calls of a reply: the pieces that one event, or a whole body, has of them.

use super::super::cursor::{Cursor, Text};
use crate::tools::{Calls, Piece};
use std::borrow::Cow;

/// Adds what the array `tool_calls` says. `None`: it is none.
pub(in super::super) fn read(json: &[u8], calls: &mut Calls) -> Option<()> {
    let mut cursor = Cursor::new(json);
    cursor.take(b'[')?;
    while cursor.item(b']')? {
        call(&mut cursor, calls)?;
    }
    Some(())
}

fn call(cursor: &mut Cursor<'_>, calls: &mut Calls) -> Option<()> {
    let (mut index, mut id) = (None, Cow::default());
    let (mut name, mut arguments) = (Cow::default(), Cow::default());
    cursor.take(b'{')?;
    while let Some(key) = cursor.key()? {
        match &*key.name {
            b"index" => {
                let range = cursor.value()?;
                let text = std::str::from_utf8(cursor.slice(&range));
                index = text.ok().and_then(|text| text.parse().ok());
            }
            b"id" => id = text(cursor)?,
            b"function" if cursor.peek()? == b'{' => {
                cursor.take(b'{')?;
                while let Some(key) = cursor.key()? {
                    match &*key.name {
                        b"name" => name = text(cursor)?,
                        b"arguments" => arguments = text(cursor)?,
                        _ => cursor.skip()?,
                    }
                }
            }
            // A call of another sort, whose input is free text.
            b"custom" if !cursor.is_null()? => {
                calls.lose();
                cursor.skip()?;
            }
            _ => cursor.skip()?,
        }
    }
    calls.add(&Piece { index, id: &id, name: &name, arguments: &arguments });
    Some(())
}

/// A string's text; of null nothing; any other value as it stands, which some send for arguments.
fn text<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    match cursor.peek()? {
        b'"' => cursor.string().as_ref().map(Text::decode),
        b'n' => cursor.skip().map(|()| Cow::default()),
        _ => {
            let range = cursor.value()?;
            Some(String::from_utf8_lossy(cursor.slice(&range)))
        }
    }
}
