//! Catalogue entries and ledger rows for this room's tests.

use super::entry::Entry;
use crate::catalog::{
    About, BaseUrl, Credential, DataPolicy, Disconnect, Endpoint, HttpVersions, Modalities, Model,
    Parameters, Probe, Provider, Scores, Timeouts,
};
use crate::dialect::Dialect;
use crate::ledger::record::{Intent, Record, RecordKey, Source};
use crate::meter::{CLASSES, Finish};
use crate::outcome::Outcome;
use crate::price::PriceVersion;
use crate::request::route::{Face, Operation};
use crate::usage::{Kind, Usage};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_content: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(600),
};

pub(super) fn provider(slug: &str, credential: bool) -> Provider {
    let credentials = Credential {
        id: format!("{slug}/main").into(),
        source: String::new(),
        secret: "secret".into(),
    };
    Provider {
        slug: slug.into(),
        name: slug.to_uppercase().into(),
        dialect: Dialect::OpenAiChat,
        base_url: BaseUrl { tls: true, host: slug.into(), port: 443, path: "/v1".into() },
        http: HttpVersions::Either,
        server_name: slug.into(),
        ca_file: None,
        policy: DataPolicy { trains: false, retains: false },
        region: None,
        probe: Probe::Off,
        timeouts: TIMEOUTS,
        private_addresses: false,
        credentials: credential.then(|| Arc::new(credentials)).into_iter().collect(),
        keyless: false,
        injects_usage: true,
        disconnect: Disconnect::Cancel,
        about: About::default(),
    }
}

pub(super) fn endpoint<const N: usize>(
    slug: &str,
    prices: [(Kind, u64); N],
    credential: bool,
) -> Arc<Endpoint> {
    let mut unit = Usage::ZERO;
    for (kind, price) in prices {
        unit.set(kind, price);
    }
    Arc::new(Endpoint {
        id: format!("m@{slug}").into(),
        model: "m".into(),
        provider: Arc::new(provider(slug, credential)),
        upstream_model: "upstream".into(),
        tag: slug.into(),
        quantization: None,
        context_length: 65_536,
        max_completion_tokens: None,
        price: PriceVersion::flat(unit.0).into(),
        supported_parameters: ["temperature", "max_tokens", slug].map(str::to_owned).to_vec(),
        parameters: Parameters::default(),
        input: Modalities::TEXT,
        output: Modalities::TEXT,
        tier: None,
        distillable: false,
        policy: DataPolicy { trains: false, retains: false },
        declares: Vec::new(),
        timeouts: TIMEOUTS,
    })
}

pub(super) fn model(slug: &str, endpoints: Vec<Arc<Endpoint>>) -> Model {
    Model {
        slug: slug.into(),
        name: "A model".to_owned(),
        created: 1_737_381_095,
        description: "Says \"yes\".".to_owned(),
        context_length: 131_072,
        input_modalities: ["text", "image"].map(str::to_owned).to_vec(),
        output_modalities: vec!["text".to_owned()],
        distillable: false,
        tokenizer: None,
        knowledge_cutoff: None,
        hugging_face_id: None,
        categories: Vec::new(),
        scores: Scores::default(),
        aliases: Vec::new(),
        endpoints,
    }
}

/// The model's own entry.
pub(super) fn entry(model: &Model) -> Entry {
    Entry::of_model(&Arc::new(model.clone())).next().unwrap()
}

/// A delivered first attempt of `gen-1`; tests change what they look at.
pub(super) fn record() -> Record {
    let usage = Usage::ZERO
        .with(Kind::Input, 20)
        .with(Kind::CacheRead, 2)
        .with(Kind::Output, 5)
        .with(Kind::Reasoning, 3);
    Record {
        key: RecordKey { node: [0; 16], epoch: 1, seq: 1 },
        intent: Intent {
            generation_id: "gen-1".into(),
            attempt: 1,
            face: Face::OpenRouter,
            operation: Operation::Chat,
            streamed: true,
            workspace: "default".into(),
            key_hash: [7; 32],
            app: "https://app.example".into(),
            session: "s-1".into(),
            user: "".into(),
            model: "acme/small".into(),
            provider: "north".into(),
            provider_name: "North".into(),
            endpoint: "acme/small@north".into(),
            upstream_model: "small-v1".into(),
            credential: "north/main".into(),
            tier: "".into(),
            price: [0; 32],
            prompt_bytes: 100,
            max_tokens: None,
        },
        outcome: Outcome::Ok,
        status: 200,
        finish: Some(Finish::Stop),
        native_finish: "eos".to_owned(),
        upstream_id: "chatcmpl-9".to_owned(),
        started_us: 1_778_031_306_250_000,
        ended_us: 1_778_031_307_450_000,
        first_content_us: Some(300_400),
        duration_us: 1_200_000,
        source: Source::Reported,
        estimator: "".into(),
        usage,
        delivered: [0; CLASSES],
        committed: true,
        cost: 4_500_000,
        charge: 4_500_000,
        policy: "delivered".into(),
        flags: 0,
    }
}
