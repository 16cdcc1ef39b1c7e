//! `provider.options`: what passes through to one provider.

use super::super::keys::{self, Names};
use super::{Options, object_wanted};
use crate::bounds::PROVIDERS_PER_LIST;
use crate::request::body_error::BodyError;
use crate::request::fields::expect;
use crate::request::scan::Scanner;
use std::ops::Range;
use std::sync::Arc;

/// `options`: an object of objects.
pub(super) fn options(scanner: &mut Scanner<'_>) -> Result<Options, BodyError> {
    const PARAM: &str = "provider.options";
    let mut found = Vec::new();
    if !expect(scanner, b"{", object_wanted(PARAM))? {
        return Ok(found);
    }
    scanner.take(b'{');
    let mut first = true;
    while scanner.more(true, first)? {
        first = false;
        let slug = scanner.key()?;
        let slug: Arc<str> = Arc::from(&*scanner.decode(&slug)?);
        if !matches!(scanner.peek(), Some(b'{' | b'n')) {
            scanner.skip(3)?;
            let wanted = "an object of an object per provider";
            return Err(BodyError::Type { param: PARAM, wanted });
        }
        if found.len() == PROVIDERS_PER_LIST {
            let most = PROVIDERS_PER_LIST;
            return Err(BodyError::TooMuch { param: PARAM, most, unit: "entries" });
        }
        if found.iter().any(|(known, _): &(Arc<str>, _)| known.eq_ignore_ascii_case(&slug)) {
            return Err(BodyError::Repeated(PARAM));
        }
        if expect(scanner, b"{", object_wanted(PARAM))? {
            found.push((slug, strange_members(scanner)?));
        }
    }
    Ok(found)
}

/// Where the members of the object that starts here stand whose keys Weir does not know.
fn strange_members(scanner: &mut Scanner<'_>) -> Result<Vec<Range<usize>>, BodyError> {
    let mut members = Vec::new();
    scanner.take(b'{');
    let mut first = true;
    while scanner.more(true, first)? {
        first = false;
        let start = scanner.at();
        let key = scanner.key()?;
        let is_strange = matches!(Names::new(keys::TOP).meet(scanner, &key), Ok(None));
        scanner.skip(4)?;
        if is_strange {
            members.push(start..scanner.at());
        }
    }
    Ok(members)
}
