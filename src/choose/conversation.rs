//! Which conversation a request belongs to, and where it was last (contract 3.7).

use crate::bounds::SESSION_ID_CHARS;
use crate::endpoint::Stickiness;
use crate::price::Schedule;
use crate::request::envelope::Envelope;
use crate::snapshot::Target;
use crate::usage::{Kind, Usage};
use foldhash::quality::FixedState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

/// What tells one conversation from the others of its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversation {
    hash: u64,
    /// The caller named the session, so it sticks from its first success.
    is_named: bool,
    /// Its key where a router chose its model.
    routed: Option<u64>,
}

impl Conversation {
    /// The conversation of a request: by `session_id`, else by `prompt_cache_key`, else by the first
    /// system or developer message and the first other one. `None` where there is none of these. An empty
    /// name is none.
    #[must_use]
    pub fn of(
        workspace: &str,
        envelope: &Envelope,
        body: &[u8],
        session_field: Option<&str>,
    ) -> Option<Self> {
        let filled = |id: &&str| !id.is_empty();
        let field = session_field.filter(|id| id.chars().count() <= SESSION_ID_CHARS);
        let session = envelope.session_id.as_deref().filter(filled).or(field.filter(filled));
        let cache_key = envelope.prompt_cache_key.as_deref().filter(filled);
        let mut hasher = FixedState::default().build_hasher();
        workspace.hash(&mut hasher);
        match (session, cache_key) {
            (Some(id), _) => (1_u8, id).hash(&mut hasher),
            (None, Some(key)) => (2_u8, key).hash(&mut hasher),
            (None, None) => {
                let messages = &envelope.conversation;
                let text = |range: &Option<Range<usize>>| range.clone().and_then(|it| body.get(it));
                let opening = text(&messages.opening)?;
                3_u8.hash(&mut hasher);
                for text in [text(&messages.system).unwrap_or_default(), opening] {
                    ends(text).hash(&mut hasher);
                }
            }
        }
        Some(Self { hash: hasher.finish(), is_named: session.is_some(), routed: None })
    }

    /// Its key among the conversations with one model.
    #[must_use]
    pub fn key(&self, model: &str) -> u64 {
        FixedState::default().hash_one((self.hash, model))
    }

    /// Notes that a router chooses its model, so that the model is remembered too. Its key among those with
    /// this router.
    pub(super) fn route_by(&mut self, router: &str) -> u64 {
        *self.routed.insert(self.key(router))
    }

    /// Notes a success. A named conversation sticks at once, any other once its prompt was read from
    /// a cache; one that sticks already moves. None sticks where a cached prompt costs as much.
    ///
    /// `now_ms` is of the process, `now_us` Unix microseconds: prices depend on it.
    pub fn keep(
        &self,
        table: &Stickiness,
        (target, usage): (&Target, &Usage),
        now_ms: u64,
        now_us: u64,
    ) {
        let endpoint = &target.endpoint;
        let key = self.key(&endpoint.model);
        let begins = || self.is_named || usage.get(Kind::CacheRead) > 0;
        if rewards(&endpoint.price, now_us) && (begins() || table.find(key, now_ms).is_some()) {
            table.keep(key, target.fingerprint, now_ms);
            if let Some(router) = self.routed {
                table.keep(router, target.fingerprint, now_ms);
            }
        }
    }
}

/// Bytes of the start and of the end that stand for a message, so that a book in a prompt costs no more
/// than a page. Two that differ in the middle alone share an endpoint, which harms neither.
const START: usize = 4 << 10;
const END: usize = 1 << 10;

fn ends(text: &[u8]) -> (usize, &[u8], &[u8]) {
    let start = text.get(..START).unwrap_or(text);
    let end = text.len().saturating_sub(END).max(start.len());
    (text.len(), start, text.get(end..).unwrap_or_default())
}

