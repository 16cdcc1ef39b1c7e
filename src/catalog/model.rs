//! What a caller names, and the endpoints that serve it.

use super::{DataPolicy, Modalities, Parameters, Provider, Tier, Timeouts};
use crate::price::Schedule;
use std::sync::Arc;

/// Request fields of Weir's or the contract's own, which an upstream only receives if its endpoint
/// declares them (design, "What is consumed").
pub const DECLARABLE: [&str; 16] = [
    "models",
    "provider",
    "route",
    "plugins",
    "preset",
    "session_id",
    "transforms",
    "usage",
    "include_reasoning",
    "debug",
    "trace",
    "cache_control",
    "deferred_tools",
    "max_tool_calls",
    "prompt_cache_options",
    "stop_server_tools_when",
];

/// One way to be served one model: the unit of selection.
#[derive(Debug)]
pub struct Endpoint {
    /// Stable across reloads: `model@tag`. Live state and metrics are keyed by it.
    pub id: Arc<str>,
    /// The model's slug.
    pub model: Arc<str>,
    pub provider: Arc<Provider>,
    /// Name the provider knows the model by.
    pub upstream_model: Arc<str>,
    /// Routing slug: `provider` or `provider/variant` (`deepinfra/turbo`).
    pub tag: Arc<str>,
    pub quantization: Option<Arc<str>>,
    pub context_length: u64,
    pub max_completion_tokens: Option<u64>,
    pub price: Schedule,
    pub supported_parameters: Vec<String>,
    /// The same as a set.
    pub parameters: Parameters,
    /// What the model takes and gives.
    pub input: Modalities,
    pub output: Modalities,
    /// Serves this tier alone, and only to requests that ask for it (contract 3.8).
    pub tier: Option<Tier>,
    /// Whether the model's author permits distillation.
    pub distillable: bool,
    /// What is done with prompts here; the provider's unless configured.
    pub policy: DataPolicy,
    /// Fields of [`DECLARABLE`] (`usage`, `provider`, ...) this upstream understands and so receives.
    pub declares: Vec<String>,
    /// Overrides the provider's.
    pub timeouts: Timeouts,
}

/// What a model can be scored by: Artificial Analysis' indices, and the best Elo of Design Arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    Intelligence,
    Coding,
    Agentic,
    DesignArena,
}

impl Benchmark {
    pub const ALL: [(&'static str, Self); 4] = [
        ("intelligence", Self::Intelligence),
        ("coding", Self::Coding),
        ("agentic", Self::Agentic),
        ("design_arena", Self::DesignArena),
    ];
}

/// Scores in thousandths, where the operator gives them, in the order of [`Benchmark::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scores(pub [Option<u64>; Benchmark::ALL.len()]);

impl Scores {
    /// The score by this benchmark.
    #[must_use]
    pub fn get(&self, benchmark: Benchmark) -> Option<u64> {
        self.0.get(benchmark as usize).copied().flatten()
    }
}

/// What a caller names, with all endpoints that serve it: the pool.
#[derive(Debug, Clone)]
pub struct Model {
    /// `author/slug`.
    pub slug: Arc<str>,
    pub name: String,
    /// Unix seconds.
    pub created: u64,
    pub description: String,
    pub context_length: u64,
    pub input_modalities: Vec<String>,
    pub output_modalities: Vec<String>,
    /// Whether its author permits distillation.
    pub distillable: bool,
    /// The tokenizer's family, as `GET models` names it.
    pub tokenizer: Option<String>,
    /// Day or month its training data ends, `2024-07` or `2024-07-31`.
    pub knowledge_cutoff: Option<String>,
    /// Name on Hugging Face.
    pub hugging_face_id: Option<String>,
    /// Uses by which `GET models` finds it (`programming`).
    pub categories: Vec<String>,
    pub scores: Scores,
    /// Other names that mean this model (bare upstream names, dated slugs).
    pub aliases: Vec<String>,
    pub endpoints: Vec<Arc<Endpoint>>,
}
