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
            "changed  model    acme/small: context_length 1000 -> 4000, aliases none -> s",
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

/// Lines about `acme/small@north` between the catalogues with these prices.
fn repriced(old: &str, new: &str) -> Vec<String> {
    let with = |price: &str| {
        catalog(PROVIDERS, &MODELS.replace("{ input = \"1\", output = \"2\" }", price))
    };
    lines(&with(old), &with(new))
}

#[test]
fn every_version_of_a_price_and_every_override_counts() {
    let said = |old: &str, new: &str, details: &str| {
        let line = format!("repriced endpoint acme/small@north: {details}");
        assert_eq!(repriced(old, new), [line], "{old} {new}");
    };
    let flat = "{ input = \"1\", output = \"2\" }";
    let dated = |from: &str, input: &str| {
        format!(
            "[{{ input = \"9\", output = \"2\" }}, {{ from = {from}, input = \"{input}\", output = \"2\" }}]"
        )
    };
    let day = "2030-01-01";
    said(
        flat,
        &dated(day, "1"),
        "input 1 -> 9, from 2030-01-01 input none -> 1, from 2030-01-01 output none -> 2",
    );
    said(&dated(day, "1"), &dated(day, "3"), "from 2030-01-01 input 1 -> 3");
    said(
        &dated(day, "1"),
        &dated("2030-01-01T06:30:00Z", "1"),
        "from 2030-01-01 input 1 -> none, from 2030-01-01 output 2 -> none, \
         from 2030-01-01T06:30:00Z input none -> 1, from 2030-01-01T06:30:00Z output none -> 2",
    );
    let when = |over: &str| {
        format!("{{ input = \"1\", output = \"2\", cache_read = \"1\", overrides = [{over}] }}")
    };
    let (long, night) = ("min_prompt_tokens = 9", "utc_start = \"16:30\", utc_end = \"00:30\"");
    let input = |condition: &str, price: &str| format!("{{ {condition}, input = \"{price}\" }}");
    said(
        &when(&input(long, "2")),
        &when(&input(long, "99")),
        "override 1 { min_prompt_tokens = 9 } input 2 -> 99",
    );
    said(
        &when(&input(long, "2")),
        &when(&input(night, "2")),
        "override 1 { min_prompt_tokens = 9 } input 2 -> none, \
         override 1 { utc_start = \"16:30\", utc_end = \"00:30\" } input none -> 2",
    );
    said(
        &when(&input(long, "2")),
        &when(&input(long, "2\", cache_read = \"2")),
        "override 1 { min_prompt_tokens = 9 } cache_read none -> 2",
    );
    let both = [input(long, "2"), input(night, "3")];
    let turned = [input(night, "3"), input(long, "2")];
    assert_eq!(repriced(&when(&both.join(", ")), &when(&turned.join(", "))).len(), 1);
    said(
        flat,
        "{ input = \"1\", output = \"2\", discount = \"0.5\" }",
        "input 1 -> 0.5, output 2 -> 1",
    );
    said(flat, "{ input = \"1\", output = \"2\", request = \"0.01\" }", "request none -> 0.01");
    said(flat, "{ input = \"1\", output = \"0\" }", "output 2 -> 0");
}

/// What a key, put behind `anchor`, changes: in configuration's words, and nowhere twice.
#[test]
fn every_property_is_compared_and_written_as_in_configuration() {
    const PROVIDER: &str = "slug = \"north\"\n";
    const MODEL: &str = "slug = \"acme/big\"\n";
    const ENDPOINT: &str = "model = \"b\", ";
    const FAST: &str = "model = \"f\", ";
    let cases = [
        (PROVIDER, "name = \"North\"", "name north -> North"),
        (PROVIDER, "http = \"h1\"", "http either -> h1"),
        (PROVIDER, "server_name = \"n.example\"", "server_name api.north.example -> n.example"),
        (PROVIDER, "region = \"eu\"", "region none -> eu"),
        (PROVIDER, "probe = { get = \"/health\" }", "probe connect -> /health"),
        (PROVIDER, "private_addresses = true", "private_addresses false -> true"),
        (PROVIDER, "keyless = true", "keyless false -> true"),
        (PROVIDER, "injects_usage = false", "injects_usage true -> false"),
        (PROVIDER, "disconnect = \"drain\"", "disconnect cancel -> drain"),
        (PROVIDER, "headquarters = \"US\"", "headquarters none -> US"),
        (PROVIDER, "datacenters = [\"US\", \"DE\"]", "datacenters none -> US DE"),
        (PROVIDER, "status_page_url = \"https://s.x\"", "status_page_url none -> https://s.x"),
        (
            PROVIDER,
            "privacy_policy_url = \"https://p.x\"",
            "privacy_policy_url none -> https://p.x",
        ),
        (
            PROVIDER,
            "terms_of_service_url = \"https://t.x\"",
            "terms_of_service_url none -> https://t.x",
        ),
        (MODEL, "name = \"Big\"", "name acme/big -> Big"),
        (MODEL, "created = 7", "created 0 -> 7"),
        (MODEL, "description = \"a\\nb\"", "description none -> a\\nb"),
        (MODEL, "distillable = true", "distillable false -> true"),
        (MODEL, "tokenizer = \"GPT\"", "tokenizer none -> GPT"),
        (MODEL, "knowledge_cutoff = \"2024-07\"", "knowledge_cutoff none -> 2024-07"),
        (MODEL, "hugging_face_id = \"a/b\"", "hugging_face_id none -> a/b"),
        (MODEL, "categories = [\"law\"]", "categories none -> law"),
        (MODEL, "benchmarks = { coding = \"57.1\" }", "benchmarks none -> coding 57.1"),
        (MODEL, "aliases = [\"big\"]", "aliases none -> big"),
        (MODEL, "input_modalities = [\"text\"]", "input_modalities any -> text"),
        (MODEL, "supported_parameters = [\"tools\"]", "supported_parameters none -> tools"),
        (ENDPOINT, "quantization = \"fp8\"", "quantization none -> fp8"),
        (ENDPOINT, "context_length = 4096", "context_length 2000 -> 4096"),
        (ENDPOINT, "max_completion_tokens = 4096", "max_completion_tokens none -> 4096"),
        (FAST, "tier = \"flex\"", "tier none -> flex"),
        (ENDPOINT, "declares = [\"usage\"]", "declares none -> usage"),
        (ENDPOINT, "timeouts = { idle = \"1500ms\" }", "timeouts.idle 60s -> 1500ms"),
        (
            ENDPOINT,
            "policy = { retains = false }",
            "policy { trains = true, retains = true } -> { trains = true, retains = false }",
        ),
    ];
    let old = catalog(PROVIDERS, MODELS);
    for (anchor, key, wanted) in cases {
        let between = if anchor.ends_with(", ") { ", " } else { "\n" };
        let put = |text: &str| text.replace(anchor, &format!("{anchor}{key}{between}"));
        let said = lines(&old, &catalog(&put(PROVIDERS), &put(MODELS)));
        let end = format!(": {wanted}");
        assert_eq!(said.iter().filter(|line| line.ends_with(&end)).count(), 1, "{key}: {said:?}");
        assert!(said.iter().all(|line| line.starts_with("changed ")), "{key}: {said:?}");
    }
}

