//! The baseline: Pingora proxying blindly to one upstream, with Weir's allocator, profile and threads.
//!
//! `bench-bare LISTEN UPSTREAM`, both `address:port`.

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Blind {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Blind {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream] = arguments.as_slice() else {
        return Err("usage: bench-bare LISTEN UPSTREAM".into());
    };
    // As Weir does at start.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 4_096,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service =
        http_proxy_service(&server.configuration, Blind { upstream: upstream.parse()? });
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
