//! What Weir accepts, serde_json reads the same; what Weir finds malformed, serde_json refuses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use weir::request::body_error::BodyError;
use weir::request::envelope::{self, Envelope};
use weir::request::keys::Fate;
use weir::request::route::Operation;
use weir::request::scan::Flaw;
use weir_fuzz::{self as members, Members, only, value};

const OPERATIONS: [Operation; 3] = [Operation::Chat, Operation::Completion, Operation::Embedding];

fuzz_target!(|data: &[u8]| {
    let Some((operation, body)) = data.split_first() else { return };
    let operation = OPERATIONS[usize::from(*operation) % OPERATIONS.len()];
    match envelope::read(body, operation) {
        Ok(envelope) => agree(std::str::from_utf8(body).expect("UTF-8"), &envelope),
        Err(BodyError::Json(fault)) if !matches!(fault.flaw, Flaw::Depth | Flaw::Surrogate) => {
            let text = std::str::from_utf8(body);
            let read = text.ok().map(serde_json::from_str::<IgnoredAny>);
            assert!(!read.is_some_and(|read| read.is_ok()), "Weir refuses sound JSON: {fault:?}");
        }
        Err(_) => {}
    }
});

fn agree(body: &str, envelope: &Envelope) {
    let members = members::read(body).expect("Weir accepts what serde refuses");
    assert_eq!(members.len(), envelope.count);
    let model: Option<String> = value(&members, "model");
    let models: Vec<String> = value(&members, "models").unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for name in model.into_iter().chain(models) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    assert!(envelope.models.iter().map(|name| &**name).eq(names.iter().map(String::as_str)));
    assert_eq!(envelope.stream, value::<bool>(&members, "stream").unwrap_or(false));
    assert_eq!(envelope.user.as_deref(), value::<String>(&members, "user").as_deref());
    assert_eq!(envelope.session_id.as_deref(), value::<String>(&members, "session_id").as_deref());
    let tokens = |key| count(&members, key).and_then(|count| u64::try_from(count).ok());
    let most = tokens("max_completion_tokens").or(tokens("max_tokens"));
    assert_eq!(envelope.max_tokens, most);
    for key in ["n", "best_of"] {
        let _ = count(&members, key);
    }
    for key in ["service_tier", "speed", "prompt_cache_key"] {
        let _: Option<String> = value(&members, key);
    }
    let inner = |key| only(&members, key).filter(|text| text.starts_with('{'));
    let read = |text| members::read(text).expect("an object");
    let options: Members<'_> = inner("stream_options").map(read).unwrap_or_default();
    assert_eq!(envelope.include_usage, value::<bool>(&options, "include_usage"));
    let provider: Members<'_> = inner("provider").map(read).unwrap_or_default();
    let texts = |key| value::<Vec<String>>(&provider, key).unwrap_or_default();
    let told = &envelope.provider;
    let constraint = &told.constraint;
    let only = constraint.only.as_deref().unwrap_or_default();
    for (key, list) in [("order", &*told.order), ("only", only), ("ignore", &constraint.ignore)] {
        assert!(list.iter().map(|name| &**name).eq(texts(key).iter().map(String::as_str)));
    }
    let fallbacks = value::<bool>(&provider, "allow_fallbacks");
    assert_eq!(constraint.no_fallbacks, fallbacks == Some(false));
    assert_eq!(constraint.zdr, value::<bool>(&provider, "zdr").unwrap_or(false));
    places(body, envelope, &members);
}

/// A whole number; as text, because serde_json takes `-0` for a float.
fn count(members: &Members<'_>, key: &str) -> Option<i64> {
    let number = value::<serde_json::Number>(members, key)?;
    Some(number.to_string().parse().expect("Weir reads no fraction"))
}

/// The remembered offsets are those of the members.
fn places(body: &str, envelope: &Envelope, members: &Members<'_>) {
    for member in &envelope.members {
        let (key, text) = &members[member.ordinal];
        assert!(member.fate == Fate::Forbidden || *key == member.key);
        assert_eq!(*text, &body[member.value.clone()]);
        assert!(body[member.span.clone()].starts_with('"'));
    }
}
