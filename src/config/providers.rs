//! `providers.toml`: hosts that serve models, and their credentials.

use super::document::Section;
use super::secret::{self, Environment, Resolved};
use super::{listen, value};
use crate::catalog::{
    About, BaseUrl, Credential, DataPolicy, Disconnect, HttpVersions, Probe, Provider, Timeouts,
    is_private,
};
use crate::dialect::Dialect;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ROOT: &[&str] = &["provider"];
pub(super) const KEYS: &[&str] = &[
    "slug",
    "name",
    "dialect",
    "base_url",
    "http",
    "server_name",
    "ca_file",
    "region",
    "policy",
    "probe",
    "timeouts",
    "private_addresses",
    "keyless",
    "injects_usage",
    "disconnect",
    "credential",
    "headquarters",
    "datacenters",
    "privacy_policy_url",
    "terms_of_service_url",
    "status_page_url",
];
pub(super) const POLICY: &[&str] = &["trains", "retains"];
pub(super) const PROBE: &[&str] = &["get"];
pub(super) const TIMEOUTS: &[&str] = &["connect", "first_content", "idle", "total"];
pub(super) const CREDENTIAL: &[&str] = &["name", "secret"];

/// What became of a configured provider.
pub(super) enum State {
    Live(Arc<Provider>),
    /// Waits for a credential; says which.
    Dormant(String),
    /// Wrong, and reported.
    Wrong,
}

/// Reads the providers, by slug.
pub(super) fn read(root: &Section<'_>, environment: Environment<'_>) -> BTreeMap<String, State> {
    let mut providers = BTreeMap::new();
    for section in root.merged("provider", &["slug"], KEYS) {
        let slug = section.demanded("slug", value::slug);
        let state = provider(&section, slug.as_deref().unwrap_or_default(), environment);
        let Some(slug) = slug else { continue };
        if providers.contains_key(&slug) {
            section.problem("slug", "another provider has this slug already");
        }
        providers.entry(slug).or_insert(state);
    }
    providers
}

fn provider(section: &Section<'_>, slug: &str, environment: Environment<'_>) -> State {
    let name = section.checked("name", value::title);
    let dialect = section.choice("dialect", &Dialect::ALL);
    let base_url = section.demanded("base_url", |text: String| base_url(&text));
    let private_addresses = section.or("private_addresses", false);
    let keyless = section.or("keyless", false);
    let policy = section.table("policy", POLICY);
    let (credentials, absent) = credentials(section, slug, environment);
    let ca_file = section.checked("ca_file", |path: PathBuf| {
        let path = section.resolve(&path);
        listen::certificates(&path).map(|_| path)
    });
    let region = section.checked("region", value::slug);
    let probe = probe(section);
    let timeouts = timeouts(section, DEFAULT_TIMEOUTS);
    let injects_usage = section.or("injects_usage", true);
    let about = about(section);
    let disconnect = section.choice("disconnect", &Disconnect::ALL).unwrap_or_default();
    let Some(base_url) = base_url else { return State::Wrong };
    let server_name = server_name(section, &base_url);
    check_network(section, &base_url, private_addresses, keyless);
    let http = http(section, &base_url);
    if credentials.is_empty() && !keyless {
        return State::Dormant(absent.unwrap_or_else(|| "no credential is configured".to_owned()));
    }
    State::Live(Arc::new(Provider {
        slug: slug.into(),
        name: name.unwrap_or_else(|| slug.to_owned()).into(),
        dialect: dialect.unwrap_or(Dialect::OpenAiChat),
        base_url,
        http,
        server_name,
        ca_file,
        policy: self::policy(&policy, None),
        region,
        probe,
        timeouts,
        private_addresses,
        credentials,
        keyless,
        injects_usage,
        disconnect,
        about,
    }))
}

/// What `GET providers` tells of it.
fn about(section: &Section<'_>) -> About {
    let country = |text: String| {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if fits {
            Ok(text)
        } else {
            Err("expected two letters of ISO 3166, such as \"US\"".to_owned())
        }
    };
    let countries = |list: Vec<String>| list.into_iter().map(country).collect::<Result<_, _>>();
    let url = |text: String| {
        let fits = text.starts_with("https://") && text.parse::<http::Uri>().is_ok();
        if fits { Ok(text) } else { Err("expected a URL that begins with https://".to_owned()) }
    };
    About {
        headquarters: section.checked("headquarters", country),
        datacenters: section.checked("datacenters", countries).unwrap_or_default(),
        privacy_policy_url: section.checked("privacy_policy_url", url),
        terms_of_service_url: section.checked("terms_of_service_url", url),
        status_page_url: section.checked("status_page_url", url),
    }
}

/// A data policy; what it does not say is as in `default`, and unknown counts as the worst (contract
/// section 8).
pub(super) fn policy(table: &Section<'_>, default: Option<DataPolicy>) -> DataPolicy {
    let default = default.unwrap_or(DataPolicy { trains: true, retains: true });
    DataPolicy {
        trains: table.or("trains", default.trains),
        retains: table.or("retains", default.retains),
    }
}

