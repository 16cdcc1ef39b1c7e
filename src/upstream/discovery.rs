//! Names to addresses, off the request path (F03, F04).

use crate::bounds::ADDRESSES_PER_PROVIDER;
use crate::catalog::BaseUrl;
use arc_swap::ArcSwap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long one lookup may take.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What went wrong in all lookups of the process, for metrics.
#[derive(Debug, Default)]
pub struct Lookups {
    pub failed: AtomicU64,
    /// Addresses refused because they are not public (F04).
    pub refused: AtomicU64,
}

/// The last good addresses of one host.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    port: u16,
    private: bool,
    known: ArcSwap<Vec<SocketAddr>>,
    /// Lookups that failed since the last good one.
    failures: AtomicU64,
    lookups: Arc<Lookups>,
}

impl Addresses {
    /// Nothing is looked up yet; an address in place of a name is known at once. `private` allows
    /// addresses that are not of the public internet.
    #[must_use]
    pub fn new(base: &BaseUrl, private: bool, lookups: Arc<Lookups>) -> Self {
        let host = base.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let literal = host.parse::<IpAddr>().ok();
        let addresses = Self {
            host,
            port: base.port,
            private,
            known: ArcSwap::default(),
            failures: AtomicU64::new(0),
            lookups,
        };
        if let Some(ip) = literal {
            addresses.accept(vec![SocketAddr::new(ip, base.port)]);
            addresses.failures.store(0, Relaxed);
        }
        addresses
    }

    /// Addresses 127.0.0.x of a host that is never looked up.
    #[cfg(test)]
    pub(super) fn known_for_test(base: &BaseUrl, last: &[&str]) -> Self {
        let addresses = Self::new(base, true, Arc::default());
        let ip = |last: &&str| format!("127.0.0.{last}:{}", base.port).parse().unwrap();
        addresses.accept(last.iter().map(ip).collect());
        addresses
    }

    /// Whether both speak of the same host under the same policy.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, self.port, self.private) == (&other.host, other.port, other.private)
    }

    /// The last good addresses, sorted.
    #[must_use]
    pub fn known(&self) -> Arc<Vec<SocketAddr>> {
        self.known.load_full()
    }

    /// Whether the last lookup failed, so that what is known may be out of date.
    #[must_use]
    pub fn stale(&self) -> bool {
        self.failures.load(Relaxed) > 0
    }

    /// Whether this address may be connected to. Asked again right before each connection.
    #[must_use]
    pub fn may_connect(&self, ip: IpAddr) -> bool {
        self.private || is_public(ip)
    }

    /// Looks the name up. On any failure the last good addresses stay.
    pub async fn refresh(&self) {
        if self.host.parse::<IpAddr>().is_ok() {
            return;
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(found)) => self.accept(found.take(4 * ADDRESSES_PER_PROVIDER).collect()),
            Ok(Err(error)) => self.missed(&error.to_string()),
            Err(_) => self.missed("no answer in time"),
        }
    }

    /// Takes in what a lookup found, unless nothing of it may be used.
    fn accept(&self, mut found: Vec<SocketAddr>) {
        let before = found.len();
        found.retain(|address| self.may_connect(address.ip()));
        let blocked = before - found.len();
        if blocked > 0 {
            self.lookups.refused.fetch_add(blocked as u64, Relaxed);
            tracing::warn!(
                host = self.host,
                blocked,
                "refused private addresses; set private_addresses if they are meant"
            );
        }
        if found.is_empty() {
            return self.missed("no usable address");
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(ADDRESSES_PER_PROVIDER);
        self.failures.store(0, Relaxed);
        if **self.known.load() != found {
            self.known.store(Arc::new(found));
        }
    }

    fn missed(&self, why: &str) {
        self.lookups.failed.fetch_add(1, Relaxed);
        // One line per spell of trouble, not one per lookup.
        if self.failures.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(host = self.host, why, "lookup failed; keeping the last good addresses");
        }
    }
}

