//! What is written when a lead is made, and when the opportunity that came of it takes its place.
//!
//! Knows: what a new lead says of its customer, what a fresh opportunity lacks that its lead had. Guarantee: what a lead
//! showed is neither lost with it nor taken for an edit of the opportunity.

use std::collections::BTreeSet;

use crate::deal::{Field, Term};
use crate::ids::{LeadId, OpportunityId, ReferralId, SolutionId};
use crate::link::{Base, Link, Shown, SyncStatus};
use crate::mapping::{LeadColumns, Mapping, set_text};
use crate::opportunity::{Cell, Row, RowChange};
use crate::plan::{OpportunityRequest, Plan, mark_of};
use crate::policy::Policy;
use crate::referral::CustomerProfile;
use crate::stage::Stage;

/// Says on a new lead who the customer is.
pub(super) fn introduce(change: &mut RowChange, columns: &LeadColumns, customer: &CustomerProfile) {
    set_text(change, &columns.company, &customer.name, 100);
    let [line1, line2, city, state, postal_code, country] = &columns.address;
    let address = &customer.address;
    for (column, text, limit) in [
        (line1, &address.address_line1, 250),
        (line2, &address.address_line2, 250),
        (city, &address.city, 80),
        (state, &address.state, 50),
        (postal_code, &address.postal_code, 20),
        (country, &address.country, 80),
    ] {
        set_text(change, column, text, limit);
    }
    let Some(person) = customer.team.first() else { return };
    let contact = &columns.contact;
    for (column, text, limit) in [
        (&contact.first_name, &person.first_name, 50),
        (&contact.last_name, &person.last_name, 50),
        (&contact.email, &person.email, 100),
        (&contact.phone, &person.phone_number, 50),
    ] {
        set_text(change, column, text, limit);
    }
}

impl Link {
    /// Whether an opportunity has taken the place of a lead and was not written to yet.
    pub(crate) const fn is_taking_over(&self) -> bool {
        self.lead.is_some() && self.opportunity.is_some() && self.shown.status.is_none()
    }

    /// The same deal with an opportunity in the place of its lead, of which nothing was shown yet.
    pub(crate) fn with_opportunity(mut self, id: OpportunityId) -> Self {
        self.opportunity = Some(id);
        self.etags.opportunity = None;
        self.shown = Shown {
            microsoft: self.shown.microsoft,
            ..Shown::default()
        };
        self.base = self.base.map(agreed);
        self
    }
}

/// What the sides agree on once an opportunity stands in the place of the lead: what the lead said, but for what a lead
/// cannot say.
fn agreed(mut base: Base) -> Base {
    if base.opportunity.stage() == Stage::Active {
        // The lead was qualified for the referral. Where that stands by now is news to the opportunity.
        base.referral.set(Field::Stage, Term::stage(Stage::Active, None));
    }
    for field in Field::ALL {
        // Lists of people only grow, and only toward the referral: nothing of them is to be filled in.
        let is_list = matches!(field, Field::Team | Field::Contacts);
        if base.opportunity.get(field) == &Term::Nothing && !is_list {
            // What the lead did not have comes from the referral.
            base.referral.set(field, Term::Nothing);
        }
    }
    base
}

/// Whether what is written to an opportunity that takes the place of a lead stands there: the trail says so. A CRM may be
/// set up to copy every other column by itself when a lead is qualified.
pub(crate) fn has_taken_over(row: &Row, lead: LeadId, opportunity: OpportunityId, mapping: &Mapping) -> bool {
    let trail = row.text(&mapping.columns.audit).unwrap_or_default();
    trail.contains(&told(lead, opportunity))
}

/// What our columns of an opportunity show that has taken over, as far as the row itself tells.
pub(crate) fn shown(before: &Shown, row: &Row, referral: ReferralId, mapping: &Mapping) -> Shown {
    let cell = row.cell(&mapping.columns.sync_status);
    let status = [SyncStatus::Synced, SyncStatus::Error, SyncStatus::Paused]
        .into_iter()
        .find(|status| &mapping.sync_status(*status) == cell);
    Shown {
        referral: Some(referral),
        status: status.or(Some(SyncStatus::Waiting)),
        ..before.clone()
    }
}

/// What the memo column has to name of a lead's solutions, where rows of the fresh opportunity name others: whoever adds a
/// row to a list that nobody has filled in yet takes nothing off it. One that is out of use names its solution, too.
fn missing_solutions(had: &Term, there: &Term, row: &Row, mapping: &Mapping) -> Option<Term> {
    let (Term::Solutions(had), Term::Solutions(there)) = (had, there) else {
        return None;
    };
    let rows = mapping.solution_rows(row).into_iter();
    let in_rows: BTreeSet<SolutionId> = rows.filter_map(|row| row.solution).collect();
    let is_missing = |id: &&SolutionId| !in_rows.contains(id);
    let is_one = !in_rows.is_empty() && had.difference(there).any(|id| is_missing(&id));
    is_one.then(|| Term::Solutions(had.union(there).filter(is_missing).cloned().collect()))
}

