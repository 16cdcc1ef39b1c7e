//! Live state by stable id, so that a reload finds it again.

use super::{CredentialLive, Live, Throttle};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// All live state of the process. Asked when a snapshot is built, never per request.
#[derive(Debug, Default)]
pub struct Registry {
    endpoints: Mutex<HashMap<Arc<str>, Arc<Live>>>,
    credentials: Mutex<HashMap<Arc<str>, Arc<CredentialLive>>>,
    throttles: Mutex<HashMap<Arc<str>, Arc<Throttle>>>,
}

impl Registry {
    /// The state of the endpoint with this id, new if it is not known.
    #[must_use]
    pub fn endpoint(&self, id: &Arc<str>) -> Arc<Live> {
        Arc::clone(self.endpoints.lock().entry(Arc::clone(id)).or_default())
    }

    /// The state of the endpoint with this id, if it is known.
    #[must_use]
    pub fn known(&self, id: &str) -> Option<Arc<Live>> {
        self.endpoints.lock().get(id).cloned()
    }

    /// Every endpoint.
    #[must_use]
    pub fn all(&self) -> Vec<(Arc<str>, Arc<Live>)> {
        let endpoints = self.endpoints.lock();
        endpoints.iter().map(|(id, live)| (Arc::clone(id), Arc::clone(live))).collect()
    }

    /// The state of the credential with this id, new if it is not known.
    #[must_use]
    pub fn credential(&self, id: &Arc<str>) -> Arc<CredentialLive> {
        Arc::clone(self.credentials.lock().entry(Arc::clone(id)).or_default())
    }

    /// The throttle of the provider with this slug, new if it is not known.
    #[must_use]
    pub fn throttle(&self, slug: &Arc<str>) -> Arc<Throttle> {
        Arc::clone(self.throttles.lock().entry(Arc::clone(slug)).or_default())
    }

    /// Forgets what no snapshot and no request holds: the bound of all maps is what is configured.
    /// To be called after a new snapshot is in place.
    pub fn sweep(&self) {
        self.endpoints.lock().retain(|_, live| Arc::strong_count(live) > 1);
        self.credentials.lock().retain(|_, live| Arc::strong_count(live) > 1);
        self.throttles.lock().retain(|_, throttle| Arc::strong_count(throttle) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    #[test]
    fn state_is_found_again_under_its_id_and_swept_when_unused() {
        let registry = Registry::default();
        let id: Arc<str> = Arc::from("author/model@provider");
        let held = registry.endpoint(&id);
        held.record(Outcome::RateLimited, 0, Some(60));
        registry.sweep();
        assert!(registry.endpoint(&Arc::from("author/model@provider")).facts(0).cooling);
        drop(held);
        registry.sweep();
        assert!(!registry.endpoint(&id).facts(0).cooling);
    }

    #[test]
    fn credentials_are_shared_by_id() {
        let registry = Registry::default();
        let id: Arc<str> = Arc::from("provider/main");
        let one = registry.credential(&id);
        registry.credential(&id).record(Outcome::Credential, 0, None);
        assert!(one.cooling_ms(0) > 0);
    }
}
