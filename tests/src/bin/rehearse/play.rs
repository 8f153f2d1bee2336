//! The first-day guide, followed step by step, and what has to be true after each step.
//!
//! Knows: who does what, and how long the other side may take with the schedules that are deployed. Refuses to know: how.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cosell_tests::dataverse::seed;
use cosell_tests::partner_center::InboundDeal;
use cosell_tests::screen::{Screen, seconds};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cloud::{ACCOUNT, Cloud, REGION};
use crate::deployment::Deployment;
use crate::guide::Guide;
use crate::vendors::{self, DATAVERSE_APP, PARTNER_APP, TENANT, Vendors};

/// The environment's name in Terraform. Every name that AWS shows begins with it.
const ENVIRONMENT: &str = "rehearsal";

/// What every resource has in its name.
const MARK: &str = "cosell-rehearsal";

/// The emulator runs the programs on this machine.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86_64"
};

/// How long a change in the CRM may take: the schedule fires every minute, the emulator looks whether it is time every few
/// seconds, and cold functions start on a busy machine.
const POLLED: Duration = Duration::from_secs(150);

/// How long a change at Partner Center may take: nobody waits for a schedule. The design asks for five seconds; a cold
/// start in the emulator unpacks the zip first.
const POSTED: Duration = Duration::from_secs(30);

/// How long a poisonous message may take to the dead letters: one visibility timeout (six times the 30 s of `sync`) and
/// the emulator's next look.
const POISONED: Duration = Duration::from_secs(270);

/// How long the sign-in page may take to be asked for.
const SIGN_IN: Duration = Duration::from_secs(60);

const PULSE: Duration = Duration::from_millis(250);

/// The rehearsal.
pub(crate) struct Play {
    screen: Screen,
    emulator: PathBuf,
    stay: bool,
}

/// What a step works with.
struct Stage<'a> {
    cloud: &'a Cloud,
    vendors: &'a Vendors,
    deployment: &'a Deployment,
}

impl Play {
    pub(crate) fn new(screen: Screen, emulator: PathBuf, stay: bool) -> Self {
        Self { screen, emulator, stay }
    }

    /// Plays everything; the error tells what did not hold.
    pub(crate) async fn perform(&self) -> Result<(), String> {
        let root = std::env::current_dir().map_err(|error| format!("no working folder: {error}"))?;
        if !root.join("infra/run").is_file() {
            return Err("infra/run is not here; run it from the root of the repository, as `make rehearse`".to_owned());
        }
        let logs = root.join("target/rehearsal");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).map_err(|error| format!("{} cannot be made: {error}", logs.display()))?;
        let began = Instant::now();

        self.screen
            .line("Starting both vendors as simulators, and an emulator of AWS ...");
        let anchors = logs.join("trust-anchors.pem");
        let vendors = vendors::start(&anchors).await?;
        let cloud = Cloud::start(&self.emulator, &logs).await?;
        self.screen
            .aside(&format!("AWS is at {}; the logs are in target/rehearsal.", cloud.url()));
        let deployment = Deployment::new(&root, &logs, ENVIRONMENT, &cloud);
        deployment.forget();
        let mut guide = Guide::read(&root, ENVIRONMENT)?;
        let stage = Stage {
            cloud: &cloud,
            vendors: &vendors,
            deployment: &deployment,
        };

