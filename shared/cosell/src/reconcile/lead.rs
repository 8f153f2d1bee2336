//! Leads: how one is met, qualified, and followed by the opportunity that came of it.
//!
//! While a deal has a lead and no opportunity, the lead is its row in the CRM, and everything goes as with opportunities.
//! Once the lead is qualified, by its seller or by us because the referral was accepted, its opportunity takes its place
//! in the same link.
//!
//! Guarantees: a lead is followed by one opportunity, the first that names it; what the lead showed is not lost; a run that
//! dies in between leaves a link that the next one can go on with. As long as nothing was shown on the opportunity, it is
//! still taking over, and what it lacks is filled in from the lead.

use super::call::{Call, Qualify};
use super::create::kept_for;
use super::draft::Draft;
use super::{Decision, Match, Reconcile, Sight};
use crate::deal::{Field, Side, Term};
use crate::finding::{Code, Finding};
use crate::hint::{Cause, Subject};
use crate::ids::{CurrencyId, LeadId, OpportunityId, Record, ReferralId};
use crate::link::{Link, Outcome, State};
use crate::mapping::Mapping;
use crate::opportunity::{Row, RowChange};
use crate::plan::{self, Plan};
use crate::stage::Stage;

/// Looks for an opportunity that a qualified lead should have, before a person is asked for it.
const LOOKS: u32 = 3;

/// What is known of the opportunity that takes the place of a lead.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// The lead, once the opportunity is looked at.
    pub(super) lead: Sight<Box<Row>>,
    offspring: Sight<OpportunityId>,
    /// The opportunity whose seller shares it, and that names the lead it came of.
    claimant: Option<OpportunityId>,
    /// The link as the ledger has it.
    stored: Option<Link>,
    /// What the opportunity lacks.
    fill: Option<RowChange>,
    /// The opportunity takes over in this run, or a run before this one died over it.
    is_news: bool,
}

impl Succession {
    pub(super) fn found(&mut self, rows: &[Row]) {
        let id = rows.first().and_then(|row| row.guid("opportunityid"));
        self.offspring = Sight::read(id.map(OpportunityId::new));
    }

    pub(super) const fn is_filled(&self) -> bool {
        self.fill.is_some()
    }
}

