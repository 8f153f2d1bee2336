//! The moves the replaced connector left to the portal or to nobody: answering Microsoft's deals and leads from the CRM,
//! solutions that come and go, and a conflict whose loser is brought back.

use cosell_tests::partner_center::{InboundDeal, InboundKind};
use cosell_tests::world::World;
use serde_json::{Value, json};

use super::{Claim, Deal, Play, Stopped, claim, in_step, linked, same, text};

/// What two people write into the same field before either sees the other's.
const OURS: &str = "Pilot agreed for October.";
const THEIRS: &str = "Customer wants to wait until spring.";

/// A deal that Microsoft sends, told apart from the others by its customer.
fn inbound(kind: InboundKind, name: &str, customer: &str) -> InboundDeal {
    InboundDeal {
        kind,
        name: name.to_owned(),
        customer: customer.to_owned(),
        ..InboundDeal::default()
    }
}

fn has_solutions(deal: &Deal, expected: &[&str]) -> [Claim; 2] {
    let expected = expected.join(", ");
    [
        same(
            "the referral's list of solutions",
            &expected,
            &deal.referral_solutions(),
        ),
        same(
            "the opportunity's list of solutions",
            &expected,
            &deal.opportunity_solutions(),
        ),
    ]
}

impl Play {
    /// Two deals that Microsoft sends: one is accepted by working on it, one is declined by canceling it.
    pub(super) async fn microsoft_sends_two_deals(&mut self) -> Result<(), Stopped> {
        self.screen
            .heading("Story 3: Microsoft sends deals, and sellers answer in the CRM");
        self.before = Vec::new();
        self.did("3.1", "Microsoft sends a deal.");
        let sent = self.world.microsoft_sends(&inbound(
            InboundKind::CoSell,
            "Harvest forecasting",
            "Meadow Vale Growers",
        ));
        let deal = self
            .sees(|world| {
                let deal = Deal::of_referral(world, &sent.referral);
                let claims = vec![
                    same("the opportunity", "Open, On Hold", &deal.opportunity_status()),
                    same("the referral waits", "New, Pending", &deal.referral_status()),
                    same("its value", &deal.referral_value(), &deal.opportunity_value()),
                ];
                (deal, claims)
            })
            .await?;

        self.did(
            "3.2",
            "Ana corrects the value to 60,000 and sets the opportunity to In Progress: that accepts the deal.",
        );
        let opportunity = deal.opportunity_id();
        self.world
            .seller_edits(&opportunity, &json!({ "estimatedvalue": 60_000 }));
        self.world
            .seller_edits(&opportunity, &json!({ "statecode": 0, "statuscode": 1 }));
        self.sees(|world| {
            let deal = Deal::of_referral(world, &sent.referral);
            let mut claims = vec![
                same("the referral", "Active, Accepted", &deal.referral_status()),
                same("its value came along", "60,000.00 GBP", &deal.referral_value()),
            ];
            claims.extend(linked(&deal));
            (deal, claims)
        })
        .await?;

        self.did("3.3", "Microsoft sends another deal.");
        self.before = Vec::new();
        let sent = self
            .world
            .microsoft_sends(&inbound(InboundKind::CoSell, "Orchard drones", "Tall Hedge Orchards"));
        self.sees(|world| {
            let deal = Deal::of_referral(world, &sent.referral);
            let claims = vec![same("the opportunity", "Open, On Hold", &deal.opportunity_status())];
            (deal, claims)
        })
        .await?;
        self.did("3.4", "Ana cancels it with a reason: that declines the deal.");
        let opportunity = self.world.opportunity_of(&sent.referral);
        let reason = json!({ "cosell_closereason": "Proposed timeline too short" });
        self.world.seller_edits(&opportunity, &reason);
        self.world.seller_loses(&opportunity, 4);
        self.sees(|world| {
            let deal = Deal::of_referral(world, &sent.referral);
            let claims = vec![
                same("the referral", "Closed, Declined", &deal.referral_status()),
                same(
                    "with her reason",
                    "Proposed timeline too short",
                    &text(&deal.referral, "/statusReason"),
                ),
            ];
            (deal, claims)
        })
        .await?;
        Ok(())
    }

