//! `keys.toml`: who may call.

use super::document::Section;
use super::settings::between;
use super::{policy, value};
use crate::access::{Caller, Keys};
use crate::bounds::TAGS_PER_KEY;
use crate::selection::Constraint;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const ROOT: &[&str] = &["workspace", "key"];
pub(super) const KEYS: &[&str] = &[
    "name",
    "hash",
    "workspace",
    "tags",
    "models",
    "disabled",
    "only",
    "ignore",
    "quantizations",
    "max_price",
    "zdr",
    "no_collection",
    "distillable",
    "no_fallbacks",
    "requests_at_once",
];
pub(super) const WORKSPACE: &[&str] = &[
    "slug",
    "only",
    "ignore",
    "quantizations",
    "max_price",
    "zdr",
    "no_collection",
    "distillable",
    "no_fallbacks",
];

/// Reads the keys, each with all the policy that holds for it: the `deployment`'s, its workspace's and
/// its own. `known` are the provider slugs and endpoint tags that may be named, unless the files that
/// define them could not be read.
pub(super) fn read(root: &Section<'_>, known: Option<&[&str]>, deployment: &Constraint) -> Keys {
    let workspaces = workspaces(root, known);
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    let mut callers = Vec::new();
    for section in root.tables("key", &["name"], KEYS) {
        let mut constraint = policy::read(&section, known);
        let name = section.demanded("name", value::title);
        let digest = section.demanded("hash", |text: String| digest(&text));
        let workspace = section.checked("workspace", value::slug);
        let models = section.checked("models", patterns);
        let tags = section.checked("tags", tags).unwrap_or_default();
        let workspace = workspace.unwrap_or_else(|| "default".to_owned());
        for policy in workspaces.get(&workspace).into_iter().chain([deployment]) {
            constraint.merge(policy);
        }
        let disabled = section.or("disabled", false);
        let requests_at_once =
            section.checked("requests_at_once", |count: u64| between(count, 1, 1 << 20));
        let (Some(name), Some(digest)) = (name, digest) else { continue };
        if !names.insert(name.clone()) {
            section.problem("name", "another key has this name already");
        }
        if !digests.insert(digest) {
            section.problem("hash", "this key is listed already");
        }
        if !disabled {
            callers.push(Caller {
                key_hash: digest,
                handle: hex::encode(digest).into(),
                name: name.into(),
                workspace: workspace.into(),
                tags,
                constraint,
                models,
                requests_at_once,
                requests: Arc::default(),
            });
        }
    }
    Keys::new(callers)
}

/// The policies of workspaces, by slug. One that is not listed has none.
fn workspaces(root: &Section<'_>, known: Option<&[&str]>) -> HashMap<String, Constraint> {
    let mut workspaces = HashMap::new();
    for section in root.tables("workspace", &["slug"], WORKSPACE) {
        let constraint = policy::read(&section, known);
        let Some(slug) = section.demanded("slug", value::slug) else { continue };
        if workspaces.insert(slug, constraint).is_some() {
            section.problem("slug", "another workspace has this slug already");
        }
    }
    workspaces
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let mut digest = [0; 32];
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut digest) {
        Ok(()) if is_lower => Ok(digest),
        _ => Err("expected the key's SHA-256 as 64 lowercase hex digits, never the key itself; \
                  `weir key new` prints it"
            .to_owned()),
    }
}

fn tags(list: Vec<String>) -> Result<Vec<Arc<str>>, String> {
    if list.len() > TAGS_PER_KEY {
        return Err(format!("expected at most {TAGS_PER_KEY}"));
    }
    list.into_iter().map(|tag| value::slug(tag).map(Arc::from)).collect()
}

fn patterns(list: Vec<String>) -> Result<Vec<Arc<str>>, String> {
    let fits = |text: &String| {
        let slug = text.strip_suffix('*').map_or(text.clone(), |author| format!("{author}x"));
        value::is_model_slug(&slug) && (!text.ends_with('*') || text.ends_with("/*"))
    };
    if list.iter().all(fits) {
        return Ok(list.into_iter().map(Arc::from).collect());
    }
    Err("expected model slugs \"author/name\" or \"author/*\"".to_owned())
}
