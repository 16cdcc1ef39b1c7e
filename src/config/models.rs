//! `models.toml`: what callers name, and the endpoints that serve it.

use super::document::{Section, suggest};
use super::providers::{self, State};
use super::value;
use crate::bounds;
use crate::catalog::{DECLARABLE, Dormant, Endpoint, Model, Provider};
use crate::price::{PRICES, PriceVersion, complete, parse_usd};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub(super) const ROOT: &[&str] = &["model"];
pub(super) const KEYS: &[&str] = &[
    "slug",
    "name",
    "created",
    "description",
    "context_length",
    "input_modalities",
    "output_modalities",
    "aliases",
    "endpoint",
];
pub(super) const ENDPOINT: &[&str] = &[
    "provider",
    "model",
    "tag",
    "quantization",
    "context_length",
    "max_completion_tokens",
    "price",
    "supported_parameters",
    "declares",
    "timeouts",
];
/// As [`crate::price::PRICES`]; a test keeps them equal.
pub(super) const PRICE: &[&str] = &[
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "input_audio_cached",
    "input_image",
    "input_video",
    "reasoning",
    "output_audio",
    "output_image",
    "request",
    "search",
];

/// Quantizations of the contract (section 1.5).
const QUANTIZATIONS: [&str; 12] = [
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32",
    "unknown",
];
/// Modalities of the contract (section 1.4).
const MODALITIES: [&str; 10] = [
    "text",
    "image",
    "file",
    "audio",
    "video",
    "embeddings",
    "rerank",
    "decisions",
    "speech",
    "transcription",
];

/// What the file comes to.
#[derive(Default)]
pub(super) struct Read {
    pub models: Vec<Model>,
    pub dormant: Vec<Dormant>,
    /// Tags of all endpoints, dormant ones too.
    pub tags: Vec<String>,
}

/// Where the models are gathered.
struct Reader<'a> {
    /// `None` if the providers could not be read: then nothing is said about references to them.
    providers: Option<&'a BTreeMap<String, State>>,
    prices: HashMap<[u8; 32], Arc<PriceVersion>>,
    waiting: BTreeMap<&'a str, usize>,
    tags: HashSet<String>,
}

/// Reads the models.
pub(super) fn read(root: &Section<'_>, providers: Option<&BTreeMap<String, State>>) -> Read {
    let mut reader = Reader {
        providers,
        prices: HashMap::new(),
        waiting: BTreeMap::new(),
        tags: HashSet::new(),
    };
    let sections = root.tables("model", "slug", KEYS);
    let models = sections.iter().filter_map(|section| reader.model(section)).collect();
    check_names(&sections);
    let dormant = providers.into_iter().flatten().filter_map(|(slug, state)| match state {
        State::Dormant(reason) => Some(Dormant {
            provider: slug.as_str().into(),
            reason: reason.clone(),
            endpoints: reader.waiting.get(slug.as_str()).copied().unwrap_or(0),
        }),
        State::Live(_) | State::Wrong => None,
    });
    Read { models, dormant: dormant.collect(), tags: reader.tags.into_iter().collect() }
}

