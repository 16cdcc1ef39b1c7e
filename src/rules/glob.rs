//! Patterns with `*` for any run of characters; everything else stands for itself, case and all.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Box<[u8]>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.as_bytes().into())
    }

    /// The one text it matches, if it has no `*`.
    pub(super) fn literal(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        (!text.contains('*')).then_some(text)
    }

    /// Whether it matches every text.
    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|&byte| byte == b'*')
    }

    /// Whether all of `text` matches. At most `pattern x text` steps.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut pattern, mut rest) = (&*self.0, text);
        // Where to go back to: the pattern after the last `*`, and the text that `*` has not eaten.
        let mut star: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern, rest) {
                ([b'*', after @ ..], _) => {
                    star = Some((after, rest));
                    pattern = after;
                }
                ([], []) => return true,
                ([want, after @ ..], [have, tail @ ..]) if want == have => {
                    (pattern, rest) = (after, tail);
                }
                _ => match star {
                    Some((after, [_, tail @ ..])) => {
                        star = Some((after, tail));
                        (pattern, rest) = (after, tail);
                    }
                    _ => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The meaning, said the slow way.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', after @ ..] => (0..=text.len()).any(|n| slow(after, &text[n..])),
            [want, after @ ..] => text.first() == Some(want) && slow(after, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matches_what_it_says(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            let quick = Glob::new(&pattern).matches(text.as_bytes());
            prop_assert_eq!(quick, slow(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let glob = Glob::new(&"*a".repeat(64));
        assert!(!glob.matches(&[b'a'; 63]));
        assert!(!glob.matches("ab".repeat(4_000).as_bytes()));
    }

    #[test]
    fn case_counts_and_any_is_known() {
        assert!(Glob::new("openai/*").matches(b"openai/gpt"));
        assert!(!Glob::new("openai/*").matches(b"OpenAI/gpt"));
        assert!(Glob::new("**").is_any() && !Glob::new("").is_any() && !Glob::new("a*").is_any());
    }
}
