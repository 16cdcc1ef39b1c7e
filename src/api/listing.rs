//! Lists of models: rows are made once for as long as prices stay, queries only choose among them.

use super::entry::Entry;
use super::feed;
use super::models::Offer;
use super::query::{Query, Shown};
use crate::catalog::Endpoint;
use crate::request::route::Face;
use bytes::Bytes;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// Everything that can be asked for, as `GET models` shows it.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Entry>,
    /// JSON by slug, for an asker who may use every endpoint.
    rows: HashMap<Arc<str>, Box<str>>,
    /// Bodies without a query: of OpenRouter's face, then of the faithful one.
    whole: [Bytes; 2],
    /// Unix microseconds of the next change of a price; `u64::MAX` if none is known.
    until_us: u64,
}

/// Who asks, and for what.
pub struct View<'a> {
    /// Path of the request, for the link to the next page.
    pub path: &'a str,
    /// What follows the question mark.
    pub text: &'a str,
    pub query: &'a Query,
    /// `None` is for all.
    pub allowed: Option<&'a Allowed<'a>>,
    /// What traffic has shown of the model of a slug.
    pub shown: &'a dyn Fn(&str) -> Shown,
    /// Unix microseconds.
    pub now_us: u64,
}

/// The endpoints of an entry that an asker may use; none if not the entry.
pub type Allowed<'a> = dyn Fn(&Entry) -> Vec<Arc<Endpoint>> + 'a;

impl Listing {
    /// The list of these at `now_us` (Unix microseconds), in their order. Those without an endpoint that
    /// serves are left out.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>, now_us: u64) -> Self {
        let mut listing = Self { until_us: u64::MAX, ..Self::default() };
        entries.retain(|entry| {
            let Some(offer) = Offer::whole(entry, now_us) else { return false };
            let changes = offer.endpoints.iter().filter_map(|it| it.price.changes_after(now_us));
            listing.until_us = changes.fold(listing.until_us, u64::min);
            let row = offer.row().to_string().into_boxed_str();
            listing.rows.insert(Arc::clone(&entry.shown.slug), row);
            true
        });
        listing.entries = entries;
        let whole = |face| {
            let (query, shown) = (default_query(face), |_: &str| Shown::default());
            let (path, text, allowed) = ("", "", None);
            listing.find(&View { path, text, query: &query, allowed, shown: &shown, now_us })
        };
        listing.whole = [whole(Face::OpenRouter), whole(Face::Faithful)];
        listing
    }

    /// The same list with the prices of another moment, if they are not those of this one.
    #[must_use]
    pub fn renewed(&self, now_us: u64) -> Option<Self> {
        (now_us >= self.until_us).then(|| Self::new(self.entries.clone(), now_us))
    }

    /// The body for a request without a query.
    #[must_use]
    pub fn whole(&self, face: Face) -> Bytes {
        let [open, faithful] = &self.whole;
        match face {
            Face::OpenRouter => open.clone(),
            Face::Faithful => faithful.clone(),
        }
    }

    /// The body for a query: JSON, or what is of [`super::FEED`].
    #[must_use]
    pub fn find(&self, view: &View<'_>) -> Bytes {
        let allowed = self.allowed(view);
        let chosen = view.choose(&self.entries, allowed.as_deref());
        let limit = view.query.limit.unwrap_or(usize::MAX);
        if view.query.is_feed() {
            let from = chosen.get(view.query.offset..).unwrap_or_default();
            return feed::render(from.get(..limit).unwrap_or(from));
        }
        let mut body = String::from("{\"object\":\"list\",\"data\":[");
        for (place, offer) in chosen.iter().skip(view.query.offset).take(limit).enumerate() {
            body.push_str(if place > 0 { "," } else { "" });
            match self.rows.get(&offer.model.slug) {
                Some(row) if offer.endpoints.len() == offer.model.endpoints.len() => {
                    body.push_str(row)
                }
                _ => body.push_str(&offer.row().to_string()),
            }
        }
        let next = view.query.offset.saturating_add(limit);
        let next = (next < chosen.len()).then(|| link(view, next, limit));
        let count = chosen.len();
        // Writing to a String cannot fail.
        let _ = write!(body, "],\"total_count\":{count},\"links\":{}}}", json!({ "next": next }));
        body.into()
    }

    /// The body of `GET models/count`.
    #[must_use]
    pub fn count(&self, view: &View<'_>) -> Bytes {
        let allowed = self.allowed(view);
        let chosen = view.choose(&self.entries, allowed.as_deref());
        json!({ "data": { "count": chosen.len() } }).to_string().into()
    }

    /// The body of `GET model/{author}/{slug}`; `None` for a slug that is not listed.
    #[must_use]
    pub fn model(&self, slug: &str) -> Option<Bytes> {
        self.rows.get(slug).map(|row| format!("{{\"data\":{row}}}").into())
    }

    /// What is listed under this slug.
    #[must_use]
    pub fn entry(&self, slug: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| *entry.shown.slug == *slug)
    }

    /// The endpoints the asker may use, by entry.
    fn allowed(&self, view: &View<'_>) -> Option<Vec<Vec<Arc<Endpoint>>>> {
        view.allowed.map(|allowed| self.entries.iter().map(allowed).collect())
    }
}

/// What a face lists unless the query says so: OpenRouter's contract says text, OpenAI's all there is.
#[must_use]
pub fn default_query(face: Face) -> Query {
    Query::of((face == Face::OpenRouter).then_some("text"))
}

impl View<'_> {
    /// The entries asked for, each with the endpoints that are `allowed` at its place, or with all.
    fn choose<'m>(
        &self,
        entries: &'m [Entry],
        allowed: Option<&'m [Vec<Arc<Endpoint>>]>,
    ) -> Vec<Offer<'m>> {
        let offer = |(place, entry): (usize, &'m Entry)| match allowed {
            None => Offer::whole(entry, self.now_us),
            Some(allowed) => Offer::of(entry, allowed.get(place)?.iter().collect(), self.now_us),
        };
        let offers = entries.iter().enumerate().filter_map(offer);
        self.query.choose(offers, self.shown, self.now_us / 1_000_000)
    }
}

/// The same query from another place on.
fn link(view: &View<'_>, offset: usize, limit: usize) -> String {
    let kept = form_urlencoded::parse(view.text.as_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.filter(|(name, _)| !matches!(&**name, "offset" | "limit")));
    query.append_pair("offset", &offset.to_string()).append_pair("limit", &limit.to_string());
    format!("{}?{}", view.path, query.finish())
}

#[cfg(test)]
mod tests;
