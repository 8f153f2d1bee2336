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
        .filter(|line| !line.starts_with(['.', '\t', '#', ' ']))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(names, _)| names.split(' '))
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

/// The tests that a table's column points to, each with the file named before it.
fn pointed_to(document: &str, is_row: impl Fn(&str) -> bool, column: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in read(document).lines().filter(|line| is_row(line)) {
        let mut file = String::new();
        for part in quoted(line.split('|').nth(column).unwrap_or_default()) {
            if part.contains('/') {
                file = part;
            } else if part.contains('_') && part.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) {
                found.push((file.clone(), part));
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_readme_points_to_exists() {
    let tests = pointed_to(
        "README.md",
        |line| line.starts_with("| ") && line.contains("`tests/"),
        2,
    );
    for (file, test) in &tests {
        assert!(
            read(file).contains(&format!("fn {test}(")),
            "README.md points to {test}"
        );
    }
    assert!(
        tests.len() > 5,
        "only {} were found; has the README's form changed?",
        tests.len()
    );
}

#[test]
fn every_feature_of_the_replaced_connector_has_what_shows_it_or_a_reason() {
    const PAGE: &str = "tests/FEATURES.md";
    let text = read(PAGE);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| F")).collect();
    let numbers: Vec<&str> = rows.iter().map(|row| row.split('|').nth(1).unwrap().trim()).collect();
    let expected: Vec<String> = (1..=62).map(|number| format!("F{number}")).collect();
    assert_eq!(numbers, expected);
    for row in &rows {
        let shown = row.split('|').nth(4).unwrap();
        let parts = quoted(shown);
        assert!(!parts.is_empty() || shown.contains("does not apply"), "{row}");
        for file in parts.iter().filter(|part| part.contains('/')) {
            assert!(root().join(file).exists(), "{PAGE} names {file}");
        }
    }
    let tests = pointed_to(PAGE, |line| line.starts_with("| F"), 4);
    for (file, test) in &tests {
        assert!(
            read(file).contains(&format!("fn {test}(")),
            "{PAGE} points to {test} in {file}"
        );
    }
    assert!(tests.len() > 50, "only {} tests are named", tests.len());
}
