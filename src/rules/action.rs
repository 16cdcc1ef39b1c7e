//! What a rule does: exactly one of these.

use super::reader::{Node, Reader, join};
use crate::catalog::QUANTIZATIONS;
use crate::config::json;
use crate::error::Error;
use crate::price::{CEILINGS, PriceCeiling, parse_ceiling};
use crate::request::body_error::is_model_name;
use crate::request::preferences::{self, ProviderPreferences};
use crate::selection::Constraint;
use std::sync::Arc;
use toml::de::DeTable;

/// What a rule does when it matches.
#[derive(Debug)]
pub(super) enum Action {
    Constrain(Constraint),
    /// Wishes of a request that has none of its own.
    Defaults(Box<ProviderPreferences>),
    /// Only this provider or tag.
    Pin(Constraint),
    /// Providers and tags that go first.
    Prefer(Vec<Arc<str>>),
    Reject(Error),
    Rename(Arc<str>),
}

type Read = for<'t> fn(&mut Reader<'t>, &Node<'t>, &str) -> Option<Action>;

/// Every action, by name.
pub(super) const ACTIONS: [(&str, Read); 7] = [
    ("constrain", constrain),
    ("defaults", defaults),
    ("forbid", forbid),
    ("pin", pin),
    ("prefer", prefer),
    ("reject", reject),
    ("rename", rename),
];

impl Action {
    /// The name of an action of which only the first that matches counts.
    pub(super) const fn is_exclusive(&self) -> Option<&'static str> {
        match self {
            Self::Defaults(_) => Some("defaults"),
            Self::Pin(_) => Some("pin"),
            Self::Prefer(_) => Some("prefer"),
            Self::Constrain(_) | Self::Reject(_) | Self::Rename(_) => None,
        }
    }

    /// The providers and tags it names, with the keys they stand under.
    pub(super) fn providers(&self) -> Vec<(&str, &'static str)> {
        fn all<'a>(
            list: &'a [Arc<str>],
            key: &'static str,
        ) -> impl Iterator<Item = (&'a str, &'static str)> {
            list.iter().map(move |name| (&**name, key))
        }
        match self {
            Self::Constrain(constraint) => {
                all(constraint.only.as_deref().unwrap_or_default(), "constrain.only")
                    .chain(all(&constraint.ignore, "constrain.ignore"))
                    .collect()
            }
            Self::Defaults(wishes) => all(&wishes.order, "defaults.order").collect(),
            Self::Pin(pin) => all(pin.only.as_deref().unwrap_or_default(), "pin").collect(),
            Self::Prefer(list) => all(list, "prefer").collect(),
            Self::Reject(_) | Self::Rename(_) => Vec::new(),
        }
    }
}

/// The rule's one action, and its line.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'t>,
    table: &DeTable<'t>,
    path: &str,
) -> Option<(Action, usize)> {
    let mut read = Vec::new();
    for (name, action) in ACTIONS {
        let Some(value) = table.get(name) else { continue };
        let action = action(reader, value, &join(path, name));
        read.push(action.map(|action| (action, reader.line(&value.span()))));
    }
    if read.len() != 1 {
        let names = ACTIONS.map(|(name, _)| name).join(", ");
        reader.problem(node.span(), path, format!("needs exactly one of {names}"));
    }
    read.pop().flatten()
}

fn reject<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let table = reader.table(node, path)?;
    reader.only(table, path, &["status", "message"]);
    let (Some(status), Some(message)) = (table.get("status"), table.get("message")) else {
        reader.problem(node.span(), path, "needs both: { status = 403, message = \"...\" }");
        return None;
    };
    let text = reader.text(message, &join(path, "message"));
    let number = status.get_ref().as_integer().filter(|number| number.radix() == 10);
    let number = number.and_then(|number| number.as_str().parse().ok());
    let Some(number) = number.filter(|number| (400..=599).contains(number)) else {
        reader.problem(status.span(), &join(path, "status"), "must be from 400 to 599");
        return None;
    };
    Some(Action::Reject(Error::weir(number, text?.to_owned())))
}

fn rename<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let name = reader.text(node, path)?;
    if !is_model_name(name) {
        reader.problem(node.span(), path, "must be the name of a model: author/slug");
        return None;
    }
    Some(Action::Rename(Arc::from(name)))
}

