//! The simulator seen through its HTTP interface, as a client sees it: what all these tests share.

mod referrals;
mod webhooks;

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::PartnerCenter;
use crate::clock::Clock;
use crate::entra::{Entra, PARTNER_AUDIENCE, PARTNER_CENTER_AUDIENCE};
use crate::switchboard::Switchboard;

const TENANT: &str = "8f6f0a52-5d3f-4b0e-9a0b-2f3a61c4d7e8";
/// Long enough that only tests of expiry meet it.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

struct World {
    board: Switchboard,
    clock: Clock,
    entra: Entra,
    partner_center: PartnerCenter,
    client: reqwest::Client,
    partner_token: String,
    webhooks_token: String,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn target(&self) -> String {
        self.json()["error"]["target"].as_str().unwrap().to_owned()
    }
}

impl World {
    async fn new() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (board, clock) = (Switchboard::new(), Clock::default());
        let entra = Entra::start(&board, &clock, anywhere).await.unwrap();
        let partner_center = PartnerCenter::start(&board, &clock, &entra, anywhere, anywhere, anywhere)
            .await
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        entra.set_lifetime(TOKEN_LIFETIME);
        let refresh = entra.add_delegated_client(TENANT, "connector", "secret");
        let grant = |audience| {
            [
                ("grant_type", "refresh_token"),
                ("refresh_token", &refresh),
                ("resource", audience),
            ]
        };
        let partner_token = token(&client, &entra, &grant(PARTNER_AUDIENCE)).await;
        let webhooks_token = token(&client, &entra, &grant(PARTNER_CENTER_AUDIENCE)).await;
        partner_center.delivery_backoff(Duration::from_millis(1));
        Self {
            board,
            clock,
            entra,
            partner_center,
            client,
            partner_token,
            webhooks_token,
        }
    }

    async fn call(&self, method: Method, url: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self
            .client
            .request(method, url)
            .header("Authorization", format!("Bearer {token}"));
        if !body.is_empty() {
            request = request.header("Content-Type", "application/json").body(body.to_owned());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    async fn referrals(&self, method: Method, rest: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!(
            "{}/v1.0/engagements/referrals{rest}",
            self.partner_center.referrals_url()
        );
        self.call(method, &url, &self.partner_token, headers, body).await
    }

    async fn registration(&self, method: Method, rest: &str, body: &str) -> Answer {
        let url = format!("{}/webhooks/v1/registration{rest}", self.partner_center.webhooks_url());
        self.call(method, &url, &self.webhooks_token, &[], body).await
    }

    async fn created(&self, deal: &Value) -> Value {
        let answer = self.referrals(Method::POST, "", &[], &deal.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()
    }

    async fn patched(&self, id: &Value, operations: &Value) -> Answer {
        let path = format!("/{}", id.as_str().unwrap());
        self.referrals(
            Method::PATCH,
            &path,
            &[("Prefer", "return=representation")],
            &operations.to_string(),
        )
        .await
    }
}

/// An access token for what the fields ask.
async fn token(client: &reqwest::Client, entra: &Entra, fields: &[(&str, &str)]) -> String {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", "connector"), ("client_secret", "secret")])
        .extend_pairs(fields)
        .finish();
    let request = client
        .post(format!("{}/{TENANT}/oauth2/token", entra.url()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// An own deal that is shared with Microsoft.
fn shared_deal() -> Value {
    json!({
        "name": "Orchard sensors",
        "externalReferenceId": "1f1d4c5e-0000-4000-8000-000000000001",
        "qualification": "SalesQualified",
        "type": "Shared",
        "target": [{ "type": "SolutionProfile", "id": "SOL-31415-LRK" }],
        "customerProfile": {
            "name": "Ridge Fruit",
            "size": "10to50employees",
            "address": { "addressLine1": "1 Lane", "city": "Cork", "postalCode": "T12", "country": "IE" },
            "team": [{ "firstName": "A", "lastName": "B", "phoneNumber": "+3531", "email": "a@ridge.example" }],
        },
        "consent": {
            "ConsentToToShareInfoWithOthers": true,
            "ConsentToContact": true,
            "ConsentToMicrosoftToContactSpecificPartners": true,
            "consentToShareReferralWithMicrosoftSellers": true,
        },
        "details": {
            "notes": "n",
            "dealValue": 1250.5,
            "currency": "EUR",
            "closingDateTime": "2027-09-15T00:00:00Z",
            "requirements": {
                "solutions": [{ "id": "SOL-31415-LRK", "name": "Sensors", "type": "Name" }],
                "additionalRequirements": {
                    "iot": {},
                    "attributes": [{ "type": "CustomerMarketplaceIntent", "id": "HaveNotDecided" }],
                },
            },
        },
        "team": [{ "firstName": "C", "lastName": "D", "phoneNumber": "+441", "email": "c@larkfield.example" }],
    })
}

/// A deal that Microsoft cannot see.
fn private_deal() -> Value {
    let mut deal = shared_deal();
    deal["type"] = json!("Independent");
    deal["target"] = json!([]);
    deal["consent"]["consentToShareReferralWithMicrosoftSellers"] = json!(false);
    deal
}

/// Microsoft's half of a deal.
fn invitation(engagement: &Value) -> Value {
    let mut deal = shared_deal();
    deal["engagementId"] = engagement.clone();
    deal["target"] = json!([{ "type": "BusinessProfileLocation", "id": "msft" }]);
    deal["inviteContext"] = json!({ "notes": "help", "assistanceRequestCode": "ProofOfConceptOrDemo" });
    deal
}

fn close(substatus: &str) -> Value {
    json!([
        { "op": "replace", "path": "/status", "value": "Closed" },
        { "op": "replace", "path": "/substatus", "value": substatus },
        { "op": "replace", "path": "/statusReason", "value": "Others" },
    ])
}
