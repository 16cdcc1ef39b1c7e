//! What callers read of the catalogue (contract 1.4, 1.5, 1.9). No key is needed but for `models/user`.

use super::reply::{Answer, JSON, Refusal};
use super::request;
use crate::access::Caller;
use crate::api;
use crate::api::endpoints::{self, Known};
use crate::api::entry::Entry;
use crate::api::listing::{View, default_query};
use crate::api::query::{Query, Shown};
use crate::catalog::{Endpoint, Model};
use crate::edge::clock::{now_ms, wall_us};
use crate::error::Error;
use crate::request::route::{self, Face, Read};
use crate::rules;
use crate::selection::{self, Candidate, Facts, Layers, OPEN, Question};
use crate::snapshot::{Pool, Snapshot, Target};
use crate::state::State;
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use pingora_proxy::Session;
use std::sync::Arc;

/// What `Cache-Control` says of a body that is the same for everyone (contract 1.4).
const PUBLIC: &str = "public, max-age=120, stale-while-revalidate=3600, stale-if-error=3600";
/// And of one that is for the key that asked.
const OWN: &str = "private, max-age=120";

/// Answers from the snapshot; nothing is waited for.
pub(super) fn read(
    state: &State,
    session: &Session,
    face: Face,
    read: Read,
) -> Result<Answer, Refusal> {
    let snapshot = state.snapshot.load();
    let uri = &session.req_header().uri;
    let asker = match read {
        Read::UserModels => Some(request::caller(state, session).map_err(Refusal::closing)?),
        _ => asker(state, session),
    };
    // OpenRouter's list is the same for all; OpenAI's is of what a key may use.
    let user = asker.as_deref().filter(|_| read == Read::UserModels || face == Face::Faithful);
    let mut kind = JSON;
    let mut lists = |query| {
        let query = Query::read(query, uri.query().unwrap_or_default());
        let query = query.map_err(|invalid| {
            Refusal::kept(Error::caller(400, invalid.to_string()).param(invalid.name))
        })?;
        if query.is_feed() && read != Read::Count {
            kind = api::FEED;
        }
        Ok(find(&snapshot, uri, user, &query, read))
    };
    let slug = || {
        let slug = route::of_a_model(uri.path()).map(|(_, slug)| percent_decode_str(slug));
        slug.and_then(|slug| slug.decode_utf8().ok()).unwrap_or_default()
    };
    let missing = || Refusal::kept(Error::caller(404, format!("Model {} not found", slug())));
    let to_key = asker.is_some();
    let lists_all = uri.query().is_none() && user.is_none();
    let body = match read {
        Read::Models if lists_all => snapshot.listing(wall_us()).whole(face),
        Read::Models | Read::UserModels | Read::Count => lists(default_query(face))?,
        Read::EmbeddingModels => lists(Query::of(Some("embeddings")))?,
        Read::Model => {
            let listing = snapshot.listing(wall_us());
            let of_alias = || listing.model(&snapshot.pool(&slug())?.model.slug);
            listing.model(&slug()).or_else(of_alias).ok_or_else(missing)?
        }
        Read::Endpoints => of_model(&snapshot, &slug(), to_key).ok_or_else(missing)?,
        Read::ZdrEndpoints => snapshot.zero_retention(now_ms(), to_key),
        Read::Providers => snapshot.providers.clone(),
    };
    let of_traffic = matches!(read, Read::Endpoints | Read::ZdrEndpoints);
    let is_own = user.is_some() || of_traffic && to_key;
    let lists = matches!(read, Read::Models | Read::UserModels | Read::EmbeddingModels);
    let cache = Some(if is_own { OWN } else { PUBLIC });
    Ok(Answer { body, kind, cache, made: lists && !(lists_all && read == Read::Models) })
}

/// The endpoints of a model; a router has none of its own.
fn of_model(snapshot: &Snapshot, slug: &str, to_key: bool) -> Option<Bytes> {
    if let Some(pool) = snapshot.pool(slug) {
        let known: Vec<Known<'_>> = pool.known(now_ms()).collect();
        return Some(endpoints::of_model(&pool.model, &known, to_key));
    }
    let listing = snapshot.listing(wall_us());
    let router = listing.entry(slug)?;
    Some(endpoints::of_model(&router.shown, &[], to_key))
}

