//! `cosell doctor`: everything the connector depends on, looked at in the order of dependence.
//!
//! Knows: which check needs which. Refuses to know: how a cure is worded by the clients. Guarantees: it writes nothing but
//! a refresh token that Entra renewed, as the functions do; a check that cannot be made is skipped and says what it waits
//! for, so that the first failure from the top is the one to cure.

mod deployment;
mod dynamics;
mod partner_center;
mod sheet;

use aws_types::SdkConfig;
use connector::secrets::{self, Secrets};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use self::deployment::{Clock, queue, registration, tables};
use self::sheet::Sheet;
use crate::arguments::Doctor;
use crate::cloud;
use crate::command::{Context, Report};
use crate::registration::registrar;
use crate::settings::{self, Everything};
use crate::trouble::Trouble;

pub(crate) async fn run(_: &Doctor, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let settings = Everything::load(&context.variables);
    screen.heading("Doctor");
    let mut sheet = Sheet::new(screen);
    let mut clock = Clock::default();

    sheet.part("Deployment");
    if settings.problems.is_empty() {
        sheet.good("settings", "settings are complete");
    } else {
        sheet.bad("settings", "settings", settings::problems_trouble(&settings.problems));
    }
    let aws = match cloud::connect(&context.variables, &context.client).await {
        Ok(aws) => {
            let region = aws.region().map(ToString::to_string).unwrap_or_default();
            sheet.good("aws", &format!("AWS credentials are there, region {region}"));
            Some(aws)
        }
        Err(trouble) => {
            sheet.bad("aws", "AWS credentials and region", trouble);
            None
        }
    };
    let secrets = aws
        .as_ref()
        .map(|aws| Secrets::new(aws_sdk_secretsmanager::Client::new(aws)));
    tables(&mut sheet, &settings, aws.as_ref()).await;
    queue(&mut sheet, &settings, aws.as_ref()).await;

    sheet.part("Partner Center");
    let has_secret = stored(
        &mut sheet,
        &PARTNER_CENTER,
        settings.partner_center_secret.as_deref(),
        secrets.as_ref(),
    )
    .await;
    let usable = secrets.as_ref().filter(|_| has_secret);
    let may_register = partner_center::examine(&mut sheet, &settings, usable, context, &mut clock).await;
    let needs = if has_secret {
        "a token for webhook registration"
    } else {
        "the sign-in that `make consent ENV=...` stores"
    };
    let registrar = match &aws {
        Some(aws) if may_register => {
            let webhook = settings.webhook().ok_or("WEBHOOK_URL");
            webhook.map(|webhook| registrar(webhook, aws.clone(), context))
        }
        _ => Err(needs),
    };
    registration(&mut sheet, registrar, settings.is_dry_run, &mut clock).await;

    sheet.part("Dynamics 365");
    let has_secret = stored(
        &mut sheet,
        &DATAVERSE,
        settings.dataverse_secret.as_deref(),
        secrets.as_ref(),
    )
    .await;
    let usable = secrets.as_ref().filter(|_| has_secret);
    dynamics::examine(&mut sheet, &settings, usable, context, &mut clock).await;

    sheet.part("Clock");
    clock.judge(&mut sheet);

    let failed = sheet.failed();
    screen.gap();
    if failed == 0 {
        screen.say("All is well.");
    } else {
        let what = if failed == 1 { "One check" } else { "Some checks" };
        screen.say(&format!(
            "{what} failed. Cure the first from the top and run it again: others may follow from it."
        ));
    }
    Ok(Report {
        is_fine: failed == 0,
        document: json!({
            "outcome": if failed == 0 { "fine" } else { "failed" },
            "checks": sheet.documents(),
        }),
    })
}

/// A secret, and what has to be in it.
struct Wanted {
    id: &'static str,
    variable: &'static str,
    members: &'static [&'static str],
    command: &'static str,
}

const PARTNER_CENTER: Wanted = Wanted {
    id: "partner_center_secret",
    variable: "PARTNER_CENTER_SECRET",
    members: &["client_id", "client_secret", "refresh_token"],
    command: "run `make consent ENV=...`",
};

const DATAVERSE: Wanted = Wanted {
    id: "dataverse_secret",
    variable: "DATAVERSE_SECRET",
    members: &["client_id", "client_secret"],
    command: "run `make credentials ENV=...`",
};

/// Whether a secret holds what it should.
async fn stored(sheet: &mut Sheet, wanted: &Wanted, name: Option<&str>, secrets: Option<&Secrets>) -> bool {
    let (Some(name), Some(secrets)) = (name, secrets) else {
        let needs = if name.is_none() {
            wanted.variable
        } else {
            "AWS credentials"
        };
        sheet.skipped(wanted.id, "the stored credential", needs);
        return false;
    };
    let trouble = match secrets.read(name).await {
        Ok(secret) => {
            let members: Map<String, Value> = serde_json::from_str(secret.value.expose_secret()).unwrap_or_default();
            let is_there = |member: &&str| {
                members
                    .get(*member)
                    .and_then(Value::as_str)
                    .is_some_and(|text| !text.is_empty())
            };
            let missing: Vec<&str> = wanted
                .members
                .iter()
                .filter(|member| !is_there(member))
                .copied()
                .collect();
            if missing.is_empty() {
                sheet.good(wanted.id, &format!("the credential is stored in {name}"));
                return true;
            }
            Trouble::new(
                "secret_incomplete",
                format!("the secret {name} lacks {}", missing.join(", ")),
                wanted.command,
            )
        }
        Err(error) => {
            let trouble = Trouble::from(&error);
            if matches!(error, secrets::Error::NoValue { .. }) {
                trouble.cured_by(wanted.command)
            } else {
                trouble
            }
        }
    };
    sheet.bad(wanted.id, "the stored credential", trouble);
    false
}

/// What a check needs of AWS.
fn needs(aws: Option<&SdkConfig>, variable: &'static str) -> &'static str {
    if aws.is_none() { "AWS credentials" } else { variable }
}
