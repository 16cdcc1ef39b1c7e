//! The demonstration's configuration, as files an operator could have written.

use super::fleet::{ENDPOINTS, MODELS, PROVIDERS, upstream_model};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// What the files cannot know beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `address:port` of the callers' listener.
    pub listen: &'a str,
    /// `address:port` of the operators' listener.
    pub admin: &'a str,
    /// Where the ledger lives.
    pub state: &'a Path,
    /// Ports of [`PROVIDERS`], in that order.
    pub ports: [u16; PROVIDERS.len()],
}

/// A new caller's key: `sk-or-v1-` and 64 hex digits of randomness.
#[must_use]
pub fn new_key() -> String {
    format!("sk-or-v1-{}", hex::encode(rand::random::<[u8; 32]>()))
}

/// Writes `weir.toml`, `providers.toml`, `models.toml` and `keys.toml` into `dir`, which exists. The
/// key itself is not written, only its SHA-256.
///
/// # Errors
/// When a file cannot be written.
pub fn write(dir: &Path, places: &Places<'_>, key: &str) -> io::Result<()> {
    fs::write(dir.join("weir.toml"), weir(places))?;
    fs::write(dir.join("providers.toml"), providers(places))?;
    fs::write(dir.join("models.toml"), models())?;
    fs::write(dir.join("keys.toml"), keys(key))
}

fn weir(places: &Places<'_>) -> String {
    let Places { listen, admin, state, .. } = places;
    format!(
        "state_directory = {}\n\n[[listener]]\naddress = \"{listen}\"\nh2c = true\n\n\
         [admin]\naddress = \"{admin}\"\n",
        toml::Value::from(state.to_string_lossy().as_ref()),
    )
}

fn providers(places: &Places<'_>) -> String {
    let mut text = String::new();
    for ((slug, name), port) in PROVIDERS.iter().zip(places.ports) {
        let _ = write!(
            text,
            "[[provider]]\nslug = \"{slug}\"\nname = \"{name}\"\ndialect = \"openai-chat\"\n\
             base_url = \"http://127.0.0.1:{port}/v1\"\nkeyless = true\nprivate_addresses = true\n\
             probe = {{ get = \"/v1/models\" }}\n\n",
        );
    }
    text
}

fn models() -> String {
    let mut text = String::new();
    for model in MODELS {
        let (slug, name, context) = (model.slug, model.name, model.context_length);
        let _ = write!(
            text,
            "[[model]]\nslug = \"{slug}\"\nname = \"{name}\"\ncontext_length = {context}\n\
             created = 1700000000\n\n",
        );
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.model == slug) {
            let _ = write!(
                text,
                "[[model.endpoint]]\nprovider = \"{}\"\nmodel = \"{}\"\n\
                 price = {{ input = \"{}\", cache_read = \"{}\", output = \"{}\" }}\n\n",
                endpoint.provider,
                upstream_model(slug),
                endpoint.input,
                endpoint.cached,
                endpoint.output,
            );
        }
    }
    let choice = MODELS.map(|model| format!("\"{}\"", model.slug)).join(", ");
    let _ = write!(
        text,
        "[[router]]\nslug = \"weir/auto\"\naliases = [\"openrouter/auto\"]\nmodels = [{choice}]\n",
    );
    text
}

fn keys(key: &str) -> String {
    let hash = hex::encode(Sha256::digest(key));
    format!("[[key]]\nname = \"demo\"\nworkspace = \"demo\"\nhash = \"{hash}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            listen: "127.0.0.1:8080",
            admin: "127.0.0.1:8081",
            state: Path::new("/a \"quoted\" place"),
            ports: [21_001, 21_002, 21_003],
        };
        let key = new_key();
        write(dir.path(), &places, &key).unwrap();
        (dir, key)
    }

    fn table(dir: &Path, file: &str) -> toml::Table {
        fs::read_to_string(dir.join(file)).unwrap().parse().unwrap()
    }

    #[test]
    fn the_files_are_toml_and_name_every_endpoint() {
        let (dir, _) = written();
        let providers = table(dir.path(), "providers.toml");
        let base = |at: usize| providers["provider"][at]["base_url"].as_str().unwrap();
        assert_eq!(base(0), "http://127.0.0.1:21001/v1");
        assert_eq!(base(2), "http://127.0.0.1:21003/v1");
        let models = table(dir.path(), "models.toml");
        let endpoints: usize = models["model"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["endpoint"].as_array().unwrap().len())
            .sum();
        assert_eq!(endpoints, ENDPOINTS.len());
        let state = table(dir.path(), "weir.toml")["state_directory"].clone();
        assert_eq!(state.as_str(), Some("/a \"quoted\" place"));
    }

    #[test]
    fn weir_takes_the_files_without_a_word() {
        let (dir, _) = written();
        let loaded = crate::config::load(dir.path()).unwrap();
        assert_eq!(loaded.notices, []);
        let served = |slug: &str| loaded.catalog.find(slug).map_or(0, |m| m.endpoints.len());
        assert_eq!(MODELS.map(|model| served(model.slug)), [2, 2, 2]);
        assert_eq!(loaded.catalog.routers[0].models.len(), MODELS.len());
    }

    #[test]
    fn the_key_is_never_written_and_its_hash_is() {
        let (dir, key) = written();
        for file in ["weir.toml", "providers.toml", "models.toml", "keys.toml"] {
            assert!(!fs::read_to_string(dir.path().join(file)).unwrap().contains(&key), "{file}");
        }
        let hash = table(dir.path(), "keys.toml")["key"][0]["hash"].clone();
        assert_eq!(hash.as_str(), Some(hex::encode(Sha256::digest(&key)).as_str()));
        assert_eq!(key.len(), "sk-or-v1-".len() + 64);
    }
}
