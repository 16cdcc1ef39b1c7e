//! The immutable view of configuration a request keeps from start to end (design, invariant 1).
//!
//! Live state is attached, not contained: health, cooldowns, statistics and metric handles belong
//! to stable ids, are kept in [`Live`] and outlive every snapshot.

use crate::api;
use crate::catalog::{Catalog, Endpoint, Model};
use crate::config::Settings;
use crate::endpoint::{self, Registry};
use crate::metrics::{EndpointMetrics, EndpointState, Metrics};
use crate::request::route::Face;
use crate::rules::Rules;
use crate::selection::Facts;
use crate::upstream::credential::Credential;
use crate::upstream::pool::{Addresses, Upstreams};
use bytes::Bytes;
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;

/// What survives a reload, found again by stable ids.
#[derive(Debug, Default)]
pub struct Live {
    pub endpoints: Registry,
    pub upstreams: Upstreams,
}

/// An endpoint with the live state of its id.
#[derive(Debug)]
pub struct Target {
    pub endpoint: Arc<Endpoint>,
    pub live: Arc<endpoint::Live>,
    pub addresses: Arc<Addresses>,
    pub credentials: Vec<Credential>,
    pub metrics: Arc<EndpointMetrics>,
    /// `Host` of requests to it.
    pub host: HeaderValue,
}

impl Target {
    /// What selection is told of it now.
    #[must_use]
    pub fn facts(&self, now_ms: u64) -> Facts {
        let mut facts = self.live.facts(now_ms);
        facts.down = self.addresses.all_down(now_ms);
        facts.cooling |= !self.endpoint.provider.keyless && self.credential(now_ms).is_none();
        facts
    }

    /// The first credential that is not cooling.
    #[must_use]
    pub fn credential(&self, now_ms: u64) -> Option<usize> {
        self.credentials.iter().position(|credential| !credential.live.cooling(now_ms))
    }

    /// The state shown to operators: the worst that applies.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> EndpointState {
        let facts = self.facts(now_ms);
        match facts {
            Facts { down: true, .. } => EndpointState::Down,
            Facts { ejected: true, .. } => EndpointState::Ejected,
            Facts { cooling: true, .. } => EndpointState::Cooling,
            Facts { outage: true, .. } => EndpointState::Outage,
            _ => EndpointState::Available,
        }
    }
}

/// All targets of one model.
#[derive(Debug)]
pub struct Pool {
    pub model: Arc<Model>,
    pub targets: Vec<Arc<Target>>,
}

/// One configuration, ready to serve.
#[derive(Debug)]
pub struct Snapshot {
    pub settings: Settings,
    pub rules: Rules,
    pools: HashMap<Arc<str>, Arc<Pool>>,
    models: Vec<Arc<Pool>>,
    listing: Bytes,
}
