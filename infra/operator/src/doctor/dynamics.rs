//! The Dynamics side: token, user, privileges, columns against the mapping, key, change tracking, one read.
//!
//! Knows: what the connector does in the CRM and which privileges that takes. Refuses to know: how columns are created.

use std::collections::HashSet;
use std::io::ErrorKind;

use connector::dataverse::{self, Dataverse};
use connector::entra::Tokens;
use connector::http::{self, Budget, Deadline, Http, Limits, Run, Vendor};
use connector::secrets::Secrets;
use cosell::mapping::{self, Mapping};
use jiff::Timestamp;
use reqwest::StatusCode;
use uuid::Uuid;

use super::deployment::Clock;
use super::sheet::Sheet;
use crate::command::Context;
use crate::fit;
use crate::metadata::{FoundKey, FoundTable, Metadata};
use crate::settings::Everything;
use crate::trouble::Trouble;

const TABLE: &str = "opportunity";
const LEADS: &str = "lead";

/// Where the settings take the mapping's file from.
const NAME_MAPPING: &str = "name the file in `mapping` of infra/environments/ENV.tfvars";

/// What the connector does. A look-up takes Append on the row that has it and AppendTo on the row it leads to; who creates
/// a row and so owns it has to read its table; a row is created by a PATCH that must not meet one, hence Write besides
/// Create. <https://learn.microsoft.com/power-apps/developer/data-platform/security-access-rights>
const PRIVILEGES: [&str; 20] = [
    // Deals both ways. Append: account, contact and currency of a new one. AppendTo: its closing activity.
    "prvReadOpportunity",
    "prvCreateOpportunity",
    "prvWriteOpportunity",
    "prvAppendOpportunity",
    "prvAppendToOpportunity",
    // The customer of a new deal; AppendTo: the deal and the contact.
    "prvReadAccount",
    "prvCreateAccount",
    "prvWriteAccount",
    "prvAppendToAccount",
    // Whom to talk to there. Append: the account. AppendTo: the deal.
    "prvReadContact",
    "prvCreateContact",
    "prvWriteContact",
    "prvAppendContact",
    "prvAppendToContact",
    // A won or lost deal is closed by an activity. Append: the deal.
    "prvReadActivity",
    "prvCreateActivity",
    "prvAppendActivity",
    // The currency of a deal, and who sells it.
    "prvReadTransactionCurrency",
    "prvAppendToTransactionCurrency",
    "prvReadUser",
];

pub(super) async fn examine(
    sheet: &mut Sheet,
    settings: &Everything,
    secrets: Option<&Secrets>,
    context: &Context<'_>,
    clock: &mut Clock,
) {
    let mapping = mapping(sheet, settings);
    let remote = token(sheet, settings, secrets, context).await;
    let Some((metadata, dataverse)) = remote else {
        let rest = [
            ("application_user", "the application user"),
            ("privileges", "its privileges"),
            ("opportunity_read", "reading opportunities"),
            ("columns", "columns"),
            ("alternate_key", "the alternate key"),
            ("change_tracking", "change tracking"),
        ];
        for (id, what) in rest {
            sheet.skipped(id, what, "a token for Dynamics");
        }
        return;
    };
    let user = user(sheet, &metadata).await;
    let wanted = wanted_privileges(settings, mapping.as_ref());
    privileges(sheet, &metadata, user, &wanted).await;
    read(sheet, &dataverse, user.is_some(), clock).await;
    if user.is_none() {
        for (id, what) in [
            ("columns", "columns"),
            ("alternate_key", "the alternate key"),
            ("change_tracking", "change tracking"),
        ] {
            sheet.skipped(id, what, "the application user");
        }
        return;
    }
    columns(sheet, &metadata, mapping.as_ref()).await;
    key(sheet, &metadata, mapping.as_ref()).await;
    let tables = followed(settings, mapping.as_ref());
    tracking(sheet, &metadata, &dataverse, &tables).await;
}

