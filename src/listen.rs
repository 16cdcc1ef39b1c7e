//! Listeners: which sockets Pingora serves, and an error a person can act on when one is taken.

use crate::admin::Admin;
use crate::bounds::{
    H2_ERROR_RESETS, H2_HEAD_BYTES, H2_RESET_STREAMS, H2_SEND_BYTES, OPERATOR_SPARES,
};
use crate::certificate::Certificates;
use crate::config::{Address, Limits, Settings};
use crate::edge::accept::Accepting;
use crate::edge::app::Edge;
use crate::edge::extract;
use crate::edge::merge::Merging;
use crate::edge::places::Places;
use crate::edge::socket::Bound;
use crate::proxy::Weir;
use crate::state::State;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Weir as a Pingora application.
type Proxy = HttpProxy<Weir, Merging>;

/// Weir as a Pingora service, behind its caps.
pub type Callers = Accepting<Edge<Proxy>>;

/// Who may connect to the operators' Unix socket: owner and group.
const OPERATORS_SOCKET_MODE: u32 = 0o660;

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {reason}; stop what holds it or choose another address")]
    Taken { address: String, reason: String },
    #[error("cannot set up the proxy, which needs a loopback socket for a moment: {0}")]
    Proxy(#[from] std::io::Error),
    #[error("cannot serve TLS on {address}: {reason}")]
    Tls { address: String, reason: String },
}

/// Finds addresses that are taken before anything else is begun.
///
/// # Errors
/// The first address that cannot be bound.
pub fn check(settings: &Settings) -> Result<(), ListenError> {
    let callers = settings.listeners.iter().map(|listener| &listener.address);
    callers.chain([&settings.admin.address]).try_for_each(free)
}

fn free(address: &Address) -> Result<(), ListenError> {
    match address {
        Address::Tcp(tcp) => {
            TcpListener::bind(tcp).map(drop).map_err(|error| taken(address, error.to_string()))
        }
        Address::Unix(path) if UnixStream::connect(path).is_ok() => {
            Err(taken(address, "another process answers there".to_owned()))
        }
        Address::Unix(path) => {
            let directory = path.parent().unwrap_or(Path::new("."));
            match directory.is_dir() {
                true => Ok(()),
                false => Err(taken(address, format!("{} is no directory", directory.display()))),
            }
        }
    }
}

/// One service for all listeners, its sockets bound. Whether a listener speaks h2c is an option of
/// Pingora's proxy, so there is a proxy for those that do and one for those that do not.
///
/// # Errors
/// The first listener that cannot be served.
pub fn callers(conf: &Arc<ServerConf>, state: &Arc<State>) -> Result<Callers, ListenError> {
    let places = Places::default();
    let settings = Arc::clone(&state.snapshot.load().settings);
    let mut doors = Vec::with_capacity(settings.listeners.len());
    for h2c in [false, true] {
        let mut app = None;
        for listener in settings.listeners.iter().filter(|each| each.h2c == h2c) {
            let app = match &app {
                Some(app) => Arc::clone(app),
                None => Arc::clone(app.insert(Arc::new(proxy(conf, state, h2c)?))),
            };
            let tls = tls(&listener.address, &state.certificates)?;
            let edge = Edge::new(app, tls, Arc::clone(state), places.clone());
            doors.push((bind(&listener.address, None)?, Arc::new(edge)));
        }
    }
    Ok(Accepting::new("callers", doors, Arc::clone(&state.metrics)))
}

/// The operators' service, its socket bound.
///
/// # Errors
/// The address cannot be bound.
pub fn operators(admin: Admin, state: &State) -> Result<Accepting<Admin>, ListenError> {
    let settings = Arc::clone(&state.snapshot.load().settings);
    let socket = bind(&settings.admin.address, Some(OPERATORS_SOCKET_MODE))?;
    let doors = vec![(socket, Arc::new(admin))];
    let service = Accepting::new("operators", doors, Arc::clone(&state.metrics));
    Ok(service.on_one_thread_with_spares(OPERATOR_SPARES))
}

fn bind(address: &Address, mode: Option<u32>) -> Result<Bound, ListenError> {
    Bound::to(address, mode).map_err(|error| taken(address, error.to_string()))
}

fn taken(address: &Address, reason: String) -> ListenError {
    ListenError::Taken { address: address.to_string(), reason }
}

fn proxy(conf: &Arc<ServerConf>, state: &Arc<State>, h2c: bool) -> Result<Proxy, ListenError> {
    let mut proxy = extract::proxy(conf, Weir::new(Arc::clone(state)))?;
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    let limits = state.snapshot.load().settings.limits;
    options.h2_idle_timeout = Some(limits.keepalive_idle);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options(&limits));
    Ok(proxy)
}

/// What a listener with a certificate proves itself with. Both protocols are offered.
fn tls(address: &Address, certificates: &Certificates) -> Result<Option<Acceptor>, ListenError> {
    let Some(resolver) = certificates.resolver(address) else { return Ok(None) };
    let mut tls = TlsSettings::intermediate("", "").map_err(|error| ListenError::Tls {
        address: address.to_string(),
        reason: error.to_string(),
    })?;
    tls.set_cert_resolver(resolver);
    tls.enable_h2();
    Ok(Some(tls.build()))
}

/// Bounds of the memory of one HTTP/2 connection (S8). Pingora's defaults stay where none is given.
fn h2_options(limits: &Limits) -> H2Options {
    let mut h2 = default_h2_options();
    h2.max_header_list_size(H2_HEAD_BYTES);
    h2.max_concurrent_streams(limits.h2_streams);
    // As many as could be open: a caller may give all of them up at once.
    h2.max_pending_accept_reset_streams(limits.h2_streams as usize);
    h2.max_local_error_reset_streams(Some(H2_ERROR_RESETS));
    h2.max_concurrent_reset_streams(H2_RESET_STREAMS);
    h2.max_send_buffer_size(H2_SEND_BYTES);
    h2
}
