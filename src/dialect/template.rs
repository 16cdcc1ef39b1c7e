//! The fast path of a stream: most events differ from the one before in one string only.
//!
//! An event that was read and said nothing but one piece of text becomes the template. One that has the
//! same bytes around that string (and around a string of padding, which OpenAI adds) has the same
//! structure, so it says the same with other text: nothing in it needs to be parsed again.

use super::cursor::closing_quote;
use super::observe::{Choices, Observation};
use crate::bounds::TEMPLATE_BYTES;
use std::ops::Range;

/// The last plain event, and where its variable strings are, quotes excluded.
#[derive(Debug, Default)]
pub(super) struct Template {
    json: Vec<u8>,
    text: Range<usize>,
    padding: Option<Range<usize>>,
    /// The text is reasoning that the caller is not shown.
    hidden: bool,
}

/// The variable strings of an event that fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) text: Range<usize>,
    pub(super) padding: Option<Range<usize>>,
    /// As the template's text.
    pub(super) hidden: bool,
}

impl Template {
    /// Remembers an event, if it is plain.
    pub(super) fn learn(&mut self, json: &[u8], seen: &Observation<'_>) {
        self.json.clear();
        let Some(text) = seen.plain_text.clone().filter(|_| json.len() <= TEMPLATE_BYTES) else {
            return;
        };
        let padding = seen.padding.clone();
        let plain = seen.finish.is_none()
            && seen.usage.is_none()
            && seen.error.is_none()
            && seen.choices == Choices::Some
            && padding.as_ref().is_none_or(|padding| padding.start > text.end);
        if plain {
            self.json.extend_from_slice(json);
            (self.text, self.padding, self.hidden) = (text, padding, seen.hidden);
        }
    }

    /// Where `json` has its strings, if it is the template with other ones.
    pub(super) fn fit(&self, json: &[u8]) -> Option<Fit> {
        if self.json.is_empty() {
            return None;
        }
        let (text, hidden) = (self.string(json, 0, 0, &self.text)?, self.hidden);
        let Some(hole) = &self.padding else {
            let rest = json.get(text.end..)?;
            return (rest == self.json.get(self.text.end..)?).then_some(Fit {
                text,
                padding: None,
                hidden,
            });
        };
        let padding = self.string(json, text.end, self.text.end, hole)?;
        let rest = json.get(padding.end..)?;
        let fits = rest == self.json.get(hole.end..)?;
        fits.then_some(Fit { text, padding: Some(padding), hidden })
    }

    /// The string in `json` that stands for `hole`, when everything from `from` (in the template, from
    /// `known`) to it is the same.
    fn string(
        &self,
        json: &[u8],
        from: usize,
        known: usize,
        hole: &Range<usize>,
    ) -> Option<Range<usize>> {
        let rest = json.get(from..)?.strip_prefix(self.json.get(known..hole.start)?)?;
        let start = json.len() - rest.len();
        Some(start..start + closing_quote(rest)?)
    }

    /// For each variable string, where it ends in the template and where in an event that fits.
    pub(super) fn moves(&self, fit: &Fit) -> Moves {
        let text = (self.text.end, fit.text.end);
        let padding = match (&self.padding, &fit.padding) {
            (Some(hole), Some(padding)) => (hole.end, padding.end),
            _ => text,
        };
        [text, padding]
    }
}