        let settings = settings(&vendors, &cloud, &anchors.display().to_string());
        self.first_deployment(&stage, &mut guide, &settings).await?;
        self.first_day(&stage, &mut guide).await?;
        self.second_deployment(&stage, &mut guide).await?;
        guide.ended()?;
        let poison = self.poison(&stage).await?;
        self.forgery(&stage).await?;
        self.deals(&stage).await?;
        self.ownership(&stage, &logs).await?;
        self.dead_letter(&stage, &poison).await?;
        self.second_plan(&stage).await?;
        if self.stay {
            self.screen.gap();
            self.screen.line(format!(
                "Staying up until Ctrl-C. Entra {}, Dynamics 365 {}, Partner Center {}, AWS {}",
                vendors.entra.url(),
                vendors.dataverse.url(),
                vendors.partner_center.referrals_url(),
                cloud.url()
            ));
            std::future::pending::<()>().await;
        }
        self.destruction(&stage).await?;
        deployment.forget();
        self.screen
            .verdict(true, &format!("every step held, in {}", seconds(began.elapsed())));
        Ok(())
    }

    async fn first_deployment(&self, stage: &Stage<'_>, guide: &mut Guide, settings: &str) -> Result<(), String> {
        self.screen
            .step("1", "The admin deploys for the first time; the secrets are still empty");
        let deployment = stage.deployment;
        let began = Instant::now();
        let build = guide.next("make build")?;
        deployment.types(&build, &[("ARCH", ARCHITECTURE)]).await?;
        self.held("`make build` made the zips", began);
        let copy = guide.next("cp infra/environments/staging.tfvars.example infra/environments/staging.tfvars")?;
        deployment.types(&copy, &[]).await?;
        deployment.configure(settings)?;
        let began = Instant::now();
        let said = deployment.types(&guide.next("make plan ENV=staging")?, &[]).await?;
        self.quietly(
            said.contains("0 to change, 0 to destroy"),
            &format!("the plan only adds:\n{said}"),
        )?;
        self.held("`make plan` shows what there will be", began);
        let began = Instant::now();
        deployment.types(&guide.next("make deploy ENV=staging")?, &[]).await?;
        self.held("everything was created", began);
        self.claim(
            stage.vendors.partner_center.registration().is_none(),
            "nothing is registered at Partner Center before the consent",
        )?;
        for name in ["poll-dynamics", "poll-partner-center"] {
            let state = schedule_state(stage.cloud, name).await?;
            self.claim(
                state == "DISABLED",
                &format!("the schedule {name} waits for the credentials"),
            )?;
        }
        Ok(())
    }

    async fn first_day(&self, stage: &Stage<'_>, guide: &mut Guide) -> Result<(), String> {
        self.screen.step(
            "2",
            "The admin stores the credentials, signs in once and creates the columns",
        );
        let began = Instant::now();
        let typed = guide.next("make credentials ENV=staging")?;
        let arguments = format!("--client-id {}", DATAVERSE_APP.0);
        let answers = [("ARGS", arguments.as_str()), ("CLIENT_SECRET", DATAVERSE_APP.1)];
        stage.deployment.types(&typed, &answers).await?;
        self.held("`make credentials` tried the CRM's credentials and stored them", began);
        let began = Instant::now();
        self.consent(stage, &guide.next("make consent ENV=staging")?).await?;
        self.held("`make consent` took the sign-in and stored the refresh token", began);
        let began = Instant::now();
        let typed = guide.next("make columns ENV=staging")?;
        stage.deployment.types(&typed, &[("ARGS", "--yes")]).await?;
        self.held("`make columns` created columns, key and child table", began);
        let mark = stage.vendors.switchboard.mark();
        stage.deployment.types(&typed, &[("ARGS", "--yes")]).await?;
        let writes = stage.vendors.switchboard.since(mark);
        let writes = writes
            .iter()
            .filter(|exchange| exchange.api == "dataverse" && exchange.is_write());
        self.claim(writes.count() == 0, "a second `make columns` writes nothing")
    }

    /// Plays the browser: asks for the page whose address the command prints, and follows it back to the command.
    async fn consent(&self, stage: &Stage<'_>, typed: &str) -> Result<(), String> {
        let arguments = format!("--no-browser --client-id {}", PARTNER_APP.0);
        let answers = [("ARGS", arguments.as_str()), ("CLIENT_SECRET", PARTNER_APP.1)];
        let mut started = stage.deployment.started(typed, &answers)?;
        let address = format!("{}/", stage.vendors.entra.url());
        let page = async {
            while let Ok(Some(line)) = started.lines.next_line().await {
                if let Some(url) = line.split_whitespace().find(|word| word.starts_with(&address)) {
                    return Ok(url.to_owned());
                }
            }
            Err("the consent ended without printing the address of the sign-in".to_owned())
        };
        let page = tokio::time::timeout(SIGN_IN, page)
            .await
            .map_err(|_| "the consent did not print the address of the sign-in".to_owned())??;
        let answer = reqwest::get(&page)
            .await
            .map_err(|error| format!("the sign-in: {error}"))?;
        if !answer.status().is_success() {
            return Err(format!("the sign-in ended with {}", answer.status()));
        }
        // What else it says must be read, or it would wait for a reader.
        while let Ok(Some(_)) = started.lines.next_line().await {}
        let status = started
            .child
            .wait()
            .await
            .map_err(|error| format!("the consent: {error}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the consent ended with {status}"))
        }
    }

    async fn second_deployment(&self, stage: &Stage<'_>, guide: &mut Guide) -> Result<(), String> {
        self.screen
            .step("3", "The admin deploys again, and looks whether all is well");
        let deploy = guide.next("make deploy ENV=staging")?;
        self.takeover(stage, &deploy).await?;
        let began = Instant::now();
        stage.deployment.types(&deploy, &[]).await?;
        self.held("the second deployment went through", began);
        let registered = stage.vendors.partner_center.registration();
        let registered = registered.map(|registration| registration.url).unwrap_or_default();
        let wanted = stage.deployment.output("webhook_url").await?;
        self.claim(
            registered == wanted && registered.contains("/webhook?owner=cosell-rehearsal-"),
            &format!("the apply registered the webhook, with the owner's mark: {registered}"),
        )?;
        for name in ["poll-dynamics", "poll-partner-center", "compare", "inspect"] {
            let state = schedule_state(stage.cloud, name).await?;
            self.claim(state == "ENABLED", &format!("the schedule {name} runs"))?;
        }
        let began = Instant::now();
        let said = stage
            .deployment
            .types(&guide.next("make doctor ENV=staging")?, &[])
            .await?;
        self.held("`make doctor` finds nothing wrong", began);
        for line in said.trim_end().lines() {
            self.screen.line(format!("       {line}"));
        }
        let began = Instant::now();
        stage
            .deployment
            .types(&guide.next("make ping ENV=staging")?, &[])
            .await?;
        self.held(
            "`make ping`: a test event went from Partner Center to the webhook",
            began,
        );
        Ok(())
    }

    /// Another connector has the tenant's one registration; it is replaced only on purpose.
    async fn takeover(&self, stage: &Stage<'_>, deploy: &str) -> Result<(), String> {
        let other = "https://old-connector.example.com/events";
        let registered = || {
            let found = stage.vendors.partner_center.registration();
            found.map(|found| found.url).unwrap_or_default()
        };
        stage
            .vendors
            .partner_center
            .register_directly(other, &["referral-created"]);
        let refusal = stage.deployment.types(deploy, &[]).await.err().unwrap_or_default();
        let cure = format!("make register ENV={ENVIRONMENT} ARGS=--overwrite");
        self.claim(
            refusal.contains("old-connector.example.com") && refusal.contains(&cure) && registered() == other,
            "a webhook that leads to another connector stays; the refusal names it and the cure",
        )?;
        stage.deployment.types(&cure, &[]).await?;
        self.claim(registered() != other, &format!("`{cure}` replaced it"))
    }

    async fn forgery(&self, stage: &Stage<'_>) -> Result<(), String> {
        self.screen
            .step("5", "Somebody on the internet posts what Microsoft never signed");
        let url = stage.deployment.output("webhook_url").await?;
        let vendors = stage.vendors;
        let body = vendors
            .partner_center
            .event_body("referral-created", &Uuid::new_v4().to_string());
        let signed = vendors
            .partner_center
            .sign_post(&body)
            .map_err(|error| error.to_string())?;
        let client = reqwest::Client::new();
        let mut forged = client.post(&url).body(b"{\"EventName\":\"referral-created\"}".to_vec());
        for (name, value) in &signed.headers {
            forged = forged.header(name, value);
        }
        let status = forged.send().await.map_err(|error| format!("{url}: {error}"))?.status();
        self.claim(status == 401, "a post with another's signature is refused with 401")?;
        let status = client
            .post(url.replace("/webhook", "/other"))
            .send()
            .await
            .map_err(|error| format!("{url}: {error}"))?
            .status();
        self.claim(status == 404, "no other path exists")
    }

    async fn deals(&self, stage: &Stage<'_>) -> Result<(), String> {
        let vendors = stage.vendors;
        self.screen.step("6", "Microsoft sends a deal; its notes change");
        let began = Instant::now();
        let inbound = vendors.partner_center.microsoft_sends(&InboundDeal::default());
        let opportunities = || {
            let rows = vendors.dataverse.opportunities().into_iter();
            let ours = rows.filter(|row| text(row, "cosell_referralidentifier") == inbound.referral);
            ours.collect::<Vec<Value>>()
        };
        until("the deal is an opportunity", POSTED, || !opportunities().is_empty()).await?;
        self.held("it is an opportunity, by way of a signed post", began);

        self.screen
            .step("7", "A seller shares a deal; then its value changes in the portal");
        let began = Instant::now();
        let opportunity = seller_shares(vendors)?;
        let identifier = || {
            let row = vendors.dataverse.row("opportunities", opportunity).unwrap_or_default();
            text(&row, "cosell_referralidentifier")
        };
        until("the opportunity is a referral", POLLED, || !identifier().is_empty()).await?;
        let referral = identifier();
        self.claim(
            vendors.partner_center.find_referral(&referral).is_some(),
            &format!(
                "a schedule that fired by itself made a referral of it, after {}",
                seconds(began.elapsed())
            ),
        )?;
        let began = Instant::now();
        vendors
            .partner_center
            .portal_edits(&referral, json!({ "details": { "dealValue": 90_500 } }))
            .map_err(|refusal| format!("the portal refuses the edit: {refusal:?}"))?;
        let value = || {
            let row = vendors.dataverse.row("opportunities", opportunity).unwrap_or_default();
            row.get("estimatedvalue").and_then(Value::as_f64).unwrap_or_default()
        };
        until("the new value is in the CRM", POSTED, || {
            (value() - 90_500.0).abs() < 0.005
        })
        .await?;
        self.held("the new value is in the CRM, by way of a signed post", began);
        let began = Instant::now();
        vendors
            .dataverse
            .seller_edits(opportunity, &json!({ "estimatedclosedate": "2027-11-30" }))
            .map_err(|refusal| format!("the CRM refuses the edit: {refusal:?}"))?;
        let closing = || {
            let found = vendors.partner_center.find_referral(&referral).unwrap_or_default();
            found
                .pointer("/details/closingDateTime")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        until("the new close date is at Partner Center", POLLED, || {
            closing().starts_with("2027-11-30")
        })
        .await?;
        self.held("the seller's new close date is at Partner Center", began);
        self.claim(
            opportunities().len() == 1
                && vendors
                    .partner_center
                    .referrals_of_engagement(&inbound.engagement)
                    .len()
                    <= 2,
            "Microsoft's deal is still one opportunity",
        )
    }

    async fn poison(&self, stage: &Stage<'_>) -> Result<String, String> {
        self.screen
            .step("4", "Somebody puts nonsense on the queue; what comes of it shows later");
        let settings = stage.deployment.settings().await?;
        let queue = text(&settings, "QUEUE_URL");
        stage
            .cloud
            .call(
                "sqs",
                "AmazonSQS.SendMessage",
                &json!({
                    "QueueUrl": queue, "MessageBody": "{\"nonsense\": true}", "MessageGroupId": "poison",
                    "MessageDeduplicationId": Uuid::new_v4().to_string(),
                }),
            )
            .await?;
        stage.deployment.output("dead_letters_url").await
    }

    async fn dead_letter(&self, stage: &Stage<'_>, queue: &str) -> Result<(), String> {
        self.screen.step(
            "9",
            "The nonsense of step 4 ends among the dead letters, and held nothing up",
        );
        let began = Instant::now();
        while stage.cloud.depth(queue).await? != 1 {
            if began.elapsed() > POISONED {
                return Err("the message is not among the dead letters".to_owned());
            }
            tokio::time::sleep(PULSE).await;
        }
        self.held("one message is there, and no other", began);
        Ok(())
    }

    async fn ownership(&self, stage: &Stage<'_>, logs: &std::path::Path) -> Result<(), String> {
        self.screen
            .step("8", "Another deployment wants the same name, and the same webhook");
        let refused = stage
            .deployment
            .terraform_elsewhere("deploy", &logs.join("elsewhere.tfstate"))
            .await;
        let refusal = refused.err().unwrap_or_default();
        self.claim(
            refusal.contains("ParameterAlreadyExists"),
            "a second state for the same environment is refused before anything is created",
        )?;
        let theirs = "https://hooks.example.com/webhook?owner=cosell-staging-00000000";
        let refused = stage
            .cloud
            .invoke(
                &name("registration"),
                &json!({ "action": "register", "webhook_url": theirs }),
            )
            .await;
        let refusal = refused.err().unwrap_or_default();
        let registered = stage.deployment.output("webhook_url").await?;
        let host = registered.split("/webhook").next().unwrap_or_default().to_owned();
        self.claim(
            refusal.contains("foreign_registration") && refusal.contains(&host),
            "a registration that leads elsewhere is not taken over; the refusal names it",
        )?;
        let kept = stage.vendors.partner_center.registration().map(|found| found.url);
        self.claim(
            kept.as_deref() == Some(registered.as_str()),
            "what is registered stayed as it was",
        )
    }

    async fn second_plan(&self, stage: &Stage<'_>) -> Result<(), String> {
        self.screen
            .step("10", "The admin asks what a further deployment would change");
        let began = Instant::now();
        // With this flag Terraform ends with 2 when there is anything to do.
        stage.deployment.terraform("plan", &["-detailed-exitcode"]).await?;
        self.held("nothing", began);
        Ok(())
    }

    async fn destruction(&self, stage: &Stage<'_>) -> Result<(), String> {
        self.screen.step("11", "The admin uninstalls");
        // A list that never showed anything of ours would prove nothing when it is empty.
        for (what, list) in inventory(stage.cloud).await? {
            self.quietly(is_ours(&list), &format!("{what} are listed before: {list}"))?;
        }
        let began = Instant::now();
        let typed = format!("make destroy ENV={ENVIRONMENT}");
        stage.deployment.types(&typed, &[]).await?;
        self.held("everything was destroyed", began);
        for (what, list) in inventory(stage.cloud).await? {
            self.quietly(!is_ours(&list), &format!("no {what} are left: {list}"))?;
        }
        let keys = stage.cloud.call("kms", "TrentService.ListKeys", &json!({})).await?;
        for key in keys.get("Keys").and_then(Value::as_array).into_iter().flatten() {
            let key = stage
                .cloud
                .call(
                    "kms",
                    "TrentService.DescribeKey",
                    &json!({ "KeyId": text(key, "KeyId") }),
                )
                .await?;
            let state = key
                .pointer("/KeyMetadata/KeyState")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let ours = key
                .pointer("/KeyMetadata/Description")
                .and_then(Value::as_str)
                .unwrap_or_default();
            self.quietly(
                state == "PendingDeletion" || !ours.contains("cosell"),
                &format!("the key waits for its deletion: {state}"),
            )?;
        }
        self.screen.held("nothing is left of it");
        Ok(())
    }

    fn held(&self, text: &str, began: Instant) {
        self.screen.held(text);
        self.screen.took(began.elapsed());
    }

    fn claim(&self, holds: bool, text: &str) -> Result<(), String> {
        self.quietly(holds, text)?;
        self.screen.held(text);
        Ok(())
    }

    fn quietly(&self, holds: bool, text: &str) -> Result<(), String> {
        if holds {
            Ok(())
        } else {
            Err(format!("not true: {text}"))
        }
    }
}

