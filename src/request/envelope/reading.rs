//! An envelope in the making, member by member.

use super::{Envelope, Member};
use crate::bounds::{MEMBERS_KEPT, MODELS_PER_REQUEST, SESSION_ID_CHARS};
use crate::catalog::{Parameters, Tier};
use crate::request::body_error::{BodyError, is_model_name, not_a_model};
use crate::request::fields;
use crate::request::keys::Fate;
use crate::request::messages;
use crate::request::preferences;
use crate::request::reasoning::Reasoning;
use crate::request::route::Operation;
use crate::request::scan::Scanner;
use crate::selection::Service;
use std::sync::Arc;

/// An envelope in the making.
#[derive(Default)]
pub(super) struct Reading {
    envelope: Envelope,
    model: Option<Arc<str>>,
    models: Vec<Arc<str>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    has_messages: bool,
    service_tier: Option<Service>,
    fast: bool,
    reasoning: Reasoning,
}

impl Reading {
    /// Of a request for `operation`, whose top-level object is open at this offset.
    pub(super) fn new(operation: Operation, open: usize) -> Self {
        Self { envelope: Envelope { operation, open, ..Envelope::default() }, ..Self::default() }
    }

    /// Reads the value of one member and remembers where it lies. `end`: of the member before.
    pub(super) fn member(
        &mut self,
        scanner: &mut Scanner<'_>,
        known: Option<(&'static str, Fate)>,
        start: usize,
        end: &mut Option<usize>,
    ) -> Result<(), BodyError> {
        let ordinal = self.envelope.count;
        if let Some(last) = self.envelope.members.last_mut().filter(|it| it.ordinal + 1 == ordinal)
        {
            last.tail = start;
        }
        let value = scanner.at();
        let is_given = scanner.peek() != Some(b'n');
        match known {
            Some((name, _)) => self.field(scanner, name)?,
            None => scanner.skip(1)?,
        }
        let now = scanner.at();
        let parameter = known.map(|(name, _)| Parameters::named(name)).unwrap_or_default();
        if known.is_some_and(|(name, _)| is_given && name != "tools") {
            self.envelope.parameters = self.envelope.parameters | parameter;
        }
        // They may repeat, so a hostile body has any number of them.
        let goes = !parameter.is_empty() || matches!(known, Some(("messages", _)) if !is_given);
        let kept = self.envelope.members.len() < MEMBERS_KEPT && goes;
        if let Some((key, fate)) = known.filter(|(_, fate)| *fate != Fate::Noted || kept) {
            self.envelope.members.push(Member {
                key,
                fate,
                parameter,
                span: start..now,
                value: value..now,
                ordinal,
                lead: end.unwrap_or(start),
                tail: now,
            });
        }
        *end = Some(now);
        self.envelope.count += 1;
        Ok(())
    }

    /// Reads the value of the field `name`, or steps over it.
    fn field(&mut self, scanner: &mut Scanner<'_>, name: &'static str) -> Result<(), BodyError> {
        let envelope = &mut self.envelope;
        match name {
            "model" => {
                self.model = fields::text(scanner, name)?.map(|it| model(&it)).transpose()?
            }
            "models" => self.models = fields::texts(scanner, name, MODELS_PER_REQUEST, model)?,
            "stream" => envelope.stream = fields::boolean(scanner, name)?.unwrap_or(false),
            "stream_options" => fields::stream_options(scanner, envelope)?,
            "provider" => {
                envelope.has_provider = scanner.peek() != Some(b'n');
                envelope.provider = preferences::provider(scanner)?;
            }
            "max_tokens" => self.max_tokens = fields::count(scanner, name)?,
            "max_completion_tokens" => self.max_completion_tokens = fields::count(scanner, name)?,
            // Read by the upstream alone, but it bills by them: nobody may read something else.
            "best_of" => drop(fields::count(scanner, name)?),
            "n" => envelope.answers = fields::count(scanner, name)?,
            "session_id" => {
                let id = fields::text(scanner, name)?;
                if id.as_ref().is_some_and(|id| id.chars().count() > SESSION_ID_CHARS) {
                    let most = SESSION_ID_CHARS;
                    return Err(BodyError::TooMuch { param: name, most, unit: "characters" });
                }
                envelope.session_id = id.map(Arc::from);
            }
            "user" => envelope.user = fields::text(scanner, name)?.map(Arc::from),
            "tools" => {
                envelope.tools = fields::filled(scanner)?;
                if envelope.tools.is_some() {
                    envelope.parameters = envelope.parameters | Parameters::TOOLS;
                }
            }
            "messages" => {
                if let Some(found) = messages::messages(scanner)? {
                    self.has_messages = true;
                    envelope.conversation = found;
                }
            }
            "prompt" if envelope.operation == Operation::Chat => {
                let wrong = BodyError::Type { param: "prompt", wanted: "a string" };
                envelope.prompted = fields::expect(scanner, b"\"", wrong)?;
                if envelope.prompted {
                    scanner.skip(1)?;
                }
            }
            "modalities" => envelope.output = fields::modalities(scanner)?,
            "prompt_cache_key" => {
                envelope.prompt_cache_key = fields::text(scanner, name)?.map(Arc::from);
            }
            "preset" => {
                let preset = fields::text(scanner, name)?.filter(|slug| !slug.is_empty());
                envelope.preset = preset.map(Arc::from);
            }
            "service_tier" => {
                // Providers have words of their own, which are theirs to read (Groq: `on_demand`).
                let text = fields::text(scanner, name)?;
                let known = Service::WORDS.iter().find(|(word, _)| Some(*word) == text.as_deref());
                let asked = known.map(|(_, service)| *service);
                self.service_tier = asked.filter(|service| *service != Service::Unsaid);
            }
            "speed" => {
                self.fast = fields::text(scanner, name)?.as_deref() == Some("fast");
            }
            "include_reasoning" | "reasoning" | "reasoning_effort" => {
                self.reasoning.read(scanner, name)?;
            }
            _ => scanner.skip(1)?,
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Envelope, BodyError> {
        let mut models: Vec<Arc<str>> = Vec::with_capacity(1 + self.models.len());
        for name in self.model.into_iter().chain(self.models) {
            if !models.contains(&name) {
                models.push(name);
            }
        }
        if let (true, Some(preset)) = (models.is_empty(), &self.envelope.preset) {
            models.push(model(&format!("@preset/{preset}"))?);
        }
        if models.is_empty() {
            return Err(BodyError::NoModel);
        }
        let Envelope { operation, prompted, .. } = self.envelope;
        if operation == Operation::Chat && self.has_messages == prompted {
            return Err(BodyError::Input);
        }
        self.envelope.models = models;
        self.envelope.hides_reasoning = self.reasoning.is_hidden()?;
        let fast = self.fast.then_some(Service::Tier(Tier::Priority));
        self.envelope.service = self.service_tier.or(fast).unwrap_or_default();
        self.envelope.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        Ok(self.envelope)
    }
}

fn model(name: &str) -> Result<Arc<str>, BodyError> {
    if is_model_name(name) { Ok(Arc::from(name)) } else { Err(not_a_model(name)) }
}