impl Reconcile<'_> {
    /// A lead that no link knows.
    pub(super) fn meet_lead(&mut self, id: LeadId, stub: Option<Link>) -> Decision {
        let row = match &self.opportunity {
            Sight::Unread => return Decision::Ask(Call::ReadRecord(Record::Lead(id))),
            Sight::Absent => None,
            Sight::Seen(row) => Some(row),
        };
        let columns = &self.policy.mapping.columns;
        let referral = row
            .filter(|row| row.flag(&columns.sync))
            .and_then(|row| row.text(&columns.referral_identifier))
            .and_then(|text| text.parse::<ReferralId>().ok());
        self.stub = stub;
        let Some(referral) = referral else {
            // Partner Center takes no leads, so there is nothing to be done for one that did not come from there.
            return self.finish(Outcome::Ignored, None);
        };
        // From before the ledger was lost: its referral leads to it, as it did the first time.
        self.subject = Subject::Referral(referral);
        self.unread(&[Side::Dynamics]);
        self.link = None;
        self.decide()
    }

    /// A seller shares an opportunity that came of a lead before anybody has seen the lead qualified.
    pub(super) fn meet_offspring(&mut self, id: OpportunityId, row: &Row, stub: Option<&Link>) -> Option<Decision> {
        let lead = LeadId::new(row.guid("_originatingleadid_value")?);
        let Some(found) = self.named.clone() else {
            return Some(Decision::Ask(Call::FindLink(Subject::Lead(lead))));
        };
        // A lead that is there may still be announced only: whoever makes it has not said so yet, or died.
        let link = found.filter(|link| link.is_lead() && (link.base.is_some() || link.is_being_created()))?;
        self.stub = stub.cloned();
        self.succession.claimant = Some(id);
        self.subject = Subject::Lead(lead);
        self.unread(&[Side::Dynamics]);
        self.link = Some(Some(link));
        Some(self.decide())
    }

    /// What becomes of an opportunity that is shared and came of a lead, once the lead was read: it takes the lead's
    /// place, even if the lead was not to be synchronised any more; or it waits until the lead is qualified.
    pub(super) fn take_claim(&mut self, link: &Link) -> Option<Decision> {
        let id = self.succession.claimant?;
        let Sight::Seen(row) = &self.opportunity else {
            return None;
        };
        if !link.is_lead() {
            return None;
        }
        if self.rules(link).is_qualified(row) {
            return Some(self.take_over(link.clone()));
        }
        let text = "the opportunity was made from a lead that is not qualified, and the lead is what is shared; qualify the lead, and the opportunity takes its place";
        let kept = kept_for(id, self.stub.take());
        self.subject = Subject::Opportunity(id);
        let decision = self.park(kept, Finding::new(Code::Missing, text).on(Side::Dynamics));
        Some(match decision {
            Decision::Act(mut draft) => {
                // The pointer is kept free for the lead's link, which the opportunity will belong to.
                draft.without_pointers();
                Decision::Act(draft)
            }
            other => other,
        })
    }

    /// Where it is remembered to look again at an opportunity that claims the place of a lead which is not synchronised
    /// any more: under its own name. The link that it wants to belong to leads to the lead alone, and that rests.
    pub(super) fn kept_for_claimant(&self) -> Option<Link> {
        let id = self.succession.claimant?;
        let current = self.link.as_ref().and_then(Option::as_ref);
        let link = self.succession.stored.as_ref().or(current)?;
        (link.state == State::Paused).then(|| kept_for(id, self.stub.clone()))
    }

    /// A poll saw a lead change that an opportunity has followed: nothing of it is synchronised any more.
    pub(super) fn is_past(&self, link: &Link) -> bool {
        let is_seen_by_poll =
            self.trigger.hint.cause == Cause::DynamicsPoll && matches!(self.subject, Subject::Lead(_));
        is_seen_by_poll && link.opportunity.is_some() && !link.is_taking_over() && link.pending.is_none()
    }

    /// Whether what is read of a lead is read beside the opportunity that follows it.
    pub(super) fn is_beside_a_lead(&self) -> bool {
        let link = self.link.as_ref().and_then(Option::as_ref);
        link.is_some_and(|link| link.opportunity.is_some())
    }

    /// Whether it is known without reading it that the lead was qualified.
    pub(super) fn is_succeeded(&self, link: &Link) -> bool {
        let base = link.base.as_ref().filter(|_| link.pending.is_none());
        let is_agreed = base.is_some_and(|base| base.opportunity.stage() == Stage::Active);
        link.is_lead() && (is_agreed || !matches!(self.succession.offspring, Sight::Unread))
    }

    /// Whether the lead that was read is a qualified one.
    pub(super) fn is_qualified(&self, link: &Link) -> bool {
        let row = self.opportunity.seen().filter(|_| link.is_lead());
        row.is_some_and(|row| self.rules(link).is_qualified(row))
    }

    /// Finds the opportunity of a qualified lead and puts it in the lead's place.
    pub(super) fn take_over(&mut self, link: Link) -> Decision {
        let Some(lead) = link.lead else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        if link.pending.is_some() {
            return self.tell_first(link);
        }
        let id = match self.succession.offspring {
            Sight::Unread => {
                self.succession.lead = std::mem::take(&mut self.opportunity);
                return Decision::Ask(Call::FindOffspring(lead));
            }
            Sight::Absent => return self.without_offspring(link),
            Sight::Seen(id) => id,
        };
        if !self.looked_for_stub {
            // It may have waited for this under its own name.
            return Decision::Ask(Call::ReadLink(id.into()));
        }
        match &self.opportunity {
            Sight::Unread => return Decision::Ask(Call::ReadRecord(Record::Opportunity(id))),
            Sight::Absent => return self.without_offspring(link),
            Sight::Seen(_) => {}
        }
        let mut next = link.clone().with_opportunity(id);
        next.state = State::Active;
        self.succession.stored = Some(link);
        self.succession.is_news = true;
        self.link = Some(Some(next));
        self.decide()
    }

    /// The lead was qualified, and there is no opportunity: it may appear a moment later, or has to be made.
    fn without_offspring(&mut self, link: Link) -> Decision {
        let text = "the lead was qualified without an opportunity; create one from the lead, or close the referral in Partner Center";
        let finding = Finding::new(Code::Missing, text).on(Side::Dynamics);
        let is_asked = link.attention.contains(&finding);
        if is_asked || link.due.as_ref().map_or(0, |due| due.attempts) >= LOOKS {
            return self.park(link, finding);
        }
        let mut next = link.clone();
        next.due = Some(self.put_off(&link, "not_visible", None));
        Decision::Act(Draft::new(link, next))
    }

    /// Fills in what a fresh opportunity lacks and its lead has.
    pub(super) fn fill_in(&mut self, link: Link) -> Decision {
        let (Some(lead), Some(opportunity), Some(referral)) = (link.lead, link.opportunity, link.referral) else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        if matches!(self.succession.lead, Sight::Unread) {
            return Decision::Ask(Call::ReadRecord(Record::Lead(lead)));
        }
        let Some(row) = self.opportunity.seen() else {
            return Decision::Ask(Call::ReadRecord(Record::Opportunity(opportunity)));
        };
        self.succession.is_news = true;
        let mapping = &self.policy.mapping;
        let mut link = link;
        if plan::lead::has_taken_over(row, lead, opportunity, mapping) {
            // A run before this one has written it and died before its commit.
            link.shown = plan::lead::shown(&link.shown, row, referral, mapping);
            self.succession.fill = Some(RowChange::default());
        } else {
            let at_lead = self.succession.lead.seen().map(AsRef::as_ref);
            let (filled, change) = plan::lead::fill(row, at_lead, link.base.as_ref(), self.policy);
            self.opportunity = Sight::Seen(Box::new(filled));
            self.succession.fill = Some(change);
        }
        self.link = Some(Some(link));
        self.decide()
    }

    /// Tells that an opportunity takes the place of a lead, and has it get what it lacks.
    pub(super) fn succeed(&self, link: &Link, plan: &mut Plan) {
        let (Some(lead), Some(opportunity), true) = (link.lead, link.opportunity, self.succession.is_news) else {
            return;
        };
        let finding = Finding::new(Code::Linked, plan::lead::told(lead, opportunity)).on(Side::Dynamics);
        plan.findings.push(finding);
        if let Some(fill) = &self.succession.fill {
            plan.complete(fill);
        }
    }

    /// How a lead is qualified; or what has to be looked up for it first.
    pub(super) fn qualification(&self, link: &Link, plan: &mut Plan) -> Result<Qualify, Call> {
        let mapping = self.rules(link);
        let mut qualify = Qualify {
            status: mapping.status(&Stage::Active).map_or(-1, |row| row.status),
            create_account: false,
            create_contact: false,
            currency: None,
        };
        let (true, Some(id), Some(record)) = (plan.qualifies(), link.referral, link.record()) else {
            return Ok(qualify);
        };
        let referral = self.referral.seen().ok_or(Call::ReadReferral(id))?;
        let row = self.opportunity.seen().ok_or(Call::ReadRecord(record))?;
        let has_account = row.guid("_parentaccountid_value").is_some();
        let has_contact = row.guid("_parentcontactid_value").is_some();
        let account = self.find_account(referral).filter(|_| !has_account);
        if let Some(call) = account.or_else(|| self.find_contact(referral).filter(|_| !has_contact)) {
            return Err(call);
        }
        let mut binds = RowChange::default();
        match self.account {
            Match::One(id) if !has_account => binds.bind("parentaccountid", "accounts", id.uuid()),
            Match::Several if !has_account => {
                let finding = self.several_accounts(&referral.customer_profile.name);
                plan.attention.push(finding.clone());
                plan.findings.push(finding);
            }
            _ => {}
        }
        if let (Match::One(id), false) = (self.contact, has_contact) {
            binds.bind("parentcontactid", "contacts", id.uuid());
        }
        plan.complete(&binds);
        qualify.create_account = !has_account && self.account == Match::None;
        qualify.create_contact = !has_contact && self.contact == Match::None;
        qualify.currency = match plan.merged.toward_opportunity.get(Field::Value) {
            Term::Money {
                currency: Some(code), ..
            } => self.currencies.get(code).copied().flatten().map(|known| known.id),
            _ => None,
        };
        qualify.currency = qualify.currency.filter(|id| *id != Mapping::no_currency_row());
        let there = row.guid("_transactioncurrencyid_value").map(CurrencyId::new);
        qualify.currency = qualify.currency.or(there);
        Ok(qualify)
    }

    /// The link as the ledger has it, when this is the same link with an opportunity in the place of its lead.
    pub(super) fn as_stored(&self, link: Link) -> Link {
        let stored = self.succession.stored.clone();
        stored
            .filter(|stored| (stored.id, stored.version) == (link.id, link.version))
            .unwrap_or(link)
    }
}
