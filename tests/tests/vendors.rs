//! The program `vendors`, as a rehearsal of a deployment starts and uses it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vendors");

struct Running {
    child: Child,
    folder: PathBuf,
    told: Value,
    http: reqwest::Client,
}

#[expect(clippy::unwrap_used, reason = "a program that cannot be started is a failed test")]
impl Running {
    async fn start(arguments: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("cosell-vendors-{}", uuid::Uuid::new_v4()));
        let child = Command::new(PROGRAM)
            .arg("--folder")
            .arg(&folder)
            .args(arguments)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let file = folder.join("vendors.json");
        let told = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&file) {
                    break serde_json::from_str(&text).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self {
            told: told.await.unwrap(),
            child,
            folder,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn text(&self, pointer: &str) -> String {
        self.told.pointer(pointer).unwrap().as_str().unwrap().to_owned()
    }

    /// Uses a route as `vendors.json` tells it, with this in place of its one hole.
    async fn act(&self, route: &str, hole: &str, body: &Value) -> (u16, Value) {
        let url = self.text(&format!("/routes/{route}/url"));
        let url = url.split_once('{').map_or(url.clone(), |(start, rest)| {
            format!("{start}{hole}{}", rest.split_once('}').unwrap().1)
        });
        let method = self.text(&format!("/routes/{route}/method")).parse().unwrap();
        let request = self
            .http
            .request(method, url)
            .header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Value {
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.text("/entra_url"),
            self.text("/partner_tenant_id")
        );
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.http.post(url).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    async fn partner_token(&self, audience: &str) -> String {
        let answer = self
            .token(&[
                ("grant_type", "refresh_token"),
                ("client_id", &self.text("/partner_center/client_id")),
                ("client_secret", &self.text("/partner_center/client_secret")),
                ("refresh_token", &self.text("/partner_center/refresh_token")),
                ("scope", &format!("{audience}/.default")),
            ])
            .await;
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    /// Asks it to end, politely; its status.
    async fn stop(mut self) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        let status = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        let _ = std::fs::remove_dir_all(&self.folder);
        status.unwrap().unwrap().code()
    }
}

#[tokio::test]
async fn the_people_act_and_both_sides_can_be_read() {
    let running = Running::start(&[]).await;
    assert!(
        std::fs::read_to_string(running.text("/trust_anchors_file"))
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );

    let (status, shared) = running
        .act("share_opportunity", "", &json!({ "name": "Cold chain" }))
        .await;
    assert_eq!(status, 200, "{shared}");
    let opportunity = shared["id"].as_str().unwrap();
    let change = json!({ "name": "Cold chain, 60 vans", "estimatedvalue": 150000 });
    assert_eq!(running.act("seller_edits", opportunity, &change).await.0, 200);
    let (_, row) = running.act("opportunity", opportunity, &Value::Null).await;
    assert_eq!(row["name"], "Cold chain, 60 vans");
    assert_eq!(row["cosell_syncwithpartnercenter"], true);

    let (_, sent) = running.act("microsoft_sends", "", &json!({ "name": "Harvest" })).await;
    let referral = sent["referral"].as_str().unwrap();
    let change = json!({ "details": { "dealValue": 54000 } });
    assert_eq!(running.act("microsoft_edits", referral, &change).await.0, 200);
    let (_, record) = running.act("referral", referral, &Value::Null).await;
    assert_eq!(
        (&record["name"], &record["details"]["dealValue"]),
        (&json!("Harvest"), &json!(54000))
    );

    let token = running.partner_token("https://api.partner.microsoft.com").await;
    let list = format!("{}/v1.0/engagements/referrals", running.text("/partner_center_url"));
    let read = || async {
        let request = running.http.get(&list).header("authorization", &token);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    };
    assert_eq!(read().await, Some(200));
    let fault =
        json!({ "fault": "answer", "status": 429, "retry_after": 3, "api": "partner_center", "path": "referrals" });
    assert_eq!(running.act("plan_fault", "", &fault).await.0, 200);
    assert_eq!((read().await, read().await), (Some(429), Some(200)), "broken once");
    assert_eq!(
        running
            .act("plan_fault", "", &json!({ "fault": "refuse", "times": 9 }))
            .await
            .0,
        200
    );
    assert_eq!(read().await, None);
    assert_eq!(running.act("heal", "", &Value::Null).await.0, 200);
    assert_eq!(
        running.act("plan_fault", "", &json!({ "fault": "sneeze" })).await.0,
        400
    );
    let switch = json!({ "refuse_referrals_role": true });
    assert_eq!(running.act("partner_center_switches", "", &switch).await.0, 200);
    assert_eq!(read().await, Some(403));
    let (_, asked) = running.act("exchanges", "0", &Value::Null).await;
    let statuses: Vec<&Value> = asked.as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(
        statuses,
        [
            &json!(200),
            &json!(200),
            &json!(429),
            &json!(200),
            &Value::Null,
            &json!(403)
        ]
    );
    assert_eq!(running.stop().await, Some(0));
}

#[tokio::test]
async fn events_reach_a_name_below_localhost() {
    let running = Running::start(&[]).await;
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = receiver.local_addr().unwrap().port();
    let router = Router::new().route("/webhook", post(async || "taken"));
    tokio::spawn(async move { axum::serve(receiver, router).await });
    let url = format!("http://api-1234.execute-api.localhost:{port}/webhook?owner=somebody");
    let request = running
        .http
        .post(format!(
            "{}/webhooks/v1/registration",
            running.text("/partner_center_webhooks_url")
        ))
        .header(
            "authorization",
            running.partner_token("https://api.partnercenter.microsoft.com").await,
        )
        .header("content-type", "application/json");
    let body = json!({ "WebhookUrl": url, "WebhookEvents": running.told["webhook_events"],
                       "SignatureTokenToMsSignatureHeader": true });
    assert_eq!(
        request.body(body.to_string()).send().await.unwrap().status().as_u16(),
        200
    );
    running.act("microsoft_sends", "", &json!({})).await;
    let mut deliveries = Value::Null;
    for _ in 0..100 {
        deliveries = running.act("deliveries", "", &Value::Null).await.1;
        if deliveries
            .as_array()
            .unwrap()
            .iter()
            .all(|delivery| delivery["done"] == true)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(deliveries[0]["attempts"], json!([200]), "{deliveries}");
    assert_eq!(running.stop().await, Some(0));
}

#[tokio::test]
async fn a_plain_crm_has_none_of_the_columns() {
    let running = Running::start(&["--plain-crm"]).await;
    let dynamics = running.text("/dataverse_url");
    let answer = running
        .token(&[
            ("grant_type", "client_credentials"),
            ("client_id", &running.text("/dataverse/client_id")),
            ("client_secret", &running.text("/dataverse/client_secret")),
            ("scope", &format!("{dynamics}/.default")),
        ])
        .await;
    let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let url = format!(
        "{dynamics}/api/data/v9.2/EntityDefinitions(LogicalName='opportunity')/Attributes\
         ?$select=LogicalName&$filter=LogicalName eq 'cosell_audit' or LogicalName eq 'name'"
    );
    let answer = running
        .http
        .get(url)
        .header("authorization", token)
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let names: Vec<&Value> = answer["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["LogicalName"])
        .collect();
    assert_eq!(names, ["name"]);
    assert_eq!(running.act("share_opportunity", "", &json!({})).await.0, 400);
    assert_eq!(running.stop().await, Some(0));
}

#[tokio::test]
async fn what_it_cannot_do_is_said() {
    let output = Command::new(PROGRAM)
        .args(["--folder", "x", "--nonsense"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--nonsense"));
    let help = Command::new(PROGRAM).arg("--help").output().await.unwrap();
    let told = String::from_utf8_lossy(&help.stdout);
    for word in [
        "--plain-crm",
        "POST CONTROL/control/opportunities",
        "GET PARTNER_CENTER/_control/deliveries",
    ] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let folder = std::env::temp_dir().join(format!("cosell-vendors-{}", uuid::Uuid::new_v4()));
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port().min(65_530).to_string();
    let output = Command::new(PROGRAM)
        .arg("--folder")
        .arg(&folder)
        .args(["--ports", &port])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&port) && !folder.join("vendors.json").exists(), "{told}");
}
