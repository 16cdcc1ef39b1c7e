//! A [`HttpProxy`] with a connector of our own, as a value.
//!
//! Pingora's builder hands such a proxy out only inside a service, and a service hands it on only
//! together with a connection. [`super::app::Edge`] must own it to wrap what it serves. So the
//! service is run once, on a runtime and a loopback socket that end with this call, until a
//! connection of ours has brought the proxy out.

use super::merge::Merging;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora_proxy::{HttpProxy, ProcessCustomSession, ProxyHttp, ProxyServiceBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// Longest wait for a connection over loopback.
const LIMIT: Duration = Duration::from_secs(5);

/// A proxy that serves `app` and connects through [`Merging`]. Not to be called on a runtime.
///
/// # Errors
/// No loopback socket, or nothing came through it.
pub fn proxy<A>(conf: &Arc<ServerConf>, app: A) -> io::Result<HttpProxy<A, Merging>>
where
    A: ProxyHttp + Send + Sync + 'static,
    A::CTX: Send + Sync,
{
    let (out, mut came) = mpsc::channel(1);
    let hand_out: ProcessCustomSession<A, Merging> = Arc::new(move |proxy, _, _| {
        // Any later one is the same.
        drop(out.try_send(proxy));
        Box::pin(std::future::ready(None))
    });
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    let connector = Merging::new(Some(ConnectorOptions::from_server_conf(conf)));
    let mut service = ProxyServiceBuilder::new(conf, app)
        .custom(connector, hand_out)
        .server_options(options)
        .build();
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    service.add_tcp(&address.to_string());
    let mut sockets = Fds::new();
    sockets.add(address.to_string(), socket.into_raw_fd());
    let sockets: ListenFds = Arc::new(parking_lot::Mutex::new(sockets));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_running, shutdown) = watch::channel(false);
    let proxy: io::Result<_> = runtime.block_on(async {
        let connected = async {
            let _connection = TcpStream::connect(address).await?;
            Ok(came.recv().await)
        };
        tokio::select! {
            () = service.start_service(Some(sockets), shutdown, 1) => Ok(None),
            proxy = tokio::time::timeout(LIMIT, connected) => proxy?,
        }
    });
    // With them goes everybody else who holds the proxy.
    drop((runtime, came));
    let alone = proxy.map(|proxy| proxy.and_then(Arc::into_inner));
    alone?.ok_or_else(|| io::Error::other("the proxy did not come out of its service"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::upstreams::peer::HttpPeer;
    use pingora_proxy::Session;

    struct Nowhere;

    #[async_trait::async_trait]
    impl ProxyHttp for Nowhere {
        type CTX = ();

        fn new_ctx(&self) {}

        async fn upstream_peer(
            &self,
            _: &mut Session,
            (): &mut (),
        ) -> pingora::Result<Box<HttpPeer>> {
            Err(pingora::Error::new(pingora::ErrorType::InternalError))
        }
    }

    #[test]
    fn a_proxy_comes_out_every_time() {
        let conf = Arc::new(ServerConf::default());
        for _ in 0..3 {
            proxy(&conf, Nowhere).unwrap();
        }
    }
}