/// The full name of a function.
fn name(function: &str) -> String {
    format!("{MARK}-{function}")
}

/// Whether a list shows anything of the deployment: names begin with its mark, those that are paths are made of its parts.
fn is_ours(list: &str) -> bool {
    list.contains(MARK) || list.contains(&MARK.replace('-', "/"))
}

/// Everything a list of AWS shows, as the text it shows it in.
async fn inventory(cloud: &Cloud) -> Result<Vec<(&'static str, String)>, String> {
    let nothing = json!({});
    let mut found = Vec::new();
    for (what, service, target) in [
        ("tables", "dynamodb", "DynamoDB_20120810.ListTables"),
        ("queues", "sqs", "AmazonSQS.ListQueues"),
        ("secrets", "secretsmanager", "secretsmanager.ListSecrets"),
        ("log groups", "logs", "Logs_20140328.DescribeLogGroups"),
        ("owner marks", "ssm", "AmazonSSM.DescribeParameters"),
        ("aliases of keys", "kms", "TrentService.ListAliases"),
    ] {
        found.push((what, cloud.call(service, target, &nothing).await?.to_string()));
    }
    for (what, service, path) in [
        ("functions", "lambda", "/2015-03-31/functions/"),
        ("triggers", "lambda", "/2015-03-31/event-source-mappings/"),
        ("APIs", "apigateway", "/v2/apis"),
        ("schedules", "scheduler", "/schedules"),
        ("schedule groups", "scheduler", "/schedule-groups"),
    ] {
        found.push((what, cloud.get(service, path).await?.to_string()));
    }
    for (what, service, action, version) in [
        ("roles", "iam", "ListRoles", "2010-05-08"),
        ("topics", "sns", "ListTopics", "2010-03-31"),
        ("alarms", "monitoring", "DescribeAlarms", "2010-08-01"),
        ("dashboards", "monitoring", "ListDashboards", "2010-08-01"),
    ] {
        found.push((what, cloud.query(service, action, version).await?));
    }
    Ok(found)
}

