//! CEL where structured conditions do not reach: compiled at load, and without loops, so that it ends.

use super::Facts;
use super::reader::{Node, Reader};
use crate::bounds::{EXPRESSION_BYTES, EXPRESSION_NESTING, EXPRESSION_STACK};
use cel::common::types::{CelBool, CelInt, CelList, CelString};
use cel::common::value::Val;
use cel::{Context, Env, Program, Value};
use http::HeaderName;
use std::sync::{Arc, LazyLock};

/// CEL's operators and functions. `all`, `exists` and their like are macros, which are left out: what
/// they loop over could be nested.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// Functions beside the operators.
const FUNCTIONS: [&str; 6] = ["contains", "endsWith", "int", "size", "startsWith", "string"];

/// What stands for the header `x-team`: `header_x_team`.
const HEADER: &str = "header_";

/// A name an expression may use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    Model,
    Key,
    Workspace,
    Tags,
    Stream,
    Tools,
    MaxTokens,
    PromptTokens,
    Header(HeaderName),
}

const NAMES: [(&str, Variable); 8] = [
    ("key", Variable::Key),
    ("max_tokens", Variable::MaxTokens),
    ("model", Variable::Model),
    ("prompt_tokens", Variable::PromptTokens),
    ("stream", Variable::Stream),
    ("tags", Variable::Tags),
    ("tools", Variable::Tools),
    ("workspace", Variable::Workspace),
];

/// A condition in CEL.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    /// Those that it uses, with the names they have there.
    variables: Vec<(String, Variable)>,
}

