//! The two scenarios of the replaced product's manual, and four it could not play, told step by step while they happen.
//!
//! Knows: who does what, and what has to be true afterwards on both sides. Refuses to know: how the connector does it.
//! Guarantee: a step holds only when everything that is claimed about it was seen within [`LIMIT`].

mod answers;

use std::sync::Arc;
use std::time::Duration;

use cosell_tests::world::{EVENTS, Sharing, World};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::deal::{Deal, text};
use cosell_tests::screen::{Row, Screen};

/// How long the other side may take to follow.
const LIMIT: Duration = Duration::from_secs(5);

/// How long echoes and audits of one step may go on before the next one begins.
const REST: Duration = Duration::from_secs(2);

/// Steps there are when all of them are played.
const STEPS: usize = 20;

/// The notes of somebody at Microsoft.
const NEW_NOTES: &str = "Two more sites wish to join.";

/// What the stories leave behind, for the lines to try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast {
    /// The open opportunity of the first story.
    pub(crate) opportunity: String,
    /// Its referral.
    pub(crate) referral: String,
}

/// How the play ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What is left, when every step held.
    pub(crate) cast: Option<Cast>,
    /// One line about all steps.
    pub(crate) summary: String,
}

/// A step did not hold; it has been told already.
#[derive(Debug)]
struct Stopped;

/// Something that has to be true, with what was seen instead of it.
#[derive(Clone, Debug)]
struct Claim {
    expected: String,
    found: String,
    holds: bool,
}

/// Something that has to be true.
fn claim(expected: impl Into<String>, holds: bool, found: impl Into<String>) -> Claim {
    Claim {
        expected: expected.into(),
        found: found.into(),
        holds,
    }
}

/// Two texts that have to be the same.
fn same(what: &str, expected: &str, found: &str) -> Claim {
    claim(format!("{what} is {expected}"), found == expected, found)
}

/// What is claimed of any deal that is in step: it is linked both ways, marked and audited.
fn linked(deal: &Deal) -> Vec<Claim> {
    let (id, identifier) = (
        deal.referral_id(),
        text(&deal.opportunity, "/cosell_referralidentifier"),
    );
    let link = text(&deal.opportunity, "/cosell_referrallink");
    let name = text(&deal.opportunity, "/name");
    let line = deal.audit_line();
    let audited = match line.as_str() {
        "" => "the opportunity carries an audit line that says what happened".to_owned(),
        line => format!("the opportunity carries an audit line: \"{line}\""),
    };
    vec![
        claim(
            "the opportunity carries the referral's identifier",
            !id.is_empty() && identifier == id,
            format!("referral {id:?}, identifier {identifier:?}"),
        ),
        claim(
            "the opportunity carries a link into Partner Center",
            !id.is_empty() && link.contains(&id),
            link,
        ),
        claim(audited, !line.is_empty(), ""),
        claim(
            "the opportunity has the check mark before its name",
            name.starts_with("✔ "),
            name,
        ),
    ]
}

/// The stories on their stage.
pub(crate) struct Play {
    world: Arc<World>,
    screen: Screen,
    held: usize,
    began: Instant,
    before: Vec<Row>,
    audited: usize,
}

impl Play {
    pub(crate) fn new(world: Arc<World>, screen: Screen) -> Self {
        Self {
            world,
            screen,
            held: 0,
            began: Instant::now(),
            before: Vec::new(),
            audited: 0,
        }
    }

    /// Plays everything; ends with the first step that does not hold.
    pub(crate) async fn perform(mut self) -> Outcome {
        let cast = self.all().await.ok();
        let summary = format!("{} of {STEPS} steps held", self.held);
        Outcome { cast, summary }
    }

    async fn all(&mut self) -> Result<Cast, Stopped> {
        self.registration().await?;
        let cast = self.a_seller_shares_a_deal().await?;
        self.a_deal_of_partner_center().await?;
        self.microsoft_sends_two_deals().await?;
        self.a_lead_is_qualified().await?;
        self.solutions_come_and_go(&cast.opportunity, &cast.referral).await?;
        self.a_loser_is_restored(&cast.opportunity, &cast.referral).await?;
        self.everything_comes_to_rest().await?;
        Ok(cast)
    }

    /// Somebody does something.
    fn did(&mut self, number: &str, what: &str) {
        self.screen.step(number, what);
        self.began = Instant::now();
    }

