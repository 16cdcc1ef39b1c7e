//! Who calls: keys, and the caller a key stands for.

mod failures;
mod key;
mod requests;

pub use failures::Failures;
pub use key::{KEY_PREFIX, NewKey};
pub use requests::{Admitted, Requests};

use crate::error::Error;
use crate::selection::Constraint;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Who pays: an API key inside a workspace.
#[derive(Debug)]
pub struct Caller {
    /// SHA-256 of the whole key: its public handle, and what a ledger row stores.
    pub key_hash: [u8; 32],
    /// The same in lowercase hex.
    pub handle: Arc<str>,
    /// What the operator calls the key.
    pub name: Arc<str>,
    pub workspace: Arc<str>,
    /// Words of the operator's that rules may match.
    pub tags: Vec<Arc<str>>,
    /// What deployment, workspace and key allow together.
    pub constraint: Constraint,
    /// Model slugs the key may use, `author/*` for all of an author; `None` allows all.
    pub models: Option<Vec<Arc<str>>>,
    /// Requests that may be under way at once; `None` leaves it to `limits.requests_per_key`.
    pub requests_at_once: Option<usize>,
    pub requests: Arc<Requests>,
}

impl Caller {
    /// A caller without a key, for whom only this holds.
    fn anyone(constraint: Constraint) -> Self {
        Self {
            key_hash: [0; 32],
            handle: "".into(),
            name: "".into(),
            workspace: "default".into(),
            tags: Vec::new(),
            constraint,
            models: None,
            requests_at_once: None,
            requests: Arc::default(),
        }
    }

    /// Counts a request of this key until the guard drops. `most` is for keys with no number of their
    /// own.
    ///
    /// # Errors
    /// 429 where as many are under way as may be.
    pub fn admit(&self, most: usize) -> Result<Admitted, Error> {
        let most = self.requests_at_once.unwrap_or(most);
        self.requests.admit(most).ok_or_else(|| {
            let says = "Rate limit exceeded: too many requests of this key are under way";
            Error::weir(429, says).retry_after(Some(1))
        })
    }

    /// Whether the key may use the model of this slug.
    #[must_use]
    pub fn allows_model(&self, slug: &str) -> bool {
        let matches = |pattern: &Arc<str>| match pattern.strip_suffix('*') {
            Some(author) => slug.starts_with(author),
            None => **pattern == *slug,
        };
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(matches))
    }
}

/// The keys that may call. A disabled key is not in it: it is answered as an unknown one.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// By digest.
    callers: Vec<Arc<Caller>>,
}

impl Keys {
    /// Digests are taken to be unique.
    #[must_use]
    pub fn new(callers: impl IntoIterator<Item = Caller>) -> Self {
        let mut callers: Vec<_> = callers.into_iter().map(Arc::new).collect();
        callers.sort_unstable_by_key(|caller| caller.key_hash);
        Self { callers }
    }

    /// Goes on counting the requests of keys that were there before.
    pub fn inherit(&mut self, previous: &Self) {
        for caller in self.callers.iter_mut().filter_map(Arc::get_mut) {
            if let Some(before) = previous.by_digest(&caller.key_hash) {
                caller.requests = Arc::clone(&before.requests);
            }
        }
    }

    /// The caller of a key, by its full SHA-256 (S18). A search narrows by the digest's first bytes,
    /// which say nothing about a key's 256 random bits; the rest is compared in constant time.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<&Arc<Caller>> {
        self.by_digest(&Sha256::digest(presented.as_bytes()).into())
    }

    fn by_digest(&self, digest: &[u8; 32]) -> Option<&Arc<Caller>> {
        let prefix = |hash: &[u8; 32]| hash.first_chunk::<8>().copied();
        let start = self.callers.partition_point(|c| prefix(&c.key_hash) < prefix(digest));
        let same = self.callers.iter().skip(start);
        let mut same = same.take_while(|caller| prefix(&caller.key_hash) == prefix(digest));
        same.find(|caller| bool::from(caller.key_hash.ct_eq(digest)))
    }

    /// The caller of the key that the operator calls so; without a name one for whom only
    /// `deployment`'s policy holds.
    ///
    /// # Errors
    /// No key is called so, in words for the operator.
    pub fn named(
        &self,
        name: Option<&str>,
        deployment: &Constraint,
    ) -> Result<Arc<Caller>, String> {
        let Some(name) = name else { return Ok(Arc::new(Caller::anyone(deployment.clone()))) };
        let found = self.callers.iter().find(|caller| *caller.name == *name);
        found.cloned().ok_or_else(|| format!("no key is called {name}"))
    }

    /// Every caller, by digest.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.callers.iter()
    }

    /// Number of keys that may call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callers.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }
}

/// The key a request presents: `Authorization: Bearer` (any case of the scheme, RFC 9110 section
/// 11.1), else `x-api-key`, which counts as Bearer (contract 1.1).
#[must_use]
pub fn presented<'a>(
    authorization: Option<&'a [u8]>,
    x_api_key: Option<&'a [u8]>,
) -> Option<&'a str> {
    let bearer = authorization.and_then(|value| {
        let (scheme, key) = value.trim_ascii().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let key = std::str::from_utf8(bearer.or(x_api_key)?).ok()?.trim_ascii();
    (!key.is_empty()).then_some(key)
}

/// The caller of a request, from its two headers.
///
/// # Errors
/// 401 in the contract's words (section 5.5): one message for no key, one for a bad one.
pub fn authenticate(
    keys: &Keys,
    authorization: Option<&[u8]>,
    x_api_key: Option<&[u8]>,
) -> Result<Arc<Caller>, Error> {
    let Some(key) = presented(authorization, x_api_key) else {
        return Err(Error::caller(401, "No cookie auth credentials found"));
    };
    keys.find(key).cloned().ok_or_else(|| Error::caller(401, "User not found."))
}

#[cfg(test)]
mod tests;