/// Reads an expression, on a thread whose stack is deep enough for what is allowed.
fn parse(text: &str) -> Result<Program, String> {
    let reads = || {
        ENV.compile(text).map_err(|errors| match errors.errors.first() {
            Some(error) => format!("is not CEL at column {}: {}", error.pos.1, error.msg),
            None => "is not CEL".to_owned(),
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(EXPRESSION_STACK);
        let reading = thread.spawn_scoped(scope, reads);
        let reading = reading.map_err(|error| format!("cannot be read now: {error}"))?;
        reading.join().unwrap_or_else(|_| Err("is not CEL".to_owned()))
    })
}

impl Expression {
    /// Compiles the text in `node` and tries it once.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>, path: &str) -> Option<Self> {
        let text = reader.text(node, path)?;
        match Self::compile(text) {
            Ok(expression) => Some(expression),
            Err(message) => {
                reader.problem(node.span(), path, message);
                None
            }
        }
    }

    fn compile(text: &str) -> Result<Self, String> {
        if text.len() > EXPRESSION_BYTES {
            return Err(format!("may have at most {EXPRESSION_BYTES} bytes"));
        }
        let pairs = ["&&", "||"].map(|pair| text.matches(pair).count());
        let single = text.bytes().filter(|byte| b"([{!-+*/%?".contains(byte)).count();
        if single + pairs.iter().sum::<usize>() > EXPRESSION_NESTING {
            return Err(format!("may have at most {EXPRESSION_NESTING} brackets and operators"));
        }
        let program = parse(text)?;
        let references = program.references();
        let is_operator = |name: &str| !name.starts_with(|first: char| first.is_alphabetic());
        let mut named = references.functions();
        named.retain(|name| !is_operator(name) && !FUNCTIONS.contains(name));
        if let Some(stranger) = named.first() {
            return Err(format!("has no function {stranger}; there are {}", FUNCTIONS.join(", ")));
        }
        let mut variables = Vec::new();
        for name in references.variables() {
            variables.push((name.to_owned(), variable(name)?));
        }
        variables.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let expression = Self { program, variables };
        let headers = http::HeaderMap::new();
        let facts = Facts {
            model: "author/model",
            slug: "author/model",
            key: "",
            workspace: "",
            tags: &[],
            stream: false,
            tools: false,
            max_tokens: 0,
            prompt_tokens: 0,
            headers: &headers,
            dry: true,
        };
        expression.holds(facts.model, &facts).map(|_| expression)
    }

    /// Whether it holds for `facts`, with `model` in the place of theirs.
    ///
    /// # Errors
    /// It compares what cannot be compared, or is no condition: in words for whoever wrote it.
    pub(super) fn holds(&self, model: &str, facts: &Facts<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        for (name, variable) in &self.variables {
            context.add_variable_as_val(name.as_str(), variable.value(model, facts));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("must be true or false in the end".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn variable(name: &str) -> Result<Variable, String> {
    if let Some((_, variable)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(variable.clone());
    }
    let header = name.strip_prefix(HEADER).map(|header| header.replace('_', "-"));
    let header = header.and_then(|header| HeaderName::from_bytes(header.as_bytes()).ok());
    match header {
        Some(header) if super::when::is_secret(&header) => {
            Err(format!("{name} holds a secret; match the caller's key by its name: key"))
        }
        Some(header) => Ok(Variable::Header(header)),
        None => {
            let names = NAMES.map(|(name, _)| name).join(", ");
            Err(format!("knows no {name}; there are {names}, and header_x_team for X-Team"))
        }
    }
}

impl Variable {
    fn value<'v>(&self, model: &'v str, facts: &Facts<'v>) -> Box<dyn Val + 'v> {
        let text = |text: &'v str| -> Box<dyn Val + 'v> { Box::new(CelString::from(text)) };
        let count = |count: u64| -> Box<dyn Val + 'v> {
            Box::new(CelInt::from(i64::try_from(count).unwrap_or(i64::MAX)))
        };
        match self {
            Self::Model => text(model),
            Self::Key => text(facts.key),
            Self::Workspace => text(facts.workspace),
            Self::Tags => {
                let tags = facts.tags.iter().map(|tag| text(tag)).collect::<Vec<_>>();
                Box::new(CelList::from(tags))
            }
            Self::Stream => Box::new(CelBool::from(facts.stream)),
            Self::Tools => Box::new(CelBool::from(facts.tools)),
            Self::MaxTokens => count(facts.max_tokens),
            Self::PromptTokens => count(facts.prompt_tokens),
            // One that is absent, or no text, is empty.
            Self::Header(name) => {
                text(facts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or(""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn says(text: &str) -> Result<bool, String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-team", HeaderValue::from_static("blue"));
        let tags = ["batch".into(), "eu".into()];
        let facts = Facts {
            model: "a/b",
            slug: "a/b",
            key: "ci",
            workspace: "w",
            tags: &tags,
            stream: true,
            tools: false,
            max_tokens: 100,
            prompt_tokens: 9_000,
            headers: &headers,
            dry: false,
        };
        Expression::compile(text)?.holds("a/b", &facts)
    }

    #[test]
    fn every_name_can_be_compared() {
        for text in [
            "model == 'a/b' && key == \"ci\" && workspace in ['w', 'v']",
            "'eu' in tags && !('us' in tags) && size(tags) == 2",
            "stream && !tools",
            "max_tokens < 1000 && prompt_tokens + max_tokens > 9000",
            "header_x_team == 'blue' && header_x_absent == ''",
            "model.startsWith('a/') || false",
            "header_x_team.contains('lu') ? key.endsWith('i') : false",
        ] {
            assert_eq!(says(text), Ok(true), "{text}");
        }
        assert_eq!(says("prompt_tokens > 10000"), Ok(false));
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused_at_load() {
        for (text, says_so) in [
            ("model ==", "is not CEL at column"),
            ("modell == 'x'", "knows no modell"),
            ("'a' in tags || tags.exists(t, t == 'b')", "has no function exists"),
            ("[1].all(x, x > 0)", "has no function all"),
            ("model.matches('a')", "has no function matches"),
            ("header_authorization == 'x'", "holds a secret"),
            ("header_x_api_key == 'x'", "holds a secret"),
            ("max_tokens", "true or false"),
            ("model > 1 || stream", "overload"),
        ] {
            let error = Expression::compile(text).expect_err(text);
            assert!(error.contains(says_so), "{text}: {error}");
        }
        let long = format!("model == '{}'", "x".repeat(EXPRESSION_BYTES));
        assert!(Expression::compile(&long).unwrap_err().contains("bytes"));
        for (open, close) in [("(", ")"), ("!", ""), ("-", ""), ("1+", "")] {
            let nested = |depth: usize| {
                let inner = if open == "!" || open == "(" { "stream" } else { "1 > 0" };
                Expression::compile(&format!(
                    "{}{inner}{}",
                    open.repeat(depth),
                    close.repeat(depth)
                ))
            };
            let error = nested(EXPRESSION_NESTING + 1).unwrap_err();
            assert!(error.contains("brackets and operators"), "{open}: {error}");
            // At the bound it ends, whatever it says.
            drop(nested(EXPRESSION_NESTING));
        }
        let chain = ["stream"; EXPRESSION_NESTING + 1].join("||");
        assert!(Expression::compile(&chain).is_ok());
    }
}
