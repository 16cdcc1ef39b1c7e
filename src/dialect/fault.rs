//! Errors an upstream reports inside a 200 (F27, F28): read into a status and a message.

use crate::bounds::{ERROR_BODY_BYTES, ERROR_CODE_BYTES};
use serde_json::Value;

/// An error event of a stream, or an error object in place of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InBandFault {
    /// The HTTP status it would have been; 529 counts as 503.
    pub status: u16,
    pub message: String,
    /// The error as the upstream wrote it, capped to [`ERROR_BODY_BYTES`].
    pub raw: String,
}

/// Words in `code`, `type` and `status`, and the status each means. Lowercase; a part of the word is
/// enough; the first row that fits wins.
const WORDS: &[(&str, u16)] = &[
    ("insufficient_quota", 402),
    ("insufficient_balance", 402),
    ("billing", 402),
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("resource_exhausted", 429),
    ("quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("capacity", 503),
    ("timeout", 504),
    ("deadline", 504),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("permission", 403),
    ("forbidden", 403),
    ("not_found", 404),
    ("too_large", 413),
    ("context_length", 400),
    ("invalid", 400),
    ("bad_request", 400),
    ("badrequest", 400),
    ("tool_use_failed", 400),
    ("content_filter", 400),
    ("server_error", 500),
    ("internal", 500),
];

/// Reads the error `value` of a reply: an object, a string, or the whole event.
#[must_use]
pub fn read(value: &[u8]) -> InBandFault {
    let parsed: Value = serde_json::from_slice(value).unwrap_or(Value::Null);
    InBandFault {
        status: status(&parsed).unwrap_or(502),
        message: message(&parsed).unwrap_or_else(|| "Provider returned error".into()),
        raw: capped_text(value),
    }
}

/// Words by which a 403 refuses what was asked, not who asks.
const MODERATED: [&str; 5] =
    ["moderation", "flagged", "content_policy", "content_filter", "safety"];

/// What the body of a 403 says of the caller's request (contract 5.5, moderation): reasons, and the part of
/// the input. `None`: it speaks of something else.
#[must_use]
pub fn moderated(body: &[u8]) -> Option<(Vec<String>, Option<String>)> {
    let parsed: Value = serde_json::from_slice(body).ok()?;
    let error = parsed.get("error").unwrap_or(&parsed);
    let metadata = error.get("metadata").unwrap_or(&Value::Null);
    let (reasons, input) = (metadata.get("reasons"), metadata.get("flagged_input"));
    let mut words = NAMES.iter().filter_map(|key| error.get(key)?.as_str());
    let named = words.any(|word| {
        let word = word.to_ascii_lowercase();
        MODERATED.iter().any(|moderated| word.contains(moderated))
    });
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = reasons.and_then(Value::as_array).map(|all| all.iter().filter_map(text).collect());
    let is_so = named || reasons.is_some() || input.is_some();
    is_so.then(|| (listed.unwrap_or_default(), input.and_then(text)))
}

/// Members of an error that name it by a word.
const NAMES: [&str; 3] = ["code", "type", "status"];

/// How the body of an error, or an error alone, names itself: a word or a number, and nothing that could be a
/// sentence.
#[must_use]
pub fn code(body: &[u8]) -> Option<String> {
    let parsed: Value = serde_json::from_slice(body).ok()?;
    let error = parsed.get("error").unwrap_or(&parsed);
    let word = NAMES.iter().find_map(|key| match error.get(key)? {
        Value::String(word) => Some(word.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    let told = (1..=ERROR_CODE_BYTES).contains(&word.len()) && word.bytes().all(plain);
    told.then_some(word)
}

/// Bytes as text, at most [`ERROR_BODY_BYTES`] of them, cut between characters.
#[must_use]
pub fn capped_text(bytes: &[u8]) -> String {
    let mut text =
        String::from_utf8_lossy(bytes.get(..ERROR_BODY_BYTES).unwrap_or(bytes)).into_owned();
    while bytes.len() > ERROR_BODY_BYTES && text.ends_with('\u{fffd}') {
        text.pop();
    }
    let mut length = text.len().min(ERROR_BODY_BYTES);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
    text
}

fn message(error: &Value) -> Option<String> {
    if let Some(text) = error.as_str() {
        return Some(text.to_owned());
    }
    ["message", "detail", "error"].iter().find_map(|key| match error.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        nested @ Value::Object(_) => message(nested),
        _ => None,
    })
}

fn status(error: &Value) -> Option<u16> {
    const NUMBERS: [&str; 4] = ["status_code", "http_status", "code", "status"];
    let number = NUMBERS.iter().find_map(|key| {
        match error.get(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|code| (400..600).contains(code))
    });
    let named = || {
        NAMES.iter().filter_map(|key| error.get(key)?.as_str()).find_map(|name| {
            let name = name.to_ascii_lowercase();
            WORDS.iter().find(|(word, _)| name.contains(word)).map(|(_, status)| u64::from(*status))
        })
    };
    let status = u16::try_from(number.or_else(named)?).ok()?;
    Some(if status == 529 { 503 } else { status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_from_numbers_then_words() {
        let cases = [
            (r#"{"code":429,"message":"slow"}"#, 429, "slow"),
            (r#"{"code":"529","message":"busy"}"#, 503, "busy"),
            (r#"{"type":"overloaded_error","message":"Overloaded"}"#, 503, "Overloaded"),
            (r#"{"code":"rate_limit_exceeded","type":"tokens","message":"m"}"#, 429, "m"),
            (r#"{"code":"tool_use_failed","status_code":400,"message":"m"}"#, 400, "m"),
            (r#"{"type":"insufficient_quota","code":null,"message":"m"}"#, 402, "m"),
            (r#"{"object":"error","message":"m","code":40303}"#, 502, "m"),
            (r#"{"type":"invalid_request_error","message":"m"}"#, 400, "m"),
            (r#"{"message":""}"#, 502, "Provider returned error"),
            (r#"{"detail":"d"}"#, 502, "d"),
            (r#"{"error":{"message":"nested"}}"#, 502, "nested"),
            (r#""text""#, 502, "text"),
            ("not json", 502, "Provider returned error"),
        ];
        for (value, status, message) in cases {
            let fault = read(value.as_bytes());
            assert_eq!((fault.status, &*fault.message, &*fault.raw), (status, message, value));
        }
    }

    #[test]
    fn moderation_is_told_from_a_refused_credential() {
        let told = br#"{"error":{"code":403,"metadata":{"reasons":["a",1],"flagged_input":"x"}}}"#;
        assert_eq!(moderated(told), Some((vec!["a".to_owned()], Some("x".to_owned()))));
        for body in [r#"{"error":{"type":"content_policy_violation"}}"#, r#"{"code":"Flagged"}"#] {
            assert_eq!(moderated(body.as_bytes()), Some((vec![], None)), "{body}");
        }
        let others = [
            r#"{"error":{"type":"permission_error","message":"moderation"}}"#,
            r#"{"error":{"code":"unsupported_country_region_territory"}}"#,
            r#"{"error":"moderation"}"#,
            r#"["reasons"]"#,
            "<html>",
            "",
        ];
        for body in others {
            assert_eq!(moderated(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_code_is_a_word_of_bounded_length() {
        let at = "x".repeat(ERROR_CODE_BYTES);
        let cases = [
            (
                r#"{"error":{"code":"rate_limit_exceeded","type":"tokens"}}"#,
                Some("rate_limit_exceeded"),
            ),
            (r#"{"type":"error","error":{"type":"rate_limit_error"}}"#, Some("rate_limit_error")),
            (r#"{"code":null,"status":"RESOURCE_EXHAUSTED"}"#, Some("RESOURCE_EXHAUSTED")),
            (r#"{"code":429}"#, Some("429")),
            (r#"{"error":{"code":"slow down"}}"#, None),
            (r#"{"error":{"code":""}}"#, None),
            (r#"{"error":"slow"}"#, None),
            ("<html>", None),
        ];
        for (body, word) in cases {
            assert_eq!(code(body.as_bytes()).as_deref(), word, "{body}");
        }
        for (word, told) in [(at.clone(), true), (at + "x", false)] {
            assert_eq!(code(format!(r#"{{"code":"{word}"}}"#).as_bytes()).is_some(), told);
        }
    }

    #[test]
    fn raw_is_capped_between_characters() {
        let at = "x".repeat(ERROR_BODY_BYTES);
        assert_eq!(capped_text(at.as_bytes()), at);
        let past = format!("{}é", "x".repeat(ERROR_BODY_BYTES - 1));
        assert_eq!(capped_text(past.as_bytes()), "x".repeat(ERROR_BODY_BYTES - 1));
        assert!(capped_text(&[0xff; ERROR_BODY_BYTES + 1]).len() <= ERROR_BODY_BYTES);
    }
}
