//! Every metric Weir exposes: one table, from which registration, documentation and tests read.

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// One metric: its full name, labels in order, and the sentence an operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Type,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, kind: Type::$kind, labels: &[$($label),*], help: $help };)*
        /// Every family, in the order the documentation lists them.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    REQUESTS: Counter "weir_requests_total" ["face", "operation", "outcome"]
        "Requests answered, by how they ended for the caller.";
    ATTEMPTS: Counter "weir_attempts_total" ["provider", "outcome"]
        "Tries of a provider by outcome; refused, connect_timeout, tls, unresolved and throttled never connected.";
    RETRIES: Counter "weir_retries_total" []
        "Tries after the first within one request.";
    TOKENS: Counter "weir_tokens_total" ["model", "provider", "kind"]
        "Units consumed, in disjoint kinds, reported or estimated.";
    COST: Counter "weir_cost_picodollars_total" ["model", "provider"]
        "Cost of attempts in pico-dollars (10^-12 USD). Bill from the ledger, not from here.";
    FIRST_TOKEN: Histogram "weir_time_to_first_token_seconds" ["model", "provider"]
        "From dispatch of an attempt to its first content, shown to the caller or not.";
    ADDED_LATENCY: Histogram "weir_added_latency_seconds" ["face"]
        "Time Weir itself spent between a whole request and its first dispatch.";
    IN_FLIGHT: Gauge "weir_in_flight" ["model", "provider"]
        "Attempts dispatched and not ended.";
    ENDPOINTS: Gauge "weir_endpoints" ["model", "provider", "state"]
        "Endpoints by live state; each is counted in exactly one.";
    COOLDOWNS: Counter "weir_cooldowns_total" ["provider", "scope"]
        "Cooldowns begun, by what cools down.";
    EJECTIONS: Counter "weir_ejections_total" ["provider"]
        "Endpoints taken out for a while after failures in a row.";
    TOOL_REPLIES: Counter "weir_tool_replies_total" ["provider", "verdict"]
        "Replies that called tools, by what was made of the calls: the first fault, judged by the request's tools.";
    NO_PEER: Counter "weir_no_peer_total" []
        "Requests for which nothing was left to try.";
    EXCLUDED: Counter "weir_excluded_total" ["reason"]
        "Endpoints left out of a plan, by reason.";
    BAD_JSON: Counter "weir_bad_json_total" ["kind"]
        "Bodies refused before anything was sent upstream.";
    BAD_REQUEST: Counter "weir_bad_request_total" ["kind"]
        "Requests refused for how they are written, before anything was sent upstream.";
    PIPELINED: Counter "weir_pipelined_total" []
        "Requests behind which a caller sent more before its answer had ended; the connection closes.";
    BODY_TOO_LARGE: Counter "weir_body_too_large_total" []
        "Bodies over the configured limit.";
    BODY_SHED: Counter "weir_body_shed_total" []
        "Requests refused because all bodies together took limits.buffered_bytes, or what memory leaves them.";
    FORBIDDEN_FIELDS: Counter "weir_forbidden_fields_total" []
        "Body fields spliced out because they try to choose a URL, host or key.";
    FAILED_KEYS: Counter "weir_failed_keys_total" ["answer"]
        "Requests with a wrong key or none, by how they were answered.";
    CLIENT_ABORT: Counter "weir_client_abort_total" ["phase"]
        "Callers that left before the end: before content, or in the middle of it.";
    IN_BAND_ERROR: Counter "weir_inband_error_total" ["phase"]
        "Error events inside a 200: as the first event, or after content.";
    USAGE_ESTIMATED: Counter "weir_usage_estimated_total" []
        "Attempts of whose usage some is an estimate because the upstream did not report it.";
    USAGE_SUSPECT: Counter "weir_usage_suspect_total" []
        "Attempts whose reported usage was implausible.";
    USAGE_QUARANTINED: Counter "weir_usage_quarantined_total" []
        "Attempts to look at before they are billed: a report refused, clamped, or beyond what bytes explain.";
    USAGE_ZERO: Counter "weir_usage_zero_total" []
        "Whole answers that came to no tokens, or to no cost where they have a price. Anything but 0 is an alarm.";
    USAGE_PARSE_ERRORS: Counter "weir_usage_parse_errors_total" []
        "Usage objects or events that could not be read.";
    STALE_CONN: Counter "weir_stale_conn_total" []
        "Pooled upstream connections found closed when they were written to.";
    UNEXPECTED_DATA: Counter "weir_unexpected_data_total" []
        "Idle upstream connections dropped because the upstream sent something on them.";
    POST_DONE: Counter "weir_post_done_total" []
        "Streams whose upstream went on after their terminal event.";
    LOOKUP_ERRORS: Counter "weir_lookup_errors_total" []
        "Lookups of provider hosts that gave nothing usable; the last good addresses stay.";
    LOOKUPS_STALE: Gauge "weir_lookups_stale" []
        "Provider hosts whose last lookup gave nothing usable.";
    ADDRESSES_REFUSED: Counter "weir_addresses_refused_total" []
        "Addresses not taken because they are not public and private_addresses is off.";
    STALLS: Counter "weir_stalls_total" []
        "Deadlines that passed while the process itself did not run, and were put off.";
    CONN_REFUSED: Counter "weir_conn_refused_total" ["cap"]
        "Caller connections closed for a cap: of all, of their address, or because memory runs out.";
    SHED: Counter "weir_requests_shed_total" ["cap"]
        "Requests refused because too many were under way, of all or of their key, or because memory runs out.";
    DEADLINES: Counter "weir_deadlines_total" ["deadline"]
        "Callers cut off, by the deadline of limits that they missed; idle also counts those closed by a drain.";
    HANDSHAKES_FAILED: Counter "weir_handshakes_failed_total" []
        "TLS handshakes of callers that failed before their deadline.";
    ACCEPT_ERRORS: Counter "weir_accept_errors_total" []
        "Connections that could not be accepted: no descriptor or no memory was left, most often.";
    H2_ABUSE: Counter "weir_h2_abuse_total" ["kind"]
        "HTTP/2 connections closed for what they sent too much or too slowly.";
    PANICS: Counter "weir_panics_total" []
        "Panics caught. Anything but 0 is a bug of Weir.";
    RULE_HITS: Counter "weir_rule_hits_total" ["rule"]
        "Models of requests that a rule matched.";
    RULE_FAULTS: Counter "weir_rule_faults_total" []
        "Requests refused because a rule's expression could not be evaluated.";
    MEMORY_LIMIT: Gauge "weir_memory_limit_bytes" []
        "What the control group lets the process have; 0 without a limit. At 85 % requests are refused.";
    MEMORY_USED: Gauge "weir_memory_used_bytes" []
        "What the control group has of that, page cache left out; 0 without a limit.";
    RELOAD: Counter "weir_reload_total" ["result"]
        "Reloads of the configuration, applied or rejected.";
    CONFIG_EPOCH: Gauge "weir_config_epoch" []
        "Number of the configuration in force: 1 at start, one more with each applied reload.";
    SLOTS: Gauge "weir_slots" []
        "Slots of the ledger: attempts that can be open or unflushed at once.";
    SLOTS_USED: Gauge "weir_slots_used" []
        "Slots claimed by open or unflushed attempts.";
    SPOOL_ROWS: Gauge "weir_spool_rows" []
        "Records in the spool that not every sink has taken yet.";
    SPOOL_BYTES: Gauge "weir_spool_bytes" []
        "Bytes of the spool on disk.";
    SPOOL_OLDEST: Gauge "weir_spool_oldest_seconds" []
        "Age of the oldest record in the spool; 0 when it is empty.";
    SPOOL_LIMIT: Gauge "weir_spool_limit_bytes" []
        "Bytes the spool may take; at 95 % of them, ledger.spool_full decides.";
    SPOOL_ALARM: Gauge "weir_spool_alarm" []
        "1 while the spool takes half of what it may, or its disk has no room for four segments (64 MiB) or refuses it: find out why the sink is behind.";
    SINKS_REFUSING: Gauge "weir_sinks_refusing" []
        "Sinks that take no rows at the moment, for whatever reason: the log says which and what to do; rows wait in the spool.";
    UNBILLED: Counter "weir_unbilled_attempts_total" []
        "Attempts served without a record because the spool was full and ledger.spool_full says so.";
    SPOOL_IO_ERRORS: Counter "weir_spool_io_errors_total" []
        "Writes and syncs of slots or spool that failed. The process drains and exits with 1.";
    DEAD_LETTERS: Counter "weir_dead_letters_total" []
        "Rows laid aside since start in dead-letter files of the state directory, one for each sink that refuses a row for good.";
    LEDGER_ROWS: Counter "weir_ledger_rows_total" []
        "Rows committed to every sink since start.";
    RECOVERED: Counter "weir_recovered_attempts_total" []
        "Attempts an earlier process left open, closed as crash_recovered at start.";
    SINK_ERRORS: Counter "weir_sink_errors_total" []
        "Failed deliveries to a sink; the spool keeps the rows.";
    LEDGER_REFUSED: Counter "weir_ledger_refused_total" []
        "Attempts not begun because no slot was free, the spool was full or could not be written.";
    LEDGER_DUPLICATES: Counter "weir_ledger_duplicates_total" []
        "Rows the sink had already, as after a lost acknowledgement; harmless.";
    LEDGER_CONFLICTS: Counter "weir_ledger_conflicts_total" []
        "Rows the sink had with other content. Anything but 0 is an alarm.";
    LEDGER_LOST: Counter "weir_ledger_lost_total" []
        "Rows lost to slots or spool files that are damaged or gone, of the sink that misses most. Anything but 0 is an alarm.";
    LEDGER_TORN: Counter "weir_ledger_torn_bytes_total" []
        "Bytes cut from the spool's end where a crash or power cut ended a write.";
    BUILD_INFO: Gauge "weir_build_info" ["version"]
        "Always 1; the label names the running version.";
}
