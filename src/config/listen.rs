//! Where Weir listens: callers' listeners and the operators' one.

use super::document::Section;
use super::secret::{self, Environment, Resolved};
use crate::certificate::{self, CertifiedKey};
use secrecy::SecretString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where callers connect.
#[derive(Debug, Clone)]
pub struct Listener {
    pub address: Address,
    /// What it proves itself with, as its files were when the configuration was read.
    pub tls: Option<Arc<CertifiedKey>>,
    /// HTTP/2 without TLS, by prior knowledge.
    pub h2c: bool,
}

/// Where operators connect: metrics, health, explain.
#[derive(Debug)]
pub struct Admin {
    pub address: Address,
    /// Bearer token; always there unless the address is loopback or a Unix socket (S22).
    pub token: Option<SecretString>,
}

/// A place to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `ip:port`.
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(super) const LISTENER: &[&str] = &["address", "tls", "h2c"];
pub(super) const TLS: &[&str] = &["certificate", "key"];
pub(super) const ADMIN: &[&str] = &["address", "token"];
const LISTENER_DEFAULT: &str = "127.0.0.1:8080";
const ADMIN_DEFAULT: &str = "127.0.0.1:8081";

/// Reads the callers' listeners; there is one by default.
pub(super) fn listeners(root: &Section<'_>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let sections = root.tables("listener", &[], LISTENER);
    for section in &sections {
        let Some(address) = section.demanded("address", |text| address(section, text)) else {
            continue;
        };
        if listeners.iter().any(|other| other.address == address) {
            section.problem("address", "another listener has this address already");
        }
        let tls = section.has("tls").then(|| tls(&section.table("tls", TLS))).flatten();
        let h2c = section.or("h2c", false);
        if h2c && section.has("tls") {
            section.problem("h2c", "is for plaintext; with tls, h2 is offered by ALPN anyway");
        }
        if matches!(address, Address::Unix(_)) && section.has("tls") {
            section.problem("tls", "a Unix socket is served without TLS; give an \"ip:port\"");
        }
        listeners.push(Listener { address, tls, h2c });
    }
    if sections.is_empty() && root.has("listener") {
        root.problem("listener", "expected at least one [[listener]]");
    } else if sections.is_empty() {
        let address = Address::Tcp(LISTENER_DEFAULT.to_owned());
        listeners.push(Listener { address, tls: None, h2c: false });
    }
    listeners
}

fn address(section: &Section<'_>, text: String) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(section.resolve(Path::new(path))));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Address::Tcp(text)),
        _ => Err(format!("expected \"{LISTENER_DEFAULT}\" or \"unix:/run/weir/weir.sock\"")),
    }
}

/// Reads both files, and checks that the key is the certificate's.
fn tls(section: &Section<'_>) -> Option<Arc<CertifiedKey>> {
    let chain = section.demanded("certificate", |path: PathBuf| {
        certificates(&section.resolve(&path)).and_then(|text| certificate::chain(&text))
    });
    let key = section.demanded("key", |path: PathBuf| {
        match secret::private_file(&section.resolve(&path))? {
            None => Err(secret::ABSENT.to_owned()),
            Some(text) => holds(&text, b" PRIVATE KEY-----").and_then(|()| certificate::key(&text)),
        }
    });
    let pair = certificate::pair(chain?, key?).map(Arc::new);
    pair.map_err(|message| section.problem("key", message)).ok()
}

/// The text of a file that holds PEM certificates.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    holds(&text, b"-----BEGIN CERTIFICATE-----").map(|()| text)
}

fn holds(text: &[u8], mark: &[u8]) -> Result<(), String> {
    match memchr::memmem::find(text, mark) {
        Some(_) => Ok(()),
        None => Err("this is not the PEM file expected here".to_owned()),
    }
}

/// Reads the operators' listener: local, or guarded by a token (S22).
pub(super) fn admin(section: &Section<'_>, environment: Environment<'_>) -> Admin {
    let given = section.checked("address", |text| address(section, text));
    let address = given.unwrap_or_else(|| Address::Tcp(ADMIN_DEFAULT.to_owned()));
    let token = match secret::read(section, "token", environment) {
        Some(Resolved::Found { secret: token, .. }) => Some(token),
        Some(Resolved::Absent(reason)) => {
            section.problem("token", format!("{reason}; a token that is asked for must be there"));
            None
        }
        Some(Resolved::Wrong) => None,
        None => {
            if !is_local(&address) {
                let message = "missing: off loopback the operators' listener demands a token";
                section.problem("token", message);
            }
            None
        }
    };
    Admin { address, token }
}

fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp(text) => {
            text.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        }
    }
}
