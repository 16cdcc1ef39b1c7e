//! `lua-free-rules/`: declarative entries, compiled at load; facts in, decision out. Pure.
//!
//! `lua-free-rules/README.md` is the language.

mod action;
mod compile;
mod glob;
mod reader;
mod when;

use crate::config::problem::Problem;
use crate::error::Error;
use crate::selection::{Constraint, OPEN};
use action::Action;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use when::When;

/// What a rule can match on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The model asked for. Of several, each is a question of its own.
    pub model: &'a str,
    /// Name of the caller's key.
    pub key: &'a str,
    pub workspace: &'a str,
    pub stream: bool,
    /// Request headers; names lowercase.
    pub headers: &'a http::HeaderMap,
}

/// What the rules want done.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// Serve this model in place of the one asked for.
    pub rename: Option<&'a str>,
    pub constraint: Cow<'a, Constraint>,
}

impl Default for Decision<'_> {
    fn default() -> Self {
        Self { rename: None, constraint: Cow::Borrowed(&OPEN) }
    }
}

#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    when: When,
    action: Action,
    file: PathBuf,
    /// Line of the action.
    line: usize,
    hits: Arc<AtomicU64>,
}

/// A name that a rule relies on, for `config` to check against the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention<'a> {
    pub name: &'a str,
    pub file: &'a Path,
    /// 1-based.
    pub line: usize,
    /// Path of the key, as in a [`Problem`].
    pub key: String,
}

/// Every rule, in the order in which it is asked.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Compiles the rule files, which count in the order of their names.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn compile(sources: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        compile::compile(sources).map(|rules| Self { rules })
    }

    /// What the rules say of a request. Allocates only where a second constraint matches.
    ///
    /// A request that names several models is asked about once for each, or a fallback would slip
    /// past the rules of its model.
    ///
    /// # Errors
    /// The refusal of the first rule that rejects it.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Decision<'_>, &Error> {
        let mut decision = Decision::default();
        for rule in &self.rules {
            let model = decision.rename.unwrap_or(facts.model);
            if !rule.when.holds(model, facts) {
                continue;
            }
            rule.hits.fetch_add(1, Relaxed);
            match &rule.action {
                Action::Reject(error) => return Err(error),
                Action::Rename(model) => decision.rename = Some(model),
                Action::Constrain(constraint) if *decision.constraint == OPEN => {
                    decision.constraint = Cow::Borrowed(constraint);
                }
                Action::Constrain(constraint) => decision.constraint.to_mut().merge(constraint),
            }
        }
        Ok(decision)
    }

    /// How often each rule has matched, by name.
    pub fn hits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rules.iter().map(|rule| (&*rule.name, rule.hits.load(Relaxed)))
    }

    /// Goes on counting where `previous` is, for the rules that keep their names over a reload.
    pub fn inherit(&mut self, previous: &Self) {
        for rule in &mut self.rules {
            if let Some(old) = previous.rules.iter().find(|old| old.name == rule.name) {
                rule.hits = Arc::clone(&old.hits);
            }
        }
    }

    /// The models that rules rename to.
    pub fn model_names(&self) -> impl Iterator<Item = Mention<'_>> {
        self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Rename(model) => Some(rule.mention(model, "rename")),
            _ => None,
        })
    }

    /// The provider slugs and tags that rules allow or forbid.
    pub fn provider_names(&self) -> impl Iterator<Item = Mention<'_>> {
        self.rules.iter().flat_map(|rule| {
            let (only, ignore) = match &rule.action {
                Action::Constrain(constraint) => {
                    (constraint.only.as_deref().unwrap_or_default(), &*constraint.ignore)
                }
                _ => Default::default(),
            };
            let only = only.iter().map(|name| rule.mention(name, "constrain.only"));
            only.chain(ignore.iter().map(|name| rule.mention(name, "constrain.ignore")))
        })
    }
}

impl Rule {
    fn mention<'a>(&'a self, name: &'a str, key: &str) -> Mention<'a> {
        let key = format!("rule.{}.{key}", self.name);
        Mention { name, file: &self.file, line: self.line, key }
    }
}

#[cfg(test)]
mod tests;