/// What a fresh opportunity lacks and its lead has: the row as it will be, and the change that makes it so. Fields that
/// the opportunity brought stay as they are.
pub(crate) fn fill(row: &Row, lead: Option<&Row>, base: Option<&Base>, policy: &Policy) -> (Row, RowChange) {
    let (mapping, Some(leads)) = (&policy.mapping, policy.mapping.leads()) else {
        return (row.clone(), RowChange::default());
    };
    let (mut filled, mut change) = (row.clone(), RowChange::default());
    change.set(mapping.columns.sync.clone(), Cell::Flag(true));
    let there = mapping.terms(row);
    // A lead that is gone by now said at least what was agreed upon.
    let had = lead
        .map(|lead| leads.terms(lead))
        .or_else(|| base.map(|base| base.opportunity.clone()))
        .unwrap_or_default();
    for field in Field::ALL {
        let is_lacking = matches!(there.get(field), Term::Nothing | Term::Flag(false));
        let missing = (field == Field::Solutions)
            .then(|| missing_solutions(had.get(field), there.get(field), row, mapping))
            .flatten();
        let term = missing.as_ref().unwrap_or_else(|| had.get(field));
        let is_written = !matches!(field, Field::Stage | Field::Team | Field::Contacts);
        if !is_written || !(is_lacking || missing.is_some()) || term == there.get(field) || !term.is_readable() {
            continue;
        }
        if mapping.rule(field).is_none() {
            continue;
        }
        let mut currency = None;
        if let (Term::Money { .. }, Some(lead)) = (term, lead) {
            currency = lead
                .guid("_transactioncurrencyid_value")
                .map(crate::ids::CurrencyId::new);
            filled.set("transactioncurrencyid", lead.cell("transactioncurrencyid").clone());
        }
        let mark = mark_of(Some(SyncStatus::Synced), policy);
        let mut one = RowChange::default();
        mapping.write(field, term, mark, currency, &mut one);
        for (column, cell) in one.cells().filter(|(column, _)| !column.contains('@')) {
            filled.set(column, cell.clone());
        }
        change.complete(&one);
    }
    let has_account = |row: &Row| {
        row.row("parentaccountid")
            .or_else(|| row.row("customerid_account"))
            .is_some()
    };
    if let Some(account) = lead.and_then(|lead| lead.guid("_parentaccountid_value"))
        && !has_account(row)
    {
        change.bind("customerid_account", "accounts", account);
        change.bind("parentaccountid", "accounts", account);
    }
    if let Some(contact) = lead.and_then(|lead| lead.guid("_parentcontactid_value"))
        && row.row("parentcontactid").is_none()
    {
        change.bind("parentcontactid", "contacts", contact);
    }
    (filled, change)
}

impl Plan {
    /// Whether a lead is qualified by it.
    pub(crate) fn qualifies(&self) -> bool {
        self.opportunity.contains(&OpportunityRequest::Qualify)
    }

    /// Adds columns to the update of the row, where it does not set them already.
    pub(crate) fn complete(&mut self, with: &RowChange) {
        let is_plain = |change: &RowChange| change.cells().all(|(column, _)| column != "statecode");
        for request in &mut self.opportunity {
            if let OpportunityRequest::Update(change) = request
                && is_plain(change)
            {
                return change.complete(with);
            }
        }
        if !with.is_empty() {
            self.opportunity.insert(0, OpportunityRequest::Update(with.clone()));
        }
    }
}

