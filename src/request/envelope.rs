//! The few fields that steer a request, with their byte offsets; no document tree.
//!
//! [`read`] passes over the body once. It refuses what two parsers could read differently in a field
//! that steers or bills, and leaves everything else to the upstream, unread.

mod reading;

use super::body_error::BodyError;
use super::fields::Object;
use super::keys::{self, Fate};
use super::messages::Conversation;
use super::preferences::ProviderPreferences;
use super::route::Operation;
use super::scan::Scanner;
use crate::bounds::TOOLS_BYTES;
use crate::catalog::{Modalities, Parameters};
use crate::meter;
use crate::selection::{Needs, Service};
use reading::Reading;
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
    /// The caller is to be shown no reasoning.
    pub hides_reasoning: bool,
    /// Where `tools` is, if it has any.
    pub tools: Option<Range<usize>>,
    /// `n`: how many answers are wanted.
    pub answers: Option<u64>,
    /// Parameters that are given, of those an endpoint may support or not.
    pub parameters: Parameters,
    pub conversation: Conversation,
    /// A chat whose input is its `prompt`, and not `messages`.
    pub prompted: bool,
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
    let mut reading = Reading::new(operation, scanner.at() + 1);
    let mut object = Object::open(&mut scanner, keys::TOP, 1);
    let mut end = None;
    while let Some((known, start)) = object.next(&mut scanner)? {
        reading.member(&mut scanner, known, start, &mut end)?;
    }
    scanner.end()?;
    reading.finish()
}

#[cfg(test)]
mod tests;
