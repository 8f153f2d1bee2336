//! `vendors`: Entra, Partner Center and Dynamics 365 for a deployment of the connector that runs elsewhere.
//!
//! Knows: what a deployment has to be told of them. Refuses to know: the cloud, the functions. Guarantee: `vendors.json`
//! appears whole, and only once everything that it names answers.

mod door;
mod options;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cosell_tests::dataverse::Crm;
use cosell_tests::partner_center::PARTNER_ORGANIZATION;
use cosell_tests::vendors::Vendors;
use cosell_tests::world::{EVENTS, TENANT};
use serde_json::{Map, Value, json};

use crate::door::{Bases, routes};
use crate::options::{HELP, Options, Wish};

/// The application of the Partner Center APIs: id and secret.
const PARTNER_CENTER_CLIENT: (&str, &str) = ("2f4e7c90-5b1a-4f0e-9b3a-0d6f1c2b7a55", "partner-center-secret");

/// The application whose user is seeded in Dynamics 365: id and secret.
const DATAVERSE_CLIENT: (&str, &str) = ("33333333-3333-4333-8333-333333333333", "dataverse-secret");

/// Where a client on this machine takes an answer of the sign-in page; on any port.
const REDIRECTS: [&str; 2] = ["http://localhost", "http://127.0.0.1"];

/// How long what was asked stays on record: a rehearsal looks back minutes, memory must last for days.
const RECORD: Duration = Duration::from_secs(15 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Wish::Help) => {
            say(&help());
            return ExitCode::SUCCESS;
        }
        Ok(Wish::Start(options)) => options,
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    // Listened for before anybody can know that there is something to stop.
    let stopped = match stop_signal() {
        Ok(stopped) => stopped,
        Err(error) => {
            complain(&format!("the signals to stop cannot be listened for: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let vendors = match start(&options).await {
        Ok(vendors) => vendors,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    say(&format!(
        "The vendors are up; {} tells where. Ctrl-C ends them.",
        options.folder.join("vendors.json").display()
    ));
    tokio::select! {
        () = stopped => ExitCode::SUCCESS,
        () = forget(&vendors) => ExitCode::FAILURE,
    }
}

async fn start(options: &Options) -> Result<Vendors, String> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    let [ports @ .., door] = options.ports();
    let crm = if options.plain_crm { Crm::Plain } else { Crm::WithCoSell };
    let vendors = Vendors::start(ports, crm).await.map_err(|taken| taken.to_string())?;
    let (client, secret) = PARTNER_CENTER_CLIENT;
    let refresh_token = vendors.entra.add_delegated_client(TENANT, client, secret);
    vendors
        .entra
        .add_app_client(TENANT, DATAVERSE_CLIENT.0, DATAVERSE_CLIENT.1);
    for uri in REDIRECTS
        .into_iter()
        .chain(options.redirects.iter().map(String::as_str))
    {
        if !vendors.entra.add_redirect(TENANT, client, uri) {
            return Err(format!(
                "--redirect {uri:?} cannot be registered; say an https URI, or http://localhost with any path"
            ));
        }
    }
    let door = door::serve(door, &vendors)
        .await
        .map_err(|error| format!("the door to the people cannot listen on port {door}: {error}"))?;
    // Making the vendor's RSA keys takes a second or more; the first delivery should not have to wait for it.
    let signer = vendors.partner_center.clone();
    tokio::task::spawn_blocking(move || signer.sign_post(b"{}"))
        .await
        .map_err(|error| error.to_string())
        .and_then(|signed| signed.map_err(|error| error.to_string()))
        .map_err(|error| format!("Partner Center's keys cannot be made: {error}"))?;
    let anchors = folder.join("trust-anchors.pem");
    write(&anchors, &vendors.partner_center.trust_anchors_pem())?;
    let told = description(&vendors, &format!("http://{door}"), &anchors, &refresh_token);
    write(&folder.join("vendors.json"), &format!("{told:#}\n"))?;
    Ok(vendors)
}

fn description(vendors: &Vendors, control: &str, anchors: &Path, refresh_token: &str) -> Value {
    let bases = Bases {
        control: control.to_owned(),
        dataverse: vendors.dataverse.url(),
        partner_center: vendors.partner_center.referrals_url(),
        entra: vendors.entra.url(),
    };
    let named: Map<String, Value> = routes(&bases)
        .into_iter()
        .map(|route| {
            let told = json!({ "method": route.method, "url": route.url, "about": route.about });
            (route.name.to_owned(), told)
        })
        .collect();
    let anchors = std::path::absolute(anchors).unwrap_or_else(|_| anchors.to_owned());
    json!({
        "entra_url": bases.entra,
        "partner_center_url": bases.partner_center,
        "partner_center_webhooks_url": vendors.partner_center.webhooks_url(),
        "certificate_host": vendors.partner_center.certificate_host(),
        "dataverse_url": bases.dataverse,
        "control_url": bases.control,
        "partner_tenant_id": TENANT,
        "dataverse_tenant_id": TENANT,
        "partner_organization": PARTNER_ORGANIZATION,
        "partner_center": {
            "client_id": PARTNER_CENTER_CLIENT.0, "client_secret": PARTNER_CENTER_CLIENT.1,
            "refresh_token": refresh_token,
        },
        "dataverse": { "client_id": DATAVERSE_CLIENT.0, "client_secret": DATAVERSE_CLIENT.1 },
        "webhook_events": EVENTS,
        "trust_anchors_file": anchors,
        "routes": named,
    })
}

/// Writes a file so that nobody ever reads half of it.
fn write(path: &Path, content: &str) -> Result<(), String> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, content)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn help() -> String {
    let told = routes(&Bases::default())
        .into_iter()
        .map(|route| format!("  {} {}\n      {}\n", route.method, route.url, route.about));
    HELP.lines().map(|line| format!("{line}\n")).chain(told).collect()
}

/// Everything asked is recorded; what is older is forgotten.
async fn forget(vendors: &Vendors) {
    let mut moments = tokio::time::interval(RECORD);
    loop {
        let mark = vendors.switchboard.mark();
        moments.tick().await;
        vendors.switchboard.forget_until(mark);
    }
}

/// Ctrl-C, or the signal that ends a process politely.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn say(text: &str) {
    // Nobody reads a closed output.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
