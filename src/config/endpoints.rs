//! The endpoints of a model: which provider serves it, under what name and at what price.

use super::document::{Section, suggest};
use super::prices::Versions;
use super::providers::{self, State};
use super::value::{self, each_of, positive};
use crate::bounds;
use crate::catalog::{DECLARABLE, Dormant, Endpoint, Modalities, Provider, QUANTIZATIONS, Tier};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

pub(super) const ENDPOINT: &[&str] = &[
    "provider",
    "model",
    "tag",
    "quantization",
    "context_length",
    "max_completion_tokens",
    "price",
    "supported_parameters",
    "tier",
    "policy",
    "declares",
    "timeouts",
    "disabled",
];
/// What an endpoint has from its model.
pub(super) struct Of<'a> {
    pub slug: &'a Arc<str>,
    pub context_length: u64,
    pub input: Modalities,
    pub output: Modalities,
    pub distillable: bool,
    pub parameters: &'a [String],
}

/// Reads endpoints and remembers what all of them together come to.
pub(super) struct Endpoints<'a> {
    /// `None` if the providers could not be read: then nothing is said about references to them.
    providers: Option<&'a BTreeMap<String, State>>,
    prices: Versions,
    /// Endpoints per dormant provider.
    waiting: BTreeMap<&'a str, usize>,
    /// Tags of all endpoints, dormant ones too.
    tags: BTreeSet<String>,
}

impl<'a> Endpoints<'a> {
    pub(super) fn of(providers: Option<&'a BTreeMap<String, State>>) -> Self {
        Self {
            providers,
            prices: Versions::default(),
            waiting: BTreeMap::new(),
            tags: BTreeSet::new(),
        }
    }

    /// The dormant providers, with what waits for them.
    pub(super) fn dormant(&self) -> Vec<Dormant> {
        let dormant = |(slug, state): (&String, &State)| match state {
            State::Dormant(reason) => Some(Dormant {
                provider: slug.as_str().into(),
                reason: reason.clone(),
                endpoints: self.waiting.get(slug.as_str()).copied().unwrap_or(0),
            }),
            State::Live(_) | State::Wrong => None,
        };
        self.providers.into_iter().flatten().filter_map(dormant).collect()
    }

    /// Slugs of providers, and tags of endpoints that are not the provider's slug.
    pub(super) fn known(&self) -> Option<Vec<&str>> {
        let slugs = self.providers?;
        let tags = self.tags.iter().filter(|tag| !slugs.contains_key(*tag));
        Some(slugs.keys().chain(tags).map(String::as_str).collect())
    }

    /// Reads the endpoints of one model; those that wait for a provider are counted, not returned.
    pub(super) fn read(&mut self, section: &Section<'_>, model: &Of<'_>) -> Vec<Arc<Endpoint>> {
        let mut parts = section.merged("endpoint", &["tag", "provider"], ENDPOINT);
        if parts.is_empty() {
            section.problem("endpoint", "missing; expected at least one [[model.endpoint]]");
        }
        parts.retain(|part| !part.or("disabled", false));
        let mut tags = HashSet::new();
        let mut endpoints = Vec::new();
        for part in &parts {
            let tag = tag(part);
            if let Some(tag) = &tag {
                self.tags.insert(tag.clone());
                if !tags.insert(tag.clone()) {
                    let message = "another endpoint of this model has this tag already; \
                                   tell them apart: tag = \"provider/variant\"";
                    part.problem("tag", message);
                }
            }
            let provider = self.provider(part);
            endpoints.extend(self.endpoint(part, model, tag, provider));
        }
        endpoints.into_iter().map(Arc::new).collect()
    }

    /// The provider an endpoint names; `None` if it is dormant or wrong.
    fn provider(&mut self, part: &Section<'_>) -> Option<Arc<Provider>> {
        let slug = part.required::<String>("provider")?;
        let providers = self.providers?;
        match providers.get_key_value(&slug) {
            Some((_, State::Live(provider))) => Some(Arc::clone(provider)),
            Some((known, State::Dormant(_))) => {
                *self.waiting.entry(known).or_default() += 1;
                None
            }
            Some((_, State::Wrong)) => None,
            None => {
                let known: Vec<&str> = providers.keys().map(String::as_str).collect();
                part.problem("provider", format!("no such provider; {}", suggest(&slug, &known)));
                None
            }
        }
    }

    /// Reads all of an endpoint, so that all of it is checked, then builds it if it can serve.
    fn endpoint(
        &mut self,
        part: &Section<'_>,
        model: &Of<'_>,
        tag: Option<String>,
        provider: Option<Arc<Provider>>,
    ) -> Option<Endpoint> {
        let upstream_model = part.demanded("model", upstream_model);
        let quantization = part.checked("quantization", |word: String| {
            each_of(vec![word], &QUANTIZATIONS).map(|words| words.concat())
        });
        let context_length =
            part.checked("context_length", positive).unwrap_or(model.context_length);
        let max_completion_tokens = part.checked("max_completion_tokens", positive);
        let price = self.prices.read(part);
        let supported_parameters: Vec<String> =
            part.or("supported_parameters", model.parameters.to_vec());
        let tier = part.choice("tier", &Tier::ALL);
        let own = |tag: &String| part.text("provider").is_none_or(|provider| provider != tag);
        if tier.is_some() && !tag.as_ref().is_none_or(own) {
            let message = "an endpoint of a tier needs a tag of its own: tag = \"provider/tier\"";
            part.problem("tier", message);
        }
        let declares = part.checked("declares", |list| each_of(list, &DECLARABLE));
        let default = provider.as_ref().map_or(providers::DEFAULT_TIMEOUTS, |p| p.timeouts);
        let timeouts = providers::timeouts(part, default);
        let policy = part.table("policy", providers::POLICY);
        let tag: Arc<str> = tag?.into();
        let provider = provider?;
        Some(Endpoint {
            id: format!("{}@{tag}", model.slug).into(),
            model: Arc::clone(model.slug),
            policy: providers::policy(&policy, Some(provider.policy)),
            provider,
            upstream_model: upstream_model?.into(),
            tag,
            quantization: quantization.map(Arc::from),
            context_length,
            max_completion_tokens,
            price: price?,
            parameters: supported_parameters.iter().map(String::as_str).collect(),
            supported_parameters,
            input: model.input,
            output: model.output,
            tier,
            distillable: model.distillable,
            declares: declares.unwrap_or_default(),
            timeouts,
        })
    }
}

/// The endpoint's routing slug: the provider's, or that and a variant.
fn tag(part: &Section<'_>) -> Option<String> {
    let provider = part.text("provider").unwrap_or_default().to_owned();
    if !part.has("tag") {
        return (!provider.is_empty()).then_some(provider);
    }
    part.checked("tag", |tag: String| {
        let variant = tag.strip_prefix(&provider).and_then(|rest| rest.strip_prefix('/'));
        let fits = tag.len() <= bounds::SLUG_BYTES;
        match variant {
            _ if tag == provider => Ok(tag),
            Some(variant) if fits && value::slug(variant.to_owned()).is_ok() => Ok(tag),
            _ => Err("expected the provider's slug, or \"provider/variant\"".to_owned()),
        }
    })
}

fn upstream_model(text: String) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if clean && (1..=bounds::MODEL_NAME_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    Err(format!("expected the provider's name of it, at most {} bytes", bounds::MODEL_NAME_BYTES))
}
