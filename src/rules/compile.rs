//! From the text of the rule files to rules, or to everything that is wrong with them.

use super::action::{self, ACTIONS};
use super::reach::Reach;
use super::reader::{Node, Reader, join};
use super::{Rule, when};
use crate::bounds::{RULE_NAME_BYTES, RULES};
use crate::config::problem::Problem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

pub(super) fn compile(sources: &[(PathBuf, String)]) -> Result<Vec<Rule>, Vec<Problem>> {
    let mut sources: Vec<_> = sources.iter().collect();
    sources.sort_by_key(|(path, _)| path);
    let mut compiler = Compiler::default();
    let mut problems = Vec::new();
    for (path, text) in sources {
        let mut reader = Reader::new(path, text);
        if let Some(document) = reader.parse() {
            compiler.file(&mut reader, document.get_ref(), path);
        }
        problems.append(&mut reader.problems);
    }
    if problems.is_empty() { Ok(compiler.rules) } else { Err(problems) }
}

/// What is known from the rules before.
#[derive(Default)]
struct Compiler {
    rules: Vec<Rule>,
    /// Every name, also of rules that did not compile.
    names: Vec<Arc<str>>,
    reach: Reach,
}

impl Compiler {
    fn file<'t>(&mut self, reader: &mut Reader<'t>, document: &DeTable<'t>, path: &Path) {
        reader.only(document, "", &["rule"]);
        let Some(node) = document.get("rule") else { return };
        let Some(list) = node.get_ref().as_array() else {
            reader.problem(node.span(), "rule", "must be a list: write [[rule]]");
            return;
        };
        for (place, node) in list.iter().enumerate() {
            let unnamed = format!("rule[{place}]");
            if self.names.len() == RULES {
                reader.problem(
                    node.span(),
                    &unnamed,
                    format!("there may be at most {RULES} rules"),
                );
                return;
            }
            if let Some(table) = reader.table(node, &unnamed) {
                self.rule(reader, node, table, &unnamed, path);
            }
        }
    }

    fn rule<'t>(
        &mut self,
        reader: &mut Reader<'t>,
        node: &Node<'t>,
        table: &DeTable<'t>,
        unnamed: &str,
        file: &Path,
    ) {
        let found = reader.problems.len();
        let name = self.name(reader, node, table, unnamed);
        let path = name.as_ref().map_or_else(|| unnamed.to_owned(), |name| format!("rule.{name}"));
        let keys: Vec<_> =
            ["name", "when"].into_iter().chain(ACTIONS.map(|(key, _)| key)).collect();
        reader.only(table, &path, &keys);
        let when = table.get("when").map(|node| when::read(reader, node, &join(&path, "when")));
        let when = when.unwrap_or_default();
        let action = action::read(reader, node, table, &path);
        // A rule that has any problem is never used: the whole set is refused.
        if let (Some(name), Some((action, line)), true) =
            (name, action, reader.problems.len() == found)
        {
            if let Some(message) = self.reach.bars(&when, &action) {
                reader.problem(node.span(), &path, message);
            }
            self.reach.pass(&name, &when, &action);
            let (hits, faults) = Default::default();
            self.rules.push(Rule { name, when, action, file: file.to_owned(), line, hits, faults });
        }
    }

    /// The rule's name, which is a metric label: short, plain and its own.
    fn name<'t>(
        &mut self,
        reader: &mut Reader<'t>,
        node: &Node<'t>,
        table: &DeTable<'t>,
        unnamed: &str,
    ) -> Option<Arc<str>> {
        let Some(value) = table.get("name") else {
            reader.problem(node.span(), unnamed, "needs a name: name = \"what-it-does\"");
            return None;
        };
        let key = join(unnamed, "name");
        let name = reader.text(value, &key)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.len() > RULE_NAME_BYTES || !name.bytes().all(plain) {
            let message = format!("must be at most {RULE_NAME_BYTES} of a-z, 0-9 and -");
            reader.problem(value.span(), &key, message);
            return None;
        }
        let name: Arc<str> = Arc::from(name);
        if self.names.contains(&name) {
            reader.problem(value.span(), &key, "another rule has this name; give it its own");
        }
        self.names.push(Arc::clone(&name));
        Some(name)
    }
}
