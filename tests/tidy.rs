//! What a reviewer would otherwise have to say each time: room rules, sizes, documents in step.
//!
//! Every failure names all places at once, with the rule and its reason.

#![allow(clippy::indexing_slicing, reason = "a panic is how a test fails")]

#[path = "tidy/source.rs"]
mod source;

use source::{blank, files, functions, read, root, sources};
use std::collections::BTreeSet;
use std::process::Command;

const FILE_LINES: usize = 400;
const FILE_LINES_WORTH_A_LOOK: usize = 250;
const FUNCTION_LINES: usize = 70;

/// Rooms that take values and return values, so that they can be simulated, fuzzed and measured.
const PURE: &[&str] = &[
    "src/rules",
    "src/request/chunks",
    "src/request/envelope",
    "src/request/head",
    "src/request/rewrite",
    "src/selection",
    "src/endpoint",
    "src/price",
    "src/usage",
    "src/dialect",
    "src/face",
    "src/meter",
    "src/upstream/attempts",
    "src/catalog",
    "src/tools",
];

/// Frameworks, clocks and dice: a pure room gets time and seeds as parameters.
const IMPURE: &[&str] = &[
    "pingora",
    "tokio",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
    ".elapsed(",
    "rand::rng",
    "rand::random",
    "thread_rng",
];

/// Fails with every finding and the rule.
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}\n  {}\n", found.join("\n  "));
}

/// Whether a file is the room, or in it.
fn is_in(path: &str, room: &str) -> bool {
    path == format!("{room}.rs") || path.starts_with(&format!("{room}/"))
}

/// `path:line: word` wherever shipped code has one of the words.
fn mentions(path: &str, code: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in words.iter().filter(|word| has_word(line, word)) {
            found.push(format!("{path}:{}: {word}", number + 1));
        }
    }
    found
}

/// Whether a line has the word with no letter of a longer one around it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let edge = |c: Option<char>, own: Option<char>| !own.is_some_and(part) || !c.is_some_and(part);
    line.match_indices(word).any(|(at, _)| {
        edge(line[..at].chars().next_back(), word.chars().next())
            && edge(line[at + word.len()..].chars().next(), word.chars().next_back())
    })
}

#[test]
fn pure_rooms_name_no_framework_and_read_no_clock() {
    let mut found = Vec::new();
    for file in sources() {
        if PURE.iter().any(|room| is_in(&file.path, room)) {
            found.extend(mentions(&file.path, &file.shipped, IMPURE));
        }
    }
    none("a pure room takes time, dice and bytes as values", &found);
}

#[test]
fn every_pure_room_exists() {
    let present: Vec<_> = sources().into_iter().map(|file| file.path).collect();
    if !present.iter().any(|path| path == "src/server.rs") {
        println!("not all rooms are built yet");
        return;
    }
    let gone: Vec<String> = PURE
        .iter()
        .filter(|room| !present.iter().any(|path| is_in(path, room)))
        .map(|room| (*room).to_owned())
        .collect();
    none("a room was renamed: rename it in PURE, or its rules go unchecked", &gone);
}

#[test]
fn access_and_ledger_do_not_know_each_other() {
    let mut found = Vec::new();
    for file in sources() {
        if file.path.starts_with("src/access") {
            found.extend(mentions(&file.path, &file.shipped, &["ledger"]));
        }
        if file.path.starts_with("src/ledger") {
            found.extend(mentions(&file.path, &file.shipped, &["access"]));
        }
    }
    none("the end of an attempt, in proxy, settles both", &found);
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in sources() {
        let written = count_non_test(&file);
        if written > FILE_LINES {
            long.push(format!("{}: {written} lines", file.path));
        } else if written > FILE_LINES_WORTH_A_LOOK {
            println!("worth a look: {} has {written} lines", file.path);
        }
    }
    none(&format!("at most {FILE_LINES} lines beside tests: split by noun"), &long);
}

/// Lines as written, comments included, less those blanked as tests.
fn count_non_test(file: &source::Source) -> usize {
    let pairs = file.code.lines().zip(file.shipped.lines());
    let tests = pairs.filter(|(code, shipped)| code.trim() != shipped.trim()).count();
    let lines = file.text.lines().count();
    let all_tests = file.shipped.trim().is_empty() && !file.code.trim().is_empty();
    if all_tests { 0 } else { lines - tests }
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for file in sources() {
        for (name, line, lines) in functions(&file.shipped) {
            if lines > FUNCTION_LINES {
                long.push(format!("{}:{line}: {name} has {lines} lines", file.path));
            }
        }
    }
    none(&format!("at most {FUNCTION_LINES} lines between the braces"), &long);
}

