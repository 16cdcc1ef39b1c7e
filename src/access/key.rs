//! Making a key: `sk-or-v1-` and 64 hex digits of randomness (contract 1.1).

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// How every key begins.
pub const KEY_PREFIX: &str = "sk-or-v1-";

/// A key that was just made: the only moment its text exists in Weir.
#[derive(Debug)]
pub struct NewKey {
    pub key: SecretString,
    /// Its SHA-256 in lowercase hex: what configuration and ledger know it by.
    pub handle: String,
}

impl NewKey {
    /// The key made of these random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        let digits = Zeroizing::new(hex::encode(bytes));
        let key = Zeroizing::new(format!("{KEY_PREFIX}{}", digits.as_str()));
        let handle = hex::encode(Sha256::digest(key.as_bytes()));
        Self { key: SecretString::from(key.as_str()), handle }
    }
}
