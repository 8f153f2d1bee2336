//! The simulator's own tests, and the small client they share.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{Access, Dataverse, Limit, throttled, web};
use crate::clock::Clock;
use crate::switchboard::Switchboard;

mod conditions;
mod customizing;
mod installing;
mod money;
mod querying;
mod roles;
mod stages;
mod tracking;
mod writing;

/// An environment that lets everyone in, with the clock it lives by.
struct Bench {
    dataverse: Dataverse,
    clock: Clock,
}

/// What came back.
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and code of a refusal in one value.
    fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }

    fn ids(&self, key: &str) -> Vec<String> {
        let json = self.json();
        let values = json["value"].as_array().unwrap();
        values
            .iter()
            .map(|row| row[key].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Bench {
    async fn new() -> Self {
        let clock = Clock::default();
        let anyone = Arc::new(|_: Option<&str>| Access::Granted);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let dataverse = Dataverse::start(&Switchboard::new(), &clock, address, anyone)
            .await
            .unwrap();
        Self { dataverse, clock }
    }

    /// An environment in which nothing of ours is installed.
    async fn plain() -> Self {
        let clock = Clock::default();
        let anyone = Arc::new(|_: Option<&str>| Access::Granted);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let dataverse = Dataverse::start_plain(&Switchboard::new(), &clock, address, anyone)
            .await
            .unwrap();
        Self { dataverse, clock }
    }

    /// A customization on behalf of the co-sell solution.
    async fn customize(&self, method: Method, target: &str, body: &Value) -> Reply {
        let solution = [("mscrm.solutionuniquename", "CoSellSync")];
        self.send(method, target, &solution, &body.to_string()).await
    }

    async fn send(&self, method: Method, target: &str, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let target = target.strip_prefix(&self.dataverse.url()).map_or_else(
            || format!("/api/data/v9.2/{}", target.replace(' ', "%20")),
            str::to_owned,
        );
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = web::handle(State(self.dataverse.clone()), request).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }

    async fn get(&self, target: &str) -> Reply {
        self.send(Method::GET, target, &[], "").await
    }

    async fn get_preferring(&self, target: &str, prefer: &str) -> Reply {
        self.send(Method::GET, target, &[("prefer", prefer)], "").await
    }

    async fn patch(&self, target: &str, headers: &[(&'static str, &str)], body: &Value) -> Reply {
        self.send(Method::PATCH, target, headers, &body.to_string()).await
    }

    async fn post(&self, target: &str, body: &Value) -> Reply {
        self.send(Method::POST, target, &[], &body.to_string()).await
    }

    /// An opportunity that a seller made.
    fn opportunity(&self, name: &str) -> Uuid {
        self.dataverse
            .seller_creates("opportunity", &json!({ "name": name }))
            .unwrap()
    }

    fn row(&self, id: Uuid) -> Value {
        self.dataverse.row("opportunity", id).unwrap()
    }

    fn etag(&self, id: Uuid) -> String {
        self.row(id)["@odata.etag"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn nobody_enters_without_a_token_or_a_membership() {
    let clock = Clock::default();
    let judge = Arc::new(|authorization: Option<&str>| match authorization {
        Some("Bearer good") => Access::Granted,
        Some("Bearer stranger") => Access::NotAMember,
        _ => Access::Unauthorized,
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let dataverse = Dataverse::start(&Switchboard::new(), &clock, address, judge)
        .await
        .unwrap();
    let bench = Bench { dataverse, clock };
    let refused = bench.get("WhoAmI").await;
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .header("www-authenticate")
            .starts_with("Bearer authorization_uri=")
    );
    let stranger = bench
        .send(Method::GET, "WhoAmI", &[("authorization", "Bearer stranger")], "")
        .await;
    assert_eq!(stranger.refusal(), (403, "0x80072560".to_owned()));
    let good = [("authorization", "Bearer good")];
    let entered = bench.send(Method::GET, "WhoAmI", &good, "").await;
    assert_eq!(entered.json()["UserId"], super::seed::APPLICATION_USER.to_string());
    bench.dataverse.member(false);
    assert_eq!(bench.send(Method::GET, "WhoAmI", &good, "").await.code(), "0x80072560");
}

#[tokio::test]
async fn the_control_door_does_what_the_methods_do() {
    let bench = Bench::new().await;
    let door = |path: &str| format!("{}/_control{path}", bench.dataverse.url());
    let body = json!({ "name": "By hand" }).to_string();
    let made = bench.send(Method::POST, &door("/opportunities"), &[], &body).await;
    assert_eq!(made.status, 200);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        bench
            .send(
                Method::POST,
                &door(&format!("/opportunities/{id}/lose?status=5")),
                &[],
                ""
            )
            .await
            .status,
        200
    );
    let row = bench.get(&door(&format!("/opportunities/{id}"))).await.json();
    assert_eq!(
        (row["statecode"].clone(), row["statuscode"].clone()),
        (json!(2), json!(5))
    );
    let switches = json!({ "member": false }).to_string();
    assert_eq!(
        bench
            .send(Method::POST, &door("/switches"), &[], &switches)
            .await
            .status,
        200
    );
    assert_eq!(bench.get("WhoAmI").await.status, 403);
    assert_eq!(
        bench
            .send(Method::POST, &door("/switches"), &[], "{\"nonsense\":1}")
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
}

/// Sends a GET through a socket, as text.
async fn get_through_socket(dataverse: &Dataverse, target: &str, prefer: &str) -> String {
    let host = dataverse.url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nPrefer: {prefer}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn limits_and_links_work_over_a_real_connection() {
    let board = Switchboard::new();
    let anyone = Arc::new(|_: Option<&str>| Access::Granted);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let dataverse = Dataverse::start(&board, &Clock::default(), address, anyone)
        .await
        .unwrap();
    board.plan(0, 1, throttled(Limit::Concurrency, Some(37)), |exchange| {
        exchange.api == "dataverse"
    });
    let target = "/api/data/v9.2/opportunities?$select=name";
    let refused = get_through_socket(&dataverse, target, "").await;
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 37"),
        "{refused}"
    );
    assert!(refused.contains("\"code\":\"0x80072326\""), "{refused}");
    let first = get_through_socket(&dataverse, target, "odata.track-changes").await;
    assert!(first.contains("odata-version: 4.0"), "{first}");
    let body: Value = serde_json::from_str(first.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let delta = url::Url::parse(body["@odata.deltaLink"].as_str().unwrap()).unwrap();
    assert_eq!(
        delta.as_str(),
        body["@odata.deltaLink"],
        "a usual client does not change the link on its way"
    );
    let target = format!("{}?{}", delta.path(), delta.query().unwrap());
    assert!(
        get_through_socket(&dataverse, &target, "")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}
