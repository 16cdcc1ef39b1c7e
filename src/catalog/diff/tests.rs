use super::*;
use crate::config::load_catalog;
use std::fs;

const PROVIDERS: &str = "[[provider]]
slug = \"north\"
base_url = \"https://api.north.example/v1\"
credential = [{ name = \"main\", secret = { env = \"NORTH_KEY\" } }]
";
const MODELS: &str = "[[model]]
slug = \"acme/big\"
context_length = 2000
endpoint = [{ provider = \"north\", model = \"b\", price = { input = \"5\", output = \"9\" } }]

[[model]]
slug = \"acme/small\"
context_length = 1000
endpoint = [
  { provider = \"north\", model = \"s\", price = { input = \"1\", output = \"2\" } },
  { provider = \"north\", tag = \"north/fast\", model = \"f\", price = { input = \"3\", output = \"4\", cache_read = \"0.25\" } },
]
";

fn catalog(providers: &str, models: &str) -> Catalog {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("providers.toml"), providers).unwrap();
    fs::write(directory.path().join("models.toml"), models).unwrap();
    load_catalog(directory.path()).unwrap()
}

fn lines(old: &Catalog, new: &Catalog) -> Vec<String> {
    diff(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn a_catalogue_changes_nothing_of_itself() {
    let catalog = catalog(PROVIDERS, MODELS);
    assert_eq!(diff(&catalog, &catalog), []);
}

#[test]
fn everything_that_differs_is_said_once_and_back_again() {
    let old = catalog(PROVIDERS, MODELS);
    let big = MODELS.find("\n[[model]]\nslug = \"acme/small\"").unwrap();
    let models = MODELS[big..]
        .replace("input = \"1\"", "input = \"0.5\"")
        .replace(
            "model = \"f\", price = { input = \"3\"",
            "model = \"g\", price = { input = \"3.5\"",
        )
        .replace("context_length = 1000", "context_length = 4000\naliases = [\"s\"]");
    let new = catalog(&PROVIDERS.replace("north.example/v1", "north.example/v2"), &models);
    assert_eq!(
        lines(&old, &new),
        [
            "changed  provider north: base_url https://api.north.example/v1 -> https://api.north.example/v2",
            "removed  model    acme/big",
            "changed  model    acme/small: context_length 1000 -> 4000, aliases  -> s",
            "removed  endpoint acme/big@north",
            "repriced endpoint acme/small@north: input 1 -> 0.5",
            "changed  endpoint acme/small@north: context_length 1000 -> 4000",
            "repriced endpoint acme/small@north/fast: input 3 -> 3.5",
            "changed  endpoint acme/small@north/fast: model f -> g, context_length 1000 -> 4000",
        ]
    );
    let back = lines(&new, &old);
    assert_eq!(back[1], "added    model    acme/big");
    assert_eq!(back[3], "added    endpoint acme/big@north: input 5, output 9");
}
