//! Every bound in one place (design, invariant 9). Each has a test at the bound and one past it.

use std::time::Duration;

/// Largest request body unless configured otherwise, bytes.
pub const BODY_BYTES_DEFAULT: usize = 64 << 20;
/// Deepest nesting of a request document (S12).
pub const JSON_DEPTH: usize = 64;
/// Most bytes of a request head (S4).
pub const HEAD_BYTES: usize = 32 << 10;
/// Most header fields of a request (S4).
pub const HEAD_FIELDS: usize = 100;
/// Longest model name a caller may send, bytes (S15).
pub const MODEL_NAME_BYTES: usize = 128;
/// Most models one request may list in `models`.
pub const MODELS_PER_REQUEST: usize = 16;
/// Most providers one list of `provider` may name (contract 2.3).
pub const PROVIDERS_PER_LIST: usize = 256;
/// Longest `session_id` (contract 2.2), bytes.
pub const SESSION_ID_BYTES: usize = 256;

/// Most rules of all files together; each is a metric label.
pub const RULES: usize = 1_000;
/// Longest name of a rule, bytes.
pub const RULE_NAME_BYTES: usize = 64;

/// Most bytes of one unfinished stream event that may wait.
pub const EVENT_BYTES: usize = 256 << 10;
/// Longest stream event remembered to read the next by.
pub const TEMPLATE_BYTES: usize = 4 << 10;
/// Most bytes held back before first content, in one attempt.
pub const HELD_BYTES: usize = 256 << 10;
/// Largest unstreamed reply held to be shaped; beyond it the reply passes as it came.
pub const WHOLE_REPLY_BYTES: usize = 4 << 20;
/// Last bytes of a reply beyond that, held back until its usage was looked for in them.
pub const USAGE_TAIL_BYTES: usize = 16 << 10;
/// Most bytes of an upstream's error body kept to be shown or read.
pub const ERROR_BODY_BYTES: usize = 16 << 10;

/// Idle upstream connections kept, all providers together.
pub const IDLE_UPSTREAM_CONNECTIONS: usize = 4_096;
/// Time spent on reading off a body that nobody wants, so that its sender sees the answer.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Dispatched attempts per model and request.
pub const ATTEMPTS_PER_MODEL: usize = 3;
/// Tries of any sort, connect failures included, per request: Pingora's own loop bound.
pub const TRIES_PER_REQUEST: usize = 32;
/// Share of requests in the window that may be retried, in percent.
pub const RETRY_BUDGET_PERCENT: u64 = 20;
/// Retries allowed per second whatever the share.
pub const RETRY_BUDGET_FLOOR: u64 = 10;
/// Window of the retry budget.
pub const RETRY_BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// Shortest and longest cooldown an upstream's Retry-After can cause, seconds (F15).
pub const COOLDOWN_SECONDS: (u32, u32) = (1, 300);
/// Addresses kept of one base URL.
pub const ADDRESSES_PER_PROVIDER: usize = 64;

/// Conversations whose last endpoint is remembered, all callers together.
pub const CONVERSATIONS: usize = 65_536;

/// Slots of the mapped file: attempts that can be open or unflushed at once.
pub const SLOTS_DEFAULT: usize = 16_384;
/// Most slots a file may be asked to have: 2.4 GB of them.
pub const SLOTS_MAX: usize = 1 << 20;
/// Most bytes of an intent in its slot.
pub const INTENT_BYTES: usize = 1_536;
/// Recent generations kept readable in memory.
pub const RECENT_GENERATIONS: usize = 16_384;
/// Bytes of one spool segment before the next is begun.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Rows in one transaction of a sink.
pub const SINK_BATCH: usize = 1_024;

/// Pairs of model and provider with metrics of their own; the rest share `other`.
pub const METRIC_PAIRS: usize = 4_096;
/// Rules with a counter of their own; the rest share `other`.
pub const METRIC_RULES: usize = 1_024;
/// Log lines on their way to standard error; past it they are dropped and counted.
pub const LOG_LINES: usize = 4_096;
/// Longest log line, bytes without its end.
pub const LOG_LINE_BYTES: usize = 8 << 10;
/// Connections one simulated provider keeps open at once.
pub const SIMULATED_CONNECTIONS: usize = 4_096;
/// Largest configuration or rule file, bytes.
pub const CONFIG_BYTES: u64 = 16 << 20;
/// Most problems of one configuration that are listed.
pub const PROBLEMS: usize = 256;
/// Largest secret, bytes: it must fit into one request head.
pub const SECRET_BYTES: u64 = 16 << 10;
/// Longest slug, tag, key or workspace name in configuration, bytes.
pub const SLUG_BYTES: usize = 64;
/// Longest time configuration can ask for: 30 days.
pub const DURATION_MAX: Duration = Duration::from_secs(720 * 3600);