/// Whether an address is one of the public internet: IANA's special-purpose registries (RFC 6890)
/// are not, nor what hides such an IPv4 address inside IPv6.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., ..)
    );
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, .., g, h] = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(g, h),
        [0x2002, high, low, ..] => embedded(high, low),
        // Global unicast is 2000::/3; of it, protocol assignments and documentation are not public.
        _ => {
            (0x2000..=0x3fff).contains(&a)
                && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
                && !(a == 0x3fff && b < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn base(host: &str) -> BaseUrl {
        BaseUrl { tls: false, host: host.to_owned(), port: 80, path: String::new() }
    }

    fn addresses_of(host: &str, private: bool) -> Addresses {
        Addresses::new(&base(host), private, Arc::default())
    }

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 80)).collect()
    }

    #[test]
    fn special_ranges_are_not_public_up_to_their_edges() {
        let special = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 \
             127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.1 \
             192.0.2.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.9 \
             203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::ffff:10.0.0.1 \
             ::ffff:8.8.8.8 fc00::1 fdff::1 fe80::1 ff02::1 64:ff9b::a00:1 2002:7f00:1::1 \
             2001:db8::1 2001::1 3fff::1 100::1";
        let public = "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
             128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 \
             192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1111 \
             2001:4860::8888 64:ff9b::808:808 2002:808:808::1";
        for (text, expected) in [(special, false), (public, true)] {
            for ip in text.split_whitespace() {
                assert_eq!(is_public(ip.parse().unwrap()), expected, "{ip}");
            }
        }
    }

    #[test]
    fn a_move_to_a_private_address_is_refused_and_the_last_good_ones_stay() {
        let host = addresses_of("api.example.com", false);
        host.accept(addresses(&["1.1.1.1"]));
        host.accept(addresses(&["169.254.169.254", "10.0.0.1"]));
        assert_eq!(*host.known(), addresses(&["1.1.1.1"]));
        assert_eq!((host.stale(), host.lookups.refused.load(Relaxed)), (true, 2));
        host.accept(addresses(&["10.0.0.1", "1.1.1.2"]));
        assert_eq!(*host.known(), addresses(&["1.1.1.2"]));
        assert_eq!((host.stale(), host.lookups.refused.load(Relaxed)), (false, 3));
    }

    #[test]
    fn private_addresses_are_used_where_configured() {
        let host = addresses_of("vllm.internal", true);
        host.accept(addresses(&["10.0.0.1"]));
        assert_eq!(*host.known(), addresses(&["10.0.0.1"]));
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(*addresses_of("1.1.1.1", false).known(), addresses(&["1.1.1.1"]));
        assert_eq!(*addresses_of("[::1]", true).known(), addresses(&["::1"]));
        let refused = addresses_of("127.0.0.1", false);
        assert!(refused.known().is_empty());
    }

    #[test]
    fn addresses_are_kept_up_to_their_bound() {
        let host = addresses_of("many.example.com", false);
        let many = |count: usize| {
            let list = (0..count).fold(String::new(), |mut list, nth| {
                let _ = write!(list, "1.1.1.{nth} ");
                list
            });
            addresses(&list.split_whitespace().collect::<Vec<_>>())
        };
        host.accept(many(ADDRESSES_PER_PROVIDER));
        assert_eq!(host.known().len(), ADDRESSES_PER_PROVIDER);
        host.accept(many(ADDRESSES_PER_PROVIDER + 1));
        assert_eq!(host.known().len(), ADDRESSES_PER_PROVIDER);
    }

    #[tokio::test]
    async fn a_failed_lookup_keeps_what_is_known() {
        let host = addresses_of("name.invalid", false);
        host.accept(addresses(&["1.1.1.1"]));
        host.refresh().await;
        assert_eq!((host.known().len(), host.stale()), (1, true));
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let host = addresses_of("localhost", true);
        host.refresh().await;
        assert!(host.known().iter().all(|address| address.ip().is_loopback()));
        assert!(!host.known().is_empty());
    }
}
