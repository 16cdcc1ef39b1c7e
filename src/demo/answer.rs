//! What a simulated provider says, in the OpenAI dialect: pure, the same for the same request.

use super::ask::{Ask, Function};
use crate::request::route::Operation;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const WORDS: &str = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor \
incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation \
ullamco laboris nisi ut aliquip ex ea commodo consequat. Duis aute irure dolor in reprehenderit in \
voluptate velit esse cillum dolore eu fugiat nulla pariatur.";

/// Longest vector an embedding may ask for.
const DIMENSIONS: usize = 4_096;

/// One answer, composed before the first byte is sent. Every piece is one token and one event.
pub(super) struct Answer<'a> {
    ask: &'a Ask,
    operation: Operation,
    id: String,
    created: u64,
    prompt_tokens: u64,
    /// Those of them that were read from a cache.
    cached_tokens: u64,
    pieces: Vec<String>,
    call: Option<&'a Function>,
    finish: &'static str,
}

impl<'a> Answer<'a> {
    /// An answer of `tokens` tokens, or fewer if the caller limits them. `serial`, `created` (Unix
    /// seconds) and cached tokens are what differs between two answers to one request.
    pub(super) fn new(
        ask: &'a Ask,
        operation: Operation,
        tokens: u64,
        (serial, created, cached_tokens): (u64, u64, u64),
    ) -> Self {
        let call = ask.calls();
        let mut pieces =
            call.map_or_else(|| words(tokens), |function| fragments(&arguments(function)));
        let limit = usize::try_from(ask.limit().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let finish = match call {
            _ if pieces.len() > limit => "length",
            Some(_) => "tool_calls",
            None => "stop",
        };
        pieces.truncate(limit);
        let id = match operation {
            Operation::Chat => format!("chatcmpl-{serial:016x}"),
            Operation::Completion | Operation::Embedding => format!("cmpl-{serial:016x}"),
        };
        let prompt_tokens = ask.prompt_tokens();
        Self { ask, operation, id, created, prompt_tokens, cached_tokens, pieces, call, finish }
    }

    /// Completion tokens, and so content events.
    pub(super) fn tokens(&self) -> usize {
        self.pieces.len()
    }

    fn usage(&self) -> Value {
        let completion = self.pieces.len() as u64;
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": 0},
        })
    }

    /// The unstreamed reply.
    pub(super) fn whole(&self) -> Value {
        let text: String = self.pieces.concat();
        let (object, mut choice) = match (self.operation, self.call) {
            (Operation::Completion | Operation::Embedding, _) => {
                ("text_completion", json!({"text": text}))
            }
            (Operation::Chat, None) => (
                "chat.completion",
                json!({"message": {"role": "assistant", "content": text, "refusal": null}}),
            ),
            (Operation::Chat, Some(function)) => (
                "chat.completion",
                json!({"message": {"role": "assistant", "content": null, "tool_calls": [
                    {"id": self.call_id(), "type": "function",
                     "function": {"name": function.name, "arguments": text}}]}}),
            ),
        };
        merge(&mut choice, json!({"index": 0, "logprobs": null, "finish_reason": self.finish}));
        json!({"id": self.id, "object": object, "created": self.created, "model": self.ask.model,
               "choices": [choice], "usage": self.usage()})
    }

    /// What opens a stream before its first token: the role, and the call's name.
    pub(super) fn opening(&self) -> Option<Value> {
        match (self.operation, self.call) {
            (Operation::Chat, None) => {
                Some(self.chunk(json!({"delta": {"role": "assistant", "content": ""}}), None))
            }
            (Operation::Chat, Some(function)) => Some(self.chunk(
                json!({"delta": {"role": "assistant", "content": null, "tool_calls": [
                    {"index": 0, "id": self.call_id(), "type": "function",
                     "function": {"name": function.name, "arguments": ""}}]}}),
                None,
            )),
            (Operation::Completion | Operation::Embedding, _) => None,
        }
    }

    /// One event per token.
    pub(super) fn events(&self) -> impl Iterator<Item = Value> + '_ {
        self.pieces.iter().map(|piece| self.chunk(self.delta(piece), None))
    }

    /// What closes a stream before `[DONE]`: the finish reason, and usage in a chunk of its own if it
    /// was asked for.
    pub(super) fn closing(&self) -> Vec<Value> {
        let last = match self.operation {
            Operation::Chat => json!({"delta": {}}),
            Operation::Completion | Operation::Embedding => json!({"text": ""}),
        };
        let mut closing = vec![self.chunk(last, Some(self.finish))];
        if self.ask.stream_options.include_usage {
            let mut chunk = self.chunk(json!({}), None);
            merge(&mut chunk, json!({"choices": [], "usage": self.usage()}));
            closing.push(chunk);
        }
        closing
    }

    fn delta(&self, piece: &str) -> Value {
        match (self.operation, self.call) {
            (Operation::Chat, None) => json!({"delta": {"content": piece}}),
            (Operation::Chat, Some(_)) => json!({"delta": {"tool_calls": [
                {"index": 0, "function": {"arguments": piece}}]}}),
            (Operation::Completion | Operation::Embedding, _) => json!({"text": piece}),
        }
    }

    fn chunk(&self, mut choice: Value, finish: Option<&str>) -> Value {
        merge(&mut choice, json!({"index": 0, "logprobs": null, "finish_reason": finish}));
        let object = match self.operation {
            Operation::Chat => "chat.completion.chunk",
            Operation::Completion | Operation::Embedding => "text_completion",
        };
        json!({"id": self.id, "object": object, "created": self.created, "model": self.ask.model,
               "choices": [choice]})
    }

    fn call_id(&self) -> String {
        format!("call_{}", self.id.rsplit('-').next().unwrap_or_default())
    }
}

/// The reply to an embedding request: a vector per input, of eight numbers unless asked otherwise.
pub(super) fn embeddings(ask: &Ask) -> Value {
    let length = ask.dimensions.unwrap_or(8).min(DIMENSIONS);
    let packed = ask.encoding_format.as_deref() == Some("base64");
    let data: Vec<Value> = ask
        .inputs()
        .into_iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(&input.to_string(), length);
            let embedding = if packed {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens = ask.prompt_tokens();
    json!({"object": "list", "data": data, "model": ask.model,
           "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
}

/// An error in the dialect's envelope.
pub(super) fn error(status: u16, kind: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": status}})
}

fn words(tokens: u64) -> Vec<String> {
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    let spaced = |(at, word): (usize, &str)| if at == 0 { word.into() } else { format!(" {word}") };
    WORDS.split(' ').cycle().enumerate().take(tokens).map(spaced).collect()
}

/// Arguments that fit the function's own schema, as JSON text.
fn arguments(function: &Function) -> String {
    let properties = function.parameters.get("properties").and_then(Value::as_object);
    let filled: serde_json::Map<String, Value> = properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), example(schema)))
        .collect();
    Value::Object(filled).to_string()
}

fn example(schema: &Value) -> Value {
    if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("number" | "integer") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("lorem"),
    }
}

/// Cuts text into tokens of about four characters.
fn fragments(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(4).map(|chunk| chunk.iter().collect()).collect()
}

/// Numbers between -1 and 1 that depend on the text alone (FNV-1a, then steps of an LCG).
fn vector(text: &str, length: usize) -> Vec<f32> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let step = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from((state >> 48) as i16) / 32_768.0
    };
    (0..length).map(step).collect()
}

/// Puts the fields of `more` over those of `into`.
fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

#[cfg(test)]
mod tests;
