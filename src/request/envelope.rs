//! The few fields that steer a request, with their byte offsets; no document tree.
//!
//! [`read`] passes over the body once. It refuses what two parsers could read differently in a field
//! that steers or bills, and leaves everything else to the upstream, unread.

use super::body_error::{BodyError, is_model_name, not_a_model};
use super::fields::{self, Object};
use super::keys::{self, Fate};
use super::messages::{self, Conversation};
use super::preferences::{self, ProviderPreferences};
use super::route::Operation;
use super::scan::Scanner;
use crate::bounds::{MEMBERS_KEPT, MODELS_PER_REQUEST, SESSION_ID_CHARS, TOOLS_BYTES};
use crate::catalog::{Modalities, Parameters, Tier};
use crate::meter;
use crate::selection::{Needs, Service};
use std::ops::Range;
use std::sync::Arc;

/// A member of the top-level object that rewriting may touch. Each key that steers occurs at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Unescaped key.
    pub key: &'static str,
    pub fate: Fate,
    /// The parameter that it is, if an endpoint may support it or not.
    pub parameter: Parameters,
    /// From the key's opening quote to the value's last byte.
    pub span: Range<usize>,
    /// The value alone.
    pub value: Range<usize>,
    /// How many members stand before it.
    pub ordinal: usize,
    /// End of the member before it, or its own start where it is the first.
    pub lead: usize,
    /// Start of the member after it, or its own end where it is the last.
    pub tail: usize,
}

/// `stream_options`, where it is an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Offset just past its `{`.
    pub open: usize,
    /// Whether it has no member.
    pub empty: bool,
    /// The value of its `include_usage`.
    pub include_usage: Option<Range<usize>>,
}

/// What Weir reads of a body. Everything else passes unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    pub operation: Operation,
    /// `model` first, then `models`, without repeats; never empty.
    pub models: Vec<Arc<str>>,
    pub stream: bool,
    /// `stream_options.include_usage` as the caller set it.
    pub include_usage: Option<bool>,
    pub provider: ProviderPreferences,
    /// Whether the request has a `provider` object of its own.
    pub has_provider: bool,
    /// `max_completion_tokens`, else `max_tokens`; `None` also where the caller gave a negative one,
    /// which some servers take for "no limit".
    pub max_tokens: Option<u64>,
    pub session_id: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    /// Where `tools` is, if it has any.
    pub tools: Option<Range<usize>>,
    /// `n`: how many answers are wanted.
    pub answers: Option<u64>,
    /// Parameters that are given, of those an endpoint may support or not.
    pub parameters: Parameters,
    pub conversation: Conversation,
    /// `modalities`: what the reply should be in.
    pub output: Modalities,
    pub prompt_cache_key: Option<Arc<str>>,
    /// `service_tier`, or `speed`, which is another word for a tier of it.
    pub service: Service,
    pub preset: Option<Arc<str>>,
    /// Members rewriting may need, in document order.
    pub members: Vec<Member>,
    pub stream_options: Option<StreamOptions>,
    /// Offset just past the top-level `{`.
    pub open: usize,
    /// Members of the top-level object, known or not.
    pub count: usize,
}

/// Bytes of text that are one token at least, whatever the tokenizer: runs of blanks are the longest.
const LONGEST_TOKEN: u64 = 32;

impl Envelope {
    /// The member named `key`, if the caller sent it.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }

    /// What an endpoint must fit, of a body of so many bytes.
    #[must_use]
    pub fn needs(&self, body_bytes: usize) -> Needs {
        let text = self.text_bytes(body_bytes);
        Needs {
            least_tokens: text / LONGEST_TOKEN,
            likely_tokens: meter::prompt_tokens(text),
            output_tokens: self.max_tokens,
            parameters: self.parameters,
            input: self.conversation.input,
            output: self.output,
            tools: self.tools.is_some(),
        }
    }

    /// Bytes of a body of so many that are not of pictures, sound or files.
    #[must_use]
    pub fn text_bytes(&self, body_bytes: usize) -> u64 {
        body_bytes.saturating_sub(self.conversation.other_bytes) as u64
    }

    /// Whether the prompt has pictures, sound or files.
    #[must_use]
    pub fn has_media(&self) -> bool {
        !self.conversation.input.without(Modalities::TEXT).is_empty()
    }

    /// How many fields that only other gateways obey were sent, to be counted (S14).
    #[must_use]
    pub fn forbidden(&self) -> usize {
        self.members.iter().filter(|member| member.fate == Fate::Forbidden).count()
    }

    /// Where `tools` is, if the calls of the reply can be judged by it.
    #[must_use]
    pub fn judged_by(&self) -> Option<Range<usize>> {
        let one_answer = self.answers.is_none_or(|answers| answers == 1);
        self.tools.clone().filter(|tools| one_answer && tools.len() <= TOOLS_BYTES)
    }

    /// Whether the reply will report no usage unless Weir asks for it: a stream whose caller did not.
    /// A usage chunk that comes all the same is Weir's doing, and `/v1` removes it.
    #[must_use]
    pub fn lacks_usage(&self) -> bool {
        let streams = matches!(self.operation, Operation::Chat | Operation::Completion);
        streams && self.stream && self.include_usage != Some(true)
    }
}

/// Reads `body`, the whole of it, as a request for `operation`.
///
/// # Errors
/// What [`BodyError`] lists; `null` always means "not set" (contract 1.1).
pub fn read(body: &[u8], operation: Operation) -> Result<Envelope, BodyError> {
    let mut scanner = Scanner::new(body)?;
    scanner.space();
    if scanner.peek() != Some(b'{') {
        scanner.skip(0)?;
        return Err(BodyError::Type { param: "body", wanted: "a JSON object" });
    }
    let mut reading = Reading {
        envelope: Envelope { operation, open: scanner.at() + 1, ..Envelope::default() },
        ..Reading::default()
    };
    let mut object = Object::open(&mut scanner, keys::TOP, 1);
    let mut end = None;
    while let Some((known, start)) = object.next(&mut scanner)? {
        reading.member(&mut scanner, known, start, &mut end)?;
    }
    scanner.end()?;
    reading.finish()
}

/// An envelope in the making.
#[derive(Default)]
struct Reading {
    envelope: Envelope,
    model: Option<Arc<str>>,
    models: Vec<Arc<str>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    has_input: bool,
    service_tier: Option<Service>,
    fast: bool,
}

impl Reading {
    /// Reads the value of one member and remembers where it lies. `end`: of the member before.
    fn member(
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
        let kept = self.envelope.members.len() < MEMBERS_KEPT && !parameter.is_empty();
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
                    self.has_input = true;
                    envelope.conversation = found;
                }
            }
            "prompt" => self.has_input |= fields::given(scanner)?,
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
            _ => scanner.skip(1)?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Envelope, BodyError> {
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
        if self.envelope.operation == Operation::Chat && !self.has_input {
            return Err(BodyError::NoInput);
        }
        self.envelope.models = models;
        let fast = self.fast.then_some(Service::Tier(Tier::Priority));
        self.envelope.service = self.service_tier.or(fast).unwrap_or_default();
        self.envelope.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        Ok(self.envelope)
    }
}

fn model(name: &str) -> Result<Arc<str>, BodyError> {
    if is_model_name(name) { Ok(Arc::from(name)) } else { Err(not_a_model(name)) }
}

#[cfg(test)]
mod tests;
