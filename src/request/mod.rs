//! From socket bytes to the few facts that steer: route, body, envelope; and back, rewrite.

pub mod body;
pub mod body_error;
pub mod envelope;
mod fields;
pub mod held_bytes;
pub mod keys;
pub mod messages;
pub mod preferences;
pub mod rewrite;
pub mod route;
pub mod scan;
