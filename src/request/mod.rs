//! From socket bytes to the few facts that steer: route, body, envelope; and back, rewrite.

pub mod bad_request;
pub mod body;
pub mod body_error;
pub mod chunks;
#[cfg(test)]
mod chunks_tests;
pub mod envelope;
mod fields;
pub mod head;
#[cfg(test)]
mod head_tests;
pub mod held_bytes;
pub mod keys;
pub mod messages;
pub mod preferences;
mod reasoning;
pub mod rewrite;
pub mod route;
pub mod scan;
