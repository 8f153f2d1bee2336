//! One request of one flow goes wrong: the flows, the ways, and what has to be true in the end.
//!
//! A flow is played once without a fault, which tells its requests. Then it is played again for every one of them, each
//! time in a world of its own, with that request broken. Guarantee shown: whichever request it was, there is one deal in
//! the end, both sides say the same, the vendors carried out no more writes than without the fault, and nothing is left
//! open in the ledger.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cosell_tests::partner_center::{InboundDeal, InboundKind};
use cosell_tests::switchboard::{Exchange, Fault};
use cosell_tests::world::{Setup, Sharing, World};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::{Effects, SYNCED, assert_in_step, effects_since, shape};

/// How long deliveries and messages of one step may take: several requests that are withheld, one behind the other.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an answer is withheld: longer than any client of ours waits for one.
const STALL: Duration = Duration::from_secs(25);

/// What happens in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Microsoft sends a co-sell deal, which waits for an answer.
    InboundCreate,
    /// A user of the portal makes a deal.
    PortalCreate,
    /// A seller shares a deal and asks Microsoft for help.
    CosellCreate,
    /// A seller changes a shared deal.
    TowardPartnerCenter,
    /// A user of the portal changes a shared deal.
    TowardDynamics,
    /// A user of the portal puts two solutions into the place of one: rows are created and one is deleted.
    SolutionsTowardDynamics,
    /// A seller adds a row for a solution and deletes another.
    SolutionsTowardPartnerCenter,
    /// A seller wins a shared deal.
    WonTowardPartnerCenter,
    /// A user of the portal closes a shared deal as won.
    WonTowardDynamics,
    /// A seller accepts a co-sell deal of Microsoft's, with another value and date.
    Accepted,
    /// Microsoft sends a lead, which waits for an answer.
    LeadCreate,
    /// A seller qualifies a lead of Microsoft's.
    LeadQualified,
    /// A user of the portal accepts a lead of Microsoft's.
    LeadAccepted,
}

impl Flow {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::InboundCreate,
        Self::PortalCreate,
        Self::CosellCreate,
        Self::TowardPartnerCenter,
        Self::TowardDynamics,
        Self::SolutionsTowardDynamics,
        Self::SolutionsTowardPartnerCenter,
        Self::WonTowardPartnerCenter,
        Self::WonTowardDynamics,
        Self::Accepted,
        Self::LeadCreate,
        Self::LeadQualified,
        Self::LeadAccepted,
    ];

    /// Whether it is about a lead, which stays out unless it is wanted.
    const fn is_of_a_lead(self) -> bool {
        matches!(self, Self::LeadCreate | Self::LeadQualified | Self::LeadAccepted)
    }

    /// Whether Microsoft's half of the deal is there, too.
    const fn has_two_halves(self) -> bool {
        matches!(
            self,
            Self::InboundCreate | Self::CosellCreate | Self::TowardPartnerCenter | Self::Accepted
        )
    }

    /// The runs of the schedule after it. A change in the portal is seen at once, one in the CRM is found by the first
    /// poll, and its echo by the third.
    const fn runs(self) -> &'static [&'static str] {
        match self {
            Self::InboundCreate
            | Self::PortalCreate
            | Self::TowardDynamics
            | Self::SolutionsTowardDynamics
            | Self::WonTowardDynamics
            | Self::LeadCreate
            | Self::LeadAccepted => &["poll-dynamics", "poll-partner-center"],
            Self::CosellCreate
            | Self::TowardPartnerCenter
            | Self::SolutionsTowardPartnerCenter
            | Self::WonTowardPartnerCenter
            | Self::Accepted
            | Self::LeadQualified => &["poll-dynamics", "poll-partner-center", "poll-dynamics"],
        }
    }
}

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It is carried out, and the process is killed before it learns so.
    Killed,
    /// The connection is cut before it is seen.
    Refused,
    /// It is carried out, and the connection is cut before the answer.
    Dropped,
    /// It is answered 429, one second to wait; by AWS, 400 and the name of its throttling.
    Throttled,
    /// It is answered 503, and so are the next three: longer than a call is repeated for.
    Unavailable,
    /// It is answered 500, once.
    Broken,
    /// It is carried out, and answered 500 all the same.
    BrokenAfter,
    /// It is carried out, and the answer is withheld until nobody waits for it any more.
    Stalled,
}