async fn schedule_state(cloud: &Cloud, run: &str) -> Result<String, String> {
    let list = cloud.get("scheduler", "/schedules").await?;
    let schedules = list.get("Schedules").and_then(Value::as_array);
    let found = schedules
        .into_iter()
        .flatten()
        .find(|schedule| text(schedule, "Name").ends_with(run));
    found
        .map(|schedule| text(schedule, "State"))
        .ok_or_else(|| format!("there is no schedule {run}: {list}"))
}

/// Waits until something is true; the simulators are looked at, nobody is asked.
async fn until(what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !is_true() {
        if began.elapsed() > limit {
            return Err(format!("not true after {} s: {what}", limit.as_secs()));
        }
        tokio::time::sleep(PULSE).await;
    }
    Ok(())
}

fn seller_shares(vendors: &Vendors) -> Result<Uuid, String> {
    let create = |table: &str, row: Value| {
        vendors
            .dataverse
            .seller_creates(table, &row)
            .map_err(|refusal| format!("the CRM refuses a row of {table}: {refusal:?}"))
    };
    let account = create(
        "accounts",
        json!({
            "name": "Northbay Dairy Cooperative", "address1_line1": "4 Creamery Lane", "address1_city": "Cork",
            "address1_postalcode": "T12 X0X0", "address1_country": "Ireland",
        }),
    )?;
    let contact = create(
        "contacts",
        json!({
            "firstname": "Rory", "lastname": "Lane", "emailaddress1": "rory.lane@northbay.example",
            "telephone1": "+353210000002", "parentcustomerid_account@odata.bind": format!("/accounts({account})"),
        }),
    )?;
    create(
        "opportunities",
        json!({
            "name": "Northbay cold-chain monitoring", "estimatedvalue": 125_000.5, "estimatedclosedate": "2027-09-15",
            "description": "Sensor telemetry on 40 vans.",
            "transactioncurrencyid@odata.bind": format!("/transactioncurrencies({})", seed::EUR),
            "customerid_account@odata.bind": format!("/accounts({account})"),
            "parentaccountid@odata.bind": format!("/accounts({account})"),
            "parentcontactid@odata.bind": format!("/contacts({contact})"),
            "cosell_syncwithpartnercenter": true, "cosell_howcanmicrosofthelp": 727_000_001,
            "cosell_solutions": "SOL-20817-KTR",
        }),
    )
}

