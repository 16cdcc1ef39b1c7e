//! What makes up a provider, a model, an endpoint: one row a property, as an operator would write it.
//!
//! Every field is taken by its name, so that a new one does not compile before it has its row.

use super::super::{
    About, BaseUrl, Benchmark, DataPolicy, Disconnect, Endpoint, HttpVersions, Modalities, Model,
    Probe, Provider, Tier, Timeouts,
};
use crate::dialect::Dialect;
use crate::price::format_usd;
use std::fmt::Display;
use std::time::Duration;

/// Key in configuration, and value.
pub(super) type Row = (&'static str, String);

const NONE: &str = "none";

pub(super) fn provider(it: &Provider) -> Vec<Row> {
    let Provider {
        slug: _,
        name,
        dialect,
        base_url,
        http,
        server_name,
        ca_file,
        policy,
        region,
        probe,
        timeouts,
        private_addresses,
        credentials,
        keyless,
        injects_usage,
        disconnect,
        about,
    } = it;
    let About {
        headquarters,
        datacenters,
        privacy_policy_url,
        terms_of_service_url,
        status_page_url,
    } = about;
    let probe = match probe {
        Probe::Off => "off",
        Probe::Connect => "connect",
        Probe::Get(path) => path,
    };
    let credentials = credentials.iter().map(|it| format!("{} from {}", it.id, it.source));
    let mut rows = vec![
        ("name", name.to_string()),
        ("dialect", word(&Dialect::ALL, dialect)),
        ("base_url", url(base_url)),
        ("http", word(&HttpVersions::ALL, http)),
        ("server_name", server_name.clone()),
        ("ca_file", or_none(ca_file.as_ref().map(|path| path.display()))),
        ("policy", data_policy(*policy)),
        ("region", or_none(region.as_ref())),
        ("probe", probe.to_owned()),
        ("private_addresses", private_addresses.to_string()),
        ("credential", list(credentials)),
        ("keyless", keyless.to_string()),
        ("injects_usage", injects_usage.to_string()),
        ("disconnect", word(&Disconnect::ALL, disconnect)),
        ("headquarters", or_none(headquarters.as_ref())),
        ("datacenters", list(datacenters)),
        ("privacy_policy_url", or_none(privacy_policy_url.as_ref())),
        ("terms_of_service_url", or_none(terms_of_service_url.as_ref())),
        ("status_page_url", or_none(status_page_url.as_ref())),
    ];
    rows.extend(times(timeouts));
    rows
}

pub(super) fn model(it: &Model) -> Vec<Row> {
    let Model {
        slug: _,
        name,
        created,
        description,
        context_length,
        input_modalities,
        output_modalities,
        distillable,
        tokenizer,
        knowledge_cutoff,
        hugging_face_id,
        categories,
        scores,
        aliases,
        endpoints: _,
    } = it;
    // It may have several lines, a change has one.
    let description = (!description.is_empty()).then(|| description.replace('\n', "\\n"));
    let score = |(key, benchmark)| {
        let pico = i128::from(scores.get(benchmark)?) * 1_000_000_000;
        Some(format!("{key} {}", format_usd(pico)))
    };
    vec![
        ("name", name.clone()),
        ("created", created.to_string()),
        ("description", or_none(description)),
        ("context_length", context_length.to_string()),
        ("input_modalities", list(input_modalities)),
        ("output_modalities", list(output_modalities)),
        ("distillable", distillable.to_string()),
        ("tokenizer", or_none(tokenizer.as_ref())),
        ("knowledge_cutoff", or_none(knowledge_cutoff.as_ref())),
        ("hugging_face_id", or_none(hugging_face_id.as_ref())),
        ("categories", list(categories)),
        ("benchmarks", list(Benchmark::ALL.into_iter().filter_map(score))),
        ("aliases", list(aliases)),
    ]
}

/// All but the prices.
pub(super) fn endpoint(it: &Endpoint) -> Vec<Row> {
    let Endpoint {
        id: _,
        model: _,
        provider: _,
        upstream_model,
        tag: _,
        quantization,
        context_length,
        max_completion_tokens,
        price: _,
        supported_parameters,
        // Follows from the names.
        parameters: _,
        input,
        output,
        tier,
        // The model's.
        distillable: _,
        policy,
        declares,
        timeouts,
    } = it;
    let mut rows = vec![
        ("model", upstream_model.to_string()),
        ("quantization", or_none(quantization.as_ref())),
        ("context_length", context_length.to_string()),
        ("max_completion_tokens", or_none(max_completion_tokens.as_ref())),
        ("supported_parameters", list(supported_parameters)),
        ("input_modalities", modalities(*input)),
        ("output_modalities", modalities(*output)),
        ("tier", or_none(tier.map(Tier::as_str))),
        ("policy", data_policy(*policy)),
        ("declares", list(declares)),
    ];
    rows.extend(times(timeouts));
    rows
}

pub(super) fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

pub(super) fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(" ") }
}

/// The word for a value in configuration.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> String {
    or_none(words.iter().find(|(_, known)| known == value).map(|(word, _)| word))
}

fn url(it: &BaseUrl) -> String {
    let scheme = if it.tls { "https" } else { "http" };
    format!("{scheme}://{}{}", it.authority(), it.path)
}

fn data_policy(DataPolicy { trains, retains }: DataPolicy) -> String {
    format!("{{ trains = {trains}, retains = {retains} }}")
}

fn modalities(set: Modalities) -> String {
    if set == Modalities::ANY { "any".to_owned() } else { list(set.names()) }
}

fn times(it: &Timeouts) -> [Row; 4] {
    let Timeouts { connect, first_content, idle, total } = *it;
    let duration = |time: Duration| match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    };
    [
        ("timeouts.connect", duration(connect)),
        ("timeouts.first_content", duration(first_content)),
        ("timeouts.idle", duration(idle)),
        ("timeouts.total", duration(total)),
    ]
}
