//! The members of a JSON object as serde reads them: repeats, order and the text of each value kept.

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Keys unescaped, values as they are written.
pub type Members<'a> = Vec<(String, &'a str)>;

struct Object;

impl<'a> Visitor<'a> for Object {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Members<'a>, M::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((key, value.get()));
        }
        Ok(members)
    }
}

/// The members of the object that `text` is.
///
/// # Errors
/// It is not one object of RFC 8259 and nothing else.
pub fn read(text: &str) -> serde_json::Result<Members<'_>> {
    let mut document = serde_json::Deserializer::from_str(text);
    let members = document.deserialize_map(Object)?;
    document.end()?;
    Ok(members)
}

/// The value of the only member `key`; panics where there are two, in any case of letters.
#[must_use]
pub fn only<'a>(members: &Members<'a>, key: &str) -> Option<&'a str> {
    let mut found = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    let first = found.next();
    assert!(found.next().is_none(), "{key} twice");
    first.map(|(name, value)| {
        assert_eq!(name, key);
        *value
    })
}

/// What a value that is there is, as serde reads it; `null` is none.
#[must_use]
pub fn value<T: serde::de::DeserializeOwned>(members: &Members<'_>, key: &str) -> Option<T> {
    let read = |text| serde_json::from_str::<Option<T>>(text);
    only(members, key).and_then(|text| read(text).expect("Weir read another type"))
}
