//! What a rule does: exactly one of three things.

use super::reader::{Node, Reader, join};
use crate::error::Error;
use crate::price::{CEILINGS, PriceCeiling, parse_ceiling};
use crate::request::body_error::is_model_name;
use crate::selection::Constraint;
use std::sync::Arc;
use toml::de::DeTable;

/// What a rule does when it matches.
#[derive(Debug)]
pub(super) enum Action {
    Reject(Error),
    Rename(Arc<str>),
    Constrain(Constraint),
}

const ACTIONS: [&str; 3] = ["reject", "rename", "constrain"];

/// The rule's one action, and its line.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'t>,
    table: &DeTable<'t>,
    path: &str,
) -> Option<(Action, usize)> {
    let mut read = Vec::new();
    for name in ACTIONS {
        let Some(value) = table.get(name) else { continue };
        let path = join(path, name);
        let action = match name {
            "reject" => reject(reader, value, &path).map(Action::Reject),
            "rename" => rename(reader, value, &path).map(Action::Rename),
            _ => constrain(reader, value, &path).map(Action::Constrain),
        };
        read.push(action.map(|action| (action, reader.line(&value.span()))));
    }
    if read.len() != 1 {
        reader.problem(node.span(), path, "needs exactly one of reject, rename and constrain");
    }
    read.pop().flatten()
}

fn reject<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Error> {
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
    Some(Error::weir(number, text?.to_owned()))
}

fn rename<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Arc<str>> {
    let name = reader.text(node, path)?;
    if !is_model_name(name) {
        reader.problem(node.span(), path, "must be the name of a model: author/slug");
        return None;
    }
    Some(Arc::from(name))
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

fn constrain<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Constraint> {
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
    Some(constraint)
}
