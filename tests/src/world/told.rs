//! What every scenario begins with and asks for: a deal in step, what people are told of one, and that nothing is going on.

use serde_json::{Value, json};

use super::ledger::string;
use super::{Setup, Sharing, World};
use crate::partner_center::{Inbound, InboundDeal};
use crate::switchboard::lines;

impl World {
    /// Starts a world as most scenarios want it, with settings of `sync`.
    ///
    /// # Panics
    /// When it cannot start: a scenario cannot go on without its world.
    #[expect(clippy::panic, reason = "a scenario cannot go on without its world")]
    pub async fn start_set(settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let setup = Setup {
            settings: settings.iter().map(owned).collect(),
            ..Setup::default()
        };
        match Self::start_with(setup).await {
            Ok(world) => world,
            Err(error) => panic!("{error}"),
        }
    }

    /// A deal that a seller has shared, in step: opportunity and referral.
    ///
    /// # Panics
    /// When the CRM refuses it, or it does not come to rest.
    pub async fn shared(&self, deal: &Sharing) -> (String, String) {
        let opportunity = self.seller_enters(deal);
        self.settle().await;
        let referral = self.referral_of(&opportunity);
        (opportunity, referral)
    }

    /// A deal that Microsoft has sent and nobody has answered, in step: its opportunity, and what was sent.
    ///
    /// # Panics
    /// When it does not come to rest.
    pub async fn received(&self, deal: &InboundDeal) -> (String, Inbound) {
        let sent = self.microsoft_sends(deal);
        self.settle().await;
        (self.opportunity_of(&sent.referral), sent)
    }

    /// Status and substatus of a referral.
    #[must_use]
    pub fn position(&self, referral: &str) -> (String, String) {
        let record = self.referral(referral);
        (string(&record, "status"), string(&record, "substatus"))
    }

    /// A referral stands where it should.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn stands_at(&self, referral: &str, status: &str, substatus: &str) {
        let expected = (status.to_owned(), substatus.to_owned());
        assert_eq!(self.position(referral), expected, "{}", self.state_of_affairs());
    }

    /// The trail that the seller reads on an opportunity.
    #[must_use]
    pub fn trail(&self, opportunity: &str) -> String {
        string(&self.opportunity(opportunity), "cosell_audit")
    }

    /// Codes and texts of what a person is asked for, of the deal of an opportunity.
    #[must_use]
    pub fn attention(&self, opportunity: &str) -> Vec<(String, String)> {
        let link = self.link_of(opportunity).unwrap_or_default();
        let findings = link.get("attention").and_then(Value::as_array).cloned();
        findings
            .unwrap_or_default()
            .iter()
            .map(|finding| (string(finding, "code"), string(finding, "text")))
            .collect()
    }

    /// Whole rounds of both polls and a comparison of everything write nothing to a vendor.
    ///
    /// # Panics
    /// When they do, or when a run fails.
    #[expect(clippy::panic, reason = "a run that fails has failed its scenario")]
    pub async fn rounds_write_nothing(&self) {
        self.settle().await;
        let mark = self.switchboard.mark();
        self.tick().await;
        if let Err(error) = self.invoke(json!({ "run": "compare" })).await {
            panic!("the comparison of everything: {error}\n{}", self.state_of_affairs());
        }
        self.settle().await;
        self.tick().await;
        self.settle().await;
        let writes = lines(&self.vendor_writes_since(mark));
        assert!(writes.is_empty(), "{writes:#?}\n{}", self.state_of_affairs());
    }
}
