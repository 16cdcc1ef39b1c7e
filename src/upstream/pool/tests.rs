//! Pools on real sockets of this host.

use super::{Forbidden, Pool};
use crate::catalog::{BaseUrl, Probe, Provider};
use crate::endpoint::Registry;
use crate::selection::fixture;
use crate::upstream::credential::Credentials;
use crate::upstream::discovery::Addresses;
use crate::upstream::pools::Pools;
use crate::upstream::probe;
use pingora_load_balancing::HealthRegistry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn provider(address: SocketAddr, probe: Probe) -> Provider {
    let mut provider = fixture::provider("p");
    provider.base_url = BaseUrl {
        tls: false,
        host: address.ip().to_string(),
        port: address.port(),
        path: String::new(),
    };
    provider.probe = probe;
    provider
}

/// A listener on a free port below those that outgoing connections get.
async fn listener() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).unwrap() + 20_000;
    for _ in 0..1_000 {
        let port = first + NEXT.fetch_add(1, Relaxed) % 4_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
    }
    panic!("no free port");
}

/// Answers every request with `status`, and returns the heads it got.
async fn answering(status: u16) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (heads, got) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let _ = heads.send(String::from_utf8_lossy(&head[..length]).into_owned());
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, got)
}

async fn closed() -> SocketAddr {
    listener().await.local_addr().unwrap()
}

async fn check(health: &Arc<HealthRegistry>, times: usize) {
    for _ in 0..times {
        health.run_health_check(true).await;
    }
}

fn pool(health: &Arc<HealthRegistry>, provider: &Provider) -> Pool {
    let credentials = Credentials::new(provider, &Registry::default()).unwrap();
    let addresses = Addresses::new(&provider.base_url, provider.private_addresses, Arc::default());
    Pool::new(provider, &credentials, Arc::new(addresses), Arc::clone(health)).unwrap()
}

#[tokio::test]
async fn three_failed_probes_take_an_address_down_and_a_reload_keeps_it_down() {
    let health = probe::registry();
    let provider = provider(closed().await, Probe::Connect);
    let first = pool(&health, &provider);
    check(&health, 2).await;
    assert!(!first.all_down(0));
    check(&health, 1).await;
    assert!(first.all_down(0));
    let second = pool(&health, &provider);
    drop(first);
    assert!(second.all_down(0), "an unchanged target keeps its health");
    assert_eq!(health.target_count(), 1);
    drop(second);
    assert_eq!(health.target_count(), 0);
}

#[tokio::test]
async fn a_get_probe_wants_200_and_sends_host_and_credential() {
    use crate::catalog::Credential;
    let health = probe::registry();
    let (good, mut heads) = answering(200).await;
    let (bad, _) = answering(503).await;
    let get = || Probe::Get("/v1/models".to_owned());
    let mut keyed = provider(good, get());
    keyed.credentials = vec![Arc::new(Credential {
        id: Arc::from("p/main"),
        source: String::new(),
        secret: "one".to_owned().into(),
    })];
    let good_pool = pool(&health, &keyed);
    let mut other = provider(bad, get());
    other.slug = Arc::from("q");
    let bad_pool = pool(&health, &other);
    check(&health, 3).await;
    assert!(!good_pool.all_down(0) && bad_pool.all_down(0));
    let head = heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("get /v1/models http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer one\r\n"), "{head}");
    assert!(head.contains(&format!("host: {good}\r\n")), "{head}");
}

#[tokio::test]
async fn two_good_probes_bring_an_address_back() {
    let health = probe::registry();
    let address = closed().await;
    let pool = pool(&health, &provider(address, Probe::Connect));
    check(&health, 3).await;
    assert!(pool.all_down(0));
    let _listener = TcpListener::bind(address).await.unwrap();
    check(&health, 1).await;
    assert!(pool.all_down(0));
    check(&health, 1).await;
    assert!(!pool.all_down(0));
}

#[tokio::test]
async fn a_probe_that_hangs_fails_in_time() {
    let listener = listener().await;
    let health = probe::registry();
    let address = listener.local_addr().unwrap();
    let _pool = pool(&health, &provider(address, Probe::Get("/health".to_owned())));
    let started = tokio::time::Instant::now();
    check(&health, 1).await;
    assert!(started.elapsed().as_millis() < 3_000);
}

#[tokio::test]
async fn failed_connections_avoid_an_address_longer_each_time() {
    let health = probe::registry();
    let address = "127.0.0.1:9".parse().unwrap();
    let pool = pool(&health, &provider(address, Probe::Off));
    let mut now = 0;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        pool.connect_failed(address, now);
        now += seconds * 1_000;
        assert!(pool.all_down(now - 1), "{seconds}");
        assert!(!pool.all_down(now), "{seconds}");
    }
    pool.connected(address);
    pool.connect_failed(address, now);
    assert!(!pool.all_down(now + 1_000));
    assert_eq!(pool.health(now), [(address, false)]);
}