impl Mishap {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Killed,
        Self::Refused,
        Self::Dropped,
        Self::Throttled,
        Self::Unavailable,
        Self::Broken,
        Self::BrokenAfter,
        Self::Stalled,
    ];

    /// Worlds that run at once: while one waits, the others use the machine.
    const fn worlds(self) -> usize {
        match self {
            Self::Stalled => 24,
            _ => 4,
        }
    }

    /// What happens to this request.
    fn fault(self, request: &Exchange, world: &World) -> Fault {
        match self {
            Self::Killed if is_of_webhook(request) => Fault::RunAfterApply(world.webhook.kill_switch()),
            Self::Killed => Fault::RunAfterApply(world.sync.kill_switch()),
            Self::Refused => Fault::Refuse,
            Self::Dropped => Fault::DropAfterApply,
            Self::Throttled if request.api == "aws" => throttle_of_aws(),
            Self::Throttled => answer(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "1")]),
            Self::Unavailable => answer(StatusCode::SERVICE_UNAVAILABLE, &[]),
            Self::Broken => answer(StatusCode::INTERNAL_SERVER_ERROR, &[]),
            Self::BrokenAfter => Fault::AnswerAfterApply(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Stalled => Fault::Stall(STALL),
        }
    }

    /// Whether the request is carried out, although whoever made it does not learn so.
    const fn is_carried_out(self) -> bool {
        match self {
            Self::Killed | Self::Dropped | Self::BrokenAfter | Self::Stalled => true,
            Self::Refused | Self::Throttled | Self::Unavailable | Self::Broken => false,
        }
    }

    /// How many requests in a row go wrong.
    const fn times(self) -> usize {
        match self {
            Self::Unavailable => 4,
            Self::Killed
            | Self::Refused
            | Self::Dropped
            | Self::Throttled
            | Self::Broken
            | Self::BrokenAfter
            | Self::Stalled => 1,
        }
    }
}

/// An answer that the vendor gives instead of doing what it was asked for.
fn answer(status: StatusCode, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Fault::Answer {
        status,
        headers: headers
            .chain([("content-type", "application/json".to_owned())])
            .collect(),
        body: json!({ "error": { "code": status.as_str(), "message": "Not now." } }).to_string(),
    }
}

/// How DynamoDB, SQS and Secrets Manager say that they have no time; they name no wait.
fn throttle_of_aws() -> Fault {
    Fault::Answer {
        status: StatusCode::BAD_REQUEST,
        headers: vec![("content-type", "application/x-amz-json-1.0".to_owned())],
        body: json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }).to_string(),
    }
}

/// Whether `sync` made this request: everything but the webhook's one message and its certificates. Those about breakers
/// are left out: they are made every five seconds, whatever happens meanwhile, so that their number depends on the time.
pub(crate) fn is_of_sync(exchange: &Exchange) -> bool {
    match exchange.api {
        "entra" | "partner_center" | "dataverse" => !exchange.target.starts_with("/_control"),
        "aws" => {
            operation(exchange).is_some_and(|operation| operation != ONE_MESSAGE) && !exchange.mentions("BREAKER#")
        }
        _ => false,
    }
}

/// Whether `webhook` made this request.
fn is_of_webhook(exchange: &Exchange) -> bool {
    match exchange.api {
        "certificates" => true,
        "aws" => operation(exchange).is_some_and(|operation| operation == ONE_MESSAGE),
        _ => false,
    }
}

/// A function whose requests are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The one that reconciles.
    Sync,
    /// The one that takes posts.
    Webhook,
}

impl Caller {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Sync, Self::Webhook];

    /// How its requests are told from others.
    pub(crate) const fn requests(self) -> fn(&Exchange) -> bool {
        match self {
            Self::Sync => is_of_sync,
            Self::Webhook => is_of_webhook,
        }
    }
}

/// What `webhook` asks of AWS, and only it.
const ONE_MESSAGE: &str = "AmazonSQS.SendMessage";

/// What AWS is asked for.
fn operation(exchange: &Exchange) -> Option<&str> {
    exchange.headers.get("x-amz-target")?.to_str().ok()
}

/// What Dynamics does once and refuses from then on: whoever does not learn that it was done is refused, looks, and sees it.
const ONCE: [&str; 2] = ["WinOpportunity", "QualifyLead"];

