//! Listeners: which sockets Pingora serves, and an error a person can act on when one is taken.

use crate::bounds::{H2_ERROR_RESETS, H2_HEAD_BYTES, H2_RESET_STREAMS, H2_SEND_BYTES};
use crate::certificate::Certificates;
use crate::config::{Address, Limits, Listener, Settings};
use crate::edge::app::{Connections, Edge};
use crate::edge::extract;
use crate::edge::merge::Merging;
use crate::proxy::Weir;
use crate::state::State;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use pingora_proxy::HttpProxy;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Weir as a Pingora application.
type Proxy = HttpProxy<Weir, Merging>;

/// Weir as a Pingora service, behind its caps.
pub type Callers = Service<Edge<Proxy>>;

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {reason}; stop what holds it or change the configuration")]
    Taken { address: String, reason: String },
    #[error("cannot set up the proxy, which needs a loopback socket for a moment: {0}")]
    Proxy(#[from] std::io::Error),
    #[error("cannot serve TLS on {address}: {reason}")]
    Tls { address: String, reason: String },
}

/// Finds addresses that are taken before Pingora would panic over them.
///
/// # Errors
/// The first address that cannot be bound.
pub fn check(settings: &Settings) -> Result<(), ListenError> {
    let callers = settings.listeners.iter().map(|listener| &listener.address);
    callers.chain([&settings.admin.address]).try_for_each(free)
}

fn free(address: &Address) -> Result<(), ListenError> {
    let taken = |reason: String| ListenError::Taken { address: address.to_string(), reason };
    match address {
        Address::Tcp(tcp) => {
            TcpListener::bind(tcp).map(drop).map_err(|error| taken(error.to_string()))
        }
        Address::Unix(path) if UnixStream::connect(path).is_ok() => {
            Err(taken("another process answers there".to_owned()))
        }
        Address::Unix(path) => {
            let directory = path.parent().unwrap_or(Path::new("."));
            match directory.is_dir() {
                true => Ok(()),
                false => Err(taken(format!("{} is no directory", directory.display()))),
            }
        }
    }
}

/// One service for the plain listeners and one for those that also speak h2c: Pingora's option is
/// per service, and a service has threads of its own.
pub fn services(conf: &Arc<ServerConf>, state: &Arc<State>) -> Vec<Result<Callers, ListenError>> {
    let connections = Connections::default();
    let settings = Arc::clone(&state.snapshot.load().settings);
    [false, true]
        .into_iter()
        .filter_map(|h2c| {
            let of: Vec<_> = settings.listeners.iter().filter(|each| each.h2c == h2c).collect();
            (!of.is_empty()).then(|| {
                let edge =
                    Edge::new(proxy(conf, state, h2c)?, Arc::clone(state), connections.clone());
                let name = if h2c { "callers-h2c" } else { "callers" };
                service(Service::new(name.to_owned(), edge), &of, &state.certificates)
            })
        })
        .collect()
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

fn service(
    mut service: Callers,
    listeners: &[&Listener],
    certificates: &Certificates,
) -> Result<Callers, ListenError> {
    for listener in listeners {
        let endpoint = match (&listener.address, certificates.resolver(&listener.address)) {
            (Address::Unix(path), _) => ListenerConfig::uds(path.to_string_lossy()),
            (Address::Tcp(address), None) => ListenerConfig::tcp(address),
            (Address::Tcp(address), Some(resolver)) => {
                let mut tls = TlsSettings::intermediate("", "").map_err(|error| {
                    ListenError::Tls { address: address.clone(), reason: error.to_string() }
                })?;
                tls.set_cert_resolver(resolver);
                tls.enable_h2();
                ListenerConfig::tcp(address).tls(tls)
            }
        };
        // Whoever reads has a buffer already, and this one would be 64 KiB of every connection.
        service.add_listener(endpoint.l4_buffer(L4BufferSettings::default().read(0)));
    }
    Ok(service)
}
