//! Creation, exactly once, in both directions.
//!
//! Toward Dynamics the ids follow from the referral, so creating twice is the same request. Toward Partner Center the id
//! is the server's: the announcement comes first, and a doubtful outcome is searched for twice before it is tried again.

use jiff::Timestamp;

use super::call::{Call, Search, Table};
use super::draft::Draft;
use super::{Decision, Match, Reconcile, Sight};
use crate::deal::{Currency, Field, Side, Term, Terms};
use crate::finding::{Code, Finding};
use crate::hint::{Cause, Subject};
use crate::ids::{AccountId, OpportunityId, Record, ReferralId};
use crate::link::{Asked, Due, Half, Link, Outcome, Pending, SyncStatus};
use crate::mapping::Mapping;
use crate::plan::{self, NewOpportunity};
use crate::referral::{Reference, Referral};
use crate::stage::Stage;

/// Searches that must not have found a referral before it is posted again.
pub(super) const SEARCHES: u8 = 2;

/// A record made this much before the announcement cannot be its result; covers clocks that differ.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(300);

impl Reconcile<'_> {
    /// A referral that no link knows, or that a link was kept for.
    pub(super) fn meet_referral(&mut self, id: ReferralId, stub: Option<Link>) -> Decision {
        if matches!(self.referral, Sight::Unread) {
            return Decision::Ask(Call::ReadReferral(id));
        }
        let Some(referral) = self.referral.seen().cloned() else {
            return self.not_to_be_seen(id, stub);
        };
        if referral.is_microsofts() {
            return self.meet_microsofts(&referral, stub);
        }
        if matches!(
            self.trigger.hint.cause,
            Cause::RelatedReferralCreated | Cause::RelatedReferralUpdated
        ) {
            return self.meet_related(&referral, stub);
        }
        match referral.reference() {
            Reference::Opportunity(opportunity) => self.meet_referenced(&referral, opportunity, stub),
            Reference::Foreign(text) => {
                let text = format!(
                    "the CRM id of the referral says {text:?}, which is not an opportunity of this Dynamics; clear it in Partner Center, or link the two by hand"
                );
                self.park_referral(
                    &referral,
                    stub,
                    Finding::new(Code::ReferenceNamesNothing, text).on(Side::PartnerCenter),
                )
            }
            Reference::None => self.meet_new(&referral, stub),
        }
    }

    /// The referral was announced and is not there: it may appear a moment later.
    fn not_to_be_seen(&mut self, id: ReferralId, stub: Option<Link>) -> Decision {
        let announced = matches!(
            self.trigger.hint.cause,
            Cause::ReferralCreated | Cause::ReferralUpdated | Cause::Due
        );
        let tried = stub
            .as_ref()
            .and_then(|stub| stub.due.as_ref())
            .map_or(0, |due| due.attempts);
        let text = format!("referral {id} was announced and is not to be seen in Partner Center");
        if !announced || tried >= 3 {
            self.findings.push(Finding::new(Code::Stale, text));
            if let Some(stub) = stub {
                self.stub = Some(stub);
            }
            return self.finish(Outcome::Ignored, None);
        }
        let before = stub.unwrap_or_else(|| Link::new(id.into()));
        let mut next = before.clone();
        next.referral = Some(id);
        next.due = Some(self.put_off(&before, "not_visible", None));
        let mut draft = Draft::new(before, next);
        draft.note(vec![Finding::new(Code::Stale, text)]);
        draft.without_pointers();
        Decision::Act(draft)
    }

    /// Microsoft's half leads to ours through the engagement.
    fn meet_microsofts(&mut self, referral: &Referral, stub: Option<Link>) -> Decision {
        // A link that was kept under this id, while nobody knew whose it was, has served its purpose.
        self.stub = stub.or(self.stub.take());
        let ignored = |machine: &mut Self| {
            machine.findings.push(Finding::new(
                Code::OutOfScope,
                "another organisation's referral without one of ours",
            ));
            machine.finish(Outcome::Ignored, None)
        };
        let Some(engagement) = referral.engagement_id else {
            return ignored(self);
        };
        match self.engaged.take() {
            None => Decision::Ask(Call::FindEngagement(engagement)),
            Some(Some(link)) => {
                // From here on it is a look at that link, hinted by Microsoft's half.
                self.microsoft = std::mem::take(&mut self.referral);
                self.unread(&[Side::PartnerCenter]);
                self.link = Some(Some(link));
                self.decide()
            }
            Some(None) => match self.searched.take() {
                None => {
                    self.engaged = Some(None);
                    Decision::Ask(Call::SearchReferrals(Search::Engagement(engagement)))
                }
                Some(found) => match found.into_iter().find(|referral| !referral.is_microsofts()) {
                    None => ignored(self),
                    Some(own) => {
                        self.subject = Subject::Referral(own.id);
                        // Where Microsoft's half stands is told as soon as ours has its opportunity.
                        self.microsoft = Sight::Seen(Box::new(referral.clone()));
                        self.referral = Sight::Seen(Box::new(own));
                        self.link = None;
                        self.decide()
                    }
                },
            },
        }
    }

    /// Announced as another organisation's referral and not Microsoft's: another partner's, of a deal that is shared with
    /// it, which is neither answered nor written. Should it be ours all the same, it is announced as ours as well.
    fn meet_related(&mut self, referral: &Referral, stub: Option<Link>) -> Decision {
        self.stub = stub.or(self.stub.take());
        let text = format!(
            "another organisation's referral {} is {}; it is theirs to answer",
            referral.id,
            Terms::from_referral(referral).stage()
        );
        self.findings.push(Finding::new(Code::OutOfScope, text));
        self.finish(Outcome::Ignored, None)
    }

    /// The referral names an opportunity.
    fn meet_referenced(&mut self, referral: &Referral, opportunity: OpportunityId, stub: Option<Link>) -> Decision {
        // What an operator parted from another referral is free for this one.
        let is_free = |link: &Link| link.has_parted(Subject::Opportunity(opportunity));
        match self.named.clone().map(|named| named.filter(|link| !is_free(link))) {
            None => Decision::Ask(Call::FindLink(Subject::Opportunity(opportunity))),
            Some(Some(link)) if link.referral.is_none() => {
                self.stub = stub;
                if matches!(link.pending, Some(Pending::CreateReferral { half: Half::Own, .. })) {
                    // Our own creation has arrived: this completes the announcement.
                    self.link = Some(Some(link));
                    return self.decide();
                }
                // A row that could not be shared yet, and somebody made its referral by hand.
                match &self.opportunity {
                    Sight::Unread => Decision::Ask(Call::ReadRecord(Record::Opportunity(opportunity))),
                    Sight::Absent => self.bury(link),
                    Sight::Seen(_) => self.link_existing(referral, opportunity, Some(link)),
                }
            }
            Some(Some(link)) if link.referral == Some(referral.id) => {
                self.stub = stub;
                self.go_on_with(link)
            }
            Some(Some(link)) => {
                let text = format!(
                    "the CRM id of the referral names opportunity {opportunity}, which belongs to referral {} already; clear it in Partner Center, or unlink the other",
                    link.referral.map(|id| id.to_string()).unwrap_or_default()
                );
                self.park_referral(
                    referral,
                    stub,
                    Finding::new(Code::AlreadyLinked, text).on(Side::PartnerCenter),
                )
            }
            Some(None) => match &self.opportunity {
                Sight::Unread => Decision::Ask(Call::ReadRecord(Record::Opportunity(opportunity))),
                Sight::Absent => {
                    let text = format!(
                        "the CRM id of the referral names opportunity {opportunity}, which Dynamics does not have; clear it in Partner Center, or link the referral by hand"
                    );
                    let finding = Finding::new(Code::ReferenceNamesNothing, text).on(Side::PartnerCenter);
                    self.park_referral(referral, stub, finding)
                }
                Sight::Seen(_) => self.link_existing(referral, opportunity, stub),
            },
        }
    }

    /// A referral of which the CRM knows nothing.
    fn meet_new(&mut self, referral: &Referral, stub: Option<Link>) -> Decision {
        let out_of_scope = |machine: &mut Self, text: &str| {
            machine.findings.push(Finding::new(Code::OutOfScope, text));
            machine.stub = stub.clone();
            machine.finish(Outcome::Ignored, None)
        };
        if self.policy.cosell_only && !referral.is_cosell() && !referral.has_known_type() {
            // It may be a deal: leaving it out without a word would lose it.
            let text = format!(
                "the referral's type {:?} is not understood, so it may be a deal or a lead; no opportunity is created for it",
                referral.kind
            );
            return self.park_referral(
                referral,
                stub,
                Finding::new(Code::UnknownValue, text).on(Side::PartnerCenter),
            );
        }
        if self.policy.cosell_only && !referral.is_cosell() {
            return out_of_scope(self, "a lead; leads stay out while SYNC_COSELL_ONLY is true");
        }
        let terms = Terms::from_referral(referral);
        match terms.stage() {
            Stage::Declined | Stage::Expired | Stage::Erroneous => {
                return out_of_scope(self, "the referral ended before anyone worked on it");
            }
            Stage::Unknown(_) => {
                let text = format!(
                    "no opportunity is created while the referral's status is {}",
                    terms.get(Field::Stage)
                );
                let finding = Finding::field(Code::UnknownValue, Field::Stage, text).on(Side::PartnerCenter);
                return self.park_referral(referral, stub, finding);
            }
            Stage::Unanswered | Stage::Active | Stage::Won | Stage::Lost => {}
        }
        let mut link = stub.unwrap_or_else(|| Link::new(referral.id.into()));
        link.due = None;
        // What was accepted already is no lead any more.
        let is_lead = self.policy.wants_leads() && !referral.is_cosell() && referral.has_known_type();
        let is_open = terms.stage() == Stage::Unanswered;
        self.create_opportunity(link, terms, is_lead && is_open)
    }

    /// Keeps a link for a referral that a person has to settle, without claiming its records.
    fn park_referral(&mut self, referral: &Referral, stub: Option<Link>, finding: Finding) -> Decision {
        let mut link = stub.unwrap_or_else(|| Link::new(referral.id.into()));
        if link.version > 0 && link.attention == [finding.clone()] && link.due.is_none() {
            self.findings.push(finding);
            return self.finish(Outcome::Parked, Some(link.id));
        }
        let before = link.clone();
        link.referral = Some(referral.id);
        link.due = None;
        self.attend(&mut link, vec![finding.clone()]);
        let mut draft = Draft::new(before, link);
        draft.note(vec![finding]);
        draft.without_pointers();
        Decision::Act(draft)
    }

    /// Two records that both exist belong together; they have no common past, so the first merge has no base.
    pub(super) fn link_existing(
        &mut self,
        referral: &Referral,
        opportunity: OpportunityId,
        stub: Option<Link>,
    ) -> Decision {
        let before = stub.unwrap_or_else(|| Link::new(referral.id.into()));
        let mut next = before.clone();
        next.opportunity = Some(opportunity);
        next.referral = Some(referral.id);
        next.engagement = referral.engagement_id;
        next.etags.referral.clone_from(&referral.etag);
        next.saw(referral);
        next.due = Some(self.follow_up());
        self.remember_rows(&mut next);
        if let Some(row) = self.opportunity.seen() {
            next.etags.opportunity.clone_from(&row.etag);
            // A trail that another connector left stays below ours.
            next.journal = row
                .text(&self.policy.mapping.columns.audit)
                .map(|text| text.lines().map(ToOwned::to_owned).collect())
                .unwrap_or_default();
        }
        let finding = Finding::new(
            Code::Linked,
            format!("referral {} and opportunity {opportunity} were linked", referral.id),
        );
        self.attend(&mut next, Vec::new());
        let mut draft = Draft::new(before, next);
        draft.note(vec![finding.clone()]);
        plan::journal(draft.journal(), &[finding], self.trigger.now);
        draft.go_on(true);
        Decision::Act(draft)
    }

    pub(super) fn follow_up(&self) -> Due {
        Due {
            at: self.trigger.now + self.policy.wait(super::FOLLOW_UP),
            attempts: 0,
            why: "follow_up".to_owned(),
        }
    }

    /// Creates the opportunity or the lead of a referral, or finishes creating it.
    pub(super) fn create_opportunity(&mut self, link: Link, terms: Terms, as_lead: bool) -> Decision {
        let Some(id) = link.referral.or(match self.subject {
            Subject::Referral(id) => Some(id),
            Subject::Opportunity(_) | Subject::Lead(_) => None,
        }) else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        // Somebody else is at it, or crashed a moment ago: our own row in the poll does not tell which.
        let under_way = link.pending.is_some() && link.due.as_ref().is_some_and(|due| due.at > self.trigger.now);
        if under_way && !self.holds_intent && self.trigger.hint.cause == Cause::DynamicsPoll {
            return self.finish(Outcome::Due, Some(link.id));
        }
        if matches!(self.referral, Sight::Unread) {
            return Decision::Ask(Call::ReadReferral(id));
        }
        let Some(referral) = self.referral.seen().cloned() else {
            let what = if as_lead { "lead" } else { "opportunity" };
            let text = format!("referral {id} vanished before its {what} was created");
            // The announcement stays: the row's id is claimed, and the referral may be seen again.
            return self.park(link, Finding::new(Code::Deleted, text).on(Side::PartnerCenter));
        };
        // The announced terms were refused for good: what the referral says by now counts.
        let terms = if terms == Terms::default() {
            Terms::from_referral(&referral)
        } else {
            terms
        };
        let currency = match terms.get(Field::Value) {
            Term::Money {
                currency: Some(code), ..
            } => match self.known_currency(code) {
                None => return Decision::Ask(Call::FindCurrency(code.clone())),
                Some(None) => {
                    let text = format!(
                        "Dynamics has no active currency {code}; add it there, then the {} is created",
                        if as_lead { "lead" } else { "opportunity" }
                    );
                    let finding = Finding::field(Code::CurrencyMissing, Field::Value, text).on(Side::Dynamics);
                    return self.park_referral(&referral, Some(link), finding);
                }
                Some(known) => known,
            },
            _ => None,
        };
        if let Some(call) = self.find_account(&referral).or_else(|| self.find_contact(&referral)) {
            return Decision::Ask(call);
        }
        self.draft_opportunity(link, terms, &referral, currency, as_lead)
    }

    /// The look-up of a referral's customer, unless it was made.
    pub(super) fn find_account(&self, referral: &Referral) -> Option<Call> {
        let customer = &referral.customer_profile;
        if self.account == Match::Unasked && !customer.name.trim().is_empty() {
            return Some(Call::FindAccount {
                name: self.policy.mapping.account_name(&customer.name).to_owned(),
                postal_code: customer.address.postal_code.trim().to_owned(),
            });
        }
        let domain = customer
            .team
            .first()
            .and_then(|person| self.policy.mapping.company_domain(person));
        match (&self.account, self.asked_domain, domain) {
            (Match::None, false, Some(domain)) => Some(Call::FindAccountsOf { domain }),
            _ => None,
        }
    }

    /// What is said when nobody but a person can tell which account is the customer's.
    pub(super) fn several_accounts(&self, customer: &str) -> Finding {
        let text = format!(
            "several accounts may be the customer {customer:?}: {}; choose the right one on the opportunity",
            self.candidates.join(", ")
        );
        Finding::new(Code::Ambiguous, text).on(Side::Dynamics)
    }

    /// The look-up of the customer's contact, unless it was made.
    pub(super) fn find_contact(&self, referral: &Referral) -> Option<Call> {
        let email = referral.customer_profile.team.first()?.email.trim();
        let email = Some(email).filter(|email| !email.is_empty() && self.contact == Match::Unasked)?;
        Some(Call::FindContact {
            email: email.to_owned(),
        })
    }

    /// The account that we create, or created, for the customer of a referral.
    pub(super) fn own_account(&self, referral: &Referral) -> AccountId {
        let (mapping, customer) = (&self.policy.mapping, &referral.customer_profile);
        let (name, address) = (mapping.account_name(&customer.name), &customer.address);
        self.policy
            .tenant
            .account_for(name, &address.postal_code, &address.country)
    }

    /// A currency that was looked up, or that needs no look; none when it has to be asked for.
    pub(super) fn known_currency(&mut self, code: &Currency) -> Option<Option<plan::KnownCurrency>> {
        if let Some(known) = self.currencies.get(code) {
            return Some(*known);
        }
        let takes = self.policy.mapping.takes_currency(code)?;
        let known = takes.then_some(plan::KnownCurrency {
            id: Mapping::no_currency_row(),
            digits: 2,
        });
        self.currencies.insert(code.clone(), known);
        Some(known)
    }

    fn draft_opportunity(
        &mut self,
        link: Link,
        terms: Terms,
        referral: &Referral,
        currency: Option<plan::KnownCurrency>,
        as_lead: bool,
    ) -> Decision {
        let tenant = self.policy.tenant;
        let record = if as_lead {
            Record::Lead(tenant.lead_for(referral.id))
        } else {
            Record::Opportunity(tenant.opportunity_for(referral.id))
        };
        let policy = &self.policy.of(Some(record));
        let text = format!("Partner Center to Dynamics: the {} was created", policy.mapping.row());
        let mut findings = vec![Finding::new(Code::Created, text).on(Side::Dynamics)];
        let customer = &referral.customer_profile;
        // A lead holds its customer by itself; its qualification makes the account.
        let is_made = |is_unknown: bool| is_unknown && !as_lead;
        let new_account = is_made(matches!(self.account, Match::None)).then(|| self.own_account(referral));
        let email = customer.team.first().map_or("", |person| person.email.as_str());
        let new_contact = is_made(matches!(self.contact, Match::None)).then(|| tenant.contact_for(email));
        let account = match self.account {
            Match::One(id) => Some(id),
            Match::Unasked | Match::None | Match::Several => new_account,
        };
        let contact = match self.contact {
            Match::One(id) => Some(id),
            Match::Unasked | Match::None | Match::Several => new_contact,
        };
        let mut attention = Vec::new();
        if self.account == Match::Several && !as_lead {
            attention.push(self.several_accounts(&customer.name));
            findings.extend(attention.iter().cloned());
        }
        let (mut change, base, notes) = plan::new_opportunity(
            &NewOpportunity {
                referral,
                terms: &terms,
                currency,
                account,
                contact,
            },
            policy,
        );
        attention.extend(notes.iter().filter(|finding| finding.code.needs_attention()).cloned());
        findings.extend(notes);
        let tags = &referral.details.requirements.solutions;
        let agreed = base.opportunity.get(Field::Solutions);
        let solutions = match record {
            Record::Opportunity(id) => plan::solutions::of_new_opportunity(id, tags, agreed, &policy.mapping),
            Record::Lead(_) => Vec::new(),
        };
        let mut next = link.clone();
        match record {
            Record::Opportunity(id) => next.opportunity = Some(id),
            Record::Lead(id) => next.lead = Some(id),
        }
        next.solution_rows = plan::solutions::keys_after(&[], &solutions);
        next.referral = Some(referral.id);
        next.engagement = referral.engagement_id;
        next.saw(referral);
        // Announced by a run that died, the terms may be older than what is read now: that version proves nothing then.
        // Nor does it for a deal that is over there, and begins open here.
        let is_as_announced = Terms::from_referral(referral) == terms;
        let is_agreed = base.referral.stage() == terms.stage();
        next.etags.referral = referral.etag.clone().filter(|_| is_as_announced && is_agreed);
        next.base = Some(base);
        next.pending = None;
        next.due = Some(self.follow_up());
        next.mapping_version = self.policy.mapping.version;
        if let Some(currency) = currency {
            next.money_digits = currency.digits;
        }
        if referral.is_invited_by_microsoft() && !as_lead {
            // The mapping's own wish for help is not answered.
            let help = policy.mapping.constant_help();
            next.asked = help.map(|help| Asked {
                help: Some(help),
                refused: None,
            });
        }
        next.shown.referral = Some(referral.id);
        // Rows are created as in step: the name's mark is then right from the start, and nothing has to follow.
        next.shown.status = Some(SyncStatus::Synced);
        self.attend(&mut next, attention);
        let mut draft = Draft::new(link, next);
        draft.note(findings.clone());
        plan::journal(draft.journal(), &findings, self.trigger.now);
        plan::show(&mut change, &draft.link().shown, &crate::link::Shown::default(), policy);
        plan::show_journal(&mut change, &draft.link().journal, &policy.mapping);
        draft.announce(match record {
            Record::Opportunity(_) => Pending::CreateOpportunity { terms },
            Record::Lead(_) => Pending::CreateLead { terms },
        });
        if let Some(id) = new_account {
            draft.create_row(Table::Account, id.uuid(), self.policy.mapping.new_account(customer));
        }
        if let (Some(id), Some(change)) = (new_contact, plan::new_contact(referral, account, &self.policy.mapping)) {
            draft.create_row(Table::Contact, id.uuid(), change);
        }
        let table = if as_lead { Table::Lead } else { Table::Opportunity };
        draft.create_row(table, record.uuid(), change);
        for request in solutions {
            draft.write_solution(request);
        }
        draft.go_on(true);
        self.created = true;
        Decision::Act(draft)
    }

    /// An opportunity that no link knows, or that could not be shared yet.
    pub(super) fn meet_opportunity(&mut self, id: OpportunityId, stub: Option<Link>) -> Decision {
        let row = match &self.opportunity {
            Sight::Unread => return Decision::Ask(Call::ReadRecord(Record::Opportunity(id))),
            Sight::Absent => {
                self.stub = stub;
                return self.finish(Outcome::Ignored, None);
            }
            Sight::Seen(row) => row.clone(),
        };
        let columns = &self.policy.mapping.columns;
        if !row.flag(&columns.sync) {
            self.stub = stub;
            return self.finish(Outcome::Ignored, None);
        }
        if let Some(referral) = row
            .text(&columns.referral_identifier)
            .and_then(|text| text.parse::<ReferralId>().ok())
        {
            return self.meet_identified(id, referral, stub);
        }
        if let Some(decision) = self.meet_offspring(id, &row, stub.as_ref()) {
            return decision;
        }
        let mapping = &self.policy.mapping;
        let (terms, particulars) = (mapping.terms(&row), mapping.particulars(&row));
        let findings = plan::validate(&terms, &particulars, mapping);
        let link = stub.unwrap_or_else(|| Link::new(id.into()));
        if findings.is_empty() {
            return self.share(link, id, terms);
        }
        // Behind a crash the row may show what it lacked in between.
        if link.attention == findings && link.pending.is_none() {
            self.findings.extend(findings);
            return self.finish(Outcome::Parked, Some(link.id));
        }
        let mut next = link.clone();
        self.remember_rows(&mut next);
        next.opportunity = Some(id);
        next.etags.opportunity.clone_from(&row.etag);
        next.shown.status = Some(SyncStatus::Error);
        next.pending = None;
        next.due = None;
        self.attend(&mut next, findings.clone());
        let mut draft = Draft::new(link, next);
        draft.note(findings.clone());
        plan::journal(draft.journal(), &findings, self.trigger.now);
        draft.announce(Pending::Update {
            referral: Terms::default(),
            opportunity: Terms::default(),
            changes: Vec::new(),
            ordered: None,
        });
        draft.show_findings(&row, self.policy);
        Decision::Act(draft)
    }

    /// The opportunity carries a referral's id already: from another connector, or from before the ledger was lost.
    fn meet_identified(&mut self, id: OpportunityId, referral: ReferralId, stub: Option<Link>) -> Decision {
        match &self.named {
            None => return Decision::Ask(Call::FindLink(Subject::Referral(referral))),
            Some(Some(link)) if link.opportunity == Some(id) => {
                // Another run has linked the two meanwhile.
                let link = link.clone();
                self.stub = stub;
                return self.go_on_with(link);
            }
            Some(Some(link)) if link.has_parted(Subject::Referral(referral)) => {
                let text = format!(
                    "the opportunity carries the id of referral {referral}, which an operator unlinked; `link` joins the two, or clear the id to share the deal anew"
                );
                let link = kept_for(id, stub);
                return self.park(link, Finding::new(Code::Unlinked, text).on(Side::Dynamics));
            }
            Some(Some(link)) if link.opportunity.is_some() => {
                let text = format!(
                    "the opportunity carries the id of referral {referral}, which belongs to another opportunity; clear it to share this one"
                );
                let link = kept_for(id, stub);
                return self.park(link, Finding::new(Code::AlreadyLinked, text).on(Side::Dynamics));
            }
            Some(_) => {}
        }
        match &self.referral {
            Sight::Unread => Decision::Ask(Call::ReadReferral(referral)),
            Sight::Absent => {
                let text = format!(
                    "the opportunity carries the id of referral {referral}, which is not to be seen in Partner Center; clear it to share the deal anew"
                );
                let link = kept_for(id, stub);
                self.park(link, Finding::new(Code::ReferenceNamesNothing, text).on(Side::Dynamics))
            }
            Sight::Seen(found) => {
                let found = found.clone();
                let kept = self.named.clone().flatten().or(stub);
                self.link_existing(&found, id, kept)
            }
        }
    }

    /// Announces that the partner's own referral is about to be created.
    fn share(&mut self, link: Link, id: OpportunityId, terms: Terms) -> Decision {
        let mut link = link;
        link.opportunity = Some(id);
        let since = self.trigger.now;
        self.post(link, Half::Own, terms, since)
    }

    /// Creates a referral, or finds out whether it was created.
    pub(super) fn create_referral(
        &mut self,
        link: Link,
        half: Half,
        terms: Terms,
        since: Timestamp,
        negatives: u8,
    ) -> Decision {
        let Some(opportunity) = link.opportunity else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        // After the last search the post needs an announcement of its own: what the ledger says now allows every run to
        // post, so a crash behind this post would let the next run post again.
        if self.holds_intent && negatives < SEARCHES {
            return self.post(link, half, terms, since);
        }
        // The record that the hint is about may be the one that is waited for.
        let seen = match half {
            Half::Own => self.referral.seen(),
            Half::Microsofts => self.microsoft.seen().or_else(|| self.referral.seen()),
        };
        if let Some(referral) = seen.filter(|referral| is_awaited(referral, half, &link)).cloned() {
            return self.adopt(link, half, terms, &referral, Vec::new());
        }
        if negatives >= SEARCHES {
            self.holds_intent = false;
            return self.post(link, half, terms, self.trigger.now);
        }
        let settled = link.due.as_ref().map_or(since + self.policy.settle, |due| due.at);
        if self.trigger.now < settled {
            return self.finish(Outcome::Due, Some(link.id));
        }
        let search = match (half, link.engagement) {
            (Half::Microsofts, Some(engagement)) => Search::Engagement(engagement),
            _ => Search::Reference {
                opportunity,
                since: since - CLOCK_SKEW,
            },
        };
        let Some(found) = &self.searched else {
            return Decision::Ask(Call::SearchReferrals(search));
        };
        if let Some((referral, others)) = plan::oldest(found, |referral| is_awaited(referral, half, &link)) {
            let (referral, others) = (referral.clone(), others);
            return self.adopt(link, half, terms, &referral, others);
        }
        let mut next = link.clone();
        next.pending = Some(Pending::CreateReferral {
            half,
            terms,
            since,
            negatives: negatives + 1,
        });
        let last = negatives + 1 >= SEARCHES;
        let wait = if last {
            jiff::SignedDuration::ZERO
        } else {
            self.policy.settle
        };
        next.due = Some(Due {
            at: self.trigger.now + wait,
            attempts: 0,
            why: "in_doubt".to_owned(),
        });
        let mut draft = Draft::new(link, next);
        draft.note(vec![Finding::new(
            Code::InDoubt,
            format!(
                "search {} did not find the referral whose creation was not answered",
                negatives + 1
            ),
        )]);
        draft.go_on(last);
        self.searched = None;
        Decision::Act(draft)
    }

    /// The awaited record is there.
    fn adopt(
        &mut self,
        link: Link,
        half: Half,
        terms: Terms,
        referral: &Referral,
        others: Vec<ReferralId>,
    ) -> Decision {
        if matches!(self.opportunity, Sight::Unread) {
            let Some(id) = link.opportunity else {
                return self.finish(Outcome::Ignored, Some(link.id));
            };
            return Decision::Ask(Call::ReadRecord(Record::Opportunity(id)));
        }
        let next = link.clone();
        let mut draft = Draft::new(link, next);
        match half {
            Half::Own => draft.adopt(referral),
            Half::Microsofts => draft.link_microsoft(referral.id),
        }
        let mut findings = vec![created(half)];
        if !others.is_empty() {
            let list = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let text = format!(
                "more than one referral names this opportunity; {} is used, close {list} in Partner Center",
                referral.id
            );
            findings.push(Finding::new(Code::DuplicateReferrals, text).on(Side::PartnerCenter));
        }
        draft.note(findings);
        if half == Half::Own {
            self.referral = Sight::Seen(Box::new(referral.clone()));
        } else {
            self.microsoft = Sight::Seen(Box::new(referral.clone()));
            if self.referral.seen().is_some_and(|seen| seen.id == referral.id) {
                self.unread(&[Side::PartnerCenter]);
            }
        }
        self.after_creation(&mut draft, half, terms);
        if half == Half::Own {
            draft.trust_if_agreed(referral);
        }
        Decision::Act(draft)
    }

    /// Posts one half. What follows it is in the commit: the announcement of the other half, or the common base.
    fn post(&mut self, link: Link, half: Half, terms: Terms, since: Timestamp) -> Decision {
        let Some(id) = link.opportunity else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        let row = match &self.opportunity {
            Sight::Unread => return Decision::Ask(Call::ReadRecord(Record::Opportunity(id))),
            Sight::Absent => return self.bury(link),
            Sight::Seen(row) => row.clone(),
        };
        let mapping = &self.policy.mapping;
        if !row.flag(&mapping.columns.sync) {
            return self.withdraw(link);
        }
        let particulars = mapping.particulars(&row);
        let findings = plan::validate(&terms, &particulars, mapping);
        let own = plan::new_referral(id, &terms, &particulars, mapping).filter(|_| findings.is_empty());
        let body = match (own, half, link.engagement) {
            (Some(own), Half::Own, _) => own,
            (Some(own), Half::Microsofts, Some(engagement)) => {
                plan::new_microsoft_referral(own, engagement, &particulars)
            }
            _ => {
                // What was announced cannot be sent any more: the row lost something it needs.
                let finding = findings
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Finding::new(Code::Missing, "the deal lacks what Partner Center demands"));
                return self.park(Link { pending: None, ..link }, finding);
            }
        };
        let mut next = link.clone();
        // Announced by a run that died, the terms may be older than what is read now: that version proves nothing then.
        let is_as_announced = mapping.terms(&row) == terms;
        next.etags.opportunity = row.etag.clone().filter(|_| is_as_announced);
        self.remember_rows(&mut next);
        let mut draft = Draft::new(link, next);
        draft.note(vec![created(half)]);
        draft.announce(Pending::CreateReferral {
            half,
            terms: terms.clone(),
            since,
            negatives: 0,
        });
        draft.create_referral(half, body);
        self.after_creation(&mut draft, half, terms);
        Decision::Act(draft)
    }

    /// Asks Microsoft for help with a deal that was shared without.
    pub(super) fn invite(&mut self, link: Link) -> Decision {
        let terms = match self.opportunity.seen() {
            Some(row) => self.policy.mapping.terms(row),
            None => return self.finish(Outcome::Ignored, Some(link.id)),
        };
        // Of a half that has been there all along, before the two were linked, no event told.
        if let Some(engagement) = link.engagement {
            match self.searched.take() {
                None => return Decision::Ask(Call::SearchReferrals(Search::Engagement(engagement))),
                Some(found) => {
                    if let Some((half, _)) = plan::oldest(&found, Referral::is_microsofts) {
                        self.microsoft = Sight::Seen(Box::new(half.clone()));
                        return self.decide();
                    }
                }
            }
        }
        self.post(link, Half::Microsofts, terms, self.trigger.now)
    }

    /// The seller has withdrawn the consent before anything was sent: nothing is.
    fn withdraw(&mut self, link: Link) -> Decision {
        let text = "synchronisation was switched off before the deal was sent; it was not sent";
        let finding = Finding::new(Code::Paused, text).on(Side::Dynamics);
        let mut next = link.clone();
        next.pending = None;
        next.due = None;
        let is_shared = next.base.is_some();
        let mut draft = Draft::new(link, next);
        draft.note(vec![finding]);
        draft.go_on(is_shared);
        Decision::Act(draft)
    }

    /// What the ledger says once a half exists.
    fn after_creation(&mut self, draft: &mut Draft, half: Half, terms: Terms) {
        let wants_help = self
            .opportunity
            .seen()
            .is_some_and(|row| self.policy.mapping.particulars(row).help.is_some());
        // A deal that was shared before has its base already, and it may know better.
        let base = match (half, &draft.link().base) {
            (Half::Microsofts, Some(base)) => base.clone(),
            _ => plan::shared_base(&terms, &self.policy.mapping),
        };
        if half == Half::Microsofts {
            draft.asked(Asked {
                help: self.wanted_help(),
                refused: None,
            });
        }
        let pending = (half == Half::Own && wants_help).then_some(Pending::CreateReferral {
            half: Half::Microsofts,
            terms,
            since: self.trigger.now,
            negatives: 0,
        });
        let finding = created(half);
        plan::journal(draft.journal(), &[finding], self.trigger.now);
        let due = match &pending {
            Some(_) => Due {
                at: self.trigger.now + self.policy.settle,
                attempts: 0,
                why: "in_doubt".to_owned(),
            },
            None => self.follow_up(),
        };
        draft.settle(base, pending, due, self.policy.mapping.version);
        draft.go_on(true);
        self.created = true;
    }
}