/// A world in which a flow can begin.
struct Stage {
    flow: Flow,
    world: World,
    /// The deal, where the flow begins with one: opportunity or lead, and referral.
    deal: Option<(String, String)>,
    /// Where the flow began.
    mark: u64,
}

impl Stage {
    async fn set(flow: Flow) -> Self {
        let cosell_only = if flow.is_of_a_lead() { "false" } else { "true" };
        // One worker, one receiver: the same requests come in the same order, save for a look more or less.
        let world = World::start_with(Setup {
            workers: 1,
            receivers: 1,
            settings: vec![("SYNC_COSELL_ONLY".to_owned(), cosell_only.to_owned())],
            ..Setup::default()
        })
        .await
        .unwrap();
        let deal = match flow {
            Flow::InboundCreate | Flow::PortalCreate | Flow::CosellCreate | Flow::LeadCreate => None,
            Flow::Accepted => {
                let (opportunity, sent) = world.received(&InboundDeal::default()).await;
                Some((opportunity, sent.referral))
            }
            Flow::LeadQualified | Flow::LeadAccepted => {
                let sent = world.microsoft_sends(&lead());
                world.settle().await;
                Some((world.lead_of(&sent.referral), sent.referral))
            }
            Flow::TowardPartnerCenter | Flow::WonTowardPartnerCenter => {
                let opportunity = world.seller_enters(&Sharing::default());
                world.settle().await;
                Some((opportunity.clone(), world.referral_of(&opportunity)))
            }
            Flow::TowardDynamics
            | Flow::SolutionsTowardDynamics
            | Flow::SolutionsTowardPartnerCenter
            | Flow::WonTowardDynamics => {
                let referral = world.portal_creates(&json!({}));
                world.settle().await;
                Some((world.opportunity_of(&referral), referral))
            }
        };
        let mark = world.switchboard.mark();
        Self {
            flow,
            world,
            deal,
            mark,
        }
    }

    /// Somebody does something.
    fn act(&mut self) {
        let world = &self.world;
        match (self.flow, &self.deal) {
            (Flow::TowardPartnerCenter, Some((opportunity, _))) => {
                let change = json!({ "estimatedvalue": 131_000.25, "description": "Sixty vans by now." });
                world.seller_edits(opportunity, &change);
            }
            (Flow::TowardDynamics, Some((_, referral))) => {
                let change = json!({ "details": { "dealValue": 12_500, "notes": "Two sites more." } });
                world.portal_edits(referral, change);
            }
            (Flow::SolutionsTowardDynamics, Some((_, referral))) => {
                world.portal_edits(referral, in_the_place_of_one());
            }
            (Flow::SolutionsTowardPartnerCenter, Some((opportunity, _))) => {
                for row in world.solution_rows(opportunity) {
                    world.seller_deletes(&text(&row, "cosell_dealsolutionid"));
                }
                let row = json!({ "cosell_name": "Crates", "cosell_solutionid": "SOL-40001-CRT" });
                world.seller_adds_solution(opportunity, &row);
            }
            (Flow::WonTowardPartnerCenter, Some((opportunity, _))) => world.seller_wins(opportunity),
            (Flow::WonTowardDynamics, Some((_, referral))) => {
                world.portal_edits(referral, json!({ "status": "Closed", "substatus": "Won" }));
            }
            (Flow::Accepted, Some((opportunity, _))) => {
                let change = json!({ "statuscode": 1, "estimatedvalue": 64_000.5, "estimatedclosedate": "2027-11-30" });
                world.seller_edits(opportunity, &change);
            }
            (Flow::LeadQualified, Some((lead, _))) => world.seller_qualifies(lead),
            (Flow::LeadAccepted, Some((_, referral))) => {
                world.portal_edits(referral, json!({ "status": "Active", "substatus": "Accepted" }));
            }
            (Flow::LeadCreate, _) => {
                let sent = world.microsoft_sends(&lead());
                self.deal = Some((String::new(), sent.referral));
            }
            (Flow::CosellCreate, _) => {
                let opportunity = world.seller_enters(&Sharing::default());
                self.deal = Some((opportunity, String::new()));
            }
            (Flow::PortalCreate, _) => {
                let referral = world.portal_creates(&json!({}));
                self.deal = Some((String::new(), referral));
            }
            (
                Flow::InboundCreate
                | Flow::TowardPartnerCenter
                | Flow::TowardDynamics
                | Flow::SolutionsTowardDynamics
                | Flow::SolutionsTowardPartnerCenter
                | Flow::WonTowardPartnerCenter
                | Flow::WonTowardDynamics
                | Flow::Accepted
                | Flow::LeadQualified
                | Flow::LeadAccepted,
                _,
            ) => {
                let sent = world.microsoft_sends(&InboundDeal::default());
                self.deal = Some((String::new(), sent.referral));
            }
        }
    }

