//! The few fields that steer a request, with their byte offsets; no document tree.

use std::ops::Range;
use std::sync::Arc;

/// A member of the top-level object that rewriting may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Unescaped key.
    pub key: &'static str,
    /// From the key's opening quote to the value's last byte.
    pub span: Range<usize>,
    /// The value alone.
    pub value: Range<usize>,
}

/// `provider.*`, as far as first light reads it; the rest is consumed all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderPreferences {
    pub order: Vec<String>,
    pub only: Vec<String>,
    pub ignore: Vec<String>,
    pub allow_fallbacks: Option<bool>,
    pub data_collection_deny: bool,
    pub zdr: bool,
}

/// What Weir reads of a body. Everything else passes unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `model` first, then `models`, without repeats; never empty.
    pub models: Vec<Arc<str>>,
    pub stream: bool,
    /// `stream_options.include_usage` as the caller set it.
    pub include_usage: Option<bool>,
    pub provider: ProviderPreferences,
    /// `max_completion_tokens`, else `max_tokens`.
    pub max_tokens: Option<u64>,
    pub session_id: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub has_tools: bool,
    /// Members rewriting may need, in document order.
    pub members: Vec<Member>,
    /// `stream_options`: the object's span, and whether it is empty.
    pub stream_options: Option<(Range<usize>, bool)>,
    /// Offset just past the top-level `{`.
    pub open: usize,
    /// Whether the top-level object has no member.
    pub empty: bool,
}
