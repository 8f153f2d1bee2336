//! What the documents name exists: `make` targets, files, tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file that is not there is empty; it then names nothing and holds nothing, which every test below notices.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Every document for people, and every source whose help sends them to a command.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "infra/README.md",
    "infra/environments/staging.tfvars.example",
    "infra/environments/production.tfvars.example",
    "infra/operator/src/arguments.rs",
];

/// Parts of a text between backticks, on one line; shell blocks line by line.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        .collect();
    let mut named = 0;
    for document in DOCUMENTS {
        let text = read(document);
        assert!(!text.is_empty(), "{document} is not there");
        for command in quoted(&text) {
            let Some(target) = command.strip_prefix("make ") else {
                continue;
            };
            for target in target.split(' ').next().unwrap().split('|') {
                assert!(targets.contains(target), "{document} says `{command}`");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} were found; has the documents' form changed?");
}

#[test]
fn every_file_that_the_readmes_name_exists() {
    let known = ["functions/", "shared/", "infra/", "tests/", ".ci/"];
    let mut named = 0;
    for quoted in quoted(&read("README.md")) {
        for word in quoted.split_whitespace() {
            let word = word.trim_end_matches([',', ':', '.']);
            // What is copied from an example is the admin's.
            if known.iter().any(|folder| word.starts_with(folder)) && !word.ends_with(".tfvars") {
                assert!(root().join(word).exists(), "README.md names {word}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} were found; has the README's form changed?");
}

#[test]
fn every_test_that_the_readme_points_to_exists() {
    let readme = read("README.md");
    let table = readme
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("`tests/"));
    let mut named = 0;
    for line in table.clone() {
        let shown = line.split('|').nth(2).unwrap();
        let mut source = String::new();
        for part in quoted(shown) {
            if part.ends_with(".rs") {
                source = read(&part);
            } else if part.contains('_') && part.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) {
                assert!(source.contains(&format!("fn {part}(")), "README.md points to {part}");
                named += 1;
            }
        }
    }
    assert!(named > 5, "only {named} were found; has the README's form changed?");
}
