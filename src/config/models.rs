//! `models.toml`: what callers name, and the endpoints that serve it.

use super::choosing;
use super::document::Section;
use super::endpoints::{Endpoints, Of};
use super::providers::State;
use super::value::{self, Score, each_of, positive};
use crate::bounds;
use crate::catalog::{Benchmark, Dormant, Modalities, Model, Preset, Router, Scores};
use crate::selection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const ROOT: &[&str] = &["model", "router", "preset"];
pub(super) const KEYS: &[&str] = &[
    "slug",
    "name",
    "created",
    "description",
    "context_length",
    "input_modalities",
    "output_modalities",
    "distillable",
    "supported_parameters",
    "tokenizer",
    "knowledge_cutoff",
    "hugging_face_id",
    "categories",
    "benchmarks",
    "disabled",
    "aliases",
    "endpoint",
];
pub(super) const BENCHMARKS: &[&str] = &["intelligence", "coding", "agentic", "design_arena"];
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
    pub routers: Vec<Router>,
    pub presets: Vec<Preset>,
    /// Names and aliases of all models, dormant ones too.
    pub names: BTreeSet<String>,
    /// Slugs of providers and tags of endpoints, dormant ones too: what constraints may name. `None` if
    /// the providers could not be read.
    pub known: Option<Vec<String>>,
}

/// Reads the models.
pub(super) fn read(root: &Section<'_>, providers: Option<&BTreeMap<String, State>>) -> Read {
    let mut endpoints = Endpoints::of(providers);
    let mut sections = root.merged("model", &["slug"], KEYS);
    sections.retain(|section| !section.or("disabled", false));
    let names = names(&sections);
    let read = |(place, section): (usize, &Section<'_>)| {
        let mut model = model(section, &mut endpoints)?;
        model.aliases.retain(|alias| names.get(alias.as_str()) == Some(&place));
        Some(model)
    };
    let models = sections.iter().enumerate().filter_map(read).collect();
    let mut names: BTreeSet<String> = names.into_keys().map(str::to_owned).collect();
    let dormant = endpoints.dormant();
    let routers = choosing::routers(root, &mut names);
    let known = endpoints.known();
    let presets = choosing::presets(root, &names, known.as_deref());
    let known = known.map(|known| known.into_iter().map(str::to_owned).collect());
    Read { models, dormant, routers, presets, names, known }
}

/// Every name a caller could use, with the place of the one model it means. An alias of the catalogue
/// that the operator has given away is left out.
fn names<'a>(sections: &[Section<'a>]) -> BTreeMap<&'a str, usize> {
    let mut names = BTreeMap::new();
    for (place, section) in sections.iter().enumerate() {
        let taken = section.text("slug").is_some_and(|slug| names.insert(slug, place).is_some());
        if taken {
            section.problem("slug", "another model has this slug already");
        }
    }
    // The operator's aliases come first.
    for from_catalog in [false, true] {
        let with_aliases = sections.iter().enumerate().filter(|(_, it)| it.has("aliases"));
        for (place, section) in
            with_aliases.filter(|(_, it)| it.is_catalogued("aliases") == from_catalog)
        {
            let mut is_taken = |alias| *names.entry(alias).or_insert(place) != place;
            let aliases = section.texts("aliases").into_iter();
            if aliases.filter(|alias| is_taken(alias)).count() > 0 && !from_catalog {
                section.problem("aliases", "one of these already is a slug or an alias");
            }
        }
    }
    names
}

/// A model's slug, with the static variants it is (`author/name:free`).
fn model_slug(text: String) -> Result<Arc<str>, String> {
    let (base, variants) = text.split_once(':').unwrap_or((&text, ""));
    let are_static = text == base || selection::are_static(variants);
    if value::is_model_slug(base) && are_static && text.len() <= bounds::MODEL_NAME_BYTES {
        return Ok(Arc::from(text));
    }
    let variants = selection::STATIC_VARIANTS.join(", :");
    Err(format!("expected \"author/name\" of a-z 0-9 . _ -, then perhaps :{variants}"))
}

fn model(section: &Section<'_>, endpoints: &mut Endpoints<'_>) -> Option<Model> {
    let slug = section.demanded("slug", model_slug);
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
        let fit = list.iter().all(|alias| value::is_name(alias.trim_start_matches('~')));
        let expected = "expected model names of A-Z a-z 0-9 . _ : / @ -, a ~ before them or not";
        if fit { Ok(list) } else { Err(expected.to_owned()) }
    });
    let distillable = section.or("distillable", false);
    let parameters: Vec<String> = section.or("supported_parameters", Vec::new());
    let cutoff = section.checked("knowledge_cutoff", |day: String| {
        let digits = day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let fits = digits && matches!(day.len(), 4 | 7 | 10);
        if fits { Ok(day) } else { Err("expected a day or month, such as \"2024-07\"".to_owned()) }
    });
    // What the file does not say is shown as text, and not held against a request.
    let set = |key, names: &Vec<String>| match section.has(key) {
        true => names.iter().map(String::as_str).collect(),
        false => Modalities::ANY,
    };
    let of = Of {
        slug: &slug.clone().unwrap_or_else(|| "".into()),
        context_length: context_length.unwrap_or(1),
        input: set("input_modalities", &input_modalities),
        output: set("output_modalities", &output_modalities),
        distillable,
        parameters: &parameters,
    };
    let endpoints = endpoints.read(section, &of);
    let slug = slug?;
    let scores = section.table("benchmarks", BENCHMARKS);
    Some(Model {
        name: name.unwrap_or_else(|| slug.to_string()),
        slug,
        created,
        description,
        context_length: context_length?,
        input_modalities,
        output_modalities,
        distillable,
        tokenizer: section.checked("tokenizer", value::title),
        knowledge_cutoff: cutoff,
        hugging_face_id: section.checked("hugging_face_id", value::title),
        categories: section.or("categories", Vec::new()),
        scores: Scores(Benchmark::ALL.map(|(key, _)| Some(scores.get::<Score>(key)?.0))),
        aliases: aliases.unwrap_or_default(),
        endpoints,
    })
}