fn pin<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let slug = reader.text(node, path)?;
    Some(Action::Pin(Constraint { only: Some(vec![Arc::from(slug)]), ..Constraint::default() }))
}

/// Another way to say `constrain = { ignore = ... }`.
fn forbid<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let ignore: Vec<_> =
        reader.texts(node, path).into_iter().map(|(slug, _)| Arc::from(slug)).collect();
    let forbids = !ignore.is_empty();
    forbids.then(|| Action::Constrain(Constraint { ignore, ..Constraint::default() }))
}

fn prefer<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let slugs: Vec<_> =
        reader.texts(node, path).into_iter().map(|(slug, _)| Arc::from(slug)).collect();
    (!slugs.is_empty()).then_some(Action::Prefer(slugs))
}

const DEFAULTS: [&str; 4] = ["order", "sort", "preferred_min_throughput", "preferred_max_latency"];

/// Members of `provider` that are wishes, as a request writes them.
fn defaults<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let table = reader.table(node, path)?;
    reader.only(table, path, &DEFAULTS);
    let text = json(node.get_ref()).map(|json| json.to_string()).unwrap_or_default();
    match preferences::parse(&text) {
        Ok(wishes) if wishes != ProviderPreferences::default() => {
            Some(Action::Defaults(Box::new(wishes)))
        }
        Ok(_) => {
            let message = format!("must say something: {}", DEFAULTS.join(", "));
            reader.problem(node.span(), path, message);
            None
        }
        Err(error) => {
            reader.problem(node.span(), path, error.to_string());
            None
        }
    }
}

const CONSTRAINT: [&str; 9] = [
    "only",
    "ignore",
    "quantizations",
    "max_price",
    "zdr",
    "no_collection",
    "distillable",
    "require_parameters",
    "no_fallbacks",
];

/// Dollars in quotes: per million tokens, and per request.
fn max_price<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<PriceCeiling> {
    let table = reader.table(node, path)?;
    reader.only(table, path, &CEILINGS.map(|(key, ..)| key));
    let mut ceiling = PriceCeiling::default();
    for (place, (key, _, per)) in CEILINGS.iter().enumerate() {
        let Some(node) = table.get(*key) else { continue };
        let key = join(path, key);
        let text = reader.text(node, &key)?;
        let Some(pico) = parse_ceiling(text, *per) else {
            reader.problem(node.span(), &key, "must be dollars of 0 or more, such as \"0.05\"");
            return None;
        };
        ceiling.lower(place, pico);
    }
    Some(ceiling)
}

fn constrain<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Action> {
    let table = reader.table(node, path)?;
    reader.only(table, path, &CONSTRAINT);
    let mut constraint = Constraint::default();
    let mut slugs = |name: &str| -> Option<Vec<Arc<str>>> {
        let texts = reader.texts(table.get(name)?, &join(path, name));
        Some(texts.into_iter().map(|(slug, _)| Arc::from(slug)).collect())
    };
    constraint.only = slugs("only");
    constraint.ignore = slugs("ignore").unwrap_or_default();
    constraint.quantizations = slugs("quantizations");
    for stranger in constraint.quantizations.iter().flatten() {
        if !QUANTIZATIONS.contains(&&**stranger) {
            let says = format!("no such quantization; there are {}", QUANTIZATIONS.join(", "));
            reader.problem(node.span(), &join(path, "quantizations"), says);
        }
    }
    if let Some(node) = table.get("max_price") {
        constraint.max_price = max_price(reader, node, &join(path, "max_price"))?;
    }
    for (name, flag) in [
        ("zdr", &mut constraint.zdr),
        ("no_collection", &mut constraint.no_collection),
        ("distillable", &mut constraint.distillable),
        ("require_parameters", &mut constraint.require_parameters),
        ("no_fallbacks", &mut constraint.no_fallbacks),
    ] {
        let Some(node) = table.get(name) else { continue };
        let key = join(path, name);
        *flag = reader.boolean(node, &key)?;
        if !*flag {
            reader.problem(node.span(), &key, "can only be true: a rule narrows, it never loosens");
        }
    }
    if table.is_empty() {
        reader.problem(node.span(), path, "must narrow something: only, ignore, zdr, ...");
    }
    Some(Action::Constrain(constraint))
}
