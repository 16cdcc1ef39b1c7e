//! No configuration crashes its reader, makes it say a secret, or read differently the second time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use weir::config::problem::Problem;
use weir::config::{FILES, load_with};

const CANARY: &str = "sk-canary-5f2e7d";
/// The sound configuration one file of which is replaced; without what would need certificates.
const GOOD: [&str; 4] = [
    include_str!("../../config/good/weir.toml"),
    include_str!("../../config/good/providers.toml"),
    include_str!("../../config/good/models.toml"),
    include_str!("../../config/good/keys.toml"),
];
const CERTIFIED: [&str; 2] =
    ["tls = { certificate = \"chain.pem\", key = \"key.pem\" }", "ca_file = \"chain.pem\""];
const RULES: &str = "rules/rules.toml";

/// For each file that can be replaced a directory, and the file in it.
static PLACES: LazyLock<Vec<(PathBuf, PathBuf)>> = LazyLock::new(|| {
    let home = std::env::temp_dir().join(format!("weir-fuzz-{}", std::process::id()));
    let files = FILES.into_iter().chain([RULES]);
    files.map(|file| prepare(&home.join(file.replace('/', "-")), file)).collect()
});

fn prepare(directory: &Path, file: &str) -> (PathBuf, PathBuf) {
    fs::create_dir_all(directory.join("rules")).expect("a folder");
    for (name, text) in FILES.iter().zip(GOOD) {
        let text = CERTIFIED.iter().fold(text.to_owned(), |text, line| text.replace(line, ""));
        fs::write(directory.join(name), text).expect("a file");
    }
    let secret = directory.join("secret");
    fs::write(&secret, CANARY).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).expect("its mode");
    (directory.to_owned(), directory.join(file))
}

fn environment(name: &str) -> Option<OsString> {
    (name == "WEIR_TEST_SECRET").then(|| CANARY.into())
}

fn load(directory: &Path) -> Result<Vec<Problem>, Vec<Problem>> {
    load_with(directory, &environment).map(|loaded| loaded.notices)
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    let (directory, file) = &PLACES[usize::from(*choice) % PLACES.len()];
    fs::write(file, text).expect("a file");
    let read = load(directory);
    let said = format!("{read:?}");
    assert_eq!(said, format!("{:?}", load(directory)));
    assert!(!said.contains(CANARY), "{said}");
    if let Err(problems) = &read {
        assert!(!problems.is_empty());
    }
    for problem in read.unwrap_or_else(|problems| problems) {
        let shown = problem.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let lines = fs::read(&problem.file).map_or(0, |text| text.split(|b| *b == b'\n').count());
        assert!(problem.line <= lines, "{shown}");
    }
});
