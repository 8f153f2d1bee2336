//! What is said before anything is done: help, settings, refusals of the call itself.

use cosell_tests::aws::REGION;
use cosell_tests::dataverse::Crm;
use serde_json::Value;

use crate::place::{CRM_APP_SECRET, Place};

const COMMANDS: [&str; 6] = ["credentials", "columns", "consent", "register", "doctor", "prove"];

#[tokio::test(flavor = "multi_thread")]
async fn the_help_names_every_command_in_the_order_of_the_first_day() {
    let place = Place::bare(Crm::Plain).await;
    let outcome = place.run(&["--help"]).await;
    outcome
        .ended(0)
        .says("In this order on the first day")
        .says("make columns ENV=staging ARGS=--check")
        .says("NO_COLOR");
    let order = outcome.stdout.split("In this order").nth(1).unwrap();
    let found: Vec<usize> = COMMANDS
        .iter()
        .map(|name| order.find(&format!("  cosell {name} ")).unwrap())
        .collect();
    assert!(found.is_sorted(), "{order}");
    for name in COMMANDS {
        let outcome = place.run(&[name, "--help"]).await;
        let explained = outcome.stdout.split("Usage:").next().unwrap();
        assert!(
            explained.trim().lines().count() > 2,
            "{name} is not explained: {explained}"
        );
        outcome
            .ended(0)
            .says("Needs:")
            .says("Settings:")
            .says("Example:")
            .says("Next:");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_ends_with_two() {
    let place = Place::bare(Crm::Plain).await;
    place.run(&[]).await.ended(2);
    place
        .run(&["colums"])
        .await
        .ended(2)
        .says("a similar subcommand exists: 'columns'");
    place
        .run(&["columns", "--wait", "soon"])
        .await
        .ended(2)
        .says("not a whole number of seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_missing_or_unusable_are_named_together_before_anything_is_asked() {
    let mut place = Place::prepared().await;
    place.unset("DATAVERSE_SECRET");
    place.set("DATAVERSE_URL", "https://contoso.crm.dynamics.com/main.aspx");
    place.set("PARTNER_TENANT_ID", "contoso.onmicrosoft.com");
    place.unset("DATAVERSE_TENANT_ID");
    let mark = place.mark();
    for command in ["credentials", "columns"] {
        let outcome = place.run(&[command, "--json"]).await;
        let document = outcome.ended(2).json();
        assert_eq!(document["code"], "settings_invalid");
        for part in [
            "DATAVERSE_SECRET is not set",
            "DATAVERSE_URL is",
            "PARTNER_TENANT_ID is",
            "infra/run operator",
        ] {
            outcome.says(part);
        }
    }
    assert_eq!(place.since(mark).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_wins_over_the_file() {
    let mut place = Place::prepared().await;
    let url = place.vendors.dataverse.url();
    place.set("DATAVERSE_URL", "http://127.0.0.1:1");
    place
        .run_with(&["columns", "--check"], &[("DATAVERSE_URL", url.as_str())])
        .await
        .says(&format!("Environment {url}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_region_is_the_deployments_even_where_the_shell_has_one_of_its_own() {
    let mut place = Place::prepared().await;
    let shell = [("AWS_REGION", "us-west-2"), ("AWS_DEFAULT_REGION", "us-west-1")];
    place
        .run_with(&["doctor"], &shell)
        .await
        .ended(0)
        .says(&format!("AWS credentials are there, region {REGION}"));
    place.unset("AWS_REGION");
    place
        .run_with(&["doctor"], &shell)
        .await
        .says("AWS credentials are there, region us-west-2");
    place.run(&["--help"]).await.says("AWS_REGION of the file wins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_file_that_holds_a_secret_or_no_object_is_refused() {
    let mut place = Place::bare(Crm::Plain).await;
    place.set("DATAVERSE_CLIENT_SECRET", CRM_APP_SECRET);
    place
        .run(&["doctor"])
        .await
        .ended(2)
        .says("holds DATAVERSE_CLIENT_SECRET: secrets do not belong in a file");
    place.unset("DATAVERSE_CLIENT_SECRET");
    place
        .settings
        .insert("AWS_REGION".to_owned(), serde_json::json!(["eu-west-1"]));
    place
        .run(&["doctor"])
        .await
        .ended(2)
        .says("holds AWS_REGION, which is no text");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_a_terminal_there_is_no_colour_and_nothing_moves() {
    let place = Place::prepared().await;
    for arguments in [&["doctor"][..], &["doctor", "--json"], &["columns", "--check"]] {
        let outcome = place.run(arguments).await;
        let seen = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!seen.trim().is_empty(), "{arguments:?} says something");
        assert!(!seen.contains('\u{1b}') && !seen.contains('\r'), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_aws_credentials_the_way_to_sign_in_is_named() {
    let place = Place::prepared().await;
    let nothing = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let outcome = place.run_with(&["columns", "--check", "--json"], &nothing).await;
    let document: Value = outcome.ended(1).json();
    assert_eq!(document["code"], "aws_credentials_missing");
    outcome.says("aws sso login");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_a_profile_as_the_aws_command_takes_them() {
    let place = Place::prepared().await;
    std::fs::create_dir_all(place.folder().join(".aws")).unwrap();
    place.file(
        ".aws/credentials",
        "[partner]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = profile~secret~key\n",
    );
    let variables = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_PROFILE", "partner"),
    ];
    let mark = place.mark();
    place.run_with(&["columns", "--check"], &variables).await;
    let signed = place.since(mark).into_iter().filter(|exchange| exchange.api == "aws");
    let signed: Vec<bool> = signed
        .map(|exchange| {
            let header = exchange.headers.get("authorization").unwrap();
            header.to_str().unwrap().contains("AKIDPROFILE")
        })
        .collect();
    assert!(!signed.is_empty() && signed.iter().all(|is_profile| *is_profile));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_checked_without_any_settings() {
    let place = Place::bare(Crm::Plain).await;
    let file = place.folder().join("own.toml");
    std::fs::write(&file, cosell::mapping::DEFAULT).unwrap();
    let file = file.to_str().unwrap();
    place
        .run(&["mapping-check", file])
        .await
        .ended(0)
        .says("own.toml is sound");

    let broken = cosell::mapping::DEFAULT.replace("version = 1", "version = 1\ncolour = 3");
    let line = broken.lines().position(|line| line == "colour = 3").unwrap() + 1;
    std::fs::write(file, broken).unwrap();
    let outcome = place.run(&["mapping-check", file]).await;
    outcome
        .ended(1)
        .says(&format!("own.toml:{line}: "))
        .says("colour")
        .says("correct that line");

    place
        .run(&["mapping-check", "nowhere.toml"])
        .await
        .ended(1)
        .says("nowhere.toml cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_compared_with_the_crm_column_by_column() {
    let place = Place::prepared().await;
    let file = place.file("own.toml", cosell::mapping::DEFAULT);
    let file = file.to_str().unwrap();
    let check = ["mapping-check", "--crm", file];
    place.run(&check).await.ended(0).says("mapped columns exist and fit");

    let crm = &place.vendors.dataverse;
    crm.remove_column("opportunity", "cosell_audit");
    assert!(crm.retype_column("opportunity", "cosell_closereason", "Integer"));
    assert!(crm.column_length("opportunity", "description", 500));
    assert!(crm.remove_option("opportunity", "cosell_howcanmicrosofthelp", 727_000_004));
    crm.remove_column("account", "address1_line2");
    place
        .run(&check)
        .await
        .ended(1)
        .says("cosell_audit is missing (the trail)")
        .says("cosell_closereason is whole number, wanted is text")
        .says("description holds 500 characters, the mapping says 2000")
        .says("cosell_howcanmicrosofthelp lacks the choices 727000004 (the help wanted)")
        .says("account.address1_line2 is missing (the customer)")
        .says("map another column");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_shown_as_a_table_with_what_is_needed_and_not_mapped_first() {
    let place = Place::bare(Crm::Plain).await;
    let start = cosell::mapping::DEFAULT
        .find("[[field]]\ndeal = \"solutions\"")
        .unwrap();
    let (before, rest) = cosell::mapping::DEFAULT.split_at(start);
    let (_, after) = rest.split_once("required = true").unwrap();
    // Leads take it over from the opportunity, so it goes there as well.
    let own = format!("{before}{after}");
    let own = own.replace("[[lead.field]]\ndeal = \"solutions\"\ncolumn = \"@solutions\"\n", "");
    // And its rows have nobody to answer for them.
    let (before, rows) = own.split_once("[solutions]").unwrap();
    let own = format!("{before}{}", rows.split_once("\n\n").unwrap().1);
    let file = place.file("own.toml", &own);
    let outcome = place.run(&["--json", "mapping-check", file.to_str().unwrap()]).await;
    let fields = outcome.ended(0).json()["fields"].clone();
    assert_eq!(fields[0][0], "solutions", "{fields:#}");
    assert_eq!(fields[0][1], "not mapped");
    assert_eq!(fields[1][0], "name");
}
