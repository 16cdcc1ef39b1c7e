//! What has a row in `GET models`: models, their moving names, routers (contract 1.4, 2.7).

use crate::catalog::{Catalog, Model, Router};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Something that can be asked for by the slug of `shown`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it is listed, with every endpoint that it can come to.
    pub shown: Arc<Model>,
    /// The models it can come to.
    pub models: Vec<Arc<Model>>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    /// `~author/family-latest`.
    Moving,
    Router,
}

impl Entry {
    /// Everything that a catalogue can serve, by slug. Of a model's other names the moving ones are listed.
    #[must_use]
    pub fn all(catalog: &Catalog) -> Vec<Self> {
        let mut all: Vec<Self> = catalog.models().flat_map(Self::of_model).collect();
        for router in &catalog.routers {
            let models: Vec<_> =
                router.models.iter().filter_map(|model| catalog.find(model).cloned()).collect();
            let aliases = router.aliases.iter().map(|alias| Arc::from(&**alias));
            let names = [Arc::clone(&router.slug)].into_iter().chain(aliases);
            all.extend(names.filter_map(|name| Self::of_router(router, name, &models)));
        }
        all.sort_by(|a, b| a.shown.slug.cmp(&b.shown.slug));
        all
    }

    pub(super) fn of_model(model: &Arc<Model>) -> impl Iterator<Item = Self> {
        let moving = model.aliases.iter().filter(|alias| alias.starts_with('~')).map(|alias| {
            let shown = Arc::new(Model { slug: alias.as_str().into(), ..(**model).clone() });
            Self { shown, models: vec![Arc::clone(model)], kind: Kind::Moving }
        });
        let shown = Arc::clone(model);
        [Self { shown, models: vec![Arc::clone(model)], kind: Kind::Model }]
            .into_iter()
            .chain(moving)
    }

    /// A name of a router that can choose among these; `None` if there are none.
    fn of_router(router: &Router, slug: Arc<str>, models: &[Arc<Model>]) -> Option<Self> {
        let first = models.first()?;
        let union = |of: fn(&Model) -> &Vec<String>| {
            let mut all: Vec<String> = models.iter().flat_map(|it| of(it)).cloned().collect();
            let mut seen = Vec::new();
            all.retain(|it| {
                !seen.contains(it) && {
                    seen.push(it.clone());
                    true
                }
            });
            all
        };
        let shown = Model {
            slug,
            name: router.slug.to_string(),
            description: format!("The first that fits a request of {}", router.models.join(", ")),
            created: models.iter().map(|it| it.created).max().unwrap_or(0),
            context_length: models.iter().map(|it| it.context_length).max().unwrap_or(0),
            input_modalities: union(|it| &it.input_modalities),
            output_modalities: union(|it| &it.output_modalities),
            tokenizer: Some("Router".to_owned()),
            distillable: models.iter().all(|it| it.distillable),
            endpoints: models.iter().flat_map(|it| it.endpoints.iter().cloned()).collect(),
            ..(**first).clone()
        };
        Some(Self { shown: Arc::new(shown), models: models.to_vec(), kind: Kind::Router })
    }

    /// Whether what it comes to differs from request to request.
    #[must_use]
    pub fn is_router(&self) -> bool {
        self.kind == Kind::Router
    }

    /// Says in a model's row what it stands for.
    pub(super) fn mark(&self, row: &mut Map<String, Value>) {
        match (self.kind, self.models.first()) {
            (Kind::Moving, Some(model)) => {
                let target = json!({ "name": model.name, "slug": &*model.slug });
                row.insert("alias_target".to_owned(), target);
                row.insert("canonical_slug".to_owned(), (*model.slug).into());
            }
            (Kind::Router, _) => {
                row.insert("pricing".to_owned(), json!({ "prompt": "-1", "completion": "-1" }));
                let unknown = json!({ "context_length": null, "max_completion_tokens": null,
                    "is_moderated": false });
                row.insert("top_provider".to_owned(), unknown);
                row.remove("reasoning");
                row.remove("benchmarks");
            }
            _ => {}
        }
    }
}
