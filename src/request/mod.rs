//! From socket bytes to the few facts that steer: route, body, envelope; and back, rewrite.

pub mod envelope;
pub mod rewrite;
pub mod route;
