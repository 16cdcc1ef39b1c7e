//! `weir check` on broken configurations: each is one edit of a good one, and each must be refused
//! with the file, the line, the key and what would be right, and without the secret (F81, S25).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers fail the test")]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A secret in every place a good configuration has one, and in some where it has none.
const CANARY: &str = "sk-canary-5f2e7d";
/// What a file under test holds before its edit.
const GOOD: [(&str, &str); 4] = [
    ("weir.toml", include_str!("good/weir.toml")),
    ("providers.toml", include_str!("good/providers.toml")),
    ("models.toml", include_str!("good/models.toml")),
    ("keys.toml", include_str!("good/keys.toml")),
];

/// The broken configurations, by the file that is edited.
const CASES: &str = include_str!("cases.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    edit: [String; 2],
    place: [String; 2],
    says: String,
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The good configuration, its secrets, and some secret files that are wrong.
fn prepare(directory: &Path) {
    for (name, text) in GOOD {
        write(&directory.join(name), text, 0o644);
    }
    write(&directory.join("secret"), &format!("{CANARY}\n"), 0o400);
    write(&directory.join("open"), CANARY, 0o444);
    write(&directory.join("empty"), " \n", 0o400);
    write(&directory.join("two-lines"), &format!("{CANARY}\n{CANARY}\n"), 0o400);
    let [(chain, key), (_, other)] = pairs();
    write(&directory.join("chain.pem"), chain, 0o444);
    write(&directory.join("key.pem"), &format!("{CANARY}\n{key}"), 0o400);
    write(&directory.join("other.pem"), &format!("{CANARY}\n{other}"), 0o400);
    let damaged = format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n");
    write(&directory.join("damaged.pem"), &damaged, 0o400);
    fs::create_dir(directory.join("rules")).unwrap();
}

/// Two certificates with their keys, made once.
fn pairs() -> &'static [(String, String); 2] {
    static MADE: OnceLock<[(String, String); 2]> = OnceLock::new();
    MADE.get_or_init(|| [pair(), pair()])
}

fn pair() -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=good.test"])
        .args(["-keyout", "key.pem", "-out", "chain.pem"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    (read("chain.pem"), read("key.pem"))
}

fn check(directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", "--conf"])
        .arg(directory)
        .env_clear()
        .env("WEIR_TEST_SECRET", CANARY)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Line of the first occurrence, 1-based.
fn line_of(text: &str, needle: &str) -> usize {
    let offset = text.find(needle).unwrap();
    1 + text[..offset].matches('\n').count()
}

#[test]
fn the_good_configuration_is_accepted_and_described() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let output = check(directory.path());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("ok: 2 models, 5 endpoints, 3 providers, 1 key"), "{text}");
    assert!(text.contains("dormant   asleep (1 endpoint): environment variable"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn each_broken_configuration_is_refused_with_its_place_and_remedy() {
    let cases: BTreeMap<String, Vec<Case>> = toml::from_str(CASES).unwrap();
    let mut failures = Vec::new();
    for (file, case) in cases.iter().flat_map(|(file, list)| list.iter().map(move |c| (file, c))) {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        if let Err(failure) = refuse(case, &directory.path().join(format!("{file}.toml"))) {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let count: usize = cases.values().map(Vec::len).sum();
    assert!(count >= 90, "only {count} cases were read");
}

fn refuse(case: &Case, path: &Path) -> Result<(), String> {
    let [from, to, at] =
        [&case.edit[0], &case.edit[1], &case.place[0]].map(|text| text.replace("CANARY", CANARY));
    let good = fs::read_to_string(path).unwrap();
    let broken = good.replacen(&from, &to, 1);
    if broken == good || !broken.contains(&at) {
        return Err("the edit or the place does not fit the file".to_owned());
    }
    write(path, &broken, 0o644);
    let output = check(path.parent().unwrap());
    let text = text(&output);
    if output.status.code() != Some(1) {
        return Err(format!("exit {:?}: {text}", output.status.code()));
    }
    if text.contains(CANARY) {
        return Err(format!("prints the secret: {text}"));
    }
    let place = format!("{}:{}: {}: ", path.display(), line_of(&broken, &at), case.place[1]);
    let found = text.lines().find_map(|shown| shown.strip_prefix(&place));
    match found {
        Some(message) if message.contains(&case.says) && text.lines().count() == 1 => Ok(()),
        Some(_) => Err(format!("expected only {:?}, got:\n{text}", case.says)),
        None => Err(format!("expected {place}, got:\n{text}")),
    }
}

#[test]
fn problems_of_all_files_come_at_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let edit = |name: &str, from: &str, to: &str| {
        let path = directory.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    edit("weir.toml", "drain = \"5m\"", "drain = \"5m");
    edit("providers.toml", "https://api.one.example", "ftp://api.one.example");
    edit("providers.toml", "keyless = true", "keyles = true");
    edit("models.toml", "context_length = 1000", "context_length = 0");
    edit("keys.toml", "workspace = \"team\"", "workspace = \"The Team\"");
    let text = text(&check(directory.path()));
    let files: Vec<&str> =
        text.lines().filter_map(|line| line.rsplit_once(".toml:")?.0.rsplit('/').next()).collect();
    assert_eq!(files, ["weir", "providers", "providers", "models", "keys"], "{text}");
}

#[test]
fn a_missing_file_is_named_and_hides_nothing() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    fs::remove_file(directory.path().join("providers.toml")).unwrap();
    let keys = directory.path().join("keys.toml");
    let text_of_keys = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, text_of_keys.replace("name = \"demo\"", "name = 1")).unwrap();
    let output = check(directory.path());
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("providers.toml: file: cannot be read"), "{shown}");
    assert!(shown.contains("key[0].name: expected a string"), "{shown}");
}

#[test]
fn a_new_keys_block_is_accepted_and_its_key_is_not_in_it() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["key", "new", "--name", "a \"b\"", "--workspace", "team"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (key, block) = printed.split_once("\n\n").unwrap();
    let digits = key.strip_prefix("sk-or-v1-").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    assert!(!block.contains(digits));
    fs::write(directory.path().join("keys.toml"), block).unwrap();
    let shown = text(&check(directory.path()));
    assert!(shown.contains("1 key"), "{shown}");
}