    /// From what somebody did to rest, always by the same steps: events, both polls, and the second look that follows.
    async fn run(&self) {
        self.work_off().await;
        self.is_due().await;
        for run in self.flow.runs() {
            // A poll that is killed is left to the next, as the scheduler leaves it.
            let _ = self.world.invoke(json!({ "run": run })).await;
            self.work_off().await;
            self.is_due().await;
        }
    }

    /// Waits until the next poll takes up all that is due.
    async fn is_due(&self) {
        self.world
            .until("what is due has come", |world| is_past(world, world.clock.now()))
            .await;
    }

    async fn work_off(&self) {
        let world = &self.world;
        assert!(
            world.partner_center.quiet(PATIENCE).await,
            "a delivery hangs; {}",
            world.state_of_affairs()
        );
        assert!(
            world.source.idle(PATIENCE).await,
            "a message hangs; {}",
            world.state_of_affairs()
        );
    }

    fn requests(&self) -> Vec<Exchange> {
        self.world.switchboard.since(self.mark)
    }

    /// Exactly one deal, in step, and what was done at the vendors for it.
    fn look(&self) -> Effects {
        let world = &self.world;
        for delivery in world.partner_center.deliveries() {
            assert!(delivery.is_accepted(), "an event is lost: {delivery:?}");
        }
        if self.flow == Flow::LeadCreate {
            self.look_at_the_lead();
            return effects_since(world, self.mark);
        }
        let (opportunities, referrals) = (world.dataverse.opportunities(), world.partner_center.referrals());
        assert_eq!(
            opportunities.len(),
            1,
            "opportunities: {opportunities:#?}\n{}",
            world.state_of_affairs()
        );
        for table in ["accounts", "contacts"] {
            let rows = world.dataverse.rows(table);
            assert_eq!(rows.len(), 1, "{table}: {rows:#?}\n{}", world.state_of_affairs());
        }
        let (own, halves): (Vec<&Value>, Vec<&Value>) = referrals
            .iter()
            .partition(|referral| referral["organizationName"] != "Microsoft");
        assert_eq!(own.len(), 1, "own referrals: {own:#?}\n{}", world.state_of_affairs());
        let (opportunity, referral) = (text(&opportunities[0], "opportunityid"), text(own[0], "id"));
        assert_in_step(world, &opportunity, &referral);
        if self.flow.has_two_halves() {
            assert_eq!(
                halves.len(),
                1,
                "Microsoft's halves: {halves:#?}\n{}",
                world.state_of_affairs()
            );
            assert_eq!(halves[0]["engagementId"], own[0]["engagementId"]);
        }
        let link = only_link(world);
        assert_eq!(link["opportunity"], opportunities[0]["opportunityid"], "{link:#}");
        match self.flow {
            Flow::TowardPartnerCenter => assert_eq!(own[0]["details"]["dealValue"], json!(131_000.25)),
            Flow::TowardDynamics => assert_eq!(opportunities[0]["estimatedvalue"], json!(12_500.0)),
            Flow::InboundCreate => {
                let told = &opportunities[0]["cosell_microsoftcrmid"];
                assert_eq!(
                    told,
                    "7-4SIMULATED1",
                    "Microsoft's id of the deal; {}",
                    world.state_of_affairs()
                );
            }
            Flow::SolutionsTowardDynamics | Flow::SolutionsTowardPartnerCenter => {
                let rows = world.solution_rows(&opportunity);
                let expected = if self.flow == Flow::SolutionsTowardDynamics {
                    2
                } else {
                    1
                };
                assert_eq!(rows.len(), expected, "{rows:#?}\n{}", world.state_of_affairs());
            }
            Flow::WonTowardPartnerCenter | Flow::WonTowardDynamics => {
                assert_eq!(own[0]["substatus"], "Won");
                assert_eq!(
                    opportunities[0]["statecode"],
                    json!(1),
                    "won: {}",
                    world.state_of_affairs()
                );
            }
            Flow::Accepted => {
                assert_eq!(
                    (&own[0]["status"], &own[0]["substatus"]),
                    (&json!("Active"), &json!("Accepted"))
                );
                assert_eq!(own[0]["details"]["dealValue"], json!(64_000.5));
                assert_eq!(own[0]["details"]["closingDateTime"], "2027-11-30T00:00:00Z");
            }
            Flow::LeadQualified | Flow::LeadAccepted => {
                let leads = world.dataverse.rows("leads");
                assert_eq!(leads.len(), 1, "{leads:#?}\n{}", world.state_of_affairs());
                assert_eq!(leads[0]["statecode"], json!(1), "{}", world.state_of_affairs());
                assert_eq!(opportunities[0]["_originatingleadid_value"], leads[0]["leadid"]);
                assert_eq!(link["lead"], leads[0]["leadid"], "{}", world.state_of_affairs());
                assert_eq!(
                    (&own[0]["status"], &own[0]["substatus"]),
                    (&json!("Active"), &json!("Accepted"))
                );
                assert!(world.losers().is_empty(), "{:#?}", world.losers());
            }
            Flow::PortalCreate | Flow::CosellCreate | Flow::LeadCreate => {}
        }
        if self.flow.has_two_halves() {
            assert_eq!(
                link["microsoft"],
                halves[0]["id"],
                "Microsoft's half is linked; {}",
                world.state_of_affairs()
            );
        }
        self.look_at_the_audit(&opportunities[0]);
        effects_since(world, self.mark)
    }

