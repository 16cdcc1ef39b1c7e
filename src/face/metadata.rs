//! `openrouter_metadata` (contract 4.9): how a request was routed, for callers that ask to be told.

use crate::catalog::Endpoint;
use crate::error::{Error, ErrorType};
use http::HeaderMap;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The header that asks, and its older name.
const ASKS: [&str; 2] = ["x-openrouter-metadata", "x-openrouter-experimental-metadata"];

/// How one request was routed so far.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// The first model that was asked for, in the caller's words.
    pub requested: Arc<str>,
    /// A word of the contract: `direct`, `alias`, `latest`, `auto` or `fallback`.
    pub strategy: &'static str,
    /// Endpoints of all models asked for, whether they may be used or not.
    pub total: usize,
    /// Those that may be used, in the order in which they are tried.
    pub available: Vec<Place>,
    /// Attempts that have failed, each with its status.
    pub attempts: Vec<(Place, u16)>,
}

/// One endpoint, as callers are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The provider's display name.
    pub provider: Arc<str>,
    /// Slug.
    pub model: Arc<str>,
}

impl Place {
    /// What is told of this endpoint.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        let (provider, model) = (&endpoint.provider.name, &endpoint.model);
        Self { provider: Arc::clone(provider), model: Arc::clone(model) }
    }
}

impl Routing {
    /// Whether these headers of a request ask for it.
    #[must_use]
    pub fn is_asked(headers: &HeaderMap) -> bool {
        ASKS.iter().any(|name| {
            let value = headers.get(*name);
            value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"enabled"))
        })
    }

    /// The object, with the attempt that answers and its status; there is none where everything failed.
    #[must_use]
    pub fn object(&self, answer: Option<(&Place, u16)>) -> Value {
        let shown = |place: &Place| {
            let mut shown = Map::new();
            shown.insert("provider".into(), (*place.provider).into());
            shown.insert("model".into(), (*place.model).into());
            shown
        };
        let mut unmarked = answer.map(|(place, _)| place);
        let available = self.available.iter().map(|place| {
            let mut shown = shown(place);
            let selected = unmarked.take_if(|selected| *selected == place).is_some();
            shown.insert("selected".into(), selected.into());
            Value::from(shown)
        });
        let available: Vec<Value> = available.collect();
        let failed = self.attempts.iter().map(|(place, status)| (place, *status));
        let attempts = failed.chain(answer).map(|(place, status)| {
            let mut shown = shown(place);
            shown.insert("status".into(), status.into());
            Value::from(shown)
        });
        let attempts: Vec<Value> = attempts.collect();
        let selected = answer.map_or("none", |(place, _)| &*place.provider);
        json!({
            "requested": &*self.requested,
            "strategy": self.strategy,
            "region": null,
            "summary": format!("available={}, selected={selected}", available.len()),
            "attempt": attempts.len().max(1),
            "is_byok": false,
            "endpoints": { "total": self.total, "available": available },
            "attempts": attempts,
        })
    }

    /// What is told with an answer of this endpoint, as JSON.
    #[must_use]
    pub fn answered(&self, endpoint: &Endpoint, status: u16) -> Arc<str> {
        self.object(Some((&Place::of(endpoint), status))).to_string().into()
    }

    /// The error as the answer to this request: with the same object, but where it is masked (contract
    /// 5.2, 500).
    #[must_use]
    pub fn beside(&self, error: Error) -> Error {
        let told = error.kind != ErrorType::Server;
        Error { routing: told.then(|| self.object(None).to_string().into()), ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn place(provider: &str) -> Place {
        Place { provider: provider.into(), model: "a/m".into() }
    }

    #[test]
    fn it_says_what_was_asked_tried_and_chosen() {
        let routing = Routing {
            requested: "m".into(),
            strategy: "alias",
            total: 3,
            available: vec![place("One"), place("Two"), place("Two")],
            attempts: vec![(place("One"), 503)],
        };
        insta::assert_snapshot!(routing.object(Some((&place("Two"), 200))).to_string(), @r#"{"attempt":2,"attempts":[{"model":"a/m","provider":"One","status":503},{"model":"a/m","provider":"Two","status":200}],"endpoints":{"available":[{"model":"a/m","provider":"One","selected":false},{"model":"a/m","provider":"Two","selected":true},{"model":"a/m","provider":"Two","selected":false}],"total":3},"is_byok":false,"region":null,"requested":"m","strategy":"alias","summary":"available=3, selected=Two"}"#);
        let failed = routing.object(None);
        assert_eq!(
            (&failed["attempt"], &failed["attempts"][0]["status"]),
            (&1.into(), &503.into())
        );
        assert!(routing.beside(Error::weir(503, "x")).routing.is_some());
        assert!(routing.beside(Error::weir(500, "x")).routing.is_none());
    }

    #[test]
    fn only_enabled_asks() {
        let asked = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            Routing::is_asked(&headers)
        };
        assert!(asked("x-openrouter-metadata", "enabled"));
        assert!(asked("x-openrouter-experimental-metadata", "enabled"));
        assert!(!asked("x-openrouter-metadata", "disabled"));
        assert!(!Routing::is_asked(&HeaderMap::new()));
    }
}
