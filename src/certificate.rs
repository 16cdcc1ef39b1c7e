//! Certificates of Weir's own listeners: read and checked with the configuration, and put in force
//! for the handshakes after a reload. Connections that stand keep theirs.

use crate::config::{Address, Settings};
use arc_swap::ArcSwap;
pub use pingora::tls::sign::CertifiedKey;
use pingora::tls::{
    CertificateDer, ClientHello, CryptoProvider, PrivateKeyDer, ResolvesServerCert,
};
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of a PEM text, the listener's own first.
///
/// # Errors
/// What is wrong, for the line of the configuration that names the file.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err("the certificates in this file are damaged".to_owned()),
    }
}

/// The key of a PEM text.
///
/// # Errors
/// As [`chain`]; nothing of the file is in the message.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "the key in this file is damaged or encrypted".to_owned())
}

/// Puts a chain and its key together.
///
/// # Errors
/// As [`chain`]: they are no pair.
pub fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    pingora::tls::install_default_crypto_provider();
    let provider = CryptoProvider::get_default().ok_or("TLS is not available")?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("it cannot be used with this certificate: {error}"))
}

/// What TLS listeners prove themselves with, by their address.
#[derive(Debug)]
pub struct Certificates(HashMap<Address, Arc<InForce>>);

impl Certificates {
    /// Those of the configuration that Weir starts with.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self(each(settings).map(|(at, pair)| (at.clone(), Arc::new(InForce::new(pair)))).collect())
    }

    /// Shows these from the next handshake on. Listeners themselves come and go with the process.
    pub fn renew(&self, settings: &Settings) {
        for (address, pair) in each(settings) {
            if let Some(in_force) = self.0.get(address) {
                in_force.0.store(pair);
            }
        }
    }

    /// What the listener at this address asks at each handshake.
    #[must_use]
    pub fn resolver(&self, address: &Address) -> Option<Arc<dyn ResolvesServerCert>> {
        self.0.get(address).map(|in_force| Arc::clone(in_force) as _)
    }
}

fn each(settings: &Settings) -> impl Iterator<Item = (&Address, Arc<CertifiedKey>)> {
    let listeners = settings.listeners.iter();
    listeners.filter_map(|each| each.tls.as_ref().map(|pair| (&each.address, Arc::clone(pair))))
}

#[derive(Debug)]
struct InForce(ArcSwap<CertifiedKey>);

impl InForce {
    fn new(pair: Arc<CertifiedKey>) -> Self {
        Self(ArcSwap::new(pair))
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