    /// Exactly one lead, linked, and nothing else.
    fn look_at_the_lead(&self) {
        let world = &self.world;
        let (leads, referrals) = (world.dataverse.rows("leads"), world.partner_center.referrals());
        assert_eq!(leads.len(), 1, "leads: {leads:#?}\n{}", world.state_of_affairs());
        assert_eq!(referrals.len(), 1, "referrals: {referrals:#?}");
        assert!(world.dataverse.opportunities().is_empty());
        let (lead, record, link) = (&leads[0], &referrals[0], only_link(world));
        assert_eq!(
            (&link["lead"], &link["referral"]),
            (&lead["leadid"], &record["id"]),
            "{link:#}"
        );
        assert_eq!(lead["cosell_referralidentifier"], record["id"]);
        assert_eq!(lead["cosell_syncstatus"], json!(SYNCED), "{}", world.state_of_affairs());
        assert_eq!(lead["subject"], json!(format!("✔ {}", text(record, "name"))));
        assert_eq!(
            lead["estimatedamount"].as_f64(),
            record["details"]["dealValue"].as_f64()
        );
        assert_eq!(lead["description"], record["details"]["notes"]);
        assert_eq!(lead["statecode"], json!(0));
        assert_eq!(
            (&record["status"], &record["substatus"]),
            (&json!("New"), &json!("Pending"))
        );
        for open in ["pending", "due", "attention"] {
            assert!(link[open].is_null(), "{open} is left open: {link:#}");
        }
        let codes = world.audited_codes();
        assert!(codes.iter().any(|code| code == "created"), "{codes:?}");
        let trail = text(lead, "cosell_audit");
        assert!(trail.contains("the lead was created"), "{trail:?}");
    }

    /// Whatever went wrong in between: what was done is on record, and the seller was told.
    fn look_at_the_audit(&self, row: &Value) {
        let world = &self.world;
        let (codes, trail) = (world.audited_codes(), text(row, "cosell_audit"));
        let is_told = |code: &str, words: &str| {
            assert!(
                codes.iter().any(|found| found == code),
                "audited {code}: {codes:?} {}",
                world.state_of_affairs()
            );
            assert!(
                trail.contains(words),
                "the seller is told {words:?}: {trail:?} {}",
                world.state_of_affairs()
            );
        };
        match self.flow {
            Flow::InboundCreate | Flow::PortalCreate => is_told("created", "the opportunity was created"),
            Flow::CosellCreate => {
                is_told("created", "the deal was shared");
                is_told("microsoft_invited", "Microsoft was asked for help");
            }
            Flow::LeadQualified | Flow::LeadAccepted => {
                assert!(
                    trail.contains("takes its place"),
                    "the seller is told: {trail:?} {}",
                    world.state_of_affairs()
                );
            }
            // Told on the lead.
            Flow::LeadCreate => {}
            Flow::SolutionsTowardDynamics | Flow::SolutionsTowardPartnerCenter => {
                let told = codes.iter().any(|code| code == "carried");
                assert!(told, "{codes:?} {}", world.state_of_affairs());
            }
            Flow::TowardPartnerCenter | Flow::TowardDynamics => self.are_audited_once(&["notes", "value"]),
            Flow::WonTowardPartnerCenter | Flow::WonTowardDynamics => self.are_audited_once(&["stage"]),
            Flow::Accepted => self.are_audited_once(&["stage", "value", "close_date"]),
        }
    }

