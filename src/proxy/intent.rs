//! What an attempt's record says of it from its beginning, and what it is billed by.

use super::attempt::Flow;
use super::exchange::Exchange;
use crate::catalog::{Endpoint, Tier};
use crate::ledger::record::Intent;
use crate::price::{PriceVersion, Terms};
use crate::snapshot::Target;
use crate::upstream::credential::Key;
use std::borrow::Cow;
use std::sync::Arc;

/// What other tiers of this offer cost: the same model of the same provider.
pub(super) fn tiers(
    exchange: &Exchange,
    endpoint: &Endpoint,
    now_us: u64,
) -> Vec<(Option<Tier>, Arc<PriceVersion>)> {
    let pool = exchange.pools.iter().find(|pool| pool.model.slug == endpoint.model);
    let all = pool.into_iter().flat_map(|pool| &pool.targets).map(|target| &target.endpoint);
    let others = all.filter(|other| {
        Arc::ptr_eq(&other.provider, &endpoint.provider)
            && other.tier != endpoint.tier
            && other.upstream_model == endpoint.upstream_model
    });
    others.map(|other| (other.tier, Arc::clone(other.price.at(now_us)))).collect()
}

/// The upstream serves at another tier than was asked: the record follows, before a byte leaves.
pub(super) fn served(exchange: &mut Exchange) {
    let Some(mut attempt) = exchange.attempt.take() else { return };
    if let Flow::Reply(relay) = &attempt.flow {
        let (tier, terms) = relay.served();
        let told = (&*attempt.target, attempt.credential.as_deref(), tier, terms);
        // Its body may be gone by now.
        let prompt_bytes = attempt.prompt_bytes;
        let intent = Intent { prompt_bytes, ..intent(exchange, exchange.dispatched, told) };
        if attempt.claim.serve(&intent, terms, attempt.estimator) {
            attempt.terms = terms.clone();
        }
    }
    exchange.attempt = Some(attempt);
}

/// What the record of an attempt of this number will say of it, whatever becomes of it.
pub(super) fn intent<'a>(
    exchange: &'a Exchange,
    attempt: u8,
    (target, credential, tier, terms): (&'a Target, Option<&'a Key>, Option<Tier>, &Terms),
) -> Intent<'a> {
    let endpoint = &target.endpoint;
    let session = exchange.generation.session.as_deref();
    Intent {
        generation_id: Cow::Borrowed(&exchange.generation.id),
        attempt,
        face: exchange.face,
        operation: exchange.operation,
        streamed: exchange.envelope.stream,
        workspace: Cow::Borrowed(&exchange.caller.workspace),
        key_hash: exchange.caller.key_hash,
        app: Cow::Borrowed(&exchange.generation.app),
        session: Cow::Borrowed(session.unwrap_or("")),
        user: Cow::Borrowed(exchange.generation.user.as_deref().unwrap_or("")),
        model: Cow::Borrowed(&endpoint.model),
        provider: Cow::Borrowed(&endpoint.provider.slug),
        provider_name: Cow::Borrowed(&endpoint.provider.name),
        endpoint: Cow::Borrowed(&endpoint.tag),
        upstream_model: Cow::Borrowed(&endpoint.upstream_model),
        credential: Cow::Borrowed(credential.map_or("", |credential| &credential.id)),
        tier: Cow::Borrowed(tier.map_or("", Tier::as_str)),
        price: terms.version.hash(),
        prompt_bytes: exchange.envelope.text_bytes(exchange.body.len()),
        max_tokens: exchange.envelope.max_tokens,
    }
}
