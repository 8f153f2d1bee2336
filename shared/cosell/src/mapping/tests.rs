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
        .replace("\"U. S. A.\" = \"US\"", "\"U. S. A.\" = \"America\"\nx = 1")
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
fn a_deals_solutions_are_its_rows_and_what_its_memo_names() {
    let mapping = Mapping::parse(DEFAULT).unwrap();
    // Twins count once; a deactivated row, and one without an id, count for nothing.
    assert_eq!(solutions(&mapping, WITH_ROWS), "OLD-1, OLD-2, SOL-1");
    let old = r#"{"cosell_solutions":"OLD-1","cosell_opportunity_dealsolution":[]}"#;
    assert_eq!(solutions(&mapping, old), "OLD-1");
    let none = r#"{"cosell_opportunity_dealsolution":[]}"#;
    assert_eq!(solutions(&mapping, none), "nothing");
    // A list that did not come, or not as one, says nothing about the deal.
    for lost in [
        "{}",
        r#"{"cosell_solutions":"OLD-1","cosell_opportunity_dealsolution":{}}"#,
    ] {
        let row: Row = serde_json::from_str(lost).unwrap();
        assert!(!mapping.terms(&row).get(Field::Solutions).is_readable(), "{lost}");
    }
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

#[test]
fn problems_of_kinds_currency_customer_and_constants_name_their_lines() {
    let value = "column = \"estimatedvalue\"\nlabel = \"Est. Revenue\"\nkind = \"money\"";
    let broken = DEFAULT
        .replace(value, &value.replace("money", "choice"))
        .replace("deal = \"notes\"", "deal = \"notes\"\nvalues = { a = 1 }")
        .replace("deal = \"close_date\"", "deal = \"close_date\"\ndefault = \"soon\"")
        .replace(
            "kind = \"flag\"",
            "kind = \"choice\"\nvalues = { true = 1, no = 1 }\ndefault = \"true\"",
        )
        .replace("kind = \"lookup\"", "kind = \"constant\"\nconstant = \"Euro\"")
        .replace(
            "country = \"address1_country\"",
            "country = \"address1_country\"\ncountries = { XX = 1, DE = 1 }\nplanet = \"x\"",
        )
        .replace(
            "[constants]",
            "[constants]\npricelevelid = { bind = \"pricelevels\", id = \"standard\" }\nlist = [1]",
        );
    let InvalidMapping(problems) = Mapping::parse(&broken).unwrap_err();
    let line = |part: &str| {
        let found = problems.iter().find(|problem| problem.text.contains(part));
        let found = found.unwrap_or_else(|| panic!("{part} in {problems:#?}"));
        broken.lines().nth(found.line - 1).unwrap().to_owned()
    };
    for (part, at) in [
        ("value cannot be held", "kind = \"choice\""),
        ("only a column of kind choice has values", "values = { a = 1 }"),
        ("the default \"soon\" is not one", "default = \"soon\""),
        ("the values of visibility", "kind = \"choice\""),
        ("have the same number", "values = { true = 1, no = 1 }"),
        ("visibility has no default", "default = \"true\""),
        ("\"Euro\" is not a currency code", "constant = \"Euro\""),
        (
            "\"XX\" is not a two-letter country code",
            "countries = { XX = 1, DE = 1 }",
        ),
        ("no setting \"planet\"", "planet = \"x\""),
        (
            "\"standard\" is not the id of a row",
            "pricelevelid = { bind = \"pricelevels\", id = \"standard\" }",
        ),
        ("the constant for list must be", "list = [1]"),
    ] {
        assert_eq!(line(part), at, "{part}");
    }
}

fn row(cells: &[(&str, Cell)]) -> Row {
    let cells = cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone()));
    Row::from_cells(None, cells.collect())
}

fn other(replaced: &[(&str, &str)]) -> Mapping {
    let mut source = DEFAULT.to_owned();
    for (old, new) in replaced {
        assert!(source.contains(old), "{old}");
        source = source.replacen(old, new, 1);
    }
    Mapping::parse(&source).unwrap()
}