/// Whether a prompt that is cached is cheaper at this moment, Unix microseconds.
pub(super) fn rewards(price: &Schedule, now_us: u64) -> bool {
    let rates = price.at(now_us).base();
    rates.price(Kind::CacheRead) < rates.price(Kind::Input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::PriceVersion;
    use crate::request::envelope::read;
    use crate::request::route::Operation;
    use crate::usage::KINDS;
    use std::sync::Arc;

    fn conversation(workspace: &str, members: &str, field: Option<&str>) -> Option<Conversation> {
        let body = format!("{{\"model\":\"a/b\",{members}}}");
        let envelope = read(body.as_bytes(), Operation::Chat).unwrap();
        Conversation::of(workspace, &envelope, body.as_bytes(), field)
    }

    const OPENING: &str =
        r#""messages":[{"role":"system","content":"be"},{"role":"user","content":"hi"}"#;

    #[test]
    fn a_session_goes_before_a_cache_key_before_the_opening() {
        let of = |members: &str| conversation("w", &format!("{OPENING}]{members}"), None).unwrap();
        let session = of(r#","session_id":"s","prompt_cache_key":"k""#);
        assert_eq!(session, of(r#","session_id":"s","prompt_cache_key":"other""#));
        assert!(session.is_named);
        let keyed = of(r#","prompt_cache_key":"k""#);
        assert!(!keyed.is_named && keyed != session);
        assert_ne!(keyed, of(r#","prompt_cache_key":"s""#));
        assert_ne!(of(""), keyed);
        // A session and a cache key of one text are two things.
        assert_ne!(of(r#","session_id":"k""#).hash, keyed.hash);
    }

    #[test]
    fn the_header_counts_where_the_body_says_nothing() {
        let messages = format!("{OPENING}]");
        let of = |members: &str, field| conversation("w", &format!("{messages}{members}"), field);
        assert_eq!(of("", Some("s")), of(r#","session_id":"s""#, None));
        assert_eq!(of(r#","session_id":"s""#, Some("t")), of(r#","session_id":"s""#, None));
        let long = "x".repeat(SESSION_ID_CHARS + 1);
        assert_eq!(of("", Some(&long)), of("", None));
        assert!(of("", Some(&long[1..])).unwrap().is_named);
    }

    #[test]
    fn a_conversation_goes_on_and_another_opening_is_another() {
        let of = |rest: &str| conversation("w", &format!("{OPENING}{rest}]"), None).unwrap();
        let first = of("");
        assert_eq!(
            of(r#",{"role":"assistant","content":"ho"},{"role":"user","content":"more"}"#),
            first
        );
        let other =
            conversation("w", &format!("{}]", OPENING.replace("hi", "hello")), None).unwrap();
        assert_ne!(first, other);
        assert_ne!(conversation("v", &format!("{OPENING}]"), None).unwrap(), first);
        assert_ne!(first.key("a/b"), first.key("a/c"));
    }

    #[test]
    fn long_messages_are_told_apart_by_their_ends_and_length() {
        let of = |text: &str| {
            let body = format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#);
            conversation("w", &body, None).unwrap()
        };
        let long = "x".repeat(3 * START);
        let with = |place: usize| {
            let mut text = long.clone();
            text.replace_range(place..=place, "y");
            of(&text)
        };
        let plain = of(&long);
        assert_eq!(plain, of(&long));
        assert_ne!(plain, of(&format!("{long}x")));
        assert_ne!(plain, with(0));
        assert_ne!(plain, with(long.len() - 1));
        assert_ne!(plain, with(long.len() - END + 50));
        assert_eq!(plain, with(2 * START), "the middle is not read");
    }

    #[test]
    fn a_cheaper_cache_to_come_rewards_nobody_yet() {
        let version = |cached| {
            let mut unit = [1_000; KINDS];
            *unit.get_mut(Kind::CacheRead as usize).unwrap() = cached;
            Arc::new(PriceVersion::flat(unit))
        };
        let price = Schedule::new(version(1_000), vec![(50, version(100)), (90, version(1_000))]);
        let told = [0, 49, 50, 89, 90].map(|now_us| rewards(&price, now_us));
        assert_eq!(told, [false, false, true, true, false]);
    }

    #[test]
    fn an_empty_conversation_sticks_to_nothing_and_an_empty_name_is_none() {
        assert_eq!(conversation("w", r#""messages":[]"#, None), None);
        let named = r#""messages":[],"session_id":"","prompt_cache_key":"""#;
        assert_eq!(conversation("w", named, Some("")), None);
        assert!(conversation("w", named, Some("s")).unwrap().is_named);
    }
}
