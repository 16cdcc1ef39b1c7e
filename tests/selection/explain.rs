//! `weir explain` on a real configuration: the same choice the proxy would make, in words.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const PROVIDERS: &str = r#"
[[provider]]
slug = "near"
name = "Near By"
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
policy = { trains = false, retains = false }
private_addresses = true
keyless = true

[[provider]]
slug = "far"
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
policy = { trains = false, retains = true }
private_addresses = true
keyless = true
"#;

const MODELS: &str = r#"
[[model]]
slug = "author/model"
context_length = 8192
aliases = ["~author/model-latest", "one"]
endpoint = [
  { provider = "near", model = "m", price = { input = "3", output = "6" }, supported_parameters = ["tools", "response_format"] },
  { provider = "far", model = "m", price = { input = "1", output = "2" } },
  { provider = "far", tag = "far/flex", tier = "flex", model = "m", price = { input = "0.5", output = "1" } },
]

[[model]]
slug = "author/model:free"
context_length = 8192
endpoint = [{ provider = "far", tag = "far/free", model = "m", price = { input = "0", output = "0" } }]

[[model]]
slug = "author/other"
context_length = 8192
endpoint = [{ provider = "far", model = "o", price = { input = "2", output = "2" } }]

[[router]]
slug = "weir/auto"
aliases = ["openrouter/auto"]
models = ["author/other", "author/model"]

[[router]]
slug = "weir/small"
models = ["author/other", "author/model:free", "author/model"]

[[preset]]
slug = "cheap"
models = ["author/model"]
provider = { sort = "price", only = ["far"] }

[[preset]]
slug = "private"
models = ["author/model"]
provider = { zdr = true, order = ["near"] }
"#;

const KEYS: &str = r#"
[[workspace]]
slug = "strict"
zdr = true

[[key]]
name = "careful"
hash = "abababababababababababababababababababababababababababababababab"
workspace = "strict"

[[key]]
name = "batch"
hash = "0101010101010101010101010101010101010101010101010101010101010101"
tags = ["batch"]

[[key]]
name = "barred"
hash = "efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef"

[[key]]
name = "narrow"
hash = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
models = ["author/model"]

[[key]]
name = "one-try"
hash = "2323232323232323232323232323232323232323232323232323232323232323"
no_fallbacks = true
"#;

const RULES: &str = r#"
[[rule]]
name = "old-name"
when = { model = "author/old" }
rename = "author/model"

[[rule]]
name = "not-for-the-narrow"
when = { model = "author/model", key = "barred" }
reject = { status = 403, message = "Not this one." }

[[rule]]
name = "near-first"
when = { cel = "key != 'batch' && max_tokens == 77" }
prefer = "near"

[[rule]]
name = "blue-team"
when = { header = { "x-team" = "blue" } }
pin = "near"

[[rule]]
name = "tools-on-flex"
when = { cel = "tools" }
pin = "far/flex"

[[rule]]
name = "batch-by-price"
when = { tag = "batch" }
defaults = { sort = "price" }

[[rule]]
name = "across-by-price"
when = { cel = "max_tokens == 79" }
defaults = { sort = { by = "price", partition = "none" } }

[[rule]]
name = "near-unless-told"
when = { cel = "max_tokens == 78" }
defaults = { order = ["near", "far"] }
"#;

