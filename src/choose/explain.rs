//! What selection makes of a request, in words: for `weir explain` and the operators' listener.

use super::{Planned, Request};
use crate::error::Error;
use crate::price::format_usd;
use crate::request::envelope::{Envelope, read};
use crate::request::route::Operation;
use crate::selection::Score;

/// A request explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One line for each step, exclusion and rank, and for the refusal.
    pub text: String,
    /// Whether anything would be tried.
    pub tried: bool,
}

impl Explanation {
    /// Reads a chat request's body and lets `explain` go on with what it says.
    #[must_use]
    pub fn of(body: &[u8], explain: impl FnOnce(&Envelope) -> Self) -> Self {
        read(body, Operation::Chat)
            .map_or_else(|refusal| Self::refused(&refusal.into()), |envelope| explain(&envelope))
    }

    fn refused(error: &Error) -> Self {
        Self { text: format!("refused   {} {}\n", error.status, error.message), tried: false }
    }
}

impl Request<'_> {
    /// Each step with what it left, who is out and why, who is in with what it was ranked by.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let chosen = match self.choose() {
            Ok(chosen) => chosen,
            Err(refusal) => return Explanation::refused(&refusal),
        };
        let mut text: String = chosen.planned.iter().map(show).collect();
        let refusal = chosen.refusal().as_ref().map(Explanation::refused);
        let tried = refusal.is_none();
        text.extend(refusal.map(|refused| refused.text));
        Explanation { text, tried }
    }
}

/// One model.
fn show(planned: &Planned<'_>) -> String {
    let slug = &*planned.pool.model.slug;
    let mut text = format!("model     {slug}");
    if planned.asked != slug {
        text.push_str(&format!(", asked for as {}", planned.asked));
    }
    text.push_str(&format!("\nseed      {}\n", planned.seed));
    for (step, left) in planned.steps() {
        text.push_str(&format!("step      {step}: {left} left\n"));
    }
    let tag = |index: usize| planned.target(index).map_or("?", |target| &*target.endpoint.tag);
    for (index, exclusion) in &planned.plan.excluded {
        text.push_str(&format!("excluded  {}: {}\n", tag(*index), exclusion.as_str()));
    }
    for (rank, score) in planned.plan.ranked.iter().enumerate() {
        text.push_str(&format!("rank {:<4} {}: {}\n", rank + 1, tag(score.index), reasons(score)));
    }
    text
}

fn reasons(score: &Score) -> String {
    let mut parts = vec![format!("expected ${}", format_usd(score.price.into()))];
    if score.cold == 0 {
        parts.push("warm".to_owned());
    }
    if score.tier > 0 {
        parts.push(format!("tier {}", score.tier));
    }
    if score.preferred > 0 {
        parts.push(format!("preference {}", score.preferred));
    }
    if let Some(errors) = score.tool_errors {
        parts.push(format!("tool errors {}.{} %", errors / 10, errors % 10));
    }
    let demoted: Vec<&str> = score.demotion.labels().collect();
    if !demoted.is_empty() {
        parts.push(format!("demoted by {}", demoted.join(", ")));
    }
    parts.join(", ")
}