/// The mapping that is deployed: the settings name its file, or none for the built-in one.
fn mapping(sheet: &mut Sheet, settings: &Everything) -> Option<Mapping> {
    let (id, what) = ("mapping", "the mapping");
    let cure = "correct the file; every mistake is named with its line";
    let source = match &settings.mapping_file {
        None => mapping::DEFAULT.to_owned(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = format!("there is no mapping {} on this machine", path.display());
                sheet.noted(id, &text, NAME_MAPPING);
                return None;
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                let cure = NAME_MAPPING;
                sheet.bad(id, what, Trouble::new("mapping_unreadable", message, cure));
                return None;
            }
        },
    };
    match Mapping::parse(&source) {
        Ok(mapping) => {
            let which = settings.mapping_file.as_ref().map_or_else(
                || "the built-in mapping".to_owned(),
                |path| format!("the mapping {}", path.display()),
            );
            sheet.good(id, &format!("{which} is sound"));
            Some(mapping)
        }
        Err(error) => {
            sheet.bad(id, what, Trouble::new("mapping_invalid", http::chain(&error), cure));
            None
        }
    }
}

async fn token(
    sheet: &mut Sheet,
    settings: &Everything,
    secrets: Option<&Secrets>,
    context: &Context<'_>,
) -> Option<(Metadata, Dataverse)> {
    let (id, what) = ("dataverse_token", "a token for Dynamics");
    let ingredients = || {
        Some((
            secrets?,
            settings.entra.as_ref()?,
            settings.dataverse_tenant?,
            settings.dataverse.as_ref()?,
            settings.dataverse_secret.as_deref()?,
        ))
    };
    let Some((secrets, entra, tenant, base, name)) = ingredients() else {
        sheet.skipped(id, what, "the stored credential and settings");
        return None;
    };
    sheet.looking(what);
    let tokens = || Tokens::application(context.client.clone(), entra, tenant, base, secrets.clone(), name);
    let first = tokens();
    if let Err(error) = first.bearer(&Run::new(Deadline::NEVER)).await {
        let trouble = Trouble::from(&error);
        let trouble = if error.code() == "client_secret_refused" {
            trouble.cured_by(
                "make a new client secret in the app registration (Certificates & secrets), copy its value, not its id, and \
                 run `make credentials ENV=... ARGS=--new-secret`",
            )
        } else {
            trouble
        };
        sheet.bad(id, what, trouble);
        return None;
    }
    sheet.good(id, "Entra gives a token for Dynamics");
    let metadata = Metadata::new(context.client.clone(), base.clone(), first);
    let http = Http::new(
        Vendor::Dataverse,
        context.client.clone(),
        base.clone(),
        tokens(),
        Budget::unlimited(),
        Limits::default(),
    );
    Some((metadata, Dataverse::new(http)))
}

async fn user(sheet: &mut Sheet, metadata: &Metadata) -> Option<Uuid> {
    let (id, what) = ("application_user", "the application user");
    sheet.looking(what);
    match metadata.who_am_i().await {
        Ok(identity) => {
            let user = identity.user_id;
            sheet.good(id, &format!("Dynamics knows the application as user {user}"));
            Some(user)
        }
        Err(error) => {
            sheet.bad(id, what, Trouble::from(&error));
            None
        }
    }
}

/// The privileges that the deployed settings and the mapping take.
fn wanted_privileges(settings: &Everything, mapping: Option<&Mapping>) -> Vec<String> {
    let on = |table: &str, verbs: &[&str]| verbs.iter().map(|verb| format!("prv{verb}{table}")).collect::<Vec<_>>();
    let mut wanted: Vec<String> = PRIVILEGES.map(str::to_owned).into();
    // Append: the opportunity.
    if let Some(table) = mapping.and_then(Mapping::solution_table) {
        wanted.extend(on(table.logical_name(), &["Create", "Read", "Write", "Append"]));
    }
    // Append: its currency. AppendTo: the opportunity that it becomes.
    if settings.wants_leads(mapping) {
        wanted.extend(on("Lead", &["Create", "Read", "Write", "Append", "AppendTo"]));
    }
    wanted
}

