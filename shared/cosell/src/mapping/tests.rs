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

const WITH_ROWS: &str = r#"{"cosell_solutions":"OLD-1\nOLD-2","cosell_opportunity_dealsolution":[
    {"@odata.etag":"W/\"1\"","cosell_dealsolutionid":"b1f0a3d2-1112-4a6e-9d51-000d3a3be645","cosell_solutionid":" SOL-1 ",
        "cosell_name":"One","cosell_publishername":null,"cosell_solutiontype":null,"statecode":0},
    {"cosell_dealsolutionid":"b1f0a3d2-1112-4a6e-9d51-000d3a3be646","cosell_solutionid":"SOL-1","statecode":0},
    {"cosell_dealsolutionid":"b1f0a3d2-1112-4a6e-9d51-000d3a3be647","cosell_solutionid":"SOL-2","statecode":1},
    {"cosell_dealsolutionid":"b1f0a3d2-1112-4a6e-9d51-000d3a3be648","cosell_solutionid":null,"statecode":0}]}"#;

fn solutions(mapping: &Mapping, row: &str) -> String {
    let row: Row = serde_json::from_str(row).unwrap();
    mapping.terms(&row).get(Field::Solutions).to_string()
}

#[test]
fn rows_are_a_deals_solutions_and_the_memo_those_of_an_old_record() {
    let mapping = Mapping::parse(DEFAULT).unwrap();
    // Twins count once; a deactivated row, and one without an id, count for nothing.
    assert_eq!(solutions(&mapping, WITH_ROWS), "SOL-1");
    let old = r#"{"cosell_solutions":"OLD-1","cosell_opportunity_dealsolution":[]}"#;
    assert_eq!(solutions(&mapping, old), "OLD-1");
    let holds_rows = |row: &str| mapping.has_solution_rows(&serde_json::from_str(row).unwrap());
    assert!(holds_rows(WITH_ROWS) && holds_rows("{}") && !holds_rows(old));
    assert!(
        mapping
            .opportunity_query()
            .contains(",cosell_opportunity_dealsolution($select=cosell_solutionid,cosell_name,")
    );
}

#[test]
fn without_the_section_there_is_only_the_memo() {
    let (before, after) = DEFAULT.split_once("[solutions]").unwrap();
    let rest = after.split_once("\n\n").unwrap().1;
    let mapping = Mapping::parse(&format!("{before}{rest}")).unwrap();
    assert_eq!(solutions(&mapping, WITH_ROWS), "OLD-1, OLD-2");
    assert!(!mapping.opportunity_query().contains("dealsolution"));
}

#[test]
fn the_names_of_the_child_table_are_checked() {
    let broken = DEFAULT
        .replace("set = \"@dealsolutions\"", "set = \"\"")
        .replace("publisher = \"@publishername\"", "vendor = \"@publishername\"");
    let InvalidMapping(problems) = Mapping::parse(&broken).unwrap_err();
    for (part, line) in [
        ("set in [solutions]", "set = \"\""),
        ("vendor", "vendor = "),
        ("lacks publisher", ""),
    ] {
        let found = problems.iter().find(|problem| problem.text.contains(part));
        let there = found.and_then(|problem| broken.lines().nth(problem.line - 1));
        assert!(
            there.is_some_and(|there| there.starts_with(line)),
            "{part}: {problems:?}"
        );
    }
}
