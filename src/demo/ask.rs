//! What a simulated provider reads of a request: as much as steers its answer, and no more.

use serde::Deserialize;
use serde_json::value::{RawValue, Value};

/// What a message costs besides its content: three tokens.
const ROLE_BYTES: usize = 12;

/// The body of a chat, completion or embedding request; unknown fields are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Ask {
    pub model: String,
    #[serde(default)]
    pub messages: Vec<Message>,
    /// A completion's prompt: text, texts or token numbers.
    #[serde(default)]
    pub prompt: Option<Value>,
    /// What to embed: text, texts or token numbers.
    #[serde(default)]
    pub input: Option<Value>,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub stream_options: StreamOptions,
    #[serde(default)]
    pub max_tokens: Option<u64>,
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
    #[serde(default)]
    pub n: Option<u64>,
    #[serde(default)]
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub tool_choice: Option<Value>,
    #[serde(default)]
    pub dimensions: Option<usize>,
    #[serde(default)]
    pub encoding_format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub role: String,
    /// Kept as it was written: only its size counts.
    #[serde(default)]
    pub content: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tool {
    pub function: Function,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub name: String,
    #[serde(default)]
    pub parameters: Value,
}

impl Ask {
    /// The tool this answer calls: the first one, when the caller's last word is the user's and tools
    /// are not switched off. A tool's result is answered in words.
    pub(super) fn calls(&self) -> Option<&Function> {
        let off = self.tool_choice.as_ref().and_then(Value::as_str) == Some("none");
        let asked = self.messages.last().is_some_and(|message| message.role == "user");
        self.tools.first().filter(|_| asked && !off).map(|tool| &tool.function)
    }

    /// Tokens of the prompt: one per four bytes of its text, three more per message, at least one.
    pub(super) fn prompt_tokens(&self) -> u64 {
        let content = |message: &Message| message.content.as_ref().map_or(0, |raw| raw.get().len());
        let chat: usize = self.messages.iter().map(|message| ROLE_BYTES + content(message)).sum();
        let rest: usize = [&self.prompt, &self.input].into_iter().flatten().map(text_bytes).sum();
        u64::try_from((chat + rest).div_ceil(4)).unwrap_or(u64::MAX).max(1)
    }

    /// The prompt's bytes, as many as its tokens are counted by: what a cache of prompts knows.
    pub(super) fn prompt(&self) -> Vec<u8> {
        let mut prompt = Vec::new();
        for message in &self.messages {
            let mut role = message.role.clone().into_bytes();
            role.resize(ROLE_BYTES, b' ');
            prompt.extend(role);
            prompt.extend(message.content.iter().flat_map(|raw| raw.get().bytes()));
        }
        prompt.extend(self.prompt.iter().flat_map(|text| text.to_string().into_bytes()));
        prompt
    }

    /// The caller's limit on completion tokens, if any.
    pub(super) fn limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// What to embed, one entry per vector asked for.
    pub(super) fn inputs(&self) -> Vec<&Value> {
        match &self.input {
            Some(Value::Array(items)) if items.iter().all(|item| !item.is_number()) => {
                items.iter().collect()
            }
            Some(one) => vec![one],
            None => Vec::new(),
        }
    }
}

/// Bytes a value's text takes; a token number counts as one token's four.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Number(_) => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &str) -> Ask {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_tool_is_called_once_and_only_for_the_user() {
        let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
        let user = r#"{"role":"user","content":"x"}"#;
        let result = r#"{"role":"tool","tool_call_id":"c","content":"1"}"#;
        let body = |messages: &str, more: &str| {
            ask(&format!(r#"{{"model":"m","messages":[{messages}],{tools}{more}}}"#))
        };
        assert_eq!(body(user, "").calls().map(|f| f.name.as_str()), Some("f"));
        assert!(body(&format!("{user},{result}"), "").calls().is_none());
        assert!(body(user, r#","tool_choice":"none""#).calls().is_none());
        assert!(ask(&format!(r#"{{"model":"m","messages":[{user}]}}"#)).calls().is_none());
    }

    #[test]
    fn prompts_of_every_shape_are_counted() {
        assert_eq!(ask(r#"{"model":"m","prompt":"12345"}"#).prompt_tokens(), 2);
        assert_eq!(ask(r#"{"model":"m","prompt":["1234",[1,2]]}"#).prompt_tokens(), 3);
        assert_eq!(ask(r#"{"model":"m"}"#).prompt_tokens(), 1);
        let parts = r#"{"model":"m","messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
        assert_eq!(ask(parts).prompt_tokens(), (12 + 15_u64).div_ceil(4));
    }

    #[test]
    fn a_list_of_numbers_is_one_input() {
        assert_eq!(ask(r#"{"model":"m","input":[1,2]}"#).inputs().len(), 1);
        assert_eq!(ask(r#"{"model":"m","input":["a","b"]}"#).inputs().len(), 2);
        assert_eq!(ask(r#"{"model":"m","input":[[1],[2]]}"#).inputs().len(), 2);
        assert_eq!(ask(r#"{"model":"m"}"#).inputs().len(), 0);
    }
}
