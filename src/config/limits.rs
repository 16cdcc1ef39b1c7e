//! `[limits]` of `weir.toml`: what one caller, or all together, may hold, and for how long.

use super::document::Section;
use super::settings::between;
use super::value::Bytes;
use crate::{bounds, host};
use std::time::Duration;

/// What one caller, or all together, may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body.
    pub body_bytes: usize,
    /// From a connection's begin to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to its whole head (S1).
    pub head_timeout: Duration,
    /// From the head to the whole body (S2), and a second more for every `min_body_rate` bytes.
    pub body_timeout: Duration,
    /// Bytes a second; at least 1.
    pub min_body_rate: usize,
    /// A connection without a request.
    pub keepalive_idle: Duration,
    /// How long a caller may take nothing of what is to be sent (F45).
    pub write_timeout: Duration,
    /// Bytes a second a caller must take while bytes wait (S3); 0 asks for nothing.
    pub min_send_rate: usize,
    /// Open connections of all listeners (S9).
    pub connections: usize,
    /// Of those, from one IPv4 address or one IPv6 network of 64 bits.
    pub connections_per_address: usize,
    /// Requests under way at once.
    pub requests: usize,
    /// Of those, with one key, unless the key has a number of its own.
    pub requests_per_key: usize,
    /// Request bodies held at once, all callers together.
    pub buffered_bytes: usize,
    /// Wrong or missing keys of one address in a minute before it is told to wait (S11); 0 asks
    /// for nothing.
    pub failed_keys: u32,
}

pub(super) const LIMITS: &[&str] = &[
    "body_bytes",
    "handshake_timeout",
    "head_timeout",
    "body_timeout",
    "min_body_rate",
    "keepalive_idle",
    "write_timeout",
    "min_send_rate",
    "connections",
    "connections_per_address",
    "requests",
    "requests_per_key",
    "buffered_bytes",
    "failed_keys",
];

impl Limits {
    /// What holds where nothing is configured, in a process that may have so many descriptors.
    #[must_use]
    pub fn sharing(descriptors: usize) -> Self {
        let share = |percent| host::share(descriptors, percent);
        let connections = bounds::CONNECTIONS_DEFAULT.min(share(bounds::CONNECTIONS_PERCENT));
        Self {
            body_bytes: bounds::BODY_BYTES_DEFAULT,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 64 << 10,
            keepalive_idle: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            min_send_rate: 1 << 10,
            connections,
            connections_per_address: connections.div_ceil(2),
            requests: bounds::REQUESTS_DEFAULT.min(share(bounds::REQUESTS_PERCENT)),
            requests_per_key: bounds::REQUESTS_PER_KEY_DEFAULT,
            buffered_bytes: 1 << 30,
            failed_keys: 100,
        }
    }
}

/// Reads the limits of a process that may have so many file descriptors.
pub(super) fn read(section: &Section<'_>, descriptors: usize) -> Limits {
    let default = Limits::sharing(descriptors);
    let bytes = |key, default: usize, least: u64| {
        let given = section.checked(key, |Bytes(count)| between(count, least, 1 << 40));
        given.unwrap_or(default)
    };
    let count = |key| section.checked(key, |count: u64| between(count, 1, 1 << 20));
    let shared = |key, default: usize, percent| {
        let given = count(key);
        if given.is_some_and(|given| given > host::share(descriptors, percent)) {
            section.notice(key, over(percent, descriptors));
        }
        given.unwrap_or(default)
    };
    let connections = shared("connections", default.connections, bounds::CONNECTIONS_PERCENT);
    let limits = Limits {
        body_bytes: bytes("body_bytes", default.body_bytes, 1),
        handshake_timeout: section.or("handshake_timeout", default.handshake_timeout),
        head_timeout: section.or("head_timeout", default.head_timeout),
        body_timeout: section.or("body_timeout", default.body_timeout),
        min_body_rate: bytes("min_body_rate", default.min_body_rate, 1),
        keepalive_idle: section.or("keepalive_idle", default.keepalive_idle),
        write_timeout: section.or("write_timeout", default.write_timeout),
        min_send_rate: bytes("min_send_rate", default.min_send_rate, 0),
        connections,
        connections_per_address: count("connections_per_address")
            .unwrap_or(connections.div_ceil(2)),
        requests: shared("requests", default.requests, bounds::REQUESTS_PERCENT),
        requests_per_key: count("requests_per_key").unwrap_or(default.requests_per_key),
        buffered_bytes: bytes("buffered_bytes", default.buffered_bytes, 1),
        failed_keys: section
            .checked("failed_keys", |count: u64| between(count, 0, 1 << 20))
            .map_or(default.failed_keys, |count| count as u32),
    };
    if limits.buffered_bytes < limits.body_bytes {
        section.problem("buffered_bytes", "must be at least body_bytes, or no full body fits");
    }
    limits
}

fn over(percent: usize, descriptors: usize) -> String {
    format!(
        "is more than {percent} % of the {descriptors} file descriptors this process may have; \
         raise LimitNOFILE= of the unit (elsewhere `ulimit -Hn`), or accept that files and \
         operators may find none left"
    )
}
