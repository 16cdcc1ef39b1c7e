//! THREAT_MODEL.md points at tests that exist, and says what a report can expect (S37).

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../THREAT_MODEL.md");

/// The rows of the table below a heading, header and rule left out, in cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// A file of the project by the short name the page uses.
fn content(name: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["", "tests/blackbox", "src"].map(|place| root.join(place).join(name));
    places.iter().find_map(|path| match path.is_dir() {
        true => Some(String::new()),
        false => fs::read_to_string(path).ok(),
    })
}

#[test]
fn every_promise_names_tests_that_exist() {
    let mut wrong = Vec::new();
    let promises = table("What holds");
    assert!(promises.len() > 10);
    for row in &promises {
        let shown_by = row.last().copied().unwrap();
        let mut parts = shown_by.split('`');
        parts.next();
        let mut named = 0;
        while let (Some(name), rest) = (parts.next(), parts.next().unwrap_or("")) {
            named += 1;
            let Some(text) = content(name) else {
                wrong.push(format!("{name} does not exist"));
                continue;
            };
            for id in rest.split([' ', ',']).filter(|word| word.starts_with('S')) {
                if !text.contains(&format!("test_{id}_")) {
                    wrong.push(format!("{name} has no test of {id}"));
                }
            }
        }
        if named == 0 {
            wrong.push(format!("no test: {}", row.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_report_is_answered_in_time() {
    let days: Vec<_> = table("Reporting").iter().filter_map(|row| row.last().copied()).collect();
    assert_eq!(days, ["1 day", "14 days", "45 days"]);
    assert!(PAGE.contains("**The bar of 10**"));
}
