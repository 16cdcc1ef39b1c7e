use super::*;
use crate::catalog::{HttpVersions, Modalities, Parameters, Probe, Tier};
use crate::usage::Kind;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// As long as a real key, so that a name or a key of a table cannot be this.
const CANARY: &str = "sk-or-v1-c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

/// A configuration without a catalogue, in the order of [`FILES`].
const GOOD: [&str; 4] = [
    include_str!("../../tests/config/good/weir.toml"),
    include_str!("../../tests/config/good/providers.toml"),
    include_str!("../../tests/config/good/models.toml"),
    include_str!("../../tests/config/good/keys.toml"),
];

fn nothing(_: &str) -> Option<OsString> {
    None
}

/// Every variable is set; credentials are in no directory.
fn everything(name: &str) -> Option<OsString> {
    (!name.ends_with("_DIRECTORY")).then(|| CANARY.into())
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

fn write(files: [&str; 4]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in FILES.iter().zip(files) {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn problems(directory: &Path) -> Vec<Problem> {
    load_with(directory, &nothing).map(|_| Vec::new()).unwrap_or_else(|problems| problems)
}

#[test]
fn shipped_configuration_without_secrets_serves_the_keyless_provider_only() {
    let loaded = load_with(&shipped(), &nothing).unwrap();
    let live: Vec<&str> = loaded.catalog.providers().map(|p| &*p.slug).collect();
    assert_eq!(live, ["vllm"]);
    let dormant = loaded.catalog.dormant();
    assert!(dormant.iter().any(|it| &*it.provider == "groq" && it.endpoints > 0), "{dormant:?}");
    assert!(loaded.catalog.find("openai/gpt-4o-mini").is_none(), "no endpoint, not listed");
    assert_eq!(loaded.notices.len(), dormant.len());
    assert!(loaded.keys.is_empty());
}

#[test]
fn shipped_configuration_with_secrets_serves_everything() {
    let loaded = load_with(&shipped(), &everything).unwrap();
    let catalog = &loaded.catalog;
    let llama = catalog.find("llama-3.3-70b-versatile").unwrap();
    assert_eq!(&*llama.slug, "meta-llama/llama-3.3-70b-instruct");
    let tagged = |tag: &str| llama.endpoints.iter().find(|it| &*it.tag == tag).unwrap();
    let groq = tagged("groq");
    assert_eq!(&*groq.id, "meta-llama/llama-3.3-70b-instruct@groq");
    assert_eq!(groq.price.at(0).base().price(Kind::Input), 590_000);
    assert_eq!(groq.price.at(0).base().price(Kind::Reasoning), 790_000);
    assert_eq!(groq.timeouts.first_content, Duration::from_secs(30));
    assert_eq!(groq.timeouts.total, Duration::from_secs(600));
    assert!(!groq.policy.trains, "the operator's word lies over the catalogue");
    let provider = &groq.provider;
    assert_eq!(provider.base_url.authority(), "api.groq.com");
    assert_eq!(provider.base_url.path, "/openai/v1");
    assert_eq!((provider.http, &*provider.server_name), (HttpVersions::Either, "api.groq.com"));
    assert_eq!(&*provider.credentials[0].id, "groq/main");
    assert_eq!(provider.credentials[0].secret.expose_secret(), CANARY);
    let own = &tagged("vllm").provider;
    assert_eq!(own.probe, Probe::Get("/v1/models".to_owned()));
    assert!(own.keyless && own.private_addresses && own.http == HttpVersions::H1);
    assert!(catalog.dormant().is_empty() && loaded.notices.is_empty());
    assert!(catalog.models().map(|it| &it.slug).is_sorted());
    assert!(!format!("{loaded:?}").contains("c0ffee"), "Debug shows no secret");
}

#[test]
fn shipped_settings_are_the_defaults() {
    let bare = write(["", "", "", ""]);
    let (bare, full) = (load_with(bare.path(), &nothing), load_with(&shipped(), &nothing));
    assert_eq!(format!("{:?}", bare.unwrap().settings), format!("{:?}", full.unwrap().settings));
}

#[test]
fn every_key_stands_in_the_shipped_files() {
    let known: [(&str, &[&[&str]]); 4] = [
        (
            "weir.toml",
            &[
                settings::KEYS,
                listen::LISTENER,
                listen::TLS,
                listen::ADMIN,
                limits::LIMITS,
                settings::LEDGER,
                policy::KEYS,
                policy::MAX_PRICE,
            ],
        ),
        (
            "providers.toml",
            &[
                providers::ROOT,
                providers::KEYS,
                providers::POLICY,
                providers::PROBE,
                providers::TIMEOUTS,
                providers::CREDENTIAL,
                secret::KEYS,
            ],
        ),
        (
            "models.toml",
            &[
                models::ROOT,
                models::KEYS,
                models::BENCHMARKS,
                endpoints::ENDPOINT,
                prices::PRICE,
                prices::OVERRIDE,
                choosing::ROUTER,
                choosing::PRESET,
                choosing::PROVIDER,
            ],
        ),
        ("keys.toml", &[keys::ROOT, keys::KEYS, keys::WORKSPACE]),
    ];
    for (file, sections) in known {
        let text = fs::read_to_string(shipped().join(file)).unwrap();
        let words: Vec<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for key in sections.iter().copied().flatten() {
            assert!(words.contains(key), "{file} does not explain {key}");
        }
    }
}

#[test]
fn benchmarks_are_those_of_the_catalogue() {
    assert_eq!(models::BENCHMARKS, crate::catalog::Benchmark::ALL.map(|(key, _)| key));
}

#[test]
fn the_ceilings_are_those_of_the_price_room() {
    assert_eq!(policy::MAX_PRICE, crate::price::CEILINGS.map(|(key, ..)| key));
}

#[test]
fn equal_prices_are_one_version_however_they_are_written() {
    let provider = "[[provider]]\nslug = \"x\"\nbase_url = \"https://x.example\"\nkeyless = true\n";
    let model = "[[model]]\nslug = \"a/b\"\ncontext_length = 1\n\
        endpoint = [{ provider = \"x\", model = \"m\", price = { input = \"1\", output = \"2.50\" } }, \
        { provider = \"x\", tag = \"x/y\", model = \"m\", price = { output = \"2.5\", input = \"1.0\" } }]\n";
    let directory = write(["", provider, model, ""]);
    let loaded = load_with(directory.path(), &nothing).unwrap();
    assert_eq!((loaded.catalog.endpoints().count(), loaded.catalog.price_versions().len()), (2, 1));
}

#[test]
fn an_endpoint_has_its_providers_data_policy_but_for_what_it_says_itself() {
    let provider = "[[provider]]\nslug = \"x\"\nbase_url = \"https://x.example\"\nkeyless = true\n\
        policy = { trains = false }\n";
    let model = "[[model]]\nslug = \"a/b:free\"\ncontext_length = 1\nendpoint = [\
        { provider = \"x\", model = \"m\", price = { input = \"1\", output = \"1\" } }, \
        { provider = \"x\", tag = \"x/zdr\", tier = \"flex\", policy = { retains = false }, model = \"m\", \
        supported_parameters = [\"tools\"], price = { input = \"1\", output = \"1\" } }]\n";
    let directory = write(["", provider, model, ""]);
    let loaded = load_with(directory.path(), &nothing).unwrap();
    let endpoints = &loaded.catalog.find("a/b:free").unwrap().endpoints;
    let policies: Vec<_> = endpoints.iter().map(|e| (e.policy.trains, e.policy.retains)).collect();
    assert_eq!(policies, [(false, true), (false, false)], "retention is unknown, so the worst");
    assert_eq!(endpoints[1].tier, Some(Tier::Flex));
    assert!(endpoints[1].parameters.has(Parameters::TOOLS));
    assert_eq!(
        endpoints[0].input,
        Modalities::ANY,
        "what is not said is not held against a request"
    );
    assert!(endpoints[0].parameters.is_empty() && endpoints[0].tier.is_none());
}

#[test]
fn directories_and_credentials_come_from_systemd() {
    let credentials = tempfile::tempdir().unwrap();
    let file = credentials.path().join("groq");
    fs::write(&file, format!("{CANARY}\n")).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let environment = |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some(credentials.path().into()),
        "STATE_DIRECTORY" => Some("/var/lib/weir:/var/lib/other".into()),
        _ => None,
    };
    let provider = "[[provider]]\nslug = \"groq\"\nbase_url = \"https://api.groq.com\"\n\
                    credential = [{ secret = { credential = \"groq\" } }, \
                    { name = \"no\", secret = { credential = \"no\" } }]\n";
    let directory = write(["", provider, "", ""]);
    let loaded = load_with(directory.path(), &environment).unwrap();
    let provider = loaded.catalog.providers().next().unwrap();
    assert_eq!(provider.credentials.len(), 1);
    assert_eq!(provider.credentials[0].secret.expose_secret(), CANARY);
    assert!(provider.policy.trains && provider.policy.retains, "unknown counts as the worst");
    assert_eq!(loaded.notices.len(), 1, "one of two credentials is not there");
    assert_eq!(loaded.settings.state_directory, Path::new("/var/lib/weir"));
    assert_eq!(loaded.settings.ledger.sqlite, Path::new("/var/lib/weir/ledger.sqlite"));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = |_: &str| Some(OsString::new());
    let dormant = |environment| load_with(&shipped(), environment).unwrap().catalog.dormant().len();
    assert_eq!(dormant(&empty), dormant(&nothing));
}

#[test]
fn operators_listener_is_local_or_guarded() {
    for local in ["127.0.0.1:9", "[::1]:9", "unix:admin.sock"] {
        let directory = write([&format!("admin.address = \"{local}\""), "", "", ""]);
        assert_eq!(problems(directory.path()), [], "{local}");
    }
    for remote in ["0.0.0.0:9", "[::]:9", "192.168.0.1:9"] {
        let directory = write([&format!("admin.address = \"{remote}\""), "", "", ""]);
        assert_eq!(problems(directory.path()).len(), 1, "{remote}");
    }
}

#[test]
fn files_are_read_up_to_their_bound() {
    let padding = "#".repeat(usize::try_from(bounds::CONFIG_BYTES).unwrap());
    let directory = write(["", "", "", &padding]);
    assert_eq!(problems(directory.path()), []);
    let directory = write(["", "", "", &format!("{padding}#")]);
    let found = problems(directory.path());
    assert!(found.len() == 1 && found[0].message.contains("larger than"), "{found:?}");
}

#[test]
fn secrets_are_read_up_to_their_bound() {
    let provider = "[[provider]]\nslug = \"x\"\nbase_url = \"https://x.example\"\n\
                    credential = [{ secret = { env = \"X\" } }]\n";
    let directory = write(["", provider, "", ""]);
    let longest = usize::try_from(bounds::SECRET_BYTES).unwrap();
    for (length, found) in [(longest, 0), (longest + 1, 1)] {
        let environment = |_: &str| Some("x".repeat(length).into());
        let result = load_with(directory.path(), &environment);
        assert_eq!(result.map_or_else(|problems| problems.len(), |_| 0), found, "{length}");
    }
}

#[test]
fn problems_are_listed_up_to_their_bound() {
    let wrong: String = (0..bounds::PROBLEMS + 9).map(|n| format!("x{n} = 1\n")).collect();
    let directory = write([&wrong, "", "", ""]);
    assert_eq!(problems(directory.path()).len(), bounds::PROBLEMS);
}

#[test]
fn a_remedy_lists_names_in_order() {
    let models = GOOD[2];
    let keys = "[[key]]\nname = \"a\"\nonly = [\"nobody\"]\n";
    let directory = write(["", "", models, keys]);
    let said = problems(directory.path());
    let names = "asleep, one, own, two, two/cheap, two/dated";
    assert!(said.iter().any(|problem| problem.message.ends_with(names)), "{said:?}");
}

#[test]
fn a_remedy_lists_no_key_that_was_pasted_for_a_tag() {
    let models = GOOD[2].replace("two/cheap", CANARY);
    assert_ne!(models, GOOD[2]);
    let keys = "[[key]]\nname = \"a\"\nonly = [\"nobody\"]\n";
    let said = problems(write(["", "", &models, keys]).path());
    assert!(said.iter().any(|problem| problem.message.contains("expected one of")), "{said:?}");
    assert!(!format!("{said:?}").contains(CANARY), "{said:?}");
}

#[test]
fn a_file_that_cannot_be_read_blames_no_reference_to_it() {
    let models = GOOD[2];
    let keys = "[[key]]\nname = \"a\"\nhash = \"x\"\nignore = [\"groq\"]\n";
    let directory = write(["", "[[provider", models, keys]);
    let found: Vec<String> = problems(directory.path()).into_iter().map(|p| p.key).collect();
    assert_eq!(found, ["syntax", "key.a.hash"]);
}

/// Where a key could be pasted by mistake: over a text, or anywhere at all.
fn pasted() -> impl Strategy<Value = (usize, f64, &'static str)> {
    let forms = [
        CANARY,
        concat!("\"", "CANARY", "\""),
        "\"CANARY\" = 1\n",
        "CANARY = 1\n",
        "'CANARY'\n",
        "\n[CANARY]\n",
        "\n[[CANARY]]\n",
    ];
    (0..4_usize, 0.0..1.0_f64, proptest::sample::select(forms.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut and wherever a key is pasted, loading ends and says nothing of the key.
    #[test]
    fn a_key_pasted_anywhere_is_never_shown((file, place, form) in pasted(), cut in 0..40_usize) {
        let mut texts = GOOD.map(str::to_owned);
        texts[0] = texts[0].replace("rules =", "# rules =");
        let text = &mut texts[file];
        let mut from = (place * text.len() as f64) as usize;
        if form.starts_with('"') && !form.contains('=') {
            from = text[from..].find('"').map_or(from, |quote| from + quote);
        }
        let to = (from + cut).min(text.len());
        let to = text[to..].find('"').filter(|_| cut % 2 == 0).map_or(to, |quote| to + quote + 1);
        text.replace_range(from..to, &form.replace("CANARY", CANARY));
        let directory = write(texts.each_ref().map(String::as_str));
        let shown = match load_with(directory.path(), &nothing) {
            Ok(loaded) => format!("{:?} {:?}", loaded.notices, loaded.catalog.dormant()),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                format!("{problems:?}")
            }
        };
        prop_assert!(!shown.contains("c0ffee"), "{}", shown);
    }
}