#[test]
fn a_value_in_text_with_its_currency_in_a_choice_is_read_written_and_shown_when_unknown() {
    let mapping = other(&[
        ("kind = \"money\"", "kind = \"text\""),
        (
            "kind = \"lookup\"\ncolumn = \"transactioncurrencyid\"",
            "kind = \"choice\"\ncolumn = \"@currency\"\nvalues = { EUR = 1, USD = 2 }",
        ),
    ]);
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = |number: &str| Cell::Number(number.parse().unwrap());
    let of = |value: &str, currency: Cell| {
        let row = row(&[("estimatedvalue", text(value)), ("cosell_currency", currency)]);
        mapping.terms(&row).get(Field::Value).clone()
    };
    let eur = Term::Money {
        amount: "1250.125".parse().unwrap(),
        currency: crate::deal::Currency::parse("EUR"),
    };
    assert_eq!(of("1250.125", number("1")), eur);
    assert_eq!(of("1.250,12", number("1")), Term::Unreadable("1.250,12".to_owned()));
    assert!(!of("1250", number("7")).is_readable());
    assert_eq!(of(" ", number("7")), Term::Nothing);
    let mut change = RowChange::default();
    mapping.write(Field::Value, &eur, None, Some(Mapping::no_currency_row()), &mut change);
    let cells: Vec<_> = change.cells().collect();
    assert_eq!(
        cells,
        [("cosell_currency", &number("1")), ("estimatedvalue", &text("1250.125"))]
    );
    let takes = |code| mapping.takes_currency(&crate::deal::Currency::parse(code).unwrap());
    assert_eq!((takes("USD"), takes("GBP")), (Some(true), Some(false)));
    assert!(!mapping.opportunity_query().contains("transactioncurrencyid"));
}

#[test]
fn a_choice_holds_what_it_has_a_number_for() {
    let mapping = other(&[(
        "kind = \"lines\"",
        "kind = \"choice\"\nvalues = { \"SOL-1\" = 10, \"SOL-2\" = 20 }",
    )]);
    let fitted = |ids: &str| {
        let there = Terms::default();
        mapping.fit(Field::Solutions, &lines(ids), Side::Dynamics, &there, 2, false)
    };
    assert_eq!(fitted("SOL-2").term, lines("SOL-2"));
    assert_eq!(
        (fitted("SOL-2\nSOL-1").term, fitted("SOL-2\nSOL-1").cut),
        (lines("SOL-1"), true)
    );
    assert_eq!(fitted("SOL-3").term, Term::Unreadable("SOL-3".to_owned()));
    let unknown = row(&[("cosell_solutions", Cell::Number("30".parse().unwrap()))]);
    let shown = mapping.terms(&unknown).get(Field::Solutions).clone();
    assert_eq!(shown, Term::Unreadable("choice 30".to_owned()));
}

#[test]
fn defaults_fill_what_is_empty_when_a_deal_is_shared() {
    let mapping = other(&[
        ("deal = \"value\"", "deal = \"value\"\ndefault = \"1000 EUR\""),
        ("deal = \"notes\"", "deal = \"notes\"\ndefault = \"Later.\""),
    ]);
    let shared = mapping.with_defaults(&Terms::default());
    assert_eq!(shared.get(Field::Notes), &Term::text(Some("Later.")));
    assert_eq!(shared.get(Field::Value).to_string(), "1000 EUR");
    let mut entered = Terms::default();
    entered.set(Field::Notes, Term::text(Some("Entered.")));
    assert_eq!(
        mapping.with_defaults(&entered).get(Field::Notes),
        entered.get(Field::Notes)
    );
    let base = crate::plan::shared_base(&Terms::default(), &mapping);
    assert_eq!(
        base.opportunity.get(Field::Notes),
        &Term::Nothing,
        "the row stays empty"
    );
    assert_eq!(base.referral.get(Field::Notes), &Term::text(Some("Later.")));
}

