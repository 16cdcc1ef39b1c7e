//! Every bound in one place (design, invariant 9). Each has a test at the bound and one past it.

use std::time::Duration;

/// Most bytes of a request's header list on HTTP/2, as RFC 9113, section 6.5.2, counts them (S8).
pub const H2_HEAD_BYTES: u32 = 16 << 10;
/// Frames of one header block beside its first: 16 KiB fit into two.
pub const H2_CONTINUATIONS: u32 = 4;
/// Requests of one connection that begin before other connections and requests have their turn.
pub const H2_HEADS_AT_ONCE: u32 = 4;
/// Seconds' worth of frames of a sort that may come at once.
pub const H2_BURST_SECONDS: u32 = 10;
/// Bytes Weir writes for each window update it expects: a frame of one byte may be answered by two.
pub const H2_BYTES_PER_WINDOW_UPDATE: usize = 5;
/// Streams that Weir resets over a connection's life for what is wrong with them (CVE-2025-8671).
pub const H2_ERROR_RESETS: usize = 256;
/// Streams of a connection that Weir has reset and still remembers, to tell late frames from wrong ones.
pub const H2_RESET_STREAMS: usize = 16;
/// Bytes of an answer that wait in one stream for its caller's window.
pub const H2_SEND_BYTES: usize = 64 << 10;
/// Answers of Weir's own that wait for their caller, of all connections: on HTTP/2, and lists made for
/// one caller.
pub const LINGERING: usize = 64;

/// Largest request body unless configured otherwise, bytes.
pub const BODY_BYTES_DEFAULT: usize = 64 << 20;
/// Largest body read on a thread that serves; a larger one would keep it from others too long.
pub const BODY_READ_INLINE_BYTES: usize = 256 << 10;
/// Deepest nesting of a request document (S12).
pub const JSON_DEPTH: usize = 64;
/// Most bytes of a request head (S4).
pub const HEAD_BYTES: usize = 32 << 10;
/// Most header fields of a request (S4).
pub const HEAD_FIELDS: usize = 100;
/// Longest request target (S4), bytes.
pub const TARGET_BYTES: usize = 2 << 10;
/// Longest line with the size of a chunk and its extensions, bytes without its end.
pub const CHUNK_LINE_BYTES: usize = 256;
/// Bytes read and dropped of what a caller sends behind a request that is being served.
pub const PIPELINED_BYTES: usize = 64 << 10;
/// Longest model name a caller may send, bytes (S15).
pub const MODEL_NAME_BYTES: usize = 128;
/// Most models one request may list in `models`.
pub const MODELS_PER_REQUEST: usize = 16;
/// Most providers one list of `provider` may name (contract 2.3).
pub const PROVIDERS_PER_LIST: usize = 256;
/// Cells in which failed keys are counted by address.
pub const FAILED_KEY_CELLS: usize = 4_096;
/// Most text of `tools`, bytes, and most tools in it, by which calls are judged.
pub const TOOLS_BYTES: usize = 256 << 10;
pub const TOOLS: usize = 512;
/// Most calls of one reply that are judged, and most bytes of them all.
pub const CALLS: usize = 64;
pub const CALLS_BYTES: usize = 128 << 10;
/// Steps of judging the calls of one reply, and how deep schemas may nest, references followed.
pub const SCHEMA_STEPS: usize = 100_000;
pub const SCHEMA_DEPTH: usize = 96;
/// Largest compiled pattern of a schema, bytes, and most of them in one.
pub const PATTERN_BYTES: usize = 32 << 10;
pub const PATTERNS: usize = 32;
/// Replies that wait to be judged.
pub const JUDGED_LATER: usize = 64;
/// Members of a request's body whose places are remembered so that an endpoint need not see them; those
/// that steer are remembered beside.
pub const MEMBERS_KEPT: usize = 256;
/// Longest `session_id` (contract 2.2), characters.
pub const SESSION_ID_CHARS: usize = 256;