    /// A lead that becomes an opportunity by being qualified.
    pub(super) async fn a_lead_is_qualified(&mut self) -> Result<(), Stopped> {
        self.screen.heading("Story 4: a lead");
        self.before = Vec::new();
        self.did("4.1", "A customer leaves a lead at the marketplace.");
        let sent = self.world.microsoft_sends(&inbound(
            InboundKind::MarketplaceLead,
            "Dairy telemetry",
            "Quiet Brook Dairy",
        ));
        let lead = |world: &World| world.leads_of(&sent.referral).into_iter().next().unwrap_or_default();
        self.sees(|world| {
            let deal = Deal::of_referral(world, &sent.referral);
            let (count, opportunities) = (
                world.leads_of(&sent.referral).len(),
                world.opportunities_of(&sent.referral).len(),
            );
            let claims = vec![
                claim(
                    "it waits as one lead, not as an opportunity",
                    (count, opportunities) == (1, 0),
                    format!("{count} leads, {opportunities} opportunities"),
                ),
                same("its company", "Quiet Brook Dairy", &text(&lead(world), "/companyname")),
                same("the referral waits", "New, Pending", &deal.referral_status()),
            ];
            (deal, claims)
        })
        .await?;

        self.did(
            "4.2",
            "Ana qualifies the lead: that accepts it, and an opportunity takes its place.",
        );
        self.world.seller_qualifies(&text(&lead(&self.world), "/leadid"));
        self.sees(|world| {
            let deal = Deal::of_referral(world, &sent.referral);
            let mut claims = vec![
                same("the referral", "Active, Accepted", &deal.referral_status()),
                same(
                    "it came from the lead",
                    &text(&lead(world), "/leadid"),
                    &text(&deal.opportunity, "/_originatingleadid_value"),
                ),
            ];
            claims.extend(linked(&deal));
            (deal, claims)
        })
        .await?;
        Ok(())
    }

    /// A solution more, and a solution less.
    pub(super) async fn solutions_come_and_go(&mut self, opportunity: &str, referral: &str) -> Result<(), Stopped> {
        self.screen.heading("Story 5: solutions come and go");
        self.before = Vec::new();
        self.did("5.1", "Ana adds a row for a second solution to the first deal.");
        let row =
            json!({ "cosell_name": "Shelf sensors", "cosell_solutionid": "SOL-31415-LRK", "cosell_quantity": 12 });
        self.world.seller_adds_solution(opportunity, &row);
        let look = |expected: &'static [&'static str]| {
            move |world: &World| {
                let deal = Deal::of_opportunity(world, opportunity);
                let mut claims = has_solutions(&deal, expected).to_vec();
                claims.extend(in_step(&deal));
                (deal, claims)
            }
        };
        self.sees(look(&["SOL-20817-KTR", "SOL-31415-LRK"])).await?;

        let entry = |id: &str, name: &str| json!({ "id": id, "name": name, "type": "Name" });
        let (first, second) = (
            entry("SOL-20817-KTR", "Fleet Insight"),
            entry("SOL-31415-LRK", "Shelf sensors"),
        );
        let list = |entries: &[&Value]| json!({ "details": { "requirements": { "solutions": entries } } });
        self.did("5.2", "Mara takes Ana's out in the portal: its row is deactivated.");
        self.world.portal_edits(referral, list(&[&first]));
        self.sees(look(&["SOL-20817-KTR"])).await?;

        self.did(
            "5.3",
            "She puts it in again: the row is active, with the quantity that Ana wrote there.",
        );
        self.world.portal_edits(referral, list(&[&first, &second]));
        self.sees(|world: &World| {
            let (deal, mut claims) = look(&["SOL-20817-KTR", "SOL-31415-LRK"])(world);
            let rows = world.solution_rows(opportunity);
            let quantity = rows
                .iter()
                .find_map(|row| row.get("cosell_quantity").and_then(Value::as_i64));
            claims.push(same(
                "the row's quantity",
                "12",
                &quantity.unwrap_or_default().to_string(),
            ));
            (deal, claims)
        })
        .await?;
        Ok(())
    }

    /// Two people change the same field at the same moment; the one who lost is brought back by an operator.
    pub(super) async fn a_loser_is_restored(&mut self, opportunity: &str, referral: &str) -> Result<(), Stopped> {
        self.screen
            .heading("Story 6: two people change the same field at the same moment");
        self.before = Vec::new();
        self.did(
            "6.1",
            "Ana and Mara write different notes before either sees the other's. Ana's are kept: the mapping says so.",
        );
        self.world
            .portal_edits(referral, json!({ "details": { "notes": THEIRS } }));
        self.world.seller_edits(opportunity, &json!({ "description": OURS }));
        let notes = |expected: &'static str| {
            move |world: &World| {
                let deal = Deal::of_opportunity(world, opportunity);
                let mut claims = vec![
                    same(
                        "the opportunity's notes",
                        expected,
                        &text(&deal.opportunity, "/description"),
                    ),
                    same(
                        "the referral's notes",
                        expected,
                        &text(&deal.referral, "/details/notes"),
                    ),
                ];
                claims.extend(in_step(&deal));
                (deal, claims)
            }
        };
        self.sees(notes(OURS)).await?;

        self.did(
            "6.2",
            "An operator brings Mara's notes back: {\"command\":\"restore\",\"opportunity\":\"...\",\"field\":\"notes\"}.",
        );
        let event = json!({ "command": "restore", "opportunity": opportunity, "field": "notes" });
        let answer = self.world.invoke(event).await;
        if let Err(error) = &answer {
            self.screen.remark("answer", &format!("{error}"));
        }
        self.sees(notes(THEIRS)).await?;
        Ok(())
    }
}
