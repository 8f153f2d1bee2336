//! The Partner Center side: tokens for both APIs, the second factor, the user's role.
//!
//! Knows: which API wants which audience. Refuses to know: referrals.

use connector::entra::{self, PARTNER_CENTER, PARTNER_CENTER_WEBHOOKS, Tokens};
use connector::http::{Budget, Deadline, Http, Limits, Run, Vendor};
use connector::partner_center::{self, PartnerCenter};
use connector::secrets::Secrets;
use connector::settings::Endpoint;
use jiff::Timestamp;

use super::deployment::Clock;
use super::sheet::Sheet;
use crate::command::Context;
use crate::settings::Everything;
use crate::sign_in::{CLAIMS_HIDDEN, Claims, second_factor_cure};
use crate::trouble::Trouble;

/// Looks at tokens and role; answers whether the registration API can be called.
pub(super) async fn examine(
    sheet: &mut Sheet,
    settings: &Everything,
    secrets: Option<&Secrets>,
    context: &Context<'_>,
    clock: &mut Clock,
) -> bool {
    let audiences = [
        ("referrals_token", PARTNER_CENTER, "referrals"),
        ("registration_token", PARTNER_CENTER_WEBHOOKS, "webhook registration"),
    ];
    let mut bearers = Vec::new();
    let mut remotes: Vec<Option<Tokens>> = Vec::new();
    for (id, audience, purpose) in audiences {
        let what = format!("a token for {purpose}");
        let Some((secrets, entra, tenant, name)) = ingredients(settings, secrets) else {
            sheet.skipped(id, &what, "the stored credential and settings");
            remotes.push(None);
            continue;
        };
        sheet.looking(&what);
        let tokens = Tokens::delegated(context.client.clone(), entra, tenant, audience, secrets.clone(), name);
        match tokens.bearer(&Run::new(Deadline::NEVER)).await {
            Ok(bearer) => {
                sheet.good(id, &format!("Entra gives a token for {audience} ({purpose})"));
                bearers.push(bearer);
                remotes.push(Some(tokens));
            }
            Err(error) => {
                sheet.bad(id, &what, refused(&error));
                remotes.push(None);
            }
        }
    }
    second_factor(sheet, settings, &bearers);

    let mut remotes = remotes.into_iter();
    let referrals = remotes.next().flatten();
    let registration = remotes.next().flatten();
    role(sheet, settings, referrals, context, clock).await;
    registration.is_some()
}

fn ingredients<'a>(
    settings: &'a Everything,
    secrets: Option<&'a Secrets>,
) -> Option<(&'a Secrets, &'a Endpoint, cosell::ids::TenantId, &'a str)> {
    Some((
        secrets?,
        settings.entra.as_ref()?,
        settings.partner_tenant?,
        settings.partner_center_secret.as_deref()?,
    ))
}

fn refused(error: &entra::Error) -> Trouble {
    let trouble = Trouble::from(error);
    match error {
        entra::Error::ClientRefused { .. } => trouble.cured_by(
            "make a new client secret in the app registration (Certificates & secrets), copy its value, not its id, and run \
             `make consent ENV=... ARGS=--new-secret`",
        ),
        entra::Error::ConsentNeeded { said } if said.contains("AADSTS65001") => trouble.cured_by(
            "Entra admin center, App registrations, your application, API permissions: add the delegated permission \
             user_impersonation of \"Microsoft Partner\" and of \"Microsoft Partner Center\" and press \"Grant admin consent\"",
        ),
        _ => trouble,
    }
}

fn second_factor(sheet: &mut Sheet, settings: &Everything, bearers: &[entra::Bearer]) {
    let (id, what) = ("second_factor", "the second factor");
    if bearers.is_empty() {
        sheet.skipped(id, what, "a token");
        return;
    }
    for bearer in bearers {
        let Some(claims) = Claims::read(bearer.secret()) else {
            sheet.noted(
                id,
                CLAIMS_HIDDEN,
                "the next check shows whether Partner Center takes it",
            );
            return;
        };
        let tenant = settings
            .partner_tenant
            .map(|tenant| tenant.to_string())
            .unwrap_or_default();
        if !claims.tid.eq_ignore_ascii_case(&tenant) {
            let message = format!("the sign-in is of tenant {}, wanted is {tenant}", claims.tid);
            let cure = "correct PARTNER_TENANT_ID, or run `make consent ENV=...` with a user of that tenant";
            sheet.bad(id, "the tenant", Trouble::new("wrong_tenant", message, cure));
            return;
        }
        if !claims.has_second_factor() {
            let message = "the sign-in lacks it, and Partner Center refuses such tokens";
            sheet.bad(
                id,
                what,
                Trouble::new("second_factor_missing", message, second_factor_cure()),
            );
            return;
        }
    }
    sheet.good(id, "the sign-in had a second factor");
}

/// One read shows whether the user has a role there.
async fn role(
    sheet: &mut Sheet,
    settings: &Everything,
    tokens: Option<Tokens>,
    context: &Context<'_>,
    clock: &mut Clock,
) {
    let (id, what) = ("referrals_read", "reading referrals");
    let (Some(tokens), Some(base)) = (tokens, settings.partner_center.clone()) else {
        sheet.skipped(id, what, "a token for referrals");
        return;
    };
    sheet.looking(what);
    let run = Run::new(Deadline::NEVER);
    let http = Http::new(
        Vendor::PartnerCenter,
        context.client.clone(),
        base,
        tokens,
        Budget::unlimited(),
        Limits::default(),
    );
    let api = PartnerCenter::new(http);
    let page = api.during(&run).updated_since(Timestamp::MAX).next_page().await;
    clock.hear("Partner Center", &run);
    match page {
        Ok(_) => sheet.good(id, "the connector's user may read referrals"),
        Err(error) => {
            let (partner_center::Error::Http(error) | partner_center::Error::Hidden(error)) = &error;
            let trouble = Trouble::from(error);
            let trouble = if error.code() == "access_denied" {
                trouble.cured_by(
                    "give the connector's user the role Referrals admin in Partner Center (Account settings, User management), \
                     for the whole organisation, and check the partner's enrolment in the programme",
                )
            } else {
                trouble
            };
            sheet.bad(id, what, trouble);
        }
    }
}