#[test]
fn unsafe_lives_in_one_file() {
    let mut found = Vec::new();
    for file in sources() {
        if file.path != "src/ledger/map.rs" {
            found.extend(mentions(&file.path, &file.code, &[concat!("un", "safe")]));
        }
    }
    none("only the mapped slot file may, in src/ledger/map.rs", &found);
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_off() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!"),
        concat!("unimplemen", "ted!"),
        concat!("#[ig", "nore"),
        concat!("pytest.mark.", "xfail"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let endings = [".rs", ".py", ".md", ".toml", ".mjs", ".service", "run"];
    let mut found = Vec::new();
    for path in files("", &endings) {
        found.extend(mentions(&path, &read(&path).unwrap_or_default(), &words));
    }
    none("finish it, or write an issue; and name no place of one machine", &found);
}

#[test]
fn architecture_is_in_step_with_the_tree() {
    let Some(text) = read("ARCHITECTURE.md") else {
        assert!(read("src/server.rs").is_none(), "ARCHITECTURE.md is missing");
        return;
    };
    let mut found = Vec::new();
    let folders: BTreeSet<String> = files("src", &[".rs"])
        .iter()
        .filter_map(|path| {
            path.strip_prefix("src/")?.split_once('/').map(|(top, _)| top.to_owned())
        })
        .collect();
    for folder in folders {
        if !text.contains(&format!("{folder}/")) && !text.contains(&format!("`{folder}`")) {
            found.push(format!("src/{folder}/ is in the tree and not in the document"));
        }
    }
    for path in files("src", &[".rs"]).iter().filter(|path| path.matches('/').count() == 1) {
        let name = path.trim_start_matches("src/");
        if !text.contains(name) {
            found.push(format!("{path} is in the tree and not in the document"));
        }
    }
    for word in text.split(|c: char| c.is_whitespace() || "`()[],;".contains(c)) {
        let path = word.trim_end_matches(['.', ':', '/']);
        let is_path = path.starts_with("src/") && !path.contains(['<', '*', '{']);
        if is_path && !root().join(path).exists() {
            found.push(format!("{path} is in the document and not in the tree"));
        }
    }
    none("ARCHITECTURE.md says what is", &found);
}

/// Every page an operator may read.
fn documentation() -> String {
    files("", &[".md"]).iter().filter_map(|path| read(path)).collect()
}

#[test]
fn every_metric_is_documented() {
    let Some(families) = read("src/metrics/families.rs") else { return };
    let names: BTreeSet<&str> = families
        .split('"')
        .filter(|part| part.starts_with("weir_") && !part.contains(' '))
        .collect();
    let text = documentation();
    let mut found: Vec<String> = names
        .iter()
        .filter(|name| !has_word(&text, name))
        .map(|name| format!("{name} is exposed and not documented"))
        .collect();
    let known = |word: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        names.contains(word) || base.is_some_and(|base| names.contains(base))
    };
    let words: BTreeSet<&str> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("weir_") && !known(word))
        .collect();
    found.extend(words.iter().map(|word| format!("{word} is documented and not exposed")));
    none("the metrics page and src/metrics/families.rs name the same", &found);
}

/// Key names in the `&[&str]` constants of a file of `src/config`.
fn config_keys(path: &str) -> BTreeSet<String> {
    let text = read(path).unwrap_or_default();
    let mut keys = BTreeSet::new();
    for part in text.split("const ").skip(1) {
        let Some((declared, list)) = part.split_once('=') else { continue };
        let list = list.split("];").next().unwrap_or_default();
        if declared.contains("&[&str]") && list.trim_start().starts_with("&[") {
            keys.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    keys
}

/// Whether a configuration file shows a key: set, commented out, as a table or in an inline table.
fn shows(text: &str, key: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim().trim_start_matches(['#', ' ']);
        let table = line.trim_start_matches('[').split(']').next().unwrap_or_default();
        let header = line.starts_with('[') && table.split('.').any(|part| part.trim() == key);
        let assigned = line.match_indices(key).any(|(at, _)| {
            line[at + key.len()..].trim_start().starts_with('=')
                && !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
        });
        header || assigned
    })
}

