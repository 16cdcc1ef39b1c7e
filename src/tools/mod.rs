//! Tool calls of a reply, judged by what the request offered (contract 3.6). Pure: bytes in, a verdict out.
//!
//! Both sides come from outside, so everything is bounded: text and number of tools and calls, steps and
//! depth of the judgement, size of patterns. What is past a bound is not judged, which counts for nobody.

mod calls;
mod containers;
mod schema;
#[cfg(test)]
mod tests;
mod values;

pub use calls::{Calls, Piece};
pub use schema::accepts;

use crate::bounds::{SCHEMA_STEPS, TOOLS};
use calls::Call;
use schema::Unsure;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What is made of a reply that called tools: of all its calls the first fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    /// Arguments that are not JSON.
    InvalidJson,
    /// A tool that the request does not offer.
    UnknownName,
    /// Arguments that the tool's `parameters` refuse.
    SchemaMismatch,
    /// It ended to call tools, and called none.
    Missing,
    /// Too much to judge, or a schema that says what cannot be told here.
    Unjudged,
}

impl Verdict {
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Valid, "valid"),
        (Self::InvalidJson, "invalid_json"),
        (Self::UnknownName, "unknown_name"),
        (Self::SchemaMismatch, "schema_mismatch"),
        (Self::Missing, "missing"),
        (Self::Unjudged, "unjudged"),
    ];

    /// Whether the reply was good; `None` if that is not known.
    #[must_use]
    pub const fn is_good(self) -> Option<bool> {
        match self {
            Self::Valid => Some(true),
            Self::Unjudged => None,
            _ => Some(false),
        }
    }
}

/// One of a request's `tools`.
#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

/// Judges the calls of a reply by the text of the request's `tools`.
#[must_use]
pub fn judge(tools: &[u8], calls: &Calls) -> Verdict {
    let tools: Vec<Tool<'_>> = match serde_json::from_slice(tools) {
        Ok(tools) => tools,
        Err(_) => return Verdict::Unjudged,
    };
    if calls.are_incomplete() || tools.len() > TOOLS {
        return Verdict::Unjudged;
    }
    if calls.list().is_empty() {
        return Verdict::Missing;
    }
    let mut steps = SCHEMA_STEPS;
    let mut verdict = Verdict::Valid;
    for call in calls.list() {
        match judge_one(&tools, call, &mut steps) {
            Ok(Verdict::Valid) => {}
            Ok(fault) => return fault,
            Err(Unsure) => verdict = Verdict::Unjudged,
        }
    }
    verdict
}

fn judge_one(tools: &[Tool<'_>], call: &Call, steps: &mut usize) -> Result<Verdict, Unsure> {
    let mut functions = tools.iter().filter_map(|tool| tool.function.as_ref());
    let Some(function) = functions.find(|function| function.name == call.name) else {
        // Tools of other sorts have names of their own.
        let all_are_functions = tools.iter().all(|tool| tool.function.is_some());
        return if all_are_functions { Ok(Verdict::UnknownName) } else { Err(Unsure) };
    };
    // Some write nothing where nothing is to be said.
    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let Ok(arguments) = serde_json::from_str::<Value>(text) else {
        return Ok(Verdict::InvalidJson);
    };
    let Some(parameters) = function.parameters else { return Ok(Verdict::Valid) };
    schema::spend(steps, parameters.get().len() / BYTES_PER_STEP)?;
    let schema: Value = serde_json::from_str(parameters.get()).map_err(|_| Unsure)?;
    let fits = schema::check(&schema, &arguments, steps)?;
    Ok(if fits { Verdict::Valid } else { Verdict::SchemaMismatch })
}

/// Bytes of a schema that take as long to read as a step.
const BYTES_PER_STEP: usize = 16;
