//! Where a request goes next, and by which address and credential.
//!
//! [`attempts`] is the only place that decides about retries; it and [`budget`] are pure.

pub mod attempts;
pub mod budget;
