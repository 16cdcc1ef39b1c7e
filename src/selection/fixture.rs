//! Endpoints for tests of this room and of those that plan with it.

use crate::catalog::{
    About, BaseUrl, DataPolicy, Disconnect, Endpoint, HttpVersions, Modalities, Parameters, Probe,
    Provider, Timeouts,
};
use crate::dialect::Dialect;
use crate::price::PriceVersion;
use crate::usage::{KINDS, Kind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_content: Duration::from_secs(60),
    idle: Duration::from_secs(30),
    total: Duration::from_secs(300),
};

/// A keyless provider called `Name of <slug>`, on loopback.
pub(crate) fn provider(slug: &str) -> Provider {
    Provider {
        slug: Arc::from(slug),
        name: Arc::from(format!("Name of {slug}")),
        dialect: Dialect::OpenAiChat,
        base_url: BaseUrl {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: 9,
            path: "/v1".to_owned(),
        },
        http: HttpVersions::H1,
        server_name: String::new(),
        ca_file: None,
        policy: DataPolicy { trains: false, retains: false },
        region: None,
        probe: Probe::Off,
        timeouts: TIMEOUTS,
        private_addresses: true,
        credentials: Vec::new(),
        keyless: true,
        injects_usage: true,
        disconnect: Disconnect::Cancel,
        about: About::default(),
    }
}

/// An endpoint by tag, with one price for a prompt token and none for a completion token.
pub(crate) fn endpoint(tag: &str, price: u64) -> Arc<Endpoint> {
    endpoint_with(tag, price, |_| {})
}

pub(crate) fn endpoint_with(
    tag: &str,
    price: u64,
    edit: impl FnOnce(&mut Provider),
) -> Arc<Endpoint> {
    let mut provider = provider(tag.split('/').next().unwrap_or(tag));
    edit(&mut provider);
    let policy = provider.policy;
    let mut unit = [0; KINDS];
    unit[Kind::Input.index()] = price;
    Arc::new(Endpoint {
        id: Arc::from(format!("author/model@{tag}")),
        model: Arc::from("author/model"),
        provider: Arc::new(provider),
        upstream_model: Arc::from("model"),
        tag: Arc::from(tag),
        quantization: None,
        context_length: 8_192,
        max_completion_tokens: None,
        price: PriceVersion::flat(unit).into(),
        supported_parameters: Vec::new(),
        parameters: Parameters::default(),
        input: Modalities::TEXT,
        output: Modalities::TEXT,
        tier: None,
        distillable: false,
        policy,
        declares: Vec::new(),
        timeouts: TIMEOUTS,
    })
}