/// Says which lead it was and what became of it.
pub(crate) fn told(lead: LeadId, opportunity: OpportunityId) -> String {
    format!("lead {lead} was qualified; opportunity {opportunity} takes its place")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;
    use crate::ids::{Etag, TenantId};
    use crate::mapping::DEFAULT;

    const LEAD: &str = r#""subject":"✔ Deal","estimatedamount":100,"estimatedclosedate":"2026-06-30","description":"Notes",
        "cosell_solutions":"SOL-1","cosell_referralvisibility":true,"statecode":1,"statuscode":3,
        "transactioncurrencyid":{"isocurrencycode":"GBP","currencyprecision":2},
        "_transactioncurrencyid_value":"0c9d4b7e-0003-4e2e-8b7a-000d3a3be645",
        "_parentaccountid_value":"0c9d4b7e-0004-4e2e-8b7a-000d3a3be645""#;

    fn policy() -> Policy {
        Policy {
            tenant: TenantId::new(Uuid::from_u128(1)),
            mapping: Arc::new(Mapping::parse(DEFAULT).unwrap()),
            cosell_only: false,
            display_checkmark: true,
            settle: SignedDuration::from_secs(600),
            waits_percent: 100,
            close_delay: SignedDuration::ZERO,
            dry_run: false,
            paused: None,
        }
    }

    fn row(cells: &str) -> Row {
        serde_json::from_str(&format!("{{{cells}}}")).unwrap()
    }

    #[test]
    fn a_fresh_opportunity_gets_what_it_lacks_and_keeps_what_it_brought() {
        let policy = policy();
        let fresh = row(
            r#""name":"Deal","description":"Call first","statecode":0,"statuscode":1,
            "cosell_opportunity_dealsolution":[]"#,
        );
        let (filled, change) = fill(&fresh, Some(&row(LEAD)), None, &policy);
        let terms = policy.mapping.terms(&filled);
        for (field, expected) in [
            (Field::Name, "Deal"),
            (Field::Value, "100 GBP"),
            (Field::CloseDate, "2026-06-30"),
            (Field::Notes, "Call first"),
            (Field::Visibility, "yes"),
            (Field::Solutions, "SOL-1"),
        ] {
            assert_eq!(terms.get(field).to_string(), expected, "{field}");
        }
        let columns: Vec<&str> = change.cells().map(|(column, _)| column).collect();
        let expected = [
            "cosell_referralvisibility",
            "cosell_solutions",
            "cosell_syncwithpartnercenter",
            "customerid_account@odata.bind",
            "estimatedclosedate",
            "estimatedvalue",
            "parentaccountid@odata.bind",
            "transactioncurrencyid@odata.bind",
        ];
        assert_eq!(columns, expected);
        // Once it is filled, there is nothing to fill but the consent.
        let account = row(r#""name":"Customer""#);
        let mut complete = filled;
        complete.set("parentaccountid", Cell::Row(Box::new(account)));
        assert_eq!(fill(&complete, Some(&row(LEAD)), None, &policy).1.cells().count(), 1);
    }

    #[test]
    fn what_was_agreed_on_the_lead_is_agreed_on_its_opportunity() {
        let mapping = policy().mapping;
        let leads = mapping.leads().unwrap();
        let mut base = Base {
            referral: leads.terms(&row(LEAD)),
            opportunity: leads.terms(&row(LEAD)),
        };
        base.referral.set(Field::Stage, Term::stage(Stage::Won, None));
        base.opportunity.set(Field::CloseDate, Term::Nothing);
        let after = agreed(base.clone());
        // Qualified because the referral was accepted; that it is won by now is still to be carried.
        assert_eq!(after.referral.stage(), Stage::Active);
        // What the lead did not have is news from the referral.
        assert_eq!(after.referral.get(Field::CloseDate), &Term::Nothing);
        assert_eq!(after.referral.get(Field::Value), base.referral.get(Field::Value));
        assert_eq!(after.opportunity, base.opportunity);
    }

    #[test]
    fn of_an_opportunity_in_the_place_of_a_lead_only_where_microsoft_stands_was_told() {
        let (lead, opportunity) = (LeadId::new(Uuid::from_u128(3)), OpportunityId::new(Uuid::from_u128(4)));
        let mut link = Link::new(lead.into());
        link.lead = Some(lead);
        link.etags.opportunity = Some(Etag("W/\"1\"".to_owned()));
        link.shown = Shown {
            referral: Some(ReferralId::new(Uuid::from_u128(5))),
            status: Some(SyncStatus::Synced),
            microsoft_crm_id: Some("7-4".to_owned()),
            microsoft: Some(Stage::Active),
            microsoft_notes: Some("Notes".to_owned()),
            microsoft_team: Some("Team".to_owned()),
        };
        assert!(!link.is_taking_over());
        let next = link.with_opportunity(opportunity);
        assert_eq!((next.opportunity, next.lead), (Some(opportunity), Some(lead)));
        assert_eq!(next.etags.opportunity, None);
        // The trail told of it, and tells each stage once; the columns of the opportunity are still to be filled.
        let told = Shown {
            microsoft: Some(Stage::Active),
            ..Shown::default()
        };
        assert_eq!(next.shown, told);
        assert!(next.is_taking_over());
    }

    #[test]
    fn what_an_opportunity_shows_that_has_taken_over_is_read_from_it() {
        let mapping = policy().mapping;
        let referral = ReferralId::new(Uuid::from_u128(5));
        let before = Shown {
            microsoft: Some(Stage::Active),
            ..Shown::default()
        };
        for (status, expected) in [
            (SyncStatus::Synced, SyncStatus::Synced),
            (SyncStatus::Error, SyncStatus::Error),
            (SyncStatus::Paused, SyncStatus::Paused),
            // It says nothing of a state that stands for a look to come.
            (SyncStatus::NotSynced, SyncStatus::Waiting),
        ] {
            let mut row = row(r#""name":"Deal""#);
            row.set(&mapping.columns.sync_status, mapping.sync_status(status));
            let expected = Shown {
                referral: Some(referral),
                status: Some(expected),
                ..before.clone()
            };
            assert_eq!(shown(&before, &row, referral, &mapping), expected, "{status:?}");
        }
    }

    #[test]
    fn the_trail_tells_that_an_opportunity_has_taken_over() {
        let mapping = policy().mapping;
        let (lead, opportunity) = (LeadId::new(Uuid::from_u128(3)), OpportunityId::new(Uuid::from_u128(4)));
        let copied = row(r#""cosell_referralidentifier":"x","cosell_audit":"a trail that the CRM copied""#);
        assert!(!has_taken_over(&copied, lead, opportunity, &mapping));
        let told = told(lead, opportunity);
        let written = row(&format!(r#""cosell_audit":"2026-01-01 00:00 UTC - {told}\nolder""#));
        assert!(has_taken_over(&written, lead, opportunity, &mapping));
    }
}
