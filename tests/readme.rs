//! The README's configuration is one that `weir check` accepts.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;

/// The `toml` blocks of the README, with the file name that their first line gives.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("```toml\n# ").skip(1).map(|part| {
        let (name, rest) = part.split_once('\n').unwrap();
        (name, rest.split("```").next().unwrap())
    })
}

#[test]
fn the_minimal_configuration_serves_one_model_by_two_providers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weir.toml"), "").unwrap();
    let mut files = Vec::new();
    for (name, text) in blocks(include_str!("../README.md")) {
        let text = match text.split_once("hash = \"the") {
            Some((before, _)) => format!("{before}hash = \"{}\"\n", "ab".repeat(32)),
            None => text.to_owned(),
        };
        fs::write(folder.path().join(name), text).unwrap();
        files.push(name);
    }
    assert_eq!(files, ["providers.toml", "models.toml", "keys.toml"]);
    let set = |name: &str| name.ends_with("_API_KEY").then(|| "secret".into());
    let loaded = weir::config::load_with(folder.path(), &set).unwrap();
    assert_eq!(loaded.catalog.models().count(), 1);
    assert_eq!(loaded.catalog.providers().count(), 2);
    assert_eq!(loaded.keys.len(), 1);
}
