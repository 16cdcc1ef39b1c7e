//! Listeners: which sockets Pingora serves, and an error a person can act on when one is taken.

use crate::certificate::Certificates;
use crate::config::{Address, Listener, Settings};
use crate::edge::merge::Merging;
use crate::proxy::Weir;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use pingora_proxy::{HttpProxy, ProxyServiceBuilder};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Weir as a Pingora service.
pub type Proxy = Service<HttpProxy<Weir, Merging>>;

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {reason}; stop what holds it or change the configuration")]
    Taken { address: String, reason: String },
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
pub fn services(
    conf: &Arc<ServerConf>,
    settings: &Settings,
    certificates: &Certificates,
    app: impl Fn() -> Weir,
) -> Vec<Result<Proxy, ListenError>> {
    [false, true]
        .into_iter()
        .filter_map(|h2c| {
            let of: Vec<_> = settings.listeners.iter().filter(|each| each.h2c == h2c).collect();
            (!of.is_empty()).then(|| service(conf, settings, app(), (&of, h2c, certificates)))
        })
        .collect()
}

fn service(
    conf: &Arc<ServerConf>,
    settings: &Settings,
    app: Weir,
    (listeners, h2c, certificates): (&[&Listener], bool, &Certificates),
) -> Result<Proxy, ListenError> {
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    options.h2_idle_timeout = Some(settings.limits.keepalive_idle);
    let name = if h2c { "callers-h2c" } else { "callers" };
    let connector = Merging::new(Some(ConnectorOptions::from_server_conf(conf)));
    // No listener negotiates a custom protocol, so nothing ever comes this way.
    let none: pingora_proxy::ProcessCustomSession<Weir, Merging> =
        Arc::new(|_, _, _| Box::pin(std::future::ready(None)));
    let mut service = ProxyServiceBuilder::new(conf, app)
        .custom(connector, none)
        .name(name)
        .server_options(options)
        .build();
    for listener in listeners {
        match (&listener.address, certificates.resolver(&listener.address)) {
            (Address::Unix(path), _) => service.add_uds(&path.to_string_lossy(), None),
            (Address::Tcp(address), None) => service.add_tcp(address),
            (Address::Tcp(address), Some(resolver)) => {
                let mut tls = TlsSettings::intermediate("", "").map_err(|error| {
                    ListenError::Tls { address: address.clone(), reason: error.to_string() }
                })?;
                tls.set_cert_resolver(resolver);
                tls.enable_h2();
                service.add_tls_with_settings(address, None, tls);
            }
        }
    }
    Ok(service)
}
