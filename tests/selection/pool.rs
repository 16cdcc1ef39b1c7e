//! Endpoints of a case as the catalogue would hold them.

use crate::case;
use std::sync::Arc;
use std::time::Duration;
use weir::catalog::{
    About, BaseUrl, DataPolicy, Disconnect, Endpoint, HttpVersions, Probe, Provider, Tier, Timeouts,
};
use weir::dialect::Dialect;
use weir::price::{PriceVersion, complete, parse_usd};
use weir::selection::{Candidate, Facts, Grade};
use weir::usage::Kind;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_content: Duration::from_secs(60),
    idle: Duration::from_secs(30),
    total: Duration::from_secs(300),
};

pub(crate) fn endpoints(cases: &[case::Endpoint]) -> Vec<Arc<Endpoint>> {
    cases.iter().map(|each| Arc::new(endpoint(each))).collect()
}

pub(crate) fn candidates<'a>(
    pool: &'a [Arc<Endpoint>],
    cases: &[case::Endpoint],
) -> Vec<Candidate<'a>> {
    let pairs = pool.iter().zip(cases);
    pairs.map(|(endpoint, case)| Candidate { endpoint, facts: facts(case) }).collect()
}

fn facts(case: &case::Endpoint) -> Facts {
    Facts {
        down: case.down,
        ejected: case.ejected,
        cooling: case.cooling,
        cooling_ms: u32::from(case.cooling),
        limited: false,
        outage: case.outage,
        warm: case.warm,
        grade: match case.grade.as_deref() {
            None => Grade::Normal,
            Some("lower") => Grade::Lower,
            Some("fallback") => Grade::Fallback,
            Some(other) => panic!("no such grade: {other}"),
        },
        in_flight: case.in_flight,
        latency_ms: case.latency_ms,
        throughput: case.throughput,
        attempts: case.attempts,
        tool_replies: case.tool_replies,
        tool_errors: case.tool_errors,
        finishes: case.finishes,
        cut_short: case.cut_short,
    }
}

fn price(case: &case::Endpoint) -> PriceVersion {
    let million = |text: &str| parse_usd(text, 1_000_000).unwrap();
    let mut given = vec![
        (Kind::Input, million(&case.price)),
        (Kind::Output, million(&case.output)),
        (Kind::Requests, parse_usd(&case.per_request, 1).unwrap()),
    ];
    let others = [
        (Kind::CacheRead, &case.cache_read),
        (Kind::InputImage, &case.image),
        (Kind::InputAudio, &case.audio),
    ];
    given.extend(
        others.into_iter().filter_map(|(kind, text)| Some((kind, million(text.as_deref()?)))),
    );
    PriceVersion::flat(complete(&given))
}

fn endpoint(case: &case::Endpoint) -> Endpoint {
    let slug = case.tag.split('/').next().unwrap();
    let policy = DataPolicy { trains: case.trains, retains: case.retains };
    let url = BaseUrl { tls: false, host: "127.0.0.1".into(), port: 9, path: "/v1".into() };
    let provider = Provider {
        slug: slug.into(),
        name: case.display().into(),
        dialect: Dialect::OpenAiChat,
        base_url: url,
        http: HttpVersions::H1,
        server_name: String::new(),
        ca_file: None,
        policy,
        region: None,
        probe: Probe::Off,
        timeouts: TIMEOUTS,
        private_addresses: true,
        credentials: Vec::new(),
        keyless: !case.dormant,
        injects_usage: true,
        disconnect: Disconnect::Cancel,
        about: About::default(),
    };
    let tier = |word: &String| Tier::ALL.iter().find(|(known, _)| known == word).unwrap().1;
    Endpoint {
        id: format!("author/model@{}", case.tag).into(),
        model: "author/model".into(),
        provider: Arc::new(provider),
        upstream_model: "model".into(),
        tag: (*case.tag).into(),
        quantization: case.quantization.as_deref().map(Into::into),
        context_length: case.context_length,
        max_completion_tokens: case.max_completion_tokens,
        price: price(case).into(),
        supported_parameters: case.parameters.clone(),
        parameters: case.parameters.iter().map(String::as_str).collect(),
        input: case.input.iter().map(String::as_str).collect(),
        output: case.gives.iter().map(String::as_str).collect(),
        tier: case.tier.as_ref().map(tier),
        distillable: case.distillable,
        policy,
        declares: Vec::new(),
        timeouts: TIMEOUTS,
    }
}