/// Most file descriptors reckoned with, whatever the limit says.
pub const DESCRIPTORS_MAX: usize = 1 << 20;
/// Open caller connections unless configured otherwise, and their share of the descriptors (S9).
pub const CONNECTIONS_DEFAULT: usize = 10_000;
pub const CONNECTIONS_PERCENT: usize = 45;
/// Percent of the control group's memory from which requests are refused, from which connections are,
/// and below which requests are served again (F76).
pub const MEMORY_SHED_PERCENT: u64 = 85;
pub const MEMORY_CLOSE_PERCENT: u64 = 95;
pub const MEMORY_CALM_PERCENT: u64 = 80;
/// Requests under way at once unless configured otherwise, and their share: each may hold one
/// upstream connection.
pub const REQUESTS_DEFAULT: usize = SLOTS_DEFAULT;
pub const REQUESTS_PERCENT: usize = 35;
/// Requests of one key under way at once unless configured otherwise.
pub const REQUESTS_PER_KEY_DEFAULT: usize = 4_096;
/// Connections the kernel completes and holds until they are accepted.
pub const BACKLOG: i32 = 65_535;
/// Threads beside those that serve callers: the ledger's, operators', background and blocking work.
pub const OTHER_THREADS: usize = 18;
/// Largest file of statistics, bytes; endpoints past it begin anew.
pub const STATISTICS_BYTES: usize = 64 << 20;
/// How often statistics are written, and how old they may be to be taken up.
pub const STATISTICS_EVERY: Duration = Duration::from_secs(60);
pub const STATISTICS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Threads of one runtime for work that blocks: looks into the ledger, names of hosts.
pub const BLOCKING_THREADS: usize = 8;
/// Pause after a connection could not be accepted, and time between two log lines about it (P7).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
pub const ACCEPT_LOG_PAUSE: Duration = Duration::from_secs(10);
/// Descriptors the operators' listener keeps, to give one up when none is left (F77).
pub const OPERATOR_SPARES: usize = 8;
/// Bytes of one caller that may wait in the kernel unsent (S3): few enough that a caller at
/// `limits.min_send_rate` makes progress within `limits.write_timeout`.
pub const UNSENT_BYTES: u32 = 32 << 10;

/// Most rules of all files together; each is a metric label.
pub const RULES: usize = 1_000;
/// Largest request that the operators' listener explains, bytes, and how long it may take to arrive.
pub const EXPLAINED_BYTES: usize = 4 << 20;
pub const EXPLAINED_TIME: Duration = Duration::from_secs(10);
/// Longest name of a rule, bytes.
pub const RULE_NAME_BYTES: usize = 64;
/// Longest expression of a rule, bytes.
pub const EXPRESSION_BYTES: usize = 2 << 10;
/// Most brackets and operators in one: each may nest, and what nests is worked out by recursion, which takes
/// up to 30 kB of stack a level.
pub const EXPRESSION_NESTING: usize = 24;
/// Stack of the thread that reads one, bytes: its grammar goes a dozen calls deeper with each level.
pub const EXPRESSION_STACK: usize = 64 << 20;
/// Most tags of a key.
pub const TAGS_PER_KEY: usize = 16;

/// Most bytes of one unfinished stream event that may wait; beyond it the event passes, on `/api/v1` with
/// top-level members of Weir's own.
pub const EVENT_BYTES: usize = 256 << 10;
/// Longest stream event remembered to read the next by.
pub const TEMPLATE_BYTES: usize = 4 << 10;
/// Bytes of a burst of events that leave in one write.
pub const BURST_BYTES: usize = 16 << 10;
/// Most bytes held back before first content, in one attempt.
pub const HELD_BYTES: usize = 256 << 10;
/// Largest unstreamed reply held to be shaped; beyond it the reply passes, on `/api/v1` with top-level members
/// of Weir's own.
pub const WHOLE_REPLY_BYTES: usize = 4 << 20;
/// Last bytes of a reply beyond that, held back until its usage was looked for in them.
pub const USAGE_TAIL_BYTES: usize = 16 << 10;
/// Most bytes of an upstream's error body kept to be shown or read.
pub const ERROR_BODY_BYTES: usize = 16 << 10;