async fn privileges(sheet: &mut Sheet, metadata: &Metadata, user: Option<Uuid>, wanted: &[String]) {
    let (id, what) = ("privileges", "the application user's privileges");
    let Some(user) = user else {
        sheet.skipped(id, what, "the application user");
        return;
    };
    sheet.looking(what);
    let held = match metadata.privileges(user).await {
        Ok(held) => held,
        Err(error) => {
            let is_unknown = [
                StatusCode::NOT_FOUND,
                StatusCode::BAD_REQUEST,
                StatusCode::NOT_IMPLEMENTED,
            ]
            .into_iter()
            .any(|status| error.has_status(status));
            if is_unknown {
                let text = "the environment does not list the application user's privileges";
                sheet.noted(
                    id,
                    text,
                    "the checks below show what it may read; a first deal shows what it may write",
                );
            } else {
                sheet.bad(id, what, Trouble::from(&error));
            }
            return;
        }
    };
    let held: HashSet<String> = held
        .into_iter()
        .filter_map(|privilege| privilege.privilege_name)
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let missing: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|name| !held.contains(&name.to_ascii_lowercase()))
        .collect();
    if missing.is_empty() {
        sheet.good(id, "the application user has the privileges the connector needs");
    } else {
        let message = format!("missing are {}", missing.join(", "));
        let cure = "add them to the security role of the application user, each for the whole organisation (Power Platform \
                    admin center, Environments, Settings, Users + permissions, Security roles), and wait half a minute";
        sheet.bad(id, what, Trouble::new("privilege_missing", message, cure));
    }
}

/// One read, of what nobody changed in the future: an empty list is enough.
async fn read(sheet: &mut Sheet, dataverse: &Dataverse, is_admitted: bool, clock: &mut Clock) {
    let (id, what) = ("opportunity_read", "reading opportunities");
    if !is_admitted {
        sheet.skipped(id, what, "the application user");
        return;
    }
    sheet.looking(what);
    let run = Run::new(Deadline::NEVER);
    let future = Timestamp::from_second(32_503_680_000).unwrap_or(Timestamp::MAX);
    let page = dataverse
        .during(&run)
        .modified_since("opportunities", "opportunityid", future, "opportunityid,modifiedon")
        .await;
    clock.hear("Dynamics", &run);
    match page {
        Ok(_) => sheet.good(id, "the application user may read opportunities"),
        Err(error) => sheet.bad(id, what, trouble(&error)),
    }
}

fn trouble(error: &dataverse::Error) -> Trouble {
    match error {
        dataverse::Error::Http(error) | dataverse::Error::KeyTaken(error) => Trouble::from(error),
        dataverse::Error::TrackingDisabled => tracking_off(TABLE),
        dataverse::Error::ColumnMissing { table, column, .. } => Trouble::new(
            error.code(),
            format!("there is no column {column} on {table}"),
            "run `make columns ENV=...`, or correct the name in the mapping",
        ),
        dataverse::Error::DeltaExpired | dataverse::Error::DeltaMissing => {
            Trouble::new(error.code(), error.to_string(), "run it again")
        }
    }
}

fn tracking_off(table: &str) -> Trouble {
    Trouble::new(
        "tracking_disabled",
        format!("the table {table} does not track changes"),
        "run `make columns ENV=...`: it switches change tracking on, after asking",
    )
}

async fn columns(sheet: &mut Sheet, metadata: &Metadata, mapping: Option<&Mapping>) {
    let (id, what) = ("columns", "columns");
    let Some(mapping) = mapping else {
        sheet.skipped(id, what, "a sound mapping");
        return;
    };
    sheet.looking(what);
    let (misfits, looked) = match fit::misfits(metadata, mapping).await {
        Ok(found) => found,
        Err(error) => {
            sheet.bad(id, what, Trouble::from(&error));
            return;
        }
    };
    if misfits.is_empty() {
        sheet.good(id, &format!("all {looked} mapped columns exist and fit"));
        return;
    }
    let code = if misfits.iter().all(|misfit| misfit.is_missing) {
        "columns_missing"
    } else {
        "columns_unfit"
    };
    let wrong: Vec<&str> = misfits.iter().map(|misfit| misfit.text.as_str()).collect();
    sheet.bad(id, what, Trouble::new(code, wrong.join("; "), fit::cure(&misfits)));
}

