//! Who serves what in the demonstration: three providers, three models, six endpoints.

use super::upstream::{Simulated, SimulatedModel};
use rand::Rng;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// A provider's slug and display name.
pub const PROVIDERS: [(&str, &str); 3] =
    [("alder", "Alder"), ("birch", "Birch"), ("cedar", "Cedar")];

/// A model on offer.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub slug: &'static str,
    pub name: &'static str,
    pub context_length: u64,
    /// Length of an answer nobody limits.
    pub completion_tokens: u64,
}

/// The models, small to large.
pub const MODELS: [Model; 3] = [
    Model { slug: "demo/brook", name: "Brook", context_length: 32_768, completion_tokens: 40 },
    Model { slug: "demo/river", name: "River", context_length: 131_072, completion_tokens: 120 },
    Model { slug: "demo/delta", name: "Delta", context_length: 262_144, completion_tokens: 200 },
];

/// One way to be served one model.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    pub provider: &'static str,
    pub model: &'static str,
    /// USD per million tokens, as configuration writes it.
    pub input: &'static str,
    /// Of input that is read from the prompt cache.
    pub cached: &'static str,
    pub output: &'static str,
    pub tokens_per_second: f64,
    pub first_token: Duration,
    pub failure_rate: f64,
}

/// The endpoints: Alder is cheap and shaky, Birch in the middle, Cedar fast, dear and sound.
pub const ENDPOINTS: [Endpoint; 6] = [
    endpoint(("alder", "demo/brook"), ("0.05", "0.005", "0.08"), (60.0, 180), 0.15),
    endpoint(("birch", "demo/brook"), ("0.07", "0.007", "0.12"), (110.0, 90), 0.05),
    endpoint(("birch", "demo/river"), ("0.25", "0.025", "0.60"), (80.0, 150), 0.05),
    endpoint(("cedar", "demo/river"), ("0.40", "0.04", "0.90"), (240.0, 60), 0.01),
    endpoint(("cedar", "demo/delta"), ("2.00", "0.20", "8.00"), (150.0, 120), 0.01),
    endpoint(("alder", "demo/delta"), ("1.20", "0.12", "5.00"), (45.0, 400), 0.15),
];

const fn endpoint(
    (provider, model): (&'static str, &'static str),
    (input, cached, output): (&'static str, &'static str, &'static str),
    (tokens_per_second, first_token_ms): (f64, u64),
    failure_rate: f64,
) -> Endpoint {
    let first_token = Duration::from_millis(first_token_ms);
    Endpoint {
        provider,
        model,
        input,
        cached,
        output,
        tokens_per_second,
        first_token,
        failure_rate,
    }
}

/// The name a provider knows a model by: the slug without its author.
#[must_use]
pub fn upstream_model(slug: &str) -> &str {
    slug.rsplit('/').next().unwrap_or(slug)
}

/// The providers of [`PROVIDERS`], in that order, failing as `seed` says.
#[must_use]
pub fn providers(seed: u64) -> Vec<Simulated> {
    let model = |endpoint: &Endpoint| SimulatedModel {
        name: upstream_model(endpoint.model).to_owned(),
        tokens_per_second: endpoint.tokens_per_second,
        first_token: endpoint.first_token,
        failure_rate: endpoint.failure_rate,
        completion_tokens: MODELS
            .iter()
            .find(|model| model.slug == endpoint.model)
            .map_or(0, |model| model.completion_tokens),
    };
    let provider = |(at, (slug, _)): (usize, &(&str, &str))| {
        let own = ENDPOINTS.iter().filter(|endpoint| endpoint.provider == *slug);
        Simulated::new(*slug, own.map(model).collect(), seed.wrapping_add(at as u64))
    };
    PROVIDERS.iter().enumerate().map(provider).collect()
}

/// A loopback listener on a free port below the ephemeral range, where no outgoing connection can take
/// the port between two starts.
///
/// # Errors
/// When no port of many tried is free.
pub fn bind() -> io::Result<TcpListener> {
    let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..64 {
        let port = rand::rng().random_range(20_000..32_768);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_endpoints_serve_three_models_by_three_providers() {
        for model in MODELS {
            let served = ENDPOINTS.iter().filter(|endpoint| endpoint.model == model.slug).count();
            assert_eq!(served, 2, "{} has somewhere to fail over to", model.slug);
        }
        let providers = providers(1);
        assert_eq!(providers.len(), 3);
        assert!(providers.iter().all(|provider| provider.models.len() == 2));
        assert!(providers.iter().flat_map(|p| &p.models).all(|m| m.completion_tokens > 0));
    }

    #[test]
    fn bound_ports_are_below_the_ephemeral_range() {
        let first = bind().unwrap().local_addr().unwrap();
        assert!((20_000..32_768).contains(&first.port()) && first.ip().is_loopback());
    }
}
