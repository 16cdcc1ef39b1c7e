//! From an upstream: its status decides, its head is replaced, its body is metered and shaped.

mod body;
mod error;
mod head;

use crate::face::Routing;
use crate::snapshot::Target;
use pingora::ErrorType;
use std::sync::Arc;

pub(super) use body::{body, disconnected, trailers};
pub(super) use head::head;

/// What the caller asked to be told of an attempt that answers with this status.
fn told(routing: Option<&Routing>, target: &Target, status: u16) -> Option<Arc<str>> {
    routing.map(|routing| routing.answered(&target.endpoint, status))
}

/// Fails the attempt; `error_while_proxy` decides what follows.
fn failed(why: &'static str) -> Box<pingora::Error> {
    pingora::Error::explain(ErrorType::Custom("WeirAttempt"), why).into_up()
}
