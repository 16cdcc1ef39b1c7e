//! `reasoning` and its two short forms (contract 2.2, 2.5). Upstreams read them too, so that whatever Weir
//! does not look for is theirs to judge.

use super::body_error::BodyError;
use super::fields::Object;
use super::keys;
use super::scan::Scanner;

/// What a request says of the reasoning of its reply.
#[derive(Debug, Default)]
pub(super) struct Reasoning {
    hidden: bool,
    /// `reasoning.effort`.
    effort: Option<String>,
    /// `reasoning_effort`, which means the same.
    short_effort: Option<String>,
}

impl Reasoning {
    /// Reads the value of the member `name`, which is one of the three.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>, name: &str) -> Result<(), BodyError> {
        match (name, scanner.peek()) {
            ("reasoning", Some(b'{')) => self.object(scanner),
            ("reasoning_effort", _) => {
                self.short_effort = word(scanner, 1)?;
                Ok(())
            }
            ("include_reasoning", Some(b'f')) => {
                self.hidden = true;
                Ok(scanner.skip(1)?)
            }
            _ => Ok(scanner.skip(1)?),
        }
    }

    fn object(&mut self, scanner: &mut Scanner<'_>) -> Result<(), BodyError> {
        let mut object = Object::open(scanner, keys::REASONING, 2);
        while let Some((known, _)) = object.next(scanner)? {
            match known {
                Some(("effort", _)) => self.effort = word(scanner, 2)?,
                Some(("exclude", _)) => {
                    self.hidden |= scanner.peek() == Some(b't');
                    object.skip(scanner)?;
                }
                _ => object.skip(scanner)?,
            }
        }
        Ok(())
    }

    /// Whether the caller is shown none.
    ///
    /// # Errors
    /// Two efforts that differ.
    pub(super) fn is_hidden(&self) -> Result<bool, BodyError> {
        match (&self.effort, &self.short_effort) {
            (Some(effort), Some(short)) if effort != short => {
                Err(BodyError::Conflict { param: "reasoning_effort", other: "reasoning.effort" })
            }
            _ => Ok(self.hidden),
        }
    }
}

/// A string, or nothing of what stands in its place.
fn word(scanner: &mut Scanner<'_>, depth: usize) -> Result<Option<String>, BodyError> {
    if scanner.peek() != Some(b'"') {
        scanner.skip(depth)?;
        return Ok(None);
    }
    let text = scanner.string()?;
    Ok(Some(scanner.decode(&text)?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::read;
    use super::super::route::Operation;
    use super::*;

    fn hidden(members: &str) -> Result<bool, BodyError> {
        let body = format!(r#"{{"model":"a/m","messages":[]{members}}}"#);
        read(body.as_bytes(), Operation::Chat).map(|envelope| envelope.hides_reasoning)
    }

    #[test]
    fn either_form_hides_and_nothing_shows_again() {
        for (members, expected) in [
            ("", false),
            (r#","include_reasoning":false"#, true),
            (r#","include_reasoning":true"#, false),
            (r#","include_reasoning":null"#, false),
            (r#","reasoning":{"exclude":true}"#, true),
            (r#","reasoning":{"exclude":false,"effort":"low"}"#, false),
            (r#","reasoning":{"excl\u0075de" : true , "x":[{"exclude":false}]}"#, true),
            (r#","reasoning":{},"include_reasoning":false"#, true),
            (r#","include_reasoning":true,"reasoning":{"exclude":true}"#, true),
            (r#","reasoning":[{"exclude":true}]"#, false),
            (r#","reasoning":{"exclude":"true"}"#, false),
        ] {
            assert_eq!(hidden(members), Ok(expected), "{members}");
        }
    }

    #[test]
    fn two_efforts_must_be_one() {
        let both = |long: &str, short: &str| {
            let one = format!(r#","reasoning":{{"effort":{long}}},"reasoning_effort":{short}"#);
            let other = format!(r#","reasoning_effort":{short},"reasoning":{{"effort":{long}}}"#);
            assert_eq!(hidden(&one), hidden(&other));
            hidden(&one)
        };
        for (long, short) in [
            (r#""low""#, r#""low""#),
            (r#""l\u006fw""#, r#""low""#),
            ("null", r#""low""#),
            ("1", "2"),
        ] {
            assert_eq!(both(long, short), Ok(false), "{long} {short}");
        }
        let error = both(r#""low""#, r#""high""#).unwrap_err();
        assert_eq!(error.to_string(), "`reasoning_effort` must be the same as `reasoning.effort`");
        assert_eq!((error.kind(), error.param()), ("duplicate", Some("reasoning_effort")));
    }
}