    /// A change of each of these fields is on record, once.
    fn are_audited_once(&self, fields: &[&str]) {
        let records = self.world.audit();
        let changes = records
            .iter()
            .filter_map(|record| record["changes"].as_array())
            .flatten();
        let audited: Vec<String> = changes.map(|change| text(change, "field")).collect();
        for field in fields {
            let times = audited.iter().filter(|found| found == field).count();
            assert_eq!(
                times,
                1,
                "audited changes of {field}: {audited:?} {}",
                self.world.state_of_affairs()
            );
        }
    }
}

/// A lead of Microsoft's that names a close date.
fn lead() -> InboundDeal {
    InboundDeal {
        kind: InboundKind::QualifiedLead,
        closing: Some("2027-05-31T00:00:00Z".to_owned()),
        ..InboundDeal::default()
    }
}

/// What a user of the portal changes when two other solutions take the place of the one of the deal.
fn in_the_place_of_one() -> Value {
    let solution = |id: &str| json!({ "id": id, "name": id, "type": "Name", "publisherName": "Aldermoor" });
    json!({ "details": { "requirements": { "solutions": [solution("SOL-40002-BXS"), solution("SOL-40003-LDS")] } } })
}

/// The one link that joins two records. Another may be left of a look at a record that could not be told to belong to the
/// deal at the time; nothing is open in it.
fn only_link(world: &World) -> Value {
    let (mut joined, left): (Vec<Value>, Vec<Value>) = world
        .links()
        .into_iter()
        .partition(|link| link.get("referral").is_some() && link.get("opportunity").or(link.get("lead")).is_some());
    for link in &left {
        for open in ["pending", "due", "attention"] {
            assert!(link[open].is_null(), "{open} is left open: {link:#}");
        }
    }
    assert_eq!(joined.len(), 1, "links: {}", Value::from(world.links()));
    joined.remove(0)
}

/// Whether nothing is due in the future.
fn is_past(world: &World, now: Timestamp) -> bool {
    let links = world.links();
    let mut dates = links
        .iter()
        .filter_map(|link| link["due"]["at"].as_str()?.parse::<Timestamp>().ok());
    dates.all(|at| at <= now)
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// One request of one flow goes wrong.
#[derive(Clone)]
struct Case {
    flow: Flow,
    mishap: Mishap,
    /// The how many-th request it is, from 0.
    position: usize,
    /// How many of the same kind come before it. Two runs may differ by a look, so this finds it again.
    before: usize,
    /// Which requests are counted.
    counted: fn(&Exchange) -> bool,
    /// The request, as it was without a fault.
    request: Exchange,
    /// What is to be done at the vendors, and how often.
    effects: Effects,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, request {} ({}) {:?}",
            self.flow,
            self.position + 1,
            shape(&self.request),
            self.mishap
        )
    }
}

impl Case {
    /// Whether the request was made, and broken. If it was not, the world is looked at all the same.
    async fn play(self) -> bool {
        let mut stage = Stage::set(self.flow).await;
        let fault = self.mishap.fault(&self.request, &stage.world);
        let (kind, counted, before) = (shape(&self.request), self.counted, self.before);
        let seen = AtomicUsize::new(0);
        // From this request on, as many as the mishap takes.
        let is_met = move |request: &Exchange| {
            let is_next = || shape(request) == kind && seen.fetch_add(1, Ordering::SeqCst) >= before;
            counted(request) && (seen.load(Ordering::SeqCst) > before || is_next())
        };
        stage.world.switchboard.plan(0, self.mishap.times(), fault, is_met);
        stage.act();
        stage.run().await;
        // A killed poll keeps the others out until its lease ends.
        stage.world.let_leases_lapse();
        stage.world.settle().await;
        let is_met = stage.world.switchboard.unused_faults().is_empty();
        stage.world.switchboard.heal();
        let effects = stage.look();
        assert_eq!(effects.business, self.effects.business, "what the vendors carried out");
        // Telling the seller the same again is harmless: the columns are ours, and every request stands on a version.
        let told = effects.display.saturating_sub(self.effects.display);
        assert!(told <= 2, "the seller was told {told} times more: {effects:#?}");
        if self.mishap.is_carried_out() {
            let broken = stage.world.switchboard.broken();
            for action in ONCE {
                if broken.iter().any(|request| request.target.contains(action)) {
                    stage.world.tolerate_at("dataverse", action);
                }
            }
        }
        stage.world.close().await;
        is_met
    }
}

