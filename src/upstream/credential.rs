//! Which secret a request goes out with. Header values are prepared once, at load.

use crate::catalog::Provider;
use crate::endpoint::{CredentialLive, Registry};
use http::HeaderValue;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use zeroize::Zeroizing;

const SCHEME: &str = "Bearer ";

/// One credential, ready to be sent.
#[derive(Debug)]
pub struct Key {
    /// Stable id: `provider/name`.
    pub id: Arc<str>,
    /// Value of `Authorization`, marked sensitive: it is not printed and not indexed by HPACK.
    pub authorization: HeaderValue,
    pub live: Arc<CredentialLive>,
}

impl Key {
    /// The secret as it goes over the wire.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        let value = self.authorization.as_bytes();
        value.strip_prefix(SCHEME.as_bytes()).unwrap_or(value)
    }
}

/// The credentials of one provider, in the order they are to be used.
#[derive(Debug, Default)]
pub struct Credentials(Vec<Arc<Key>>);

/// A secret that cannot be sent in a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "credential {id}: holds a byte that no HTTP header may carry; look for a line break or a \
         space at its end"
)]
pub struct Unsendable {
    pub id: Arc<str>,
}

impl Credentials {
    /// Prepares the credentials of a provider, with the live state they had before.
    ///
    /// # Errors
    /// If a secret cannot be a header value; its id is named and the secret is not.
    pub fn new(provider: &Provider, registry: &Registry) -> Result<Self, Unsendable> {
        let key = |credential: &Arc<crate::catalog::Credential>| {
            let id = Arc::clone(&credential.id);
            let text = Zeroizing::new(format!("{SCHEME}{}", credential.secret.expose_secret()));
            let Ok(mut authorization) = HeaderValue::from_str(&text) else {
                return Err(Unsendable { id });
            };
            authorization.set_sensitive(true);
            // Another secret under the same id has not failed yet.
            let digest = hex::encode(Sha256::digest(credential.secret.expose_secret()));
            let live = registry.credential(&Arc::from(format!("{id} {digest}")));
            Ok(Arc::new(Key { live, id, authorization }))
        };
        provider.credentials.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The first credential that does not cool. `None` where there is none at all, which a keyless
    /// provider serves, or where all cool.
    #[must_use]
    pub fn pick(&self, now_ms: u64) -> Option<&Arc<Key>> {
        self.0.iter().find(|key| key.live.cooling_ms(now_ms) == 0)
    }

    /// Milliseconds until the first credential is ready again, 0 if one is or none exists.
    #[must_use]
    pub fn cooling_ms(&self, now_ms: u64) -> u64 {
        self.0.iter().map(|key| key.live.cooling_ms(now_ms)).min().unwrap_or(0)
    }

    /// The first credential: the one probes use.
    #[must_use]
    pub fn first(&self) -> Option<&Key> {
        self.0.first().map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Credential;
    use crate::outcome::Outcome;
    use crate::selection::fixture;
    use secrecy::SecretString;

    fn provider(secrets: &[&str]) -> Provider {
        let credential = |(nth, secret): (usize, &&str)| {
            let id = Arc::from(format!("p/{nth}"));
            Arc::new(Credential { id, source: String::new(), secret: SecretString::from(*secret) })
        };
        let mut provider = fixture::provider("p");
        provider.credentials = secrets.iter().enumerate().map(credential).collect();
        provider
    }

    #[test]
    fn the_first_that_does_not_cool_is_picked() {
        let credentials =
            Credentials::new(&provider(&["one", "two"]), &Registry::default()).unwrap();
        let first = credentials.pick(0).unwrap();
        assert_eq!(
            (&first.authorization, first.secret()),
            (&"Bearer one".parse().unwrap(), &b"one"[..])
        );
        first.live.record(Outcome::Credential, 0, None);
        let second = credentials.pick(0).unwrap();
        assert_eq!(&*second.id, "p/1");
        assert_eq!(credentials.cooling_ms(0), 0);
        second.live.record(Outcome::Credential, 10_000, None);
        assert!(credentials.pick(10_000).is_none());
        assert_eq!(credentials.cooling_ms(10_000), 50_000);
        assert_eq!(&*credentials.pick(60_000).unwrap().id, "p/0");
    }

    #[test]
    fn a_keyless_provider_never_cools() {
        let credentials = Credentials::new(&provider(&[]), &Registry::default()).unwrap();
        assert!(credentials.pick(0).is_none() && credentials.cooling_ms(0) == 0);
    }

    #[test]
    fn no_secret_is_printed() {
        let registry = Registry::default();
        let credentials = Credentials::new(&provider(&["canary"]), &registry).unwrap();
        assert!(!format!("{credentials:?}").contains("canary"));
        let error = Credentials::new(&provider(&["good", "canary\n"]), &registry).unwrap_err();
        assert_eq!(&*error.id, "p/1");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