/// Longest word of an upstream for its error that callers are told, bytes.
pub const ERROR_CODE_BYTES: usize = 64;
/// How long the body of a refusal is waited for that only tells of what is known already.
pub const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Idle upstream connections kept, all providers together.
pub const IDLE_UPSTREAM_CONNECTIONS: usize = 4_096;
/// And at most this share of the file descriptors.
pub const IDLE_UPSTREAM_CONNECTIONS_PERCENT: usize = 10;
/// Largest body read off behind a refusal, so that its connection can go on.
pub const READ_OFF_BYTES: usize = 64 << 10;
/// Time spent on reading off a body that nobody wants, so that its sender sees the answer.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Longest time an attempt is read on after its caller has left.
pub const ABANDONED_TIME: Duration = Duration::from_secs(30);

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

/// Longest pause before the same host is asked again after it failed (F16).
pub const RETRY_BACKOFF: Duration = Duration::from_millis(250);
/// Answers that say nothing of overload beyond those that say so, at which a provider is throttled:
/// below so many requests in the window chance decides too much (F17).
pub const THROTTLE_FLOOR: u64 = 10;
/// Most informational heads before a final one, in one attempt (F21).
pub const INTERIM_HEADS: u8 = 8;

/// Shortest and longest cooldown an upstream's Retry-After can cause, seconds (F15).
pub const COOLDOWN_SECONDS: (u32, u32) = (1, 300);
/// Addresses kept of one base URL.
pub const ADDRESSES_PER_PROVIDER: usize = 64;

/// Conversations whose last endpoint is remembered, all callers together.
pub const CONVERSATIONS: usize = 65_536;

/// Slots of the mapped file: attempts that can be open or unflushed at once.
pub const SLOTS_DEFAULT: usize = 16_384;
/// Most slots a file may be asked to have: 3.4 GB of them.
pub const SLOTS_MAX: usize = 1 << 20;
/// Bytes of a price version's text in a slot.
pub const PRICE_BYTES: usize = 1_024;
/// Price versions kept read.
pub const PRICES_KNOWN: usize = 1_024;
/// Price versions of one endpoint.
pub const PRICES: usize = 64;
/// Most bytes of an intent in its slot.
pub const INTENT_BYTES: usize = 1_528;
/// Recent generations kept readable in memory.
pub const RECENT_GENERATIONS: usize = 16_384;
/// Bytes of one spool segment before the next is begun.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// The same where the whole spool is small.
pub const SEGMENT_BYTES_LEAST: u64 = 4 << 10;
/// Percent of the spool's bound at which `weir_spool_alarm` is 1.
pub const SPOOL_ALARM_PERCENT: u64 = 50;
/// Bytes of room on its disk under which it is 1 too: some segments, or 300,000 rows.
pub const SPOOL_ALARM_ROOM: u64 = 4 * SEGMENT_BYTES;
/// Longest wait of a complete answer for its record's sync, where durability is strict.
pub const SYNC_WAIT: Duration = Duration::from_secs(10);
/// Longest drain once the spool has failed: nothing new is admitted meanwhile.
pub const FAILED_DRAIN: Duration = Duration::from_secs(10);
/// Sinks that the spool delivers to at once.
pub const SINKS: usize = 4;
/// Rows in one transaction of a sink.
pub const SINK_BATCH: usize = 2_048;

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

/// Blocks of prompts a simulated provider remembers before it forgets the older half.
pub const SIMULATED_CACHE_BLOCKS: usize = 65_536;
/// Largest configuration or rule file, bytes.
pub const CONFIG_BYTES: u64 = 16 << 20;
/// Most problems of one configuration that are listed.
pub const PROBLEMS: usize = 256;
/// Largest secret, bytes: it must fit into one request head.
pub const SECRET_BYTES: u64 = 16 << 10;
/// Shortest secret that is hidden in replies, bytes: a shorter one is a placeholder such as `none`.
pub const SCRUBBED_SECRET_BYTES: usize = 16;
/// Longest slug, tag, key or workspace name in configuration, bytes.
pub const SLUG_BYTES: usize = 64;
/// Longest time configuration can ask for: 30 days.
pub const DURATION_MAX: Duration = Duration::from_secs(720 * 3600);
