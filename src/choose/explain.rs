//! What selection makes of a request, in words: for `weir explain` and the operators' listener.

use super::{Planned, Request};
use crate::endpoint::{ErrorClass, Report};
use crate::error::Error;
use crate::price::format_usd;
use crate::request::envelope::{Envelope, read};
use crate::request::route::Operation;
use crate::selection::{Candidate, Facts, Score};
use std::iter::repeat;

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
        let mut text = String::new();
        for planned in &chosen.planned {
            text.push_str(&steps(planned));
            if !chosen.across {
                let chances = planned.plan.chances().into_iter().map(Some).chain(repeat(None));
                for ((rank, score), chance) in planned.plan.ranked.iter().enumerate().zip(chances) {
                    let reasons = self.reasons(planned, score, chance);
                    text.push_str(&ranked(rank, tag(planned, score.index), &reasons));
                }
            }
        }
        if chosen.across {
            for (rank, (score, model)) in chosen.tried().into_iter().enumerate() {
                let Some(planned) = chosen.planned.get(model) else { continue };
                let name = format!("{}@{}", planned.pool.model.slug, tag(planned, score.index));
                text.push_str(&ranked(rank, &name, &self.reasons(planned, &score, None)));
            }
        }
        let refusal = chosen.refusal().as_ref().map(Explanation::refused);
        let tried = refusal.is_none();
        text.extend(refusal.map(|refused| refused.text));
        Explanation { text, tried }
    }

    /// What an endpoint was ranked by, what is known of it, and what it will not be sent.
    fn reasons(&self, planned: &Planned<'_>, score: &Score, chance: Option<f64>) -> String {
        let mut parts = vec![format!("expected ${}", format_usd(score.price.into()))];
        let mut say = |holds: bool, part: String| parts.extend(holds.then_some(part));
        say(chance.is_some(), format!("chance {:.3}", chance.unwrap_or_default()));
        say(score.cold == 0, "warm".to_owned());
        say(score.tier > 0, format!("tier {}", score.tier));
        say(score.preferred > 0, format!("preference {}", score.preferred));
        say(score.in_flight > 0, format!("{} in flight", score.in_flight));
        if let Some(Candidate { endpoint, facts }) = planned.candidates.get(score.index) {
            let Facts { latency_ms: [latency, ..], throughput: [tenths, ..], .. } = facts;
            say(*latency > 0, format!("first content in {latency} ms"));
            let Report { uptime_30m, cache_hits, tool_errors, cut_short, errors, .. } =
                planned.target(score.index).map(|target| (self.report)(target)).unwrap_or_default();
            say(*tenths > 0, format!("{}.{} tokens/s", tenths / 10, tenths % 10));
            for (name, share) in [
                ("uptime", uptime_30m),
                ("cache hits", cache_hits),
                ("tool errors", tool_errors),
                ("cut short", cut_short),
            ] {
                if let Some(share) = share {
                    say(true, format!("{name} {}.{} %", share / 10, share % 10));
                }
            }
            for (class, count) in ErrorClass::ALL.iter().zip(errors) {
                say(count > 0, format!("{count} {} errors", class.1));
            }
            let unheard = endpoint.parameters.dropped();
            let sent = self.envelope.parameters;
            let dropped: Vec<&str> = sent.without(sent.without(unheard)).names().collect();
            say(!dropped.is_empty(), format!("not sent {}", dropped.join(" ")));
        }
        let demoted: Vec<&str> = score.demotion.labels().collect();
        say(!demoted.is_empty(), format!("demoted by {}", demoted.join(", ")));
        parts.join(", ")
    }
}

/// One model: what it was asked for as, by which rules, what each step left, and who is out.
fn steps(planned: &Planned<'_>) -> String {
    let slug = &*planned.pool.model.slug;
    let mut text = format!("model     {slug}");
    if planned.asked != slug {
        text.push_str(&format!(", asked for as {}", planned.asked));
    }
    text.push('\n');
    text.extend(planned.rules.iter().map(|rule| format!("rule      {rule}\n")));
    text.push_str(&format!("seed      {}\n", planned.seed));
    for (step, left) in planned.steps() {
        text.push_str(&format!("step      {step}: {left} left\n"));
    }
    for (index, exclusion) in &planned.plan.excluded {
        text.push_str(&format!("excluded  {}: {}\n", tag(planned, *index), exclusion.as_str()));
    }
    text
}

fn tag<'a>(planned: &Planned<'a>, index: usize) -> &'a str {
    planned.target(index).map_or("?", |target| &*target.endpoint.tag)
}

fn ranked(rank: usize, name: &str, reasons: &str) -> String {
    format!("rank {:<4} {name}: {reasons}\n", rank + 1)
}