/// Whether Dynamics keeps two rows of one referral apart: a key over the column that holds the referral's id, whatever it
/// is called.
async fn key(sheet: &mut Sheet, metadata: &Metadata, mapping: Option<&Mapping>) {
    let (id, what) = ("alternate_key", "the alternate key");
    let Some(mapping) = mapping else {
        sheet.skipped(id, what, "a sound mapping");
        return;
    };
    sheet.looking(what);
    let keys = match metadata.keys(TABLE).await {
        Ok(keys) => keys,
        Err(error) => {
            sheet.bad(id, what, Trouble::from(&error));
            return;
        }
    };
    let column = &mapping.columns.referral_identifier;
    match keys.iter().find(|found| found.covers(std::slice::from_ref(column))) {
        Some(found) if found.is_active() => {
            sheet.good(id, &format!("the alternate key {} is active", found.schema_name));
        }
        Some(found) => sheet.bad(id, what, unready(found)),
        None => {
            let message = format!("there is none over {column}, so Dynamics would take two rows for one referral");
            let cure = "run `make columns ENV=...`";
            sheet.bad(id, what, Trouble::new("key_missing", message, cure));
        }
    }
}

fn unready(found: &FoundKey) -> Trouble {
    let message = format!(
        "the index of {} is {}",
        found.schema_name, found.entity_key_index_status
    );
    let cure = if found.is_failed() {
        "two opportunities carry the same referral id: clear it in the copy, then run `make columns ENV=...`, which builds it again"
    } else {
        "it is built in the background; wait, or run `make columns ENV=...`, which waits for it"
    };
    Trouble::new("key_not_active", message, cure)
}

/// A table of which the poll asks what has changed.
struct Followed {
    name: String,
    /// As URLs spell it.
    set: String,
    /// Where it comes from, if it is not there.
    origin: &'static str,
}

/// The tables that the deployed settings and the mapping have the connector follow.
fn followed(settings: &Everything, mapping: Option<&Mapping>) -> Vec<Followed> {
    let sales = |name: &str, set: &str| Followed {
        name: name.to_owned(),
        set: set.to_owned(),
        origin: "check DATAVERSE_URL: the connector needs an environment with Dynamics 365 Sales",
    };
    let mut tables = vec![sales(TABLE, "opportunities")];
    tables.extend(mapping.and_then(Mapping::solution_table).map(|table| Followed {
        name: table.logical_name().to_owned(),
        set: table.set.clone(),
        origin: "run `make columns ENV=...`, or correct [solutions] of the mapping, which names it",
    }));
    if settings.wants_leads(mapping) {
        tables.push(sales(LEADS, "leads"));
    }
    tables
}

impl Followed {
    async fn examine(&self, metadata: &Metadata, dataverse: &Dataverse) -> Result<(), Trouble> {
        let Self { name, set, origin } = self;
        match metadata.table(name).await {
            Ok(Some(FoundTable {
                is_optimistic_concurrency_enabled: Some(false),
                ..
            })) => {
                let message =
                    format!("the table {name} has no optimistic concurrency, without which edits could be lost");
                let cure =
                    format!("ask Microsoft support to switch on IsOptimisticConcurrencyEnabled for the table {name}");
                Err(Trouble::new("concurrency_control_off", message, cure))
            }
            Ok(Some(table)) if table.change_tracking_enabled => {
                let changes = dataverse.changes(set, None, "modifiedon").await;
                changes.map(drop).map_err(|error| match trouble(&error) {
                    trouble if trouble.code == "privilege_missing" => trouble.cured_by(format!(
                        "reading changes takes the privilege to read {set} of the whole organisation, not of a business unit: \
                         raise it in the security role of the application user",
                    )),
                    trouble => trouble,
                })
            }
            Ok(Some(_)) => Err(tracking_off(name)),
            Ok(None) => Err(Trouble::new(
                "table_missing",
                format!("there is no table {name}"),
                *origin,
            )),
            Err(error) => Err(Trouble::from(&error)),
        }
    }
}

async fn tracking(sheet: &mut Sheet, metadata: &Metadata, dataverse: &Dataverse, tables: &[Followed]) {
    let (id, what) = ("change_tracking", "change tracking");
    sheet.looking(what);
    let mut troubles = Vec::new();
    for table in tables {
        troubles.extend(table.examine(metadata, dataverse).await.err());
    }
    match Trouble::joined(troubles) {
        Some(trouble) => sheet.bad(id, what, trouble),
        None => {
            let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
            let text = format!("changes are tracked and can be read: {}", names.join(", "));
            sheet.good(id, &text);
        }
    }
}