#[test]
fn routers_and_presets_are_compared() {
    const CHOICES: &str = "[[router]]
slug = \"weir/auto\"
models = [\"acme/small\"]

[[preset]]
slug = \"cheap\"
models = [\"acme/big\"]
";
    let old = catalog(PROVIDERS, MODELS);
    let with = |choices: &str| catalog(PROVIDERS, &format!("{MODELS}\n{choices}"));
    let base = with(CHOICES);
    assert_eq!(lines(&old, &base), ["added    router   weir/auto", "added    preset   cheap"]);
    let cases = [
        (
            "[\"acme/small\"]",
            "[\"acme/small\", \"acme/big\"]",
            "router   weir/auto: models acme/small -> acme/small acme/big",
        ),
        (
            "models = [\"acme/big\"]\n",
            "provider = { sort = \"price\" }\n",
            "preset   cheap: models acme/big -> none, sort none -> price",
        ),
    ];
    for (from, to, wanted) in cases {
        assert_eq!(lines(&base, &with(&CHOICES.replace(from, to))), [format!("changed  {wanted}")]);
    }
    let preset = |provider: &str| with(&format!("{CHOICES}provider = {{ {provider} }}\n"));
    for (given, wanted) in [
        ("order = [\"north\"]", "order none -> north"),
        ("only = [\"north\"]", "only none -> north"),
        ("ignore = [\"north\"]", "ignore none -> north"),
        ("allow_fallbacks = false", "allow_fallbacks true -> false"),
        ("require_parameters = true", "require_parameters false -> true"),
        ("data_collection = \"deny\"", "data_collection allow -> deny"),
        ("zdr = true", "zdr false -> true"),
        ("enforce_distillable_text = true", "enforce_distillable_text false -> true"),
        ("quantizations = [\"fp8\"]", "quantizations none -> fp8"),
        (
            "sort = { by = \"price\", partition = \"none\" }",
            "sort none -> price, partition model -> none",
        ),
        ("preferred_min_throughput = 30.5", "preferred_min_throughput none -> p50 30.5"),
        ("preferred_max_latency = { p90 = 2 }", "preferred_max_latency none -> p90 2"),
        (
            "max_price = { prompt = \"1.5\", request = 0.01 }",
            "max_price none -> prompt 1.5 request 0.01",
        ),
    ] {
        assert_eq!(lines(&base, &preset(given)), [format!("changed  preset   cheap: {wanted}")]);
    }
}

#[test]
fn a_providers_policy_times_and_credentials_are_compared() {
    let old = catalog(PROVIDERS, MODELS);
    let said = |from: &str, to: &str| lines(&old, &catalog(&PROVIDERS.replace(from, to), MODELS));
    let other = said("NORTH_KEY", "NORTH_TOKEN");
    assert_eq!(
        other,
        [
            "changed  provider north: credential north/main from env NORTH_KEY -> north/main from env NORTH_TOKEN"
        ]
    );
    let slug = "slug = \"north\"\n";
    // Endpoints have them from their provider.
    for (key, change) in [
        (
            "policy = { trains = false }",
            "policy { trains = true, retains = true } -> { trains = false, retains = true }",
        ),
        ("timeouts = { total = \"5m\" }", "timeouts.total 600s -> 300s"),
    ] {
        let lines = said(slug, &format!("{slug}{key}\n"));
        assert_eq!(lines[0], format!("changed  provider north: {change}"));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(change)), "{lines:?}");
    }
}