/// What came of a flow whose requests were broken, one by one.
pub(crate) struct Tried {
    /// How often it was played with a fault.
    pub(crate) cases: usize,
    /// Those that did not end as they should.
    pub(crate) failed: Vec<String>,
    /// Those whose request was not made again, however often the flow was played: a look more that the first play took.
    pub(crate) unmet: Vec<String>,
}

/// How often a flow is played for a request that is not made again. Whether a second look finds something to do depends
/// on the time that the first one took.
const PLAYS: usize = 5;

/// Whether a request asks and changes nothing: one that may be made once more or less.
pub(crate) fn is_a_read(exchange: &Exchange) -> bool {
    let reads = ["GetItem", "Query", "GetSecretValue"];
    match operation(exchange) {
        Some(operation) => reads.iter().any(|read| operation.ends_with(read)),
        None => !exchange.is_write(),
    }
}

/// Plays a flow once without a fault, then again for each of its requests that is `counted`, broken; or for the
/// `only` one, counted from 1. Tells what came of it, and why a case failed.
pub(crate) async fn try_each_request(
    flow: Flow,
    mishap: Mishap,
    counted: fn(&Exchange) -> bool,
    only: Option<usize>,
) -> Tried {
    let began = Instant::now();
    let mut stage = Stage::set(flow).await;
    stage.act();
    stage.run().await;
    let requests: Vec<Exchange> = stage.requests().into_iter().filter(counted).collect();
    stage.world.settle().await;
    let effects = stage.look();
    assert!(!effects.business.is_empty(), "a flow that does something");
    stage.world.close().await;

    let asked_for = |position: &usize| only.is_none_or(|only| only == position + 1);
    let positions = requests.iter().enumerate().filter(|(position, _)| asked_for(position));
    let mut cases = positions.map(|(position, request)| Case {
        flow,
        mishap,
        position,
        before: requests
            .iter()
            .take(position)
            .filter(|other| shape(other) == shape(request))
            .count(),
        counted,
        request: request.clone(),
        effects: effects.clone(),
    });
    let mut running = JoinSet::new();
    let mut played = BTreeMap::new();
    let mut again = Vec::new();
    let (mut failed, mut unmet) = (Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        while running.len() < mishap.worlds() {
            let (case, plays) = match again.pop() {
                Some(next) => next,
                None => match cases.next() {
                    Some(case) => (case, 0),
                    None => break,
                },
            };
            count += usize::from(plays == 0);
            let task = running.spawn(case.clone().play()).id();
            played.insert(task.to_string(), (case, plays + 1));
        }
        let (task, result) = match running.join_next_with_id().await {
            None => break,
            Some(Ok((task, is_met))) => (task, Ok(is_met)),
            Some(Err(error)) => (error.id(), Err(error.into_panic())),
        };
        let Some((case, plays)) = played.remove(&task.to_string()) else {
            continue;
        };
        match result {
            Ok(true) => {}
            Ok(false) if plays < PLAYS => again.push((case, plays)),
            Ok(false) if is_a_read(&case.request) => unmet.push(case.to_string()),
            Ok(false) => failed.push(format!("{case}: was made in none of {plays} more plays")),
            Err(panic) => {
                println!("{case}: {}", said(panic.as_ref()));
                failed.push(case.to_string());
            }
        }
    }
    for name in &unmet {
        println!("{name}: was not made again");
    }
    println!(
        "{flow:?} {mishap:?}{}: {} requests, {count} cases, {} failed, {} without their request, {} s",
        if requests.iter().any(is_of_webhook) {
            " of webhook"
        } else {
            ""
        },
        requests.len(),
        failed.len(),
        unmet.len(),
        began.elapsed().as_secs()
    );
    Tried {
        cases: count,
        failed,
        unmet,
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