#[test]
fn every_configuration_key_is_shown_and_explained() {
    let files = [
        ("src/config/settings.rs", "conf/weir.toml"),
        ("src/config/limits.rs", "conf/weir.toml"),
        ("src/config/policy.rs", "conf/weir.toml"),
        ("src/config/providers.rs", "conf/providers.toml"),
        ("src/config/models.rs", "conf/models.toml"),
        ("src/config/keys.rs", "conf/keys.toml"),
    ];
    let pages = documentation();
    let mut found = Vec::new();
    for (code, shown) in files {
        let Some(text) = read(shown) else {
            assert!(read("src/server.rs").is_none(), "{shown} is missing");
            continue;
        };
        let keys = config_keys(code);
        assert!(!keys.is_empty() || read(code).is_none(), "no key list was found in {code}");
        let missing =
            keys.iter().filter(|key| !shows(&text, key) && !pages.contains(&format!("`{key}`")));
        found
            .extend(missing.map(|key| format!("{shown}: {key}, which {code} reads, is not shown")));
    }
    found.extend(unexplained("conf/weir.toml"));
    none("conf/ or a page shows every key, and weir.toml says what each is for", &found);
}

/// Keys of a file, set or commented out, with no word about them on their line or the one above.
fn unexplained(path: &str) -> Vec<String> {
    let text = read(path).unwrap_or_default();
    let mut found = Vec::new();
    let mut above = "";
    for (number, line) in text.lines().enumerate() {
        let said_above = above.starts_with('#') && assigned_key(above).is_none();
        let said_here = line.trim_start_matches('#').contains('#');
        if let Some(name) = assigned_key(line).filter(|_| !said_above && !said_here) {
            found.push(format!("{path}:{}: {name} has no word about it", number + 1));
        }
        above = line.trim();
    }
    found
}

/// The key a line sets, or would set were it not commented out.
fn assigned_key(line: &str) -> Option<&str> {
    let (name, _) = line.trim().trim_start_matches(['#', ' ']).split_once('=')?;
    let name = name.trim();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// The help of the binary under these arguments; empty if it has none yet.
fn help(arguments: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).arg("--help").output();
    run.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Commands a help text lists.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_flag_is_in_the_readme() {
    let top = help(&[]);
    let Some(readme) = read("README.md").filter(|_| !top.is_empty()) else {
        assert!(
            read("src/server.rs").is_none(),
            "README.md is missing, or `weir --help` is silent"
        );
        return;
    };
    let mut found = Vec::new();
    let mut open: Vec<(Vec<String>, String)> = vec![(Vec::new(), top)];
    while let Some((path, text)) = open.pop() {
        for flag in text.split(|c: char| c.is_whitespace() || ",=<>[]`".contains(c)) {
            let is_flag = flag.starts_with("--") && flag.len() > 2;
            if is_flag && !["--help", "--version"].contains(&flag) && !readme.contains(flag) {
                found.push(format!("weir {} {flag}", path.join(" ")));
            }
        }
        for name in commands(&text) {
            let path = [path.clone(), vec![name]].concat();
            if !readme.contains(&format!("weir {}", path.join(" ")))
                && !readme.contains(&format!("-- {}", path.join(" ")))
            {
                found.push(format!("weir {}", path.join(" ")));
            }
            let arguments: Vec<&str> = path.iter().map(String::as_str).collect();
            let text = help(&arguments);
            open.push((path, text));
        }
    }
    none("README.md shows every command and flag", &found);
}

mod the_reader_itself {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked() {
        let text = "a(\"}\\\"{\", 'x', '\\'', b\"z\", r#\"q\"u\"#) // tokio\n/* { /* } */ */ fn f<'a>() {}";
        let code = blank(text);
        assert_eq!(code.lines().count(), 2);
        assert!(!code.contains("tokio") && !code.contains('q') && !code.contains('z'), "{code}");
        assert_eq!((code.matches('{').count(), code.matches('}').count()), (1, 1), "{code}");
        assert!(code.contains("<'a>"));
    }

    #[test]
    fn functions_are_measured_between_their_braces() {
        let code = "impl X {\n    fn one(a: [u8; 2]) -> u8 {\n        a\n    }\n    fn two();\n}\nfn three() {}\n";
        let found = functions(code);
        assert_eq!(found, [("one".to_owned(), 2, 1), ("three".to_owned(), 7, 0)]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tokio::x", "tokio") && !has_word("tokio_like", "tokio"));
        assert!(has_word("x.elapsed()", ".elapsed("));
    }

    #[test]
    fn keys_are_found_however_they_are_shown() {
        let text =
            "# drain = \"5m\"  # how long\n[limits]\n[[listener]]\ntls = { certificate = \"x\" }";
        assert!(
            ["drain", "limits", "listener", "tls", "certificate"]
                .iter()
                .all(|key| shows(text, key))
        );
        assert!(!shows(text, "key") && !shows(text, "rain"));
    }
}