/// Who asks, if a good key was sent along; a wrong one sees what no key sees.
fn asker(state: &State, session: &Session) -> Option<Arc<Caller>> {
    let headers = &session.req_header().headers;
    let sent = headers.contains_key("authorization") || headers.contains_key("x-api-key");
    sent.then(|| request::caller(state, session).ok()).flatten()
}

/// The list, or its length, for a query.
fn find(
    snapshot: &Snapshot,
    uri: &http::Uri,
    user: Option<&Caller>,
    query: &Query,
    read: Read,
) -> Bytes {
    let now = now_ms();
    let shown =
        |slug: &str| snapshot.pool(slug).map_or_else(Shown::default, |pool| shown(pool, now));
    let now_us = wall_us();
    let allowed = |entry: &Entry| {
        let left = |model| user.and_then(|user| left(snapshot, user, model, now_us));
        entry.models.iter().filter_map(|model| left(model)).flatten().collect()
    };
    let view = View {
        path: uri.path(),
        text: uri.query().unwrap_or_default(),
        query,
        allowed: user.is_some().then_some(&allowed),
        shown: &shown,
        now_us,
    };
    match read {
        Read::Count => snapshot.listing(view.now_us).count(&view),
        _ => snapshot.listing(view.now_us).find(&view),
    }
}

/// The endpoints that a request of this caller which wishes nothing could be sent to; `None` where it may
/// not name the model, or a rule refuses it or serves another in its place.
fn left(
    snapshot: &Snapshot,
    user: &Caller,
    model: &Model,
    now_us: u64,
) -> Option<Vec<Arc<Endpoint>>> {
    if !user.allows_model(&model.slug) {
        return None;
    }
    let rules = snapshot.rules.decide_unasked(&rules::Facts {
        model: &model.slug,
        slug: &model.slug,
        key: &user.name,
        workspace: &user.workspace,
        tags: &user.tags,
        stream: false,
        tools: false,
        max_tokens: 0,
        prompt_tokens: 0,
        headers: &HeaderMap::new(),
        dry: true,
    });
    let rules = rules.ok()?;
    let served = snapshot.pool(rules.rename.unwrap_or(&model.slug))?;
    if served.model.slug != model.slug {
        return None;
    }
    let candidate = |endpoint| Candidate { endpoint, facts: Facts::default() };
    let candidates: Vec<_> = model.endpoints.iter().map(candidate).collect();
    let layers = [&user.constraint, &*rules.constraint, rules.pin.unwrap_or(&OPEN)];
    let question = Question { now_us, ..Question::of(Layers(&layers)) };
    let mut places: Vec<usize> = selection::plan(&candidates, &question, 0).order().collect();
    places.sort_unstable();
    Some(places.into_iter().filter_map(|place| model.endpoints.get(place).cloned()).collect())
}

/// What traffic has shown of a model. Endpoints of one provider count their tokens together.
fn shown(pool: &Pool, now: u64) -> Shown {
    let mut counted: Vec<*const _> = Vec::new();
    let mut shown = Shown::default();
    for Target { live, metrics, .. } in pool.targets.iter().map(|target| &**target) {
        let report = live.report(now);
        let latency = report.latency_30m.map(|[median, ..]| median);
        let throughput = report.throughput_30m.map(|[median, ..]| median);
        let success = report.tool_errors.map(|share| 1_000_u32.saturating_sub(share));
        shown.latency = shown.latency.into_iter().chain(latency).min();
        shown.throughput = shown.throughput.max(throughput);
        shown.tool_success = shown.tool_success.max(success);
        if !counted.contains(&Arc::as_ptr(metrics)) {
            counted.push(Arc::as_ptr(metrics));
            shown.tokens = shown.tokens.saturating_add(metrics.tokens());
        }
    }
    shown
}