/// Ends of the variable strings, in document order: in the template, and in the event.
pub(super) type Moves = [(usize, usize); 2];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Dialect, Observer, Shown};
    use proptest::prelude::*;

    const SHOWN: Shown = Shown { chunks: true, hides_reasoning: false };

    fn event(text: &str, padding: &str, rest: &str) -> String {
        format!(
            r#"{{"id":"c","choices":[{{"delta":{{"content":"{text}"}},"index":0}}],"obfuscation":"{padding}"{rest}}}"#
        )
    }

    #[test]
    fn only_the_strings_may_differ() {
        let mut template = Template::default();
        let first = event("a", "pad", "");
        let mut observer = Observer::new(Dialect::OpenAiChat, None);
        template.learn(first.as_bytes(), &observer.observe(first.as_bytes()).unwrap());
        for (text, padding) in [("", ""), ("long\\\" text", "x"), ("\\\\", "")] {
            let other = event(text, padding, "");
            let fit = template.fit(other.as_bytes()).unwrap();
            assert_eq!(other.get(fit.text), Some(text));
            assert_eq!(other.get(fit.padding.unwrap()), Some(padding));
        }
        for other in [
            event("b", "pad", r#","usage":{}"#),
            event("b", "pad", "").replace("\"c\"", "\"d\""),
            event("b", "pad", "").replace("index\":0", "index\":1"),
            event("b\",\"refusal\":\"no", "pad", ""),
            event("b", "pad", "") + " ",
            event("b", "pad", "").replace("\"}", ""),
        ] {
            assert_eq!(template.fit(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_event_at_the_bound_is_remembered_and_one_past_it_is_not() {
        let frame = event("", "", "").len();
        for (length, remembered) in [(TEMPLATE_BYTES, true), (TEMPLATE_BYTES + 1, false)] {
            let json = event(&"x".repeat(length - frame), "", "");
            let mut template = Template::default();
            let mut observer = Observer::new(Dialect::OpenAiChat, None);
            template.learn(json.as_bytes(), &observer.observe(json.as_bytes()).unwrap());
            assert_eq!(template.fit(json.as_bytes()).is_some(), remembered, "{length}");
        }
    }

    #[test]
    fn events_that_say_more_are_no_templates() {
        for rest in [r#","usage":{"prompt_tokens":1}"#, r#","error":"x""#] {
            let mut template = Template::default();
            let json = event("a", "pad", rest);
            let mut observer = Observer::new(Dialect::OpenAiChat, None);
            template.learn(json.as_bytes(), &observer.observe(json.as_bytes()).unwrap());
            assert!(template.fit(json.as_bytes()).is_none(), "{json}");
        }
    }

    fn said(seen: Observation<'_>) -> impl PartialEq + std::fmt::Debug {
        let Observation { content, hidden, delivered, usage, choices, finish, error, .. } = seen;
        let finish = finish.map(|text| text.decode());
        (content, hidden, delivered, usage, choices, finish, error, seen.top_usage)
    }

    proptest! {
        /// Whatever came before, an event is read as if it were the first.
        #[test]
        fn the_fast_path_reads_what_the_slow_one_does(
            events in prop::collection::vec(
                (
                    "[a-c\"\\\\é]{0,4}",
                    prop::sample::select(vec!["content", "reasoning_content", "name", "tool_calls"]),
                    prop::sample::select(vec!["", ",\"obfuscation\":\"x\"", ",\"obfuscation\":\"yy\"", ",\"usage\":{\"prompt_tokens\":1}"]),
                    prop::sample::select(vec!["null", "\"stop\"", "null,\"text\":\"t\""]),
                ),
                1..8,
            ),
            hides_reasoning in any::<bool>(),
        ) {
            let shown = Shown { hides_reasoning, ..SHOWN };
            let mut observer = Observer::new(Dialect::OpenAiChat, Some(shown));
            for (text, key, rest, finish) in events {
                let json = format!(
                    r#"{{"created":5,"choices":[{{"delta":{{"{key}":{}}},"finish_reason":{finish}}}]{rest},"z":1}}"#,
                    serde_json::Value::from(text),
                );
                let mut fresh = Observer::new(Dialect::OpenAiChat, Some(shown));
                let (fast, slow) = (observer.observe(json.as_bytes()), fresh.observe(json.as_bytes()));
                prop_assert_eq!(fast.map(said), slow.map(said), "{}", json);
                let places = |observer: &Observer| {
                    let marks = observer.marks();
                    marks.list().iter().map(|mark| mark.moved(|at| marks.at(at))).collect::<Vec<_>>()
                };
                prop_assert_eq!(places(&observer), places(&fresh), "{}", json);
            }
        }
    }
}
