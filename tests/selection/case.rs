//! The form of a case file.

use serde::Deserialize;
use std::collections::BTreeMap;
use weir::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The row of the contract.
    pub(crate) row: String,
    /// What the case shows, in words.
    pub(crate) says: String,
    /// The model as the caller writes it.
    pub(crate) model: Option<String>,
    /// Members of the request's body, as an object; messages are added where there are none.
    #[serde(default)]
    pub(crate) request: String,
    /// Length the body is taken to have.
    pub(crate) body_bytes: Option<usize>,
    /// Policies that hold besides the request's own, each as a `provider` object.
    #[serde(default)]
    pub(crate) layers: Vec<String>,
    #[serde(default)]
    pub(crate) endpoint: Vec<Endpoint>,
    pub(crate) expect: Expect,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Tags, for every seed.
    pub(crate) order: Option<Vec<String>>,
    /// The last tag, for every seed.
    pub(crate) last: Option<String>,
    /// How often each tag is first.
    #[serde(default)]
    pub(crate) first: BTreeMap<String, f64>,
    /// Tags and reasons: all there are.
    pub(crate) excluded: Option<BTreeMap<String, String>>,
    /// Tags and why they are tried later than others.
    #[serde(default)]
    pub(crate) demoted: BTreeMap<String, Vec<String>>,
    pub(crate) refused: Option<Refused>,
    /// What is wrong with the body.
    pub(crate) bad: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) excluded_by: Vec<String>,
    /// Steps and what they left.
    pub(crate) funnel: Vec<(String, usize)>,
}

impl Refused {
    pub(crate) fn check(&self, error: &Error) {
        let told = error.availability.as_deref().expect("a refusal explains itself");
        assert_eq!(
            (error.status, &*error.message, told.code),
            (self.status, &*self.message, &*self.code)
        );
        assert_eq!(told.excluded_by, self.excluded_by);
        let funnel: Vec<_> =
            told.funnel.iter().map(|(step, left)| ((*step).to_owned(), *left)).collect();
        assert_eq!(funnel, self.funnel);
    }
}

/// An endpoint and what is known of it. Prices are dollars per million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Endpoint {
    pub(crate) tag: String,
    pub(crate) name: Option<String>,
    pub(crate) price: String,
    pub(crate) output: String,
    pub(crate) cache_read: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) audio: Option<String>,
    pub(crate) per_request: String,
    pub(crate) quantization: Option<String>,
    pub(crate) context_length: u64,
    pub(crate) max_completion_tokens: Option<u64>,
    pub(crate) parameters: Vec<String>,
    pub(crate) input: Vec<String>,
    pub(crate) gives: Vec<String>,
    pub(crate) tier: Option<String>,
    pub(crate) distillable: bool,
    pub(crate) trains: bool,
    pub(crate) retains: bool,
    pub(crate) dormant: bool,
    pub(crate) down: bool,
    pub(crate) ejected: bool,
    pub(crate) cooling: bool,
    pub(crate) outage: bool,
    pub(crate) warm: bool,
    pub(crate) grade: Option<String>,
    pub(crate) in_flight: u32,
    pub(crate) latency_ms: [u32; 4],
    pub(crate) throughput: [u32; 4],
    pub(crate) attempts: u32,
    pub(crate) tool_replies: u32,
    pub(crate) tool_errors: u32,
    pub(crate) finishes: u32,
    pub(crate) cut_short: u32,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            tag: String::new(),
            name: None,
            price: "1".to_owned(),
            output: "0".to_owned(),
            cache_read: None,
            image: None,
            audio: None,
            per_request: "0".to_owned(),
            quantization: None,
            context_length: 8_192,
            max_completion_tokens: None,
            parameters: Vec::new(),
            input: vec!["text".to_owned()],
            gives: vec!["text".to_owned()],
            tier: None,
            distillable: false,
            trains: false,
            retains: false,
            dormant: false,
            down: false,
            ejected: false,
            cooling: false,
            outage: false,
            warm: false,
            grade: None,
            in_flight: 0,
            latency_ms: [0; 4],
            throughput: [0; 4],
            attempts: 0,
            tool_replies: 0,
            tool_errors: 0,
            finishes: 0,
            cut_short: 0,
        }
    }
}

impl Endpoint {
    /// The provider's display name.
    pub(crate) fn display(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.tag.split('/').next().unwrap_or_default())
    }
}
