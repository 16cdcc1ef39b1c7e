//! The schemas of tool calls against the JSON Schema project's own test suite for draft 7, which `tests/run`
//! fetches: never a wrong answer, and where the suite is answered with "cannot be told" that is on a list.

#![allow(clippy::panic, reason = "a panic is how a test fails")]

use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Group {
    description: String,
    schema: Value,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    description: String,
    data: Value,
    valid: bool,
}

/// Files of the suite with groups that are about other documents, or about what `$id` renames.
const UNTOLD: &[(&str, usize)] =
    &[("definitions", 2), ("id", 2), ("ref", 24), ("refRemote", 21), ("unknownKeyword", 3)];

#[test]
fn the_suite_of_draft_7_is_answered() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-schema/draft7");
    let Ok(entries) = fs::read_dir(directory) else {
        println!("skipped: `tests/run` fetches the suite");
        return;
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    assert!(files.len() >= 30, "the suite is not there");
    let (mut told, mut untold) = (0, Vec::new());
    for file in files {
        let groups: Vec<Group> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let mut unsure = 0;
        for Group { description: group, schema, tests } in groups {
            for Test { description, data, valid } in tests {
                let place = format!("{}: {group}: {description}", file.display());
                match weir::tools::accepts(&schema, &data) {
                    Some(answer) => assert_eq!(answer, valid, "{place}"),
                    None => unsure += 1,
                }
                told += 1;
            }
        }
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if unsure > 0 {
            untold.push((name, unsure));
        }
    }
    let untold: Vec<_> = untold.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(untold, UNTOLD);
    assert!(told > 700, "{told}");
}
