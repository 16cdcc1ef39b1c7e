//! `lua-free-rules/`: declarative entries, compiled at load; facts in, decision out. Pure.
//!
//! `lua-free-rules/README.md` is the language.

mod action;
mod compile;
mod expression;
mod glob;
mod reach;
mod reader;
mod when;

use crate::config::problem::Problem;
use crate::error::Error;
use crate::request::preferences::ProviderPreferences;
use crate::selection::{Constraint, OPEN};
use action::Action;
use glob::Glob;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use when::When;

/// What a rule can match on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The model asked for, by its name there. Of several, each is a question of its own.
    pub model: &'a str,
    /// The slug of what that name stands for; the name where it stands for nothing.
    pub slug: &'a str,
    /// Name of the caller's key.
    pub key: &'a str,
    pub workspace: &'a str,
    /// Tags of that key.
    pub tags: &'a [Arc<str>],
    pub stream: bool,
    /// Whether tools are offered.
    pub tools: bool,
    /// The most tokens a reply may have; 0 where the caller does not say.
    pub max_tokens: u64,
    /// Tokens the prompt probably has.
    pub prompt_tokens: u64,
    /// Request headers; names lowercase.
    pub headers: &'a http::HeaderMap,
    /// The request is only explained, and counts for no rule.
    pub dry: bool,
}

/// What the rules want done.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// Serve this model in place of the one asked for.
    pub rename: Option<&'a str>,
    pub constraint: Cow<'a, Constraint>,
    /// Only this provider or tag.
    pub pin: Option<&'a Constraint>,
    /// Providers and tags that go first.
    pub prefer: &'a [Arc<str>],
    /// Wishes for a request that has none of its own.
    pub defaults: Option<&'a ProviderPreferences>,
    /// The rules that matched, where a request is only explained.
    pub matched: Vec<&'a str>,
}

impl Default for Decision<'_> {
    fn default() -> Self {
        let constraint = Cow::Borrowed(&OPEN);
        let (rename, pin, defaults, matched) = (None, None, None, Vec::new());
        Self { rename, constraint, pin, prefer: &[], defaults, matched }
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
    /// How often it has matched, and could not be evaluated.
    hits: Arc<AtomicU64>,
    faults: Arc<AtomicU64>,
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
    /// The refusal of the first rule that rejects it; 500 where an expression cannot be evaluated:
    /// what it would have forbidden must not pass.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Decision<'_>, Error> {
        Self::follow(self.rules.iter(), facts)
    }

    /// What the rules say of a model to a caller whatever its request, as a list of models needs it. Rules
    /// on `header`, `stream` or `cel` are left out: they depend on a request that is not there yet.
    ///
    /// # Errors
    /// The refusal of the first rule that rejects the model.
    pub fn decide_unasked(&self, facts: &Facts<'_>) -> Result<Decision<'_>, Error> {
        Self::follow(self.rules.iter().filter(|rule| !rule.when.asks_request()), facts)
    }

    fn follow<'a>(
        rules: impl Iterator<Item = &'a Rule>,
        facts: &Facts<'_>,
    ) -> Result<Decision<'a>, Error> {
        let mut decision = Decision::default();
        for rule in rules {
            let (name, slug) = decision.rename.map_or((facts.model, facts.slug), |to| (to, to));
            if rule.holds([name, slug], facts)? {
                if facts.dry {
                    decision.matched.push(&rule.name);
                } else {
                    rule.hits.fetch_add(1, Relaxed);
                }
                decision.follow(&rule.action)?;
            }
        }
        Ok(decision)
    }

    /// How often each rule has matched, by name.
    pub fn hits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rules.iter().map(|rule| (&*rule.name, rule.hits.load(Relaxed)))
    }

    /// How often a rule's expression could not be evaluated, over all rules.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.rules.iter().map(|rule| rule.faults.load(Relaxed)).sum()
    }

    /// Goes on counting where `previous` is, for the rules that keep their names over a reload.
    pub fn inherit(&mut self, previous: &Self) {
        for rule in &mut self.rules {
            if let Some(old) = previous.rules.iter().find(|old| old.name == rule.name) {
                rule.hits = Arc::clone(&old.hits);
                rule.faults = Arc::clone(&old.faults);
            }
        }
    }

    /// The models that rules rename to, and those they wait for by whole names: but for old names that a
    /// rule renames, or refuses with words of its own.
    pub fn model_names(&self) -> impl Iterator<Item = Mention<'_>> {
        let renamed = |model: &str| {
            let mut renames =
                self.rules.iter().filter(|rule| matches!(rule.action, Action::Rename(_)));
            renames.any(|rule| rule.when.takes(model))
        };
        self.rules.iter().flat_map(move |rule| match &rule.action {
            Action::Rename(model) => vec![rule.mention(model, "rename")],
            Action::Reject(_) => Vec::new(),
            _ => {
                let awaited = rule.when.model.iter().filter_map(Glob::literal);
                let strange = awaited.filter(|model| !renamed(model));
                strange.map(|model| rule.mention(model, "when.model")).collect()
            }
        })
    }

    /// The provider slugs and tags that rules name.
    pub fn provider_names(&self) -> impl Iterator<Item = Mention<'_>> {
        self.rules.iter().flat_map(|rule| {
            let names = rule.action.providers().into_iter();
            names.map(|(name, key)| rule.mention(name, key))
        })
    }
}

impl<'a> Decision<'a> {
    /// Both together, this one first: a router's, and that of a model behind it.
    #[must_use]
    pub fn then(mut self, other: &Self) -> Self {
        if *other.constraint != OPEN {
            self.constraint.to_mut().merge(&other.constraint);
        }
        self.pin = self.pin.or(other.pin);
        self.prefer = if self.prefer.is_empty() { other.prefer } else { self.prefer };
        self.defaults = self.defaults.or(other.defaults);
        for name in &other.matched {
            if !self.matched.contains(name) {
                self.matched.push(name);
            }
        }
        self
    }

    fn follow(&mut self, action: &'a Action) -> Result<(), Error> {
        match action {
            Action::Reject(error) => return Err(error.clone()),
            Action::Rename(model) => self.rename = Some(model),
            Action::Constrain(constraint) if *self.constraint == OPEN => {
                self.constraint = Cow::Borrowed(constraint);
            }
            Action::Constrain(constraint) => self.constraint.to_mut().merge(constraint),
            Action::Pin(pin) => self.pin = self.pin.or(Some(pin)),
            Action::Prefer(list) if self.prefer.is_empty() => self.prefer = list,
            Action::Prefer(_) => {}
            Action::Defaults(wishes) => self.defaults = self.defaults.or(Some(wishes)),
        }
        Ok(())
    }
}

impl Rule {
    fn holds(&self, model: [&str; 2], facts: &Facts<'_>) -> Result<bool, Error> {
        self.when.holds(model, facts).map_err(|_| {
            self.faults.fetch_add(1, Relaxed);
            Error::weir(500, format!("The rule {} cannot be evaluated", self.name))
        })
    }

    fn mention<'a>(&'a self, name: &'a str, key: &str) -> Mention<'a> {
        let key = format!("rule.{}.{key}", self.name);
        Mention { name, file: &self.file, line: self.line, key }
    }
}

#[cfg(test)]
mod tests;
