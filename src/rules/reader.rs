//! Typed reading of a rule file that goes on after an error, so that all are found at once.

use crate::config::problem::Problem;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(super) type Node<'t> = Spanned<DeValue<'t>>;

/// One file, and what is wrong with it so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    file: &'t Path,
    text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// The document, if it is TOML.
    pub(super) fn parse(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problem(error.span().unwrap_or_default(), "toml", error.message());
        }
        errors.is_empty().then_some(table)
    }

    /// The 1-based line of a place in the text.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    pub(super) fn problem(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: self.line(&span),
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// Objects to every key of `table`, found at `path`, that is not among `known`.
    pub(super) fn only(&mut self, table: &DeTable<'_>, path: &str, known: &[&str]) {
        for name in table.keys() {
            if !known.contains(&&**name.get_ref()) {
                let key = join(path, name.get_ref());
                let message = format!("unknown key; the keys here are {}", known.join(", "));
                self.problem(name.span(), &key, message);
            }
        }
    }

    pub(super) fn table<'n>(&mut self, node: &'n Node<'t>, path: &str) -> Option<&'n DeTable<'t>> {
        let table = node.get_ref().as_table();
        if table.is_none() {
            self.problem(node.span(), path, "must be a table: { key = value }");
        }
        table
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node<'t>, path: &str) -> Option<&'n str> {
        let text = node.get_ref().as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.problem(node.span(), path, "must be a string that is not empty");
        }
        text
    }

    pub(super) fn boolean(&mut self, node: &Node<'t>, path: &str) -> Option<bool> {
        let value = node.get_ref().as_bool();
        if value.is_none() {
            self.problem(node.span(), path, "must be true or false");
        }
        value
    }

    /// One string, or a list of some: each with its place.
    pub(super) fn texts<'n>(
        &mut self,
        node: &'n Node<'t>,
        path: &str,
    ) -> Vec<(&'n str, Range<usize>)> {
        let Some(list) = node.get_ref().as_array() else {
            let text = self.text(node, path);
            return text.map(|text| (text, node.span())).into_iter().collect();
        };
        if list.is_empty() {
            self.problem(node.span(), path, "must name something; leave the key out otherwise");
        }
        list.iter().filter_map(|entry| Some((self.text(entry, path)?, entry.span()))).collect()
    }
}

/// The path of `name` inside `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