fn created(half: Half) -> Finding {
    match half {
        Half::Own => {
            Finding::new(Code::Created, "Dynamics to Partner Center: the deal was shared").on(Side::PartnerCenter)
        }
        Half::Microsofts => Finding::new(
            Code::MicrosoftInvited,
            "Dynamics to Partner Center: Microsoft was asked for help",
        )
        .on(Side::PartnerCenter),
    }
}

/// Whether this is the record whose creation is in doubt.
fn is_awaited(referral: &Referral, half: Half, link: &Link) -> bool {
    match half {
        Half::Own => {
            !referral.is_microsofts()
                && matches!(referral.reference(), Reference::Opportunity(id) if Some(id) == link.opportunity)
        }
        Half::Microsofts => {
            referral.is_microsofts() && referral.engagement_id.is_some() && referral.engagement_id == link.engagement
        }
    }
}

/// The link that is kept for an opportunity which cannot be linked yet.
pub(super) fn kept_for(id: OpportunityId, stub: Option<Link>) -> Link {
    Link {
        opportunity: Some(id),
        ..stub.map_or_else(|| Link::new(id.into()), without_update)
    }
}

/// The link without an update that a dead run has announced. Of a deal that is not shared, that was no more than what its
/// row was to show.
pub(super) fn without_update(link: Link) -> Link {
    let pending = link
        .pending
        .filter(|pending| !matches!(pending, Pending::Update { .. }));
    Link { pending, ..link }
}
