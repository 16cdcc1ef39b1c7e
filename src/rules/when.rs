//! The conditions of a rule: all given ones must hold, any entry of a list will do.

use super::Facts;
use super::expression::Expression;
use super::glob::Glob;
use super::reader::{Node, Reader, join};
use http::HeaderName;
use std::borrow::Cow;
use toml::Spanned;

/// An empty list, or `None`, asks nothing.
#[derive(Debug, Default)]
pub(super) struct When {
    pub(super) model: Vec<Glob>,
    pub(super) key: Vec<Glob>,
    pub(super) workspace: Vec<Glob>,
    pub(super) tag: Vec<Glob>,
    pub(super) header: Vec<(HeaderName, Vec<Glob>)>,
    pub(super) stream: Option<bool>,
    pub(super) cel: Option<Expression>,
}

const CONDITIONS: [&str; 7] = ["model", "key", "workspace", "tag", "header", "stream", "cel"];

impl When {
    /// Whether it holds for every request.
    pub(super) fn always(&self) -> bool {
        let named = [&self.model, &self.key, &self.workspace];
        named.iter().all(|globs| globs.is_empty() || globs.iter().any(Glob::is_any))
            && self.tag.is_empty()
            && !self.asks_request()
    }

    /// Whether it may depend on more than the caller and the model.
    pub(super) fn asks_request(&self) -> bool {
        !self.header.is_empty() || self.stream.is_some() || self.cel.is_some()
    }

    /// Whether it could hold for a model of this name.
    pub(super) fn takes(&self, model: &str) -> bool {
        any(&self.model, model)
    }

    /// Whether it holds for `facts`, with the model's name and slug in the place of theirs.
    ///
    /// # Errors
    /// Its expression cannot be evaluated.
    pub(super) fn holds(&self, [name, slug]: [&str; 2], facts: &Facts<'_>) -> Result<bool, String> {
        let holds = self.stream.is_none_or(|stream| stream == facts.stream)
            && (self.takes(name) || self.takes(slug))
            && any(&self.key, facts.key)
            && any(&self.workspace, facts.workspace)
            && (self.tag.is_empty() || facts.tags.iter().any(|tag| any(&self.tag, tag)))
            && self.header.iter().all(|(name, globs)| {
                // A header that was sent twice holds if either value does.
                let mut values = facts.headers.get_all(name).iter();
                values.any(|value| globs.iter().any(|glob| glob.matches(value.as_bytes())))
            });
        match &self.cel {
            Some(expression) if holds => expression.holds(slug, facts),
            _ => Ok(holds),
        }
    }
}

fn any(globs: &[Glob], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(text.as_bytes()))
}

/// Reads the table `when`.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> When {
    let mut when = When::default();
    let Some(table) = reader.table(node, path) else { return when };
    reader.only(table, path, &CONDITIONS);
    for (name, globs) in [
        ("model", &mut when.model),
        ("key", &mut when.key),
        ("workspace", &mut when.workspace),
        ("tag", &mut when.tag),
    ] {
        if let Some(node) = table.get(name) {
            *globs = patterns(reader, node, &join(path, name));
        }
    }
    if let Some(node) = table.get("stream") {
        when.stream = reader.boolean(node, &join(path, "stream"));
    }
    if let Some(node) = table.get("cel") {
        when.cel = Expression::read(reader, node, &join(path, "cel"));
    }
    if let Some(node) = table.get("header") {
        let path = join(path, "header");
        for (name, value) in reader.table(node, &path).into_iter().flatten() {
            when.header.extend(header(reader, name, value, &path));
        }
    }
    when
}

fn header<'t>(
    reader: &mut Reader<'t>,
    name: &Spanned<Cow<'t, str>>,
    value: &Node<'t>,
    path: &str,
) -> Option<(HeaderName, Vec<Glob>)> {
    let key = join(path, name.get_ref());
    let Ok(known) = HeaderName::from_bytes(name.get_ref().as_bytes()) else {
        reader.problem(name.span(), &key, "must be the name of a header");
        return None;
    };
    if is_secret(&known) {
        reader.problem(
            name.span(),
            &key,
            "holds a secret; match the caller's key by its name: key",
        );
        return None;
    }
    Some((known, patterns(reader, value, &key)))
}

/// Whether a header holds a secret, which no rule may look at.
pub(super) fn is_secret(header: &HeaderName) -> bool {
    const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];
    SECRET.contains(&header.as_str())
}

fn patterns<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Vec<Glob> {
    let texts = reader.texts(node, path);
    let mut globs = Vec::with_capacity(texts.len());
    for (text, span) in texts {
        if text.starts_with("sk-") {
            let message = "looks like a secret; match the caller's key by its name: key";
            reader.problem(span, path, message);
        }
        globs.push(Glob::new(text));
    }
    globs
}