#[test]
fn a_default_value_without_a_currency_takes_the_mappings() {
    let value = ("deal = \"value\"", "deal = \"value\"\ndefault = \"1000\"");
    for currency in [
        "kind = \"lookup\"\ndefault = \"EUR\"",
        "kind = \"constant\"\nconstant = \"EUR\"",
    ] {
        let mapping = other(&[value, ("kind = \"lookup\"", currency)]);
        let shared = mapping.with_defaults(&Terms::default());
        assert_eq!(shared.get(Field::Value).to_string(), "1000 EUR", "{currency}");
    }
}

/// The default mapping with a campaign; `rules` are its own.
fn with_campaign(rules: &str) -> String {
    let field = format!(
        "[[field]]\ndeal = \"campaign\"\ncolumn = \"@campaign\"\nlabel = \"Campaign\"\nkind = \"text\"\nowner = \"dynamics\"\n\
         required = false\n{rules}\n[people]"
    );
    DEFAULT.replacen("[people]", &field, 1)
}

#[test]
fn what_a_creation_does_not_carry_has_no_default_and_is_not_sent_by_create_alone() {
    let told = |rules: &str| match Mapping::parse(&with_campaign(rules)) {
        Ok(_) => String::new(),
        Err(InvalidMapping(problems)) => problems[0].text.clone(),
    };
    let told_default = told("create = \"both\"\nupdate = \"both\"\ndefault = \"Spring\"");
    assert!(told_default.contains("campaign has no default"), "{told_default}");
    assert!(told_default.contains("\"Spring\""), "{told_default}");
    let told_create = told("create = \"both\"\nupdate = \"toward_dynamics\"");
    assert!(
        told_create.contains("a creation does not carry campaign"),
        "{told_create}"
    );
    assert_eq!(told("create = \"both\"\nupdate = \"toward_partner_center\""), "");
}

#[test]
fn what_is_not_sent_on_creation_is_not_sent_behind_it() {
    let mut terms = Terms::default();
    terms.set(Field::Campaign, Term::text(Some("Spring")));
    for (create, follows) in [
        ("both", true),
        ("toward_partner_center", true),
        ("toward_dynamics", false),
        ("none", false),
    ] {
        let mapping = Mapping::parse(&with_campaign(&format!("create = {create:?}\nupdate = \"both\""))).unwrap();
        let base = crate::plan::shared_base(&terms, &mapping);
        assert_eq!(base.referral.get(Field::Campaign), &Term::Nothing, "{create}");
        let is_moved = base.opportunity.get(Field::Campaign) != terms.get(Field::Campaign);
        assert_eq!(is_moved, follows, "{create}");
    }
}

#[test]
fn domains_are_compared_whole() {
    let mapping = Mapping::parse(DEFAULT).unwrap();
    let account = |site: &str, mail: &str, country: &str| {
        let text = |text: &str| Cell::Text(text.to_owned());
        row(&[
            ("websiteurl", text(site)),
            ("emailaddress1", text(mail)),
            ("address1_country", text(country)),
        ])
    };
    let is_home = |row: &Row| mapping.is_at_home(row, "north.example", "IE");
    assert!(is_home(&account("https://www.North.example/about?x=1", "", "Ireland")));
    assert!(is_home(&account("north.example", "", "")));
    assert!(is_home(&account("", "info@north.example", "irland")));
    assert!(!is_home(&account("https://trenorth.example", "", "Ireland")));
    assert!(!is_home(&account("https://example.com/north.example", "", "Ireland")));
    assert!(!is_home(&account("north.example", "", "Germany")));
    let person = |email: &str| crate::referral::Member {
        email: email.to_owned(),
        ..crate::referral::Member::default()
    };
    assert_eq!(
        mapping.company_domain(&person("a@North.example")).as_deref(),
        Some("north.example")
    );
    for email in ["a@outlook.com", "a@localhost", "a", "a@x'y.example"] {
        assert_eq!(mapping.company_domain(&person(email)), None, "{email}");
    }
}
