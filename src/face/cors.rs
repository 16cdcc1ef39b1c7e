//! What browsers are told, so that a page of any origin may call with a key of its own (contract 1.1).
//!
//! Any origin is safe: a request is authenticated by a header that no browser adds by itself. Both
//! faces answer alike, because OpenAI's SDK runs in browsers too.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// A header field that is always the same.
pub type Field = (HeaderName, HeaderValue);

const fn field(name: HeaderName, value: &'static str) -> Field {
    (name, HeaderValue::from_static(value))
}

/// On every answer to another origin: who may read it, and which of its fields besides the few that
/// are always readable.
static SHARED: [Field; 2] = [
    field(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    field(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "X-Generation-Id, X-Provider-Name, X-Request-Id, Request-Id, Retry-After, \
         X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
    ),
];

/// The answer to a preflight (Fetch, section 3.3). The star covers what is not listed where it is
/// understood; it never covers `Authorization`.
static PREFLIGHT: [Field; 4] = [
    field(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    field(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, OPTIONS, PATCH, DELETE, POST, PUT"),
    field(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Content-Type, Accept, X-Api-Key, HTTP-Referer, X-Title, \
         X-OpenRouter-Title, X-OpenRouter-Categories, X-OpenRouter-Metadata, \
         X-OpenRouter-Cache, X-OpenRouter-Cache-Clear, X-OpenRouter-Cache-TTL, X-Session-Id, \
         X-Stainless-Arch, X-Stainless-Async, X-Stainless-Custom-Poll-Interval, \
         X-Stainless-Helper-Method, X-Stainless-Lang, X-Stainless-OS, \
         X-Stainless-Package-Version, X-Stainless-Poll-Helper, X-Stainless-Retry-Count, \
         X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout, \
         Idempotency-Key, OpenAI-Organization, OpenAI-Project, OpenAI-Beta, traceparent, \
         tracestate, b3, *",
    ),
    // What browsers cap it to: two hours in Chromium, a day in Firefox.
    field(header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// Fields for the answer to a request with these fields; none unless a browser says whose page asks.
#[must_use]
pub fn shared(request: &HeaderMap) -> &'static [Field] {
    if request.contains_key(header::ORIGIN) { &SHARED } else { &[] }
}

/// Fields of the answer to a preflight.
#[must_use]
pub fn preflight() -> &'static [Field] {
    &PREFLIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_another_origin_is_shared() {
        let mut request = HeaderMap::new();
        assert!(shared(&request).is_empty());
        request.insert(header::ORIGIN, HeaderValue::from_static("https://app.test"));
        let exposed = shared(&request).iter().find(|(name, _)| *name == SHARED[1].0).unwrap();
        let exposed = exposed.1.to_str().unwrap().to_ascii_lowercase();
        for name in ["x-generation-id", "retry-after"] {
            assert!(exposed.split(", ").any(|listed| listed == name), "{name} in {exposed}");
        }
    }

    #[test]
    fn every_listed_field_is_a_field_name() {
        let lists = [&SHARED[1], &PREFLIGHT[2]];
        for name in lists.iter().flat_map(|(_, list)| list.to_str().unwrap().split(", ")) {
            assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name}");
        }
    }
}
