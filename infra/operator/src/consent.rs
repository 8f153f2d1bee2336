//! `cosell consent`: a person's sign-in becomes the credential for Partner Center.
//!
//! Knows: the order of signing in, checking and storing. Refuses to know: protocols. Guarantees: nothing is stored before
//! everything was checked, and then in one call, so an interruption leaves either the previous credential or the new one;
//! nothing of a credential is shown; run again, it replaces the sign-in and keeps what else the secret holds.

use std::process::Stdio;
use std::sync::atomic::Ordering;

use connector::entra::{PARTNER_CENTER, PARTNER_CENTER_WEBHOOKS};
use connector::http::{Deadline, Run};
use connector::secrets::Secrets;
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use crate::arguments::Consent;
use crate::cloud;
use crate::command::{Context, Report};
use crate::credentials::{Chosen, Stored};
use crate::loopback::{Loopback, Visitor};
use crate::page;
use crate::screen::{Mark, Screen, seconds};
use crate::settings::PartnerCenter;
use crate::sign_in::{CLAIMS_HIDDEN, Claims, SignIn, second_factor_cure};
use crate::trouble::Trouble;

/// What the refresh token has to work for, and what for.
const AUDIENCES: [(&str, &str); 2] = [
    (PARTNER_CENTER, "referrals"),
    (PARTNER_CENTER_WEBHOOKS, "webhook registration"),
];

pub(crate) async fn run(order: &Consent, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let settings = PartnerCenter::load(&context.variables)?;
    let aws = cloud::connect(&context.variables, &context.client).await?;
    let secrets = Secrets::new(aws_sdk_secretsmanager::Client::new(&aws));
    screen.heading("Consent for Partner Center");
    screen.pair("Tenant", settings.tenant);
    screen.pair("Secret", &settings.secret);
    let stored = Stored::read(&secrets, &settings.secret).await?;
    let chosen = Chosen::take(&order.application, &stored, context).await?;
    chosen.show(screen, "consent");
    screen.gap();

    let mut loopback = Loopback::listen(order.port).await?;
    let sign_in = SignIn::new(&settings.entra, settings.tenant, &chosen, loopback.redirect_uri());
    let address = sign_in.address()?;
    screen.say("Sign in as the connector's own user, a Referrals admin of Partner Center, with a second factor:");
    screen.gap();
    screen.line(format!("  {address}"));
    screen.gap();
    if !order.no_browser && open(&address) {
        screen.say("The browser should have opened; if it has not, open the address yourself.");
    }
    let wait = seconds(order.wait);
    screen.aside(&format!(
        "Waiting for the sign-in, {wait} at most. Ctrl-C stops; nothing is stored before it is checked."
    ));
    screen.gap();

    let answer = tokio::time::timeout(order.wait, await_answer(&sign_in, &mut loopback, screen)).await;
    let Ok(Some((visitor, code))) = answer else {
        return Err(Trouble::new(
            "timed_out",
            format!("nobody came back from the sign-in within {wait}"),
            format!(
                "if the browser shows AADSTS50011, Entra does not know where to return: {}; otherwise run `make consent ENV=...` \
                 again, with a longer wait if need be (`ARGS=\"--wait 1800\"`)",
                sign_in.redirect_cure()
            ),
        ));
    };
    let result = settle(&sign_in, code, &stored, &secrets, &settings, context).await;
    match &result {
        Ok(_) => visitor.show(&page::success()).await,
        Err(trouble) => visitor.show(&page::refused(trouble)).await,
    }
    let settled = result?;
    screen.next(
        "`make doctor ENV=...` shows that it works; the next `make deploy ENV=...` registers the webhook with it.",
    );
    Ok(Report {
        is_fine: true,
        document: json!({
            "outcome": "stored",
            "client_id": chosen.id,
            "user": settled.user,
            "version": settled.version,
        }),
    })
}