#[tokio::test]
async fn addresses_take_turns_and_excluded_ones_are_not_given_again() {
    let health = probe::registry();
    let mut provider = provider("127.0.0.1:9".parse().unwrap(), Probe::Off);
    provider.base_url.host = "several.invalid".to_owned();
    let credentials = Credentials::default();
    let addresses = Arc::new(Addresses::known_for_test(&provider.base_url, &["1", "2", "3"]));
    let pool = Pool::new(&provider, &credentials, addresses, health).unwrap();
    let turns: Vec<_> = (0..6).map(|_| pool.pick(&[], 0).unwrap()).collect();
    assert_eq!(turns[..3], turns[3..]);
    assert!(turns[0] != turns[1] && turns[1] != turns[2] && turns[0] != turns[2]);
    pool.connect_failed(turns[0], 0);
    for _ in 0..6 {
        assert_ne!(pool.pick(&[], 0), Some(turns[0]));
        assert_eq!(pool.pick(&[turns[1]], 0), Some(turns[2]));
    }
    assert_eq!(pool.pick(&[turns[1], turns[2]], 0), None, "no second try at one to avoid");
    pool.connect_failed(turns[1], 0);
    pool.connect_failed(turns[2], 0);
    assert!(pool.all_down(0));
    assert!(pool.pick(&[], 0).is_some(), "a first try at any is better than none");
}

#[tokio::test]
async fn a_private_address_is_refused_at_connect_time_too() {
    let health = probe::registry();
    let mut provider = provider("1.1.1.1:80".parse().unwrap(), Probe::Off);
    provider.private_addresses = false;
    let pool = pool(&health, &provider);
    let endpoint = fixture::endpoint("p", 1);
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    assert_eq!(pool.peer(&endpoint, metadata, 0).unwrap_err(), Forbidden(metadata));
    assert!(pool.peer(&endpoint, "1.1.1.1:80".parse().unwrap(), 0).is_ok());
    assert_eq!(pool.authority(), "1.1.1.1");
}

#[tokio::test]
async fn an_unchanged_provider_keeps_its_pool_and_a_changed_one_its_addresses() {
    let pools = Pools::default();
    let mut provider = provider("127.0.0.1:9".parse().unwrap(), Probe::Off);
    provider.base_url.host = "localhost".to_owned();
    let attach = |provider: &Provider| pools.attach(provider, &Credentials::default()).unwrap();
    let first = attach(&provider);
    assert!(first.all_down(0) && first.pick(&[], 0).is_none(), "nothing is known yet");
    pools.refresh().await;
    assert!(first.pick(&[], 0).unwrap().ip().is_loopback());
    assert!(Arc::ptr_eq(&first, &attach(&provider)));
    provider.probe = Probe::Connect;
    let changed = attach(&provider);
    assert!(!Arc::ptr_eq(&first, &changed));
    assert!(!changed.all_down(0), "the last good addresses serve at once");
    drop(first);
    assert_eq!(pools.live().len(), 1);
}

#[tokio::test]
async fn a_get_probe_speaks_h2_with_an_authority() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (uris, mut got) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let uris = uris.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let _ = uris.send(request.uri().to_string());
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            });
        }
    });
    let health = probe::registry();
    let mut provider = provider(address, Probe::Get("/health".to_owned()));
    provider.http = crate::catalog::HttpVersions::H2;
    let pool = pool(&health, &provider);
    check(&health, 3).await;
    assert!(!pool.all_down(0));
    assert_eq!(got.recv().await.unwrap(), format!("http://{address}/health"));
}

/// A certificate for `good.test` that signs itself, made by the openssl command, and a server that
/// shows it.
struct TlsServer {
    directory: tempfile::TempDir,
    address: SocketAddr,
    process: std::process::Child,
}

impl TlsServer {
    async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let address = closed().await;
        let openssl = |arguments: &str| {
            let mut command = std::process::Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(directory.path());
            command.stdin(std::process::Stdio::null());
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command
        };
        let made = openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj \
             /CN=good.test -addext subjectAltName=DNS:good.test -addext \
             basicConstraints=CA:FALSE -keyout key.pem -out ca.pem",
        )
        .status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: the openssl command is not installed");
            return None;
        }
        let serve = format!("s_server -accept {address} -cert ca.pem -key key.pem -www -quiet");
        let process = openssl(&serve).spawn().unwrap();
        let server = Self { directory, address, process };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Some(server);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the TLS server did not start");
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn only_the_right_name_signed_by_the_right_authority_is_healthy() {
    let Some(server) = TlsServer::start().await else { return };
    let health = probe::registry();
    let cases = [
        ("right", "good.test", true, Probe::Connect, true),
        ("right-get", "good.test", true, Probe::Get("/".to_owned()), true),
        ("wrong-name", "evil.test", true, Probe::Connect, false),
        ("unknown-authority", "good.test", false, Probe::Connect, false),
    ];
    let pools = cases.map(|(slug, server_name, has_ca, probe, healthy)| {
        let mut provider = provider(server.address, probe);
        provider.slug = Arc::from(slug);
        provider.base_url.tls = true;
        provider.server_name = server_name.to_owned();
        provider.ca_file = has_ca.then(|| server.directory.path().join("ca.pem"));
        (slug, pool(&health, &provider), healthy)
    });
    check(&health, 3).await;
    for (slug, pool, healthy) in pools {
        assert_eq!(!pool.all_down(0), healthy, "{slug}");
    }
}