/// The credentials that resolve, and why the last other one does not.
fn credentials(
    section: &Section<'_>,
    slug: &str,
    environment: Environment<'_>,
) -> (Vec<Arc<Credential>>, Option<String>) {
    let (mut found, mut absent, mut names) = (Vec::new(), None, HashSet::new());
    for part in section.tables("credential", &["name"], CREDENTIAL) {
        let name = part.checked("name", value::slug).unwrap_or_else(|| "main".to_owned());
        if !names.insert(name.clone()) {
            part.problem("name", "another credential of this provider has this name already");
        }
        match secret::read(&part, "secret", environment) {
            None => part.problem("secret", format!("missing; expected {}", secret::FORMS)),
            Some(Resolved::Found { secret, source }) => {
                let id = format!("{slug}/{name}").into();
                found.push(Arc::new(Credential { id, source, secret }));
            }
            Some(Resolved::Absent(reason)) => {
                part.notice("secret", reason.as_str());
                absent = Some(reason);
            }
            Some(Resolved::Wrong) => {}
        }
    }
    (found, absent)
}

fn base_url(text: &str) -> Result<BaseUrl, String> {
    let expected = || "expected a URL such as \"https://api.example.com/v1\"".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(expected()),
    };
    let authority = uri.authority().ok_or_else(expected)?;
    if authority.as_str().contains('@') {
        return Err("holds credentials; expected them under credential, by reference".to_owned());
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("expected no query and no fragment".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_lowercase();
    // `http` takes a port that is too large for none; the text after the host decides.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") if tls => 443,
        Some("") => 80,
        rest => rest.and_then(|rest| rest.strip_prefix(':')?.parse().ok()).ok_or_else(expected)?,
    };
    if host.is_empty() || port == 0 {
        return Err(expected());
    }
    Ok(BaseUrl { tls, host, port, path: uri.path().trim_end_matches('/').to_owned() })
}

/// The name that is sent and verified. Pingora verifies nothing when it is empty (P12).
fn server_name(section: &Section<'_>, base_url: &BaseUrl) -> String {
    let given = section.checked("server_name", |name: String| match is_dns_name(&name) {
        true => Ok(name),
        false => Err("expected the DNS name in the upstream's certificate".to_owned()),
    });
    let is_address = base_url.host.parse::<IpAddr>().is_ok();
    if base_url.tls && is_address && !section.has("server_name") {
        let message = "missing; an https upstream named by its address needs the DNS name in its \
                       certificate, or the certificate would not be verified";
        section.problem("server_name", message);
    }
    given.unwrap_or_else(|| base_url.host.clone())
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let clean =
            label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (1..=63).contains(&label.len()) && clean
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

/// What can be said of the network before DNS is asked: private targets and keys in the clear.
fn check_network(section: &Section<'_>, url: &BaseUrl, private_addresses: bool, keyless: bool) {
    if private_addresses {
        return;
    }
    let is_inside = match url.host.parse::<IpAddr>() {
        Ok(address) => is_private(address),
        Err(_) => url.host == "localhost" || url.host.ends_with(".localhost"),
    };
    if is_inside {
        let message = "is in a private range; allow it with private_addresses = true";
        section.problem("base_url", message);
    } else if !url.tls && !keyless {
        let message = "would send the credential in the clear; use https, or private_addresses = \
                       true if the host is in a network of your own";
        section.problem("base_url", message);
    }
}

fn http(section: &Section<'_>, base_url: &BaseUrl) -> HttpVersions {
    let given = section.choice("http", &HttpVersions::ALL);
    if !base_url.tls && given == Some(HttpVersions::Either) {
        section.problem("http", "either needs https, where ALPN decides; expected h1 or h2");
    }
    let default = if base_url.tls { HttpVersions::Either } else { HttpVersions::H1 };
    given.unwrap_or(default)
}

fn probe(section: &Section<'_>) -> Probe {
    if section.text("probe").is_some() {
        let words = [("off", false), ("connect", true)];
        return match section.choice("probe", &words) {
            Some(false) => Probe::Off,
            _ => Probe::Connect,
        };
    }
    if !section.has("probe") {
        return Probe::Connect;
    }
    let path = section.table("probe", PROBE).demanded("get", |path: String| {
        let clean = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if clean { Ok(path) } else { Err("expected a path such as \"/v1/models\"".to_owned()) }
    });
    path.map_or(Probe::Connect, Probe::Get)
}

pub(super) const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_content: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(600),
};

/// The `timeouts` table of a provider or an endpoint; what it does not say is as in `default`.
pub(super) fn timeouts(section: &Section<'_>, default: Timeouts) -> Timeouts {
    let table = section.table("timeouts", TIMEOUTS);
    Timeouts {
        connect: table.or("connect", default.connect),
        first_content: table.or("first_content", default.first_content),
        idle: table.or("idle", default.idle),
        total: table.or("total", default.total),
    }
}