/// Whoever comes back from this sign-in, and what it brought. An old tab, or a page that tries its luck, ends nothing: it
/// is refused and the wait goes on.
async fn await_answer(
    sign_in: &SignIn<'_>,
    loopback: &mut Loopback,
    screen: Screen,
) -> Option<(Visitor, Result<SecretString, Trouble>)> {
    loop {
        let visitor = loopback.visitor().await?;
        if let Some(code) = sign_in.code(&visitor.query) {
            return Some((visitor, code));
        }
        let trouble = Trouble::new(
            "state_mismatch",
            "the answer belongs to another sign-in",
            "close old tabs of the sign-in and use the address that the terminal shows; it still waits there",
        );
        visitor.show(&page::refused(&trouble)).await;
        screen.marked(
            Mark::Note,
            "an answer of another sign-in came and was refused; still waiting",
        );
    }
}

/// What may be told of a credential that was stored.
struct Settled {
    user: Option<String>,
    version: String,
}

/// From what the browser brought to what is stored.
async fn settle(
    sign_in: &SignIn<'_>,
    code: Result<SecretString, Trouble>,
    stored: &Stored,
    secrets: &Secrets,
    settings: &PartnerCenter,
    context: &Context<'_>,
) -> Result<Settled, Trouble> {
    let (screen, client) = (context.screen, &context.client);
    let run = Run::new(Deadline::NEVER);
    let granted = sign_in.redeem(client, &code?, &run).await?;
    let claims = check(sign_in, &granted.access_token)?;
    let user = claims.as_ref().and_then(Claims::user).map(str::to_owned);
    if let Some(claims) = &claims {
        let who = user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
        screen.marked(
            Mark::Good,
            &format!("signed in{who}, with a second factor, in tenant {}", claims.tid),
        );
    } else {
        screen.marked(Mark::Note, CLAIMS_HIDDEN);
        screen.cure("`make doctor ENV=...` shows whether Partner Center takes it");
    }
    let Some(mut refresh_token) = granted.refresh_token else {
        return Err(Trouble::new(
            "refresh_token_missing",
            "Entra gave no refresh token",
            "check that no Conditional Access policy forbids lasting sign-ins to the connector's user, and run this again",
        ));
    };
    for (audience, purpose) in AUDIENCES {
        let granted = sign_in.renew(client, &refresh_token, audience, &run).await?;
        check(sign_in, &granted.access_token)?;
        screen.marked(Mark::Good, &format!("works for {audience} ({purpose})"));
        // Using a token does not end it; the newest one lives longest.
        if let Some(newer) = granted.refresh_token {
            refresh_token = newer;
        }
    }
    let credential = stored.with(sign_in.application, Some(&refresh_token));
    context.is_writing.store(true, Ordering::Relaxed);
    let version = secrets.store(&settings.secret, &credential).await;
    context.is_writing.store(false, Ordering::Relaxed);
    let version = version.map_err(|error| Trouble::from(&error))?;
    screen.marked(Mark::Good, &format!("stored in {}", settings.secret));
    Ok(Settled { user, version })
}

/// Whether a token is one that Partner Center will take, as far as it can be read: an access token is opaque to everybody
/// but its audience, and Entra may stop showing what it says.
fn check(sign_in: &SignIn<'_>, token: &SecretString) -> Result<Option<Claims>, Trouble> {
    let Some(claims) = Claims::read(token) else {
        return Ok(None);
    };
    if !claims.tid.eq_ignore_ascii_case(&sign_in.tenant.to_string()) {
        return Err(Trouble::new(
            "wrong_tenant",
            format!("the sign-in is of tenant {}, wanted is {}", claims.tid, sign_in.tenant),
            "sign in with a user of the partner's own tenant, in a private window if the browser chooses another one; or \
             correct PARTNER_TENANT_ID",
        ));
    }
    if !claims.has_second_factor() {
        return Err(Trouble::new(
            "second_factor_missing",
            "the sign-in lacks a second factor, without which Partner Center refuses it",
            second_factor_cure(),
        ));
    }
    Ok(Some(claims))
}

/// Opens the person's browser; whether that was tried with some hope.
fn open(address: &Url) -> bool {
    let (program, before): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        // Not `cmd /c start`, for which the ampersands of the address mean something.
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let started = std::process::Command::new(program)
        .args(before)
        .arg(address.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.is_ok()
}
