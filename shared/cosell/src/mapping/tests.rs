//! The default mapping, and what is wrong with others.

use super::*;

#[test]
fn the_default_mapping_is_valid() {
    let mapping = Mapping::parse(DEFAULT).unwrap();
    assert_eq!(mapping.columns.audit, "cosell_audit");
    assert_eq!(mapping.rule(Field::Value).unwrap().column, "estimatedvalue");
    assert!(mapping.opportunity_query().contains("cosell_syncwithpartnercenter"));
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let broken = DEFAULT
        .replace("kind = \"money\"", "kind = \"gold\"")
        .replace(
            "owner = \"dynamics\"\nrequired = false",
            "owner = \"nobody\"\nrequired = 1",
        )
        .replace("stage = \"won\"", "stage = \"winning\"")
        .replace("\"France\" = \"FR\"", "\"France\" = \"France\"\nx = 1")
        .replace("version = 1", "version = 1\ncolour = 3");
    let InvalidMapping(problems) = Mapping::parse(&broken).unwrap_err();
    let texts: Vec<_> = problems.iter().map(|problem| problem.text.as_str()).collect();
    for part in ["gold", "nobody", "true or false", "winning", "two-letter", "colour"] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part} in {texts:?}");
    }
    let colour = problems.iter().find(|problem| problem.text.contains("colour")).unwrap();
    assert_eq!(broken.lines().nth(colour.line - 1), Some("colour = 3"));
}

#[test]
fn what_is_not_toml_is_one_problem_with_its_line() {
    let InvalidMapping(problems) = Mapping::parse("version = 1\nprefix = \n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].line, 2);
}

#[test]
fn marks_are_stripped_wherever_they_stand() {
    for name in [
        "✔ Deal",
        "✘ Deal",
        "Deal ✔",
        "✅ Deal",
        "✔\u{fe0f} Deal",
        "  Deal  ",
        "✔ ✘ Deal",
    ] {
        assert_eq!(strip_mark(name), "Deal", "{name}");
    }
    assert_eq!(strip_mark("A ✔ B"), "A ✔ B");
}

#[test]
fn text_is_cut_on_a_character_boundary_in_utf16_units() {
    assert_eq!(cut("naïve", 3), ("naï", true));
    assert_eq!(cut("a😀b", 2), ("a", true));
    assert_eq!(cut("a😀b", 3), ("a😀", true));
    assert_eq!(cut("a😀b", 4), ("a😀b", false));
}