fn text(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The settings file of the rehearsal: what the guide asks for, and the addresses of the simulators.
fn settings(vendors: &Vendors, cloud: &Cloud, anchors: &str) -> String {
    let host = vendors.partner_center.certificate_host();
    format!(
        r#"region              = "{REGION}"
account_id          = "{ACCOUNT}"
partner_tenant_id   = "{TENANT}"
dataverse_url       = "{dataverse}"
notification_mail   = "crm-team@example.com"

# A rehearsal only: the vendors are simulators on this machine, and nobody wants to wait.
entra_url                   = "{entra}"
partner_center_url          = "{referrals}"
partner_center_webhooks_url = "{webhooks}"
webhook_url                 = "http://127.0.0.1:{port}/_aws/execute-api/{{api}}/$default/webhook"
certificate_hosts           = ["{host}"]
issuer_hosts                = ["{host}"]
trust_anchors_file          = "{anchors}"
architecture                = "{ARCHITECTURE}"
sync_timeout_seconds        = 30
max_receives                = 1
settle_seconds              = 1
waits_percent               = 1
dataverse_rate              = 1000
partner_center_rate         = 1000
secret_recovery_days        = 0
"#,
        dataverse = vendors.dataverse.url(),
        entra = vendors.entra.url(),
        referrals = vendors.partner_center.referrals_url(),
        webhooks = vendors.partner_center.webhooks_url(),
        port = cloud.port(),
    )
}