fn explain(arguments: &[&str], request: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    for (name, text) in [
        ("weir.toml", "rules = \"rules\"\n[policy]\nmax_price = { prompt = \"10\" }\n"),
        ("rules/10.toml", RULES),
        ("providers.toml", PROVIDERS),
        ("models.toml", MODELS),
        ("keys.toml", KEYS),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("explain").arg("--conf").arg(folder.path()).args(arguments).arg("-");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

fn ask(model: &str, members: &str) -> String {
    format!("{{\"model\":\"{model}\",\"messages\":[]{members}}}")
}

#[test]
fn each_step_each_reason_and_each_rank_is_said() {
    let request = ask("~author/model-latest", r#","provider":{"sort":"price"}"#);
    let (code, text) = explain(&["--seed", "7"], &request);
    let expected = "model     author/model, asked for as ~author/model-latest\nseed      7\n\
        step      candidates: 3 left\nstep      tier: 2 left\nexcluded  far/flex: tier\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("rank 1    far: expected $") && text.contains("rank 2    near: expected $")
    );
    assert_eq!(code, Some(0));
}

#[test]
fn what_holds_for_a_key_and_its_workspace_holds() {
    let (code, text) = explain(&["--key", "careful"], &ask("author/model", ""));
    assert!(text.contains("excluded  far: zdr\n") && text.contains("rank 1    near"), "{text}");
    assert_eq!(code, Some(0));
    let (code, text) = explain(&["--key", "careful"], &ask("author/other", ""));
    let says = "refused   404 No endpoints found matching your data policy (Zero data retention).";
    assert!(text.contains(says), "{text}");
    assert_eq!(code, Some(1));
    let (code, text) = explain(&["--key", "narrow"], &ask("author/other", ""));
    assert_eq!((code, &*text), (Some(1), "refused   400 author/other is not a valid model ID\n"));
    assert_eq!(explain(&["--key", "nobody"], &ask("author/model", "")).0, Some(2));
}

#[test]
fn variants_routers_and_presets_are_resolved() {
    let models = |model: &str, members: &str| {
        let (_, text) = explain(&[], &ask(model, members));
        let lines = text.lines().filter_map(|line| line.strip_prefix("model     "));
        let names = lines.map(|line| line.split(',').next().unwrap().to_owned());
        let ranks = text.lines().filter(|line| line.starts_with("rank 1 "));
        let first = ranks.map(|line| line[10..].split(':').next().unwrap().to_owned());
        (names.collect::<Vec<_>>(), first.collect::<Vec<_>>())
    };
    let of = |names: &[&str], first: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        (own(names), own(first))
    };
    assert_eq!(models("author/model:floor", ""), of(&["author/model"], &["far/flex"]));
    assert_eq!(models("author/model:free:nitro", ""), of(&["author/model:free"], &["far/free"]));
    let both = of(&["author/other", "author/model"], &["far", "far/flex"]);
    assert_eq!(models("openrouter/auto", r#","service_tier":"flex""#), both);
    assert_eq!(models("@preset/cheap", ""), of(&["author/model"], &["far"]));
    let own = r#","provider":{"only":["Near By"]}"#;
    assert_eq!(models("author/model@preset/cheap", own), of(&["author/model"], &["near"]));
    for (model, says) in [
        ("author/model:extended", "refused   400 author/model:extended is not a valid model ID\n"),
        ("author/none", "refused   400 author/none is not a valid model ID\n"),
        ("@preset/none", "refused   404 Preset none not found\n"),
    ] {
        assert_eq!(explain(&[], &ask(model, "")), (Some(1), says.to_owned()), "{model}");
    }
}

/// The endpoints that would be tried for `author/model`, in order.
fn ranks(arguments: &[&str], model: &str, members: &str) -> Vec<String> {
    let (_, text) = explain(arguments, &ask(model, members));
    let ranks = text.lines().filter_map(|line| line.strip_prefix("rank "));
    ranks.map(|line| line[5..].trim_start().split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn a_request_loosens_neither_the_privacy_of_a_preset_nor_the_one_try_of_a_key() {
    for provider in ["{}", r#"{"allow_fallbacks":true}"#, r#"{"zdr":false,"only":["far"]}"#] {
        let members = format!(r#","provider":{provider}"#);
        let tried = ranks(&[], "@preset/private", &members);
        assert!(!tried.contains(&"far".to_owned()), "{provider}: {tried:?}");
    }
    let ordered = r#","provider":{"order":["far","near"]}"#;
    assert_eq!(ranks(&[], "author/model", ordered), ["far", "near"]);
    assert_eq!(ranks(&["--key", "one-try"], "author/model", ordered), ["far"]);
    let own = r#","provider":{"order":["far","near"],"allow_fallbacks":false}"#;
    assert_eq!(ranks(&[], "author/model", own), ["far", "near"], "its own list");
}

#[test]
fn a_default_order_gives_way_to_the_sort_of_a_request() {
    assert_eq!(ranks(&[], "author/model", r#","max_tokens":78"#), ["near", "far"]);
    let sorted = r#","max_tokens":78,"provider":{"sort":"price"}"#;
    assert_eq!(ranks(&[], "author/model", sorted), ["far", "near"]);
    assert_eq!(ranks(&[], "author/model:floor", r#","max_tokens":78"#)[0], "far/flex");
    let members = r#","max_tokens":79,"models":["author/other"]"#;
    assert!(ranks(&[], "author/model", members)[0].contains('@'), "across models");
    assert!(!ranks(&[], "author/model:nitro", r#","max_tokens":79"#)[0].contains('@'));
}

#[test]
fn no_variant_slips_past_a_rule_and_a_router_goes_around_it() {
    let as_barred = |model: &str| explain(&["--key", "barred"], &ask(model, ""));
    let refused = (Some(1), "refused   403 Not this one.\n".to_owned());
    assert_eq!(as_barred("author/model"), refused);
    assert_eq!(as_barred("author/model:nitro"), refused);
    assert_eq!(as_barred("author/model:floor:exacto"), refused);
    let (code, text) = as_barred("weir/auto");
    assert_eq!((code, text.matches("model     ").count()), (Some(0), 1), "{text}");
    assert!(text.starts_with("model     author/other, asked for as weir/auto\n"), "{text}");
}

#[test]
fn no_other_name_of_a_model_slips_past_its_rules() {
    for name in ["author/model", "~author/model-latest", "one", "author/old"] {
        let (code, text) = explain(&["--key", "barred"], &ask(name, ""));
        assert_eq!((code, &*text), (Some(1), "refused   403 Not this one.\n"), "{name}");
    }
}

#[test]
fn a_model_is_planned_once_by_however_many_names() {
    let models = |members: &str| explain(&[], &ask("one", members)).1.matches("model     ").count();
    assert_eq!(models(r#","models":["author/model","~author/model-latest"]"#), 1);
    assert_eq!(models(r#","models":["author/model:floor","author/other"]"#), 3);
}

#[test]
fn a_preset_stands_unless_the_request_has_an_object_of_its_own_and_there_is_one() {
    let members = r#","provider":null"#;
    assert_eq!(ranks(&[], "author/model@preset/cheap", members), ["far"], "null is none");
    for models in [
        r#"["@preset/cheap","@preset/private"]"#,
        r#"["author/other@preset/cheap","author/model@preset/none"]"#,
    ] {
        let body = format!("{{\"messages\":[],\"models\":{models}}}");
        let (code, text) = explain(&[], &body);
        assert_eq!(code, Some(1));
        assert!(
            text.starts_with("refused   400 A request can have one preset, not both"),
            "{text}"
        );
    }
}

#[test]
fn a_tier_that_was_not_asked_for_is_no_reason_of_a_refusal() {
    let (_, text) =
        explain(&[], &ask("author/model", r#","provider":{"max_price":{"prompt":0.6}}"#));
    assert!(
        text.contains("refused   404 No endpoints found within the given max_price.\n"),
        "{text}"
    );
}

#[test]
fn rules_prefer_pin_and_give_defaults() {
    let ranks = |arguments: &[&str], members: &str| {
        let (_, text) = explain(arguments, &ask("author/model", members));
        let ranks = text.lines().filter(|line| line.starts_with("rank "));
        ranks.map(|line| line[10..].to_owned()).collect::<Vec<_>>()
    };
    let (_, text) = explain(&["--key", "batch"], &ask("author/model", r#","max_tokens":78"#));
    let said = "model     author/model\nrule      batch-by-price\nrule      near-unless-told\nseed      1\n";
    assert!(text.starts_with(said), "{text}");
    for seed in ["1", "2", "3", "4", "5"] {
        let preferred = ranks(&["--seed", seed], r#","max_tokens":77"#);
        assert!(preferred[0].starts_with("near: ") && preferred.len() == 2, "{preferred:?}");
        assert!(preferred[1].ends_with("preference 1"), "{preferred:?}");
        let cheap = ranks(&["--key", "batch", "--seed", seed], r#","max_tokens":77"#);
        assert!(cheap[0].starts_with("far: "), "{cheap:?}");
        let own = r#","max_tokens":7,"provider":{"order":["near"]}"#;
        let asked = ranks(&["--key", "batch", "--seed", seed], own);
        assert!(asked[0].starts_with("near: "), "what the request says itself wins: {asked:?}");
    }
    let pinned = ranks(&[], r#","tools":[{"type":"function"}]"#);
    assert!(pinned.len() == 1 && pinned[0].starts_with("far/flex: "), "{pinned:?}");
}

#[test]
fn a_draw_shows_its_chances_and_an_endpoint_what_it_is_not_sent() {
    let (_, text) = explain(&[], &ask("author/model", r#","top_k":3"#));
    let line = |tag: &str| text.lines().find(|line| line.contains(&format!(" {tag}: "))).unwrap();
    assert!(line("far").contains(", chance 0.9") && !line("far").contains("not sent"), "{text}");
    assert!(line("near").contains(", chance 0.1"), "{text}");
    assert!(line("near").contains(", not sent top_k"), "{text}");
    let (_, sorted) = explain(&[], &ask("author/model", r#","provider":{"sort":"price"}"#));
    assert!(!sorted.contains("chance"), "nothing is drawn: {sorted}");
}

#[test]
fn across_models_ranks_are_as_they_are_tried() {
    let members =
        r#","models":["author/other"],"provider":{"sort":{"by":"price","partition":"none"}}"#;
    let tried = ranks(&[], "author/model", members);
    assert_eq!(tried, ["author/model@far", "author/other@far", "author/model@near"]);
    let grouped = r#","models":["author/other"],"provider":{"sort":"price"}"#;
    assert_eq!(ranks(&[], "author/model", grouped), ["far", "near", "far"]);
}

#[test]
fn a_router_takes_the_first_that_fits() {
    let models = |members: &str| {
        let (_, text) = explain(&[], &ask("weir/small", members));
        let lines = text.lines().filter_map(|line| line.strip_prefix("model     "));
        lines.map(|line| line.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(models(""), ["author/other", "author/model:free", "author/model"]);
    let formatted = models(r#","response_format":{"type":"json_object"}"#);
    assert_eq!(formatted, ["author/model", "author/other", "author/model:free"]);
}

#[test]
fn a_header_can_be_given() {
    assert_eq!(ranks(&["-H", "X-Team: blue"], "author/model", ""), ["near"]);
    assert_eq!(ranks(&["--header", "x-team:red"], "author/model", "").len(), 2);
    let (code, text) = explain(&["-H", "x-team"], &ask("author/model", ""));
    assert_eq!(code, Some(2));
    assert!(text.contains("expected NAME: VALUE"), "{text}");
}

#[test]
fn what_cannot_be_explained_is_2() {
    let nowhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("no-such-request");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = command.arg("explain").arg(nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