    /// Waits until all claims about a deal hold, and tells what is seen when nothing moves any more.
    async fn sees(&mut self, look: impl Fn(&World) -> (Deal, Vec<Claim>)) -> Result<Deal, Stopped> {
        let all_hold = |world: &World| look(world).1.iter().all(|claim| claim.holds);
        // Looked at from outside, because `until` has more patience than a person in front of a terminal.
        let in_time = timeout(LIMIT, self.world.until("a step of the stories", all_hold))
            .await
            .is_ok();
        let took = self.began.elapsed();
        // What still goes on is the connector taking note of its own echo. It must not undo anything.
        let _ = self.world.partner_center.quiet(REST).await;
        let _ = self.world.source.idle(REST).await;
        let (deal, claims) = look(&self.world);
        let rows = deal.rows();
        self.screen.comparison(&rows, &self.before);
        self.before = rows;
        self.tell_why();
        self.tell(&claims, in_time, took)?;
        Ok(deal)
    }

    /// The reasons that the connector has written down since the last step, in its own words.
    fn tell_why(&mut self) {
        let records = self.world.audit();
        let reasons = |record: &Value| {
            record
                .get("findings")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let new: Vec<String> = records
            .iter()
            .skip(self.audited)
            .flat_map(reasons)
            .map(|finding| text(&finding, "/text"))
            .filter(|text| !text.is_empty())
            .collect();
        self.audited = records.len();
        for (index, text) in new.iter().enumerate() {
            self.screen.remark(if index == 0 { "recorded" } else { "" }, text);
        }
        if !new.is_empty() {
            self.screen.gap();
        }
    }

    fn tell(&mut self, claims: &[Claim], in_time: bool, took: Duration) -> Result<(), Stopped> {
        for claim in claims {
            if claim.holds {
                self.screen.held(&claim.expected);
            } else {
                self.screen.failed(&format!(
                    "expected: {}\nfound: {}",
                    claim.expected,
                    quoted(&claim.found)
                ));
            }
        }
        let all_hold = claims.iter().all(|claim| claim.holds);
        if in_time && all_hold {
            self.held += 1;
            self.screen.took(took);
            return Ok(());
        }
        let limit = LIMIT.as_secs();
        self.screen.failed(&if all_hold {
            format!("this took longer than the {limit} s a step may take")
        } else {
            format!("not all of this came true within {limit} s")
        });
        Err(Stopped)
    }

    async fn registration(&mut self) -> Result<(), Stopped> {
        self.screen
            .heading("Before the stories: Partner Center learns where to report changes");
        self.did("0", "The administrator invokes the function `registration`: {\"action\":\"register\"}, then {\"action\":\"prove\"}.");
        let register = self.world.registration.invoke(json!({ "action": "register" })).await;
        let (address, known) = (self.world.gateway.url(), self.world.partner_center.registration());
        let (url, events) = known.map(|known| (known.url, known.events)).unwrap_or_default();
        let outcome = |answer: &Result<Value, _>| match answer {
            Ok(report) => text(report, "/done/outcome"),
            Err(error) => format!("{error}"),
        };
        self.screen.remark("address", &url);
        self.screen.remark("events", &events.join(", "));
        self.screen.remark(
            "test event",
            "asked for; Partner Center's answer may take some seconds ...",
        );
        self.screen.gap();
        let prove = match register {
            Ok(_) => self.world.registration.invoke(json!({ "action": "prove" })).await,
            Err(_) => Ok(Value::Null),
        };
        let took = self.began.elapsed();
        let claims = [
            claim(
                "the webhook's address is registered at Partner Center",
                url == address,
                format!("{url} ({})", outcome(&register)),
            ),
            claim(
                format!("it is registered for all {} events", EVENTS.len()),
                EVENTS.iter().all(|event| events.iter().any(|known| known == event)),
                events.join(", "),
            ),
            claim(
                "a signed test event reached the function `webhook`, which trusted it",
                outcome(&prove) == "delivered",
                outcome(&prove),
            ),
        ];
        // Partner Center takes its time with test events, so this step is limited by the function's own time alone.
        self.tell(&claims, true, took)
    }

    async fn a_seller_shares_a_deal(&mut self) -> Result<Cast, Stopped> {
        self.screen.heading("Story 1: a seller shares a deal with Microsoft");
        self.before = Vec::new();

        self.did(
            "1.1",
            "Ana, a seller, enters an opportunity in Dynamics 365. Sync with Partner Center stays No.",
        );
        let private = Sharing {
            sync: false,
            help: None,
            solutions: None,
            ..Sharing::default()
        };
        let opportunity = self.world.seller_enters(&private);
        // Two rounds of both polls are two chances to share too much.
        for _ in 0..2 {
            self.world.tick().await;
            let _ = self.world.source.idle(REST).await;
        }
        self.sees(|world| {
            let deal = Deal::of_opportunity(world, &opportunity);
            let count = world.partner_center.referrals().len();
            let claims = vec![
                claim(
                    "nothing of it left the CRM",
                    count == 0,
                    format!("{count} referrals in Partner Center"),
                ),
                same("the opportunity", "Open, In Progress", &deal.opportunity_status()),
            ];
            (deal, claims)
        })
        .await?;

        self.did(
            "1.2",
            "Ana sets Sync with Partner Center = Yes, asks for help with the technical architecture and names a solution.",
        );
        let shared = json!({
            "cosell_syncwithpartnercenter": true, "cosell_howcanmicrosofthelp": 727_000_001,
            "cosell_solutions": "SOL-20817-KTR",
        });
        self.world.seller_edits(&opportunity, &shared);
        let deal = self
            .sees(|world| {
                let deal = Deal::of_opportunity(world, &opportunity);
                let halves = world.partner_center.referrals();
                let engagement = text(&deal.referral, "/engagementId");
                let joined = !engagement.is_empty() && halves.iter().all(|half| text(half, "/engagementId") == engagement);
                let mut claims = vec![
                    claim(
                        "a co-sell deal appeared in Partner Center: two linked referrals, the partner's and Microsoft's",
                        halves.len() == 2 && joined,
                        format!("{} referrals, linked: {joined}", halves.len()),
                    ),
                    same("the partner's half", "Active, Accepted", &deal.referral_status()),
                    same("the solution", "SOL-20817-KTR", &text(&deal.referral, "/details/requirements/solutions/0/id")),
                ];
                claims.extend(linked(&deal));
                (deal, claims)
            })
            .await?;
        let cast = Cast {
            opportunity: opportunity.clone(),
            referral: deal.referral_id(),
        };
        let engagement = text(&deal.referral, "/engagementId");

        self.did(
            "1.3",
            "Ana changes the value to 131,000.25 and the close date to the first of October.",
        );
        self.world.seller_edits(
            &opportunity,
            &json!({ "estimatedvalue": 131_000.25, "estimatedclosedate": "2027-10-01" }),
        );
        self.sees(|world| {
            let deal = Deal::of_opportunity(world, &opportunity);
            let mut claims = vec![
                same("the referral's value", "131,000.25 EUR", &deal.referral_value()),
                same("the referral's close date", "2027-10-01", &deal.referral_close_date()),
            ];
            claims.extend(in_step(&deal));
            (deal, claims)
        })
        .await?;

        self.did(
            "1.4",
            "Microsoft accepts its half of the deal and gives it a number of its own.",
        );
        let accepted = self.world.partner_center.microsoft_accepts(&engagement);
        self.sees(|world| {
            let deal = Deal::of_opportunity(world, &opportunity);
            let number = text(&deal.microsoft, "/trackingInfo/microsoftMsxId");
            let shown = text(&deal.opportunity, "/cosell_microsoftcrmid");
            let refusal = accepted.as_ref().err().map(ToString::to_string).unwrap_or_default();
            let mut claims = vec![
                claim(
                    "Microsoft's half is Active, Accepted",
                    deal.microsoft_status() == "Active, Accepted",
                    format!("{} {refusal}", deal.microsoft_status()),
                ),
                claim(
                    "the opportunity shows Microsoft's number",
                    !number.is_empty() && shown == number,
                    format!("{shown} instead of {number}"),
                ),
            ];
            claims.extend(in_step(&deal));
            (deal, claims)
        })
        .await?;
        Ok(cast)
    }

    async fn a_deal_of_partner_center(&mut self) -> Result<(), Stopped> {
        self.screen.heading("Story 2: a deal is made in Partner Center");
        self.before = Vec::new();

        self.did(
            "2.1",
            "Mara, a colleague, chooses New deal in Partner Center and invites Microsoft.",
        );
        let deal = json!({ "type": "Shared", "target": [{ "type": "SolutionProfile", "id": "SOL-20817-KTR" }] });
        let referral = self.world.portal_creates(&deal);
        let engagement = text(&self.world.referral(&referral), "/engagementId");
        self.world.portal_creates(&json!({
            "engagementId": engagement, "type": "Shared",
            "target": [{ "type": "BusinessProfileLocation", "id": "msft" }],
            "inviteContext": { "notes": "Please join the first call.", "assistanceRequestCode": "ProofOfConceptOrDemo" },
        }));
        let deal = self
            .sees(|world| {
                let deal = Deal::of_referral(world, &referral);
                let count = world.opportunities_of(&referral).len();
                let reference = text(&deal.referral, "/externalReferenceId");
                let mut claims = vec![
                    claim(
                        "one opportunity appeared among the open ones",
                        count == 1 && deal.opportunity_status() == "Open, In Progress",
                        format!("{count} opportunities, {}", deal.opportunity_status()),
                    ),
                    claim(
                        "the referral names the opportunity",
                        !reference.is_empty() && reference == deal.opportunity_id(),
                        format!("{reference} instead of {}", deal.opportunity_id()),
                    ),
                    same("its value", &deal.referral_value(), &deal.opportunity_value()),
                ];
                claims.extend(linked(&deal));
                (deal, claims)
            })
            .await?;
        let opportunity = deal.opportunity_id();

        self.did(
            "2.2",
            "Microsoft changes it: a higher value, an earlier date, new notes.",
        );
        let change = json!({ "details": {
            "dealValue": 12_500, "closingDateTime": "2027-03-01T00:00:00Z", "notes": NEW_NOTES,
        }});
        let edited = self.world.partner_center.microsoft_edits(&referral, change);
        self.sees(|world| {
            let deal = Deal::of_referral(world, &referral);
            let refusal = edited.as_ref().err().map(ToString::to_string).unwrap_or_default();
            let mut claims = vec![
                claim(
                    "the opportunity's value is 12,500.00 USD",
                    deal.opportunity_value() == "12,500.00 USD",
                    format!("{} {refusal}", deal.opportunity_value()),
                ),
                same(
                    "the opportunity's close date",
                    "2027-03-01",
                    &deal.opportunity_close_date(),
                ),
                claim(
                    "the opportunity shows the new notes",
                    text(&deal.opportunity, "/description") == NEW_NOTES,
                    text(&deal.opportunity, "/description"),
                ),
            ];
            claims.extend(in_step(&deal));
            (deal, claims)
        })
        .await?;

        self.did("2.3", "Ana closes the opportunity as won.");
        self.world.seller_wins(&opportunity);
        self.sees(|world| {
            let deal = Deal::of_referral(world, &referral);
            let mut claims = vec![
                same("the opportunity", "Won", &deal.opportunity_status()),
                same("the referral", "Closed, Won", &deal.referral_status()),
            ];
            claims.extend(in_step(&deal));
            (deal, claims)
        })
        .await?;
        Ok(())
    }

    /// No work is left over, nothing failed on the way.
    async fn everything_comes_to_rest(&mut self) -> Result<(), Stopped> {
        self.screen.heading("After the stories");
        self.did("7", "Everybody stops, and the connector comes to rest.");
        let at_rest = |world: &World| {
            let queued = world.aws.depth(&world.queue);
            let dead = world.aws.dead_letters(&world.queue).len();
            let due = world.open_due();
            let links = world.links();
            let open = links
                .iter()
                .filter(|link| link.get("pending").is_some_and(|pending| !pending.is_null()))
                .count();
            let opportunities = world.dataverse.opportunities().len();
            let referrals = world.partner_center.referrals().len();
            vec![
                claim(
                    "five deals, each one opportunity and, but for the lead, two referrals; nothing is there twice",
                    (links.len(), opportunities, referrals) == (5, 5, 9),
                    format!(
                        "{} deals, {opportunities} opportunities, {referrals} referrals",
                        links.len()
                    ),
                ),
                claim(
                    "no hint waits in the queue, none failed for good",
                    (queued, dead) == (0, 0),
                    format!("{queued} waiting, {dead} failed"),
                ),
                claim(
                    "no deal waits for another look, no write is half done",
                    (due, open) == (0, 0),
                    format!("{due} due, {open} half done"),
                ),
            ]
        };
        // The polls go on: a moment later one of them may have queued the next hint about nothing.
        let mut claims = Vec::new();
        let all_hold = |world: &World| {
            claims = at_rest(world);
            claims.iter().all(|claim| claim.holds)
        };
        let in_time = timeout(LIMIT, self.world.until("the end of the stories", all_hold))
            .await
            .is_ok();
        let took = self.began.elapsed();
        self.tell(&claims, in_time, took)
    }
}

/// What is claimed after every change: the same values on both sides, and the mark still there.
fn in_step(deal: &Deal) -> Vec<Claim> {
    let name = text(&deal.opportunity, "/name");
    vec![claim(
        "the opportunity keeps its check mark",
        name.starts_with("✔ "),
        name,
    )]
}

fn quoted(found: &str) -> &str {
    if found.trim().is_empty() {
        "nothing"
    } else {
        found.trim()
    }
}