/// Reports every slug and alias that two models claim.
fn check_names(sections: &[Section<'_>]) {
    let mut names = HashSet::new();
    for section in sections {
        if !section.text("slug").is_none_or(|slug| names.insert(slug.to_owned())) {
            section.problem("slug", "another model has this slug already");
        }
    }
    for section in sections {
        let aliases = section.texts("aliases");
        if !aliases.into_iter().all(|alias| names.insert(alias.to_owned())) {
            section.problem("aliases", "one of these already is a slug or an alias");
        }
    }
}

impl<'a> Reader<'a> {
    fn model(&mut self, section: &Section<'_>) -> Option<Model> {
        let slug = section.demanded("slug", |text: String| match is_slug(&text) {
            true => Ok(Arc::<str>::from(text)),
            false => Err("expected \"author/name\" of a-z 0-9 . _ -".to_owned()),
        });
        let name = section.get::<String>("name");
        let context_length = section.demanded("context_length", positive);
        let created = section.or("created", 0);
        let description = section.or("description", String::new());
        let modalities = |key| {
            let given = section.checked(key, |list| each_of(list, &MODALITIES));
            given.unwrap_or_else(|| vec!["text".to_owned()])
        };
        let (input_modalities, output_modalities) =
            (modalities("input_modalities"), modalities("output_modalities"));
        let aliases = section.checked("aliases", |list: Vec<String>| {
            let fit = list.iter().all(|alias| value::is_name(alias));
            let expected = "expected model names of A-Z a-z 0-9 . _ : / @ -";
            if fit { Ok(list) } else { Err(expected.to_owned()) }
        });
        let model = slug.clone().unwrap_or_else(|| "".into());
        let endpoints = self.endpoints(section, &model, context_length.unwrap_or(1));
        let slug = slug?;
        Some(Model {
            name: name.unwrap_or_else(|| slug.to_string()),
            slug,
            created,
            description,
            context_length: context_length?,
            input_modalities,
            output_modalities,
            aliases: aliases.unwrap_or_default(),
            endpoints,
        })
    }

    fn endpoints(
        &mut self,
        section: &Section<'_>,
        model: &Arc<str>,
        context_length: u64,
    ) -> Vec<Arc<Endpoint>> {
        let parts = section.tables("endpoint", "tag", ENDPOINT);
        if parts.is_empty() && !section.has("endpoint") {
            section.problem("endpoint", "missing; expected at least one [[model.endpoint]]");
        }
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
            endpoints.extend(self.endpoint(part, (model, context_length), tag, provider));
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
        (model, context): (&Arc<str>, u64),
        tag: Option<String>,
        provider: Option<Arc<Provider>>,
    ) -> Option<Endpoint> {
        let upstream_model = part.demanded("model", upstream_model);
        let quantization = part.checked("quantization", |word: String| {
            each_of(vec![word], &QUANTIZATIONS).map(|words| words.concat())
        });
        let context_length = part.checked("context_length", positive).unwrap_or(context);
        let max_completion_tokens = part.checked("max_completion_tokens", positive);
        let price = self.price(part);
        let supported_parameters = part.or("supported_parameters", Vec::new());
        let declares = part.checked("declares", |list| each_of(list, &DECLARABLE));
        let default = provider.as_ref().map_or(providers::DEFAULT_TIMEOUTS, |p| p.timeouts);
        let timeouts = providers::timeouts(part, default);
        let tag: Arc<str> = tag?.into();
        Some(Endpoint {
            id: format!("{model}@{tag}").into(),
            model: Arc::clone(model),
            provider: provider?,
            upstream_model: upstream_model?.into(),
            tag,
            quantization: quantization.map(Arc::from),
            context_length,
            max_completion_tokens,
            price: price?,
            supported_parameters,
            declares: declares.unwrap_or_default(),
            timeouts,
        })
    }

    /// The price version of an endpoint; equal ones are one.
    fn price(&mut self, part: &Section<'_>) -> Option<Arc<PriceVersion>> {
        if !part.has("price") {
            let message = "missing; expected { input = \"0.05\", output = \"0.08\" } in dollars \
                           per million tokens";
            part.problem("price", message);
            return None;
        }
        let table = part.table("price", PRICE);
        let mut given = Vec::new();
        for price in PRICES {
            let amount = table.checked(price.key, |text: String| {
                parse_usd(&text, price.per).map_err(|error| error.to_string())
            });
            given.extend(amount.map(|pico| (price.kind, pico)));
        }
        // A missing output price would give output away; that must be said, not omitted.
        for key in ["input", "output"] {
            table.required::<String>(key);
        }
        let version = PriceVersion::new(complete(&given));
        let shared = self.prices.entry(version.hash).or_insert_with(|| Arc::new(version));
        Some(Arc::clone(shared))
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

/// Whether a text is `author/name` in lowercase, short enough to be asked for.
pub(super) fn is_slug(text: &str) -> bool {
    let is_part = |part: &str| value::slug(part.to_owned()).is_ok();
    text.split_once('/').is_some_and(|(author, name)| is_part(author) && is_part(name))
}

fn upstream_model(text: String) -> Result<String, String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if clean && (1..=bounds::MODEL_NAME_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    Err(format!("expected the provider's name of it, at most {} bytes", bounds::MODEL_NAME_BYTES))
}

fn positive(count: u64) -> Result<u64, String> {
    if count > 0 { Ok(count) } else { Err("expected 1 or more".to_owned()) }
}

fn each_of(list: Vec<String>, known: &[&str]) -> Result<Vec<String>, String> {
    match list.iter().find(|word| !known.contains(&word.as_str())) {
        Some(stranger) => Err(suggest(stranger, known)),
        None => Ok(list),
    }
}
