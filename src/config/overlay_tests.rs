//! A catalogue, and an operator's files over it.

use super::*;
use crate::usage::Kind;
use std::collections::BTreeSet;
use std::fs;

const PROVIDERS: &str = "[[provider]]
slug = \"north\"
name = \"North\"
base_url = \"https://api.north.example/v1\"
region = \"eu\"
credential = [{ name = \"main\", secret = { env = \"NORTH_KEY\" } }]

[[provider]]
slug = \"south\"
base_url = \"https://api.south.example/v1\"
credential = [{ name = \"main\", secret = { env = \"SOUTH_KEY\" } }]
";
const MODELS: &str = "[[model]]
slug = \"acme/small\"
name = \"Small\"
context_length = 1000
supported_parameters = [\"max_tokens\", \"tools\"]
aliases = [\"small\", \"small-latest\"]
endpoint = [
  { provider = \"north\", model = \"n-small\", price = { input = \"1\", output = \"2\", cache_read = \"0.5\" } },
  { provider = \"north\", tag = \"north/fast\", model = \"n-small-fast\", price = { input = \"3\", output = \"4\" } },
  { provider = \"south\", model = \"s-small\", price = { input = \"1.5\", output = \"2\" }, supported_parameters = [\"max_tokens\"] },
]

[[model]]
slug = \"acme/big\"
context_length = 2000
endpoint = [{ provider = \"south\", model = \"s-big\", price = { input = \"5\", output = \"9\" } }]
";

fn directory(providers: &str, models: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    fs::create_dir(directory.path().join("catalog")).unwrap();
    write("catalog/providers.toml", PROVIDERS);
    write("catalog/models.toml", MODELS);
    write("weir.toml", "catalog = \"catalog\"");
    write("providers.toml", providers);
    write("models.toml", models);
    write("keys.toml", "");
    directory
}

fn load_all(directory: &Path) -> Result<Loaded, Vec<Problem>> {
    load_with(directory, &|name| name.ends_with("_KEY").then(|| "secret".into()))
}

fn loaded(providers: &str, models: &str) -> Catalog {
    load_all(directory(providers, models).path()).unwrap().catalog
}

fn tags<'a>(catalog: &'a Catalog, model: &str) -> Vec<&'a str> {
    let endpoints = catalog.find(model).map(|model| &model.endpoints);
    endpoints.into_iter().flatten().map(|endpoint| &*endpoint.tag).collect()
}

#[test]
fn without_files_of_ones_own_the_catalogue_is_what_it_says() {
    let catalog = loaded("", "");
    assert_eq!(tags(&catalog, "small-latest"), ["north", "north/fast", "south"]);
    let small = catalog.find("acme/small").unwrap();
    let parameters = small.endpoints.iter().map(|it| it.supported_parameters.len());
    assert_eq!(parameters.collect::<Vec<_>>(), [2, 2, 1], "the model's unless it says its own");
}

#[test]
fn a_key_replaces_the_catalogues_and_the_others_stay() {
    let catalog = loaded(
        "[[provider]]\nslug = \"north\"\nregion = \"us\"\npolicy = { retains = false }\n",
        "[[model]]\nslug = \"acme/small\"\naliases = [\"mine\"]\n\
         [[model.endpoint]]\nprovider = \"north\"\nprice = { input = \"7\", output = \"8\" }\n",
    );
    let small = catalog.find("mine").unwrap();
    assert_eq!((&*small.name, small.context_length), ("Small", 1000));
    assert!(catalog.find("small").is_none(), "aliases are one key");
    let north = &small.endpoints[0];
    assert_eq!((&*north.upstream_model, &*north.tag), ("n-small", "north"));
    assert_eq!(north.price.at(0).base().price(Kind::Input), 7_000_000);
    assert_eq!(
        north.price.at(0).base().price(Kind::CacheRead),
        7_000_000,
        "a price is replaced as a whole"
    );
    assert_eq!(north.provider.region.as_deref(), Some("us"));
    assert_eq!((&*north.provider.name, north.provider.policy.retains), ("North", false));
    assert_eq!(tags(&catalog, "acme/small"), ["north", "north/fast", "south"]);
}

#[test]
fn what_only_the_operator_has_is_added() {
    let catalog = loaded(
        "[[provider]]\nslug = \"own\"\nbase_url = \"http://127.0.0.1:1/v1\"\nkeyless = true\n\
         private_addresses = true\n",
        "[[model]]\nslug = \"acme/small\"\n\
         [[model.endpoint]]\nprovider = \"own\"\nmodel = \"o\"\nprice = { input = \"0\", output = \"0\" }\n\
         [[model]]\nslug = \"me/mine\"\ncontext_length = 5\naliases = [\"small\"]\n\
         [[model.endpoint]]\nprovider = \"own\"\nmodel = \"o\"\nprice = { input = \"0\", output = \"0\" }\n",
    );
    assert_eq!(tags(&catalog, "acme/small"), ["own", "north", "north/fast", "south"]);
    let given_away = catalog.find("small").unwrap();
    assert_eq!(&*given_away.slug, "me/mine", "an alias of the catalogue gives way");
    assert_eq!(&*catalog.find("small-latest").unwrap().slug, "acme/small");
}

#[test]
fn models_endpoints_and_providers_can_be_left_out() {
    let catalog = loaded(
        "[[provider]]\nslug = \"south\"\ncredential = []\n",
        "[[model]]\nslug = \"acme/small\"\n\
         [[model.endpoint]]\nprovider = \"north\"\ntag = \"north/fast\"\ndisabled = true\n\
         [[model]]\nslug = \"acme/big\"\ndisabled = true\n",
    );
    assert_eq!(tags(&catalog, "acme/small"), ["north"]);
    assert!(catalog.find("acme/big").is_none());
    let [south] = catalog.dormant() else { panic!("{:?}", catalog.dormant()) };
    assert_eq!(
        (&*south.provider, south.endpoints),
        ("south", 1),
        "a disabled model waits for no one"
    );
}

#[test]
fn problems_name_the_file_the_key_stands_in() {
    let directory = directory(
        "[[provider]]\nslug = \"north\"\nregion = \"Nowhere\"\n",
        "[[model]]\nslug = \"acme/small\"\n[[model.endpoint]]\nprovider = \"north\"\nmodel = 1\n",
    );
    let broken = MODELS.replacen("output = \"9\"", "output = \"nine\"", 1);
    fs::write(directory.path().join("catalog/models.toml"), broken).unwrap();
    let problems = load_all(directory.path()).unwrap_err();
    let places: Vec<_> = problems
        .iter()
        .map(|it| (it.file.strip_prefix(directory.path()).unwrap(), it.line, &*it.key))
        .collect();
    let expected = [
        (Path::new("providers.toml"), 3, "provider.north.region"),
        (Path::new("catalog/models.toml"), 16, "model.acme/big.endpoint.south.price.output"),
        (Path::new("models.toml"), 5, "model.acme/small.endpoint.north.model"),
    ];
    assert_eq!(places, expected, "{problems:?}");
}

#[test]
fn a_catalogue_that_cannot_be_read_hides_nothing_else() {
    let directory = directory("", "");
    fs::remove_file(directory.path().join("catalog/models.toml")).unwrap();
    let problems = load_all(directory.path()).unwrap_err();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.file.ends_with("catalog/models.toml") && problem.line == 0, "{problem}");
}

#[test]
fn the_shipped_catalogue_joins_what_many_providers_serve() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/catalog");
    let catalog = load_catalog(&shipped).unwrap();
    let count =
        (catalog.providers().count(), catalog.models().count(), catalog.endpoints().count());
    assert!(count.0 >= 30 && count.1 >= 300 && count.2 >= 800, "{count:?}");
    for (slug, least) in [
        ("meta-llama/llama-3.3-70b-instruct", 10),
        ("openai/gpt-oss-120b", 15),
        ("deepseek/deepseek-v3.2", 8),
        ("qwen/qwen3-235b-a22b-2507", 8),
        ("moonshotai/kimi-k2.5", 10),
        ("z-ai/glm-5.1", 10),
        ("minimax/minimax-m2.5", 10),
    ] {
        let endpoints = catalog.find(slug).map(|model| &model.endpoints);
        let providers: BTreeSet<_> =
            endpoints.into_iter().flatten().map(|it| &it.provider.slug).collect();
        assert!(providers.len() >= least, "{slug}: {providers:?}");
    }
    for endpoint in catalog.endpoints() {
        assert!(endpoint.price.at(0).base().price(Kind::Input) > 0, "{} is free", endpoint.id);
        assert!(endpoint.provider.base_url.tls, "{} is not https", endpoint.provider.slug);
    }
    assert_eq!(&*catalog.find("gpt-4o-mini").unwrap().slug, "openai/gpt-4o-mini");
}
