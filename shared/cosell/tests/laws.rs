//! Laws of projecting, merging and planning, over generated deals.
//!
//! Knows: what has to hold for every pair of records, however strange. Refuses to know: examples. The vendors' rules are
//! the model's (`vendors`): a request that it refuses breaks a law.

#![cfg(test)]

#[path = "laws/deals.rs"]
mod deals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cosell::deal::{Field, Side, Term, Terms};
use cosell::finding::Code;
use cosell::ids::{LinkId, OpportunityId, ReferralId, TenantId};
use cosell::link::{Base, Link};
use cosell::mapping::{self, Mapping, Owner};
use cosell::merge::{self, Merged};
use cosell::opportunity::RowChange;
use cosell::plan::{self, KnownCurrency, Need, NewOpportunity, OpportunityRequest, Picture, Plan, SolutionRequest};
use cosell::policy::Policy;
use jiff::SignedDuration;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use uuid::Uuid;

use model::vendors::{self, Kind, ReferralRecord, RowRecord};

static MAPPING: LazyLock<Arc<Mapping>> = LazyLock::new(|| Arc::new(Mapping::parse(mapping::DEFAULT).unwrap()));

const SIDES: [Side; 2] = [Side::PartnerCenter, Side::Dynamics];

fn policy(marked: bool) -> Policy {
    Policy {
        tenant: TenantId::new(Uuid::from_u128(1)),
        mapping: MAPPING.clone(),
        cosell_only: true,
        display_checkmark: marked,
        settle: SignedDuration::from_secs(600),
        waits_percent: 100,
        dry_run: false,
        close_delay: SignedDuration::ZERO,
        paused: None,
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A linked deal with both its records.
#[derive(Clone, Debug)]
struct Deal {
    policy: Policy,
    link: Link,
    referral: ReferralRecord,
    row: RowRecord,
}

impl Deal {
    fn new(referral: ReferralRecord, row: RowRecord, marked: bool) -> Self {
        let opportunity = OpportunityId::new(Uuid::from_u128(2));
        let mut link = Link::new(LinkId::from(opportunity));
        link.opportunity = Some(opportunity);
        link.referral = Some(referral.id);
        Self {
            policy: policy(marked),
            link,
            referral,
            row,
        }
    }

    fn terms(&self, side: Side) -> Terms {
        match side {
            Side::PartnerCenter => Terms::from_referral(&self.referral.shown()),
            Side::Dynamics => MAPPING.terms(&self.row.shown()),
        }
    }

    fn digits(&self) -> u32 {
        MAPPING.money_digits(&self.row.shown()).unwrap_or(2)
    }

    /// What `side` would show of a value.
    fn fit(&self, field: Field, term: &Term, side: Side) -> Term {
        let there = self.terms(side);
        let in_rows = side == Side::Dynamics;
        if in_rows && field == Field::Solutions {
            return mapping::solutions::held(term);
        }
        MAPPING
            .fit(field, term, side, &there, self.digits(), self.policy.display_checkmark)
            .term
    }

    fn plan_with(&self, reads: (bool, bool)) -> Result<Plan, Need> {
        let (referral, row) = (self.referral.shown(), self.row.shown());
        let mut currencies = BTreeMap::new();
        loop {
            let picture = Picture {
                link: &self.link,
                base: self.link.base.as_ref(),
                referral: reads.0.then_some(&referral),
                opportunity: reads.1.then_some(&row),
                microsoft: None,
                currencies: &currencies,
                taken: &BTreeSet::new(),
                refused_rows: &BTreeMap::new(),
                now: jiff::Timestamp::UNIX_EPOCH,
                insists: false,
                tries_again: false,
            };
            match plan::plan(&picture, &self.policy) {
                Err(Need::Currency(code)) => {
                    let known = vendors::currency(code.as_str()).map(|(id, digits)| KnownCurrency { id, digits });
                    assert_eq!(
                        currencies.insert(code, known),
                        None,
                        "asked for the same currency twice"
                    );
                }
                other => return other,
            }
        }
    }

    fn plan(&self) -> Plan {
        self.plan_with((true, true)).unwrap()
    }

    /// Carries out a plan as faithful vendors would, and commits it.
    fn carry_out(&mut self, plan: &Plan) -> Result<(), TestCaseError> {
        let refused = |why| TestCaseError::fail(format!("a vendor refused: {why}\n{plan:#?}"));
        for (_, operations) in &plan.referral {
            self.referral.patch(operations).map_err(refused)?;
        }
        for request in &plan.opportunity {
            match request {
                OpportunityRequest::Update(change) => self.row.update(change).map_err(refused)?,
                OpportunityRequest::Close(close) => {
                    self.row.close(close).map_err(|why| refused(format!("{why:?}")))?;
                }
                OpportunityRequest::Qualify => return Err(refused("there is no lead".to_owned())),
            }
        }
        self.write_solutions(&plan.solutions)?;
        self.link.base = Some(plan.merged.base.clone());
        self.link.shown = plan.shown.clone();
        self.link.attention.clone_from(&plan.attention);
        self.link.referenced = plan.referenced;
        self.link.money_digits = plan.money_digits;
        Ok(())
    }

    fn write_solutions(&mut self, requests: &[SolutionRequest]) -> Result<(), TestCaseError> {
        for request in requests {
            let done = match request {
                SolutionRequest::Add { key, change, .. } => self.row.add_solution(*key, change),
                SolutionRequest::Activate { key, etag, .. } | SolutionRequest::Deactivate { key, etag, .. } => {
                    let etag = etag.as_ref().ok_or_else(|| TestCaseError::fail("no version"))?;
                    let change = mapping::solutions::activity(request.adds());
                    self.row.update_solution(*key, etag, &change)
                }
            };
            prop_assert_eq!(done, Ok(true), "{:?}", request);
        }
        Ok(())
    }

    /// Looks and acts until there is nothing to write. What waits for an acceptance follows it, hence one more round.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let first = self.plan();
        self.carry_out(&first)?;
        let second = self.plan();
        let waited: BTreeSet<Field> = of_code(&first, Code::Deferred);
        for change in &second.merged.changes {
            prop_assert!(waited.contains(&change.field), "written twice: {change:?}\n{first:#?}");
        }
        prop_assert!(
            !second.writes() || !waited.is_empty(),
            "the second look writes\n{first:#?}\n{second:#?}"
        );
        self.carry_out(&second)?;
        let third = self.plan();
        prop_assert!(!third.writes(), "the third look writes\n{second:#?}\n{third:#?}");
        self.carry_out(&third)
    }
}

/// Whether a side shows something else than the base. What the base could not know does not count: the currency that
/// Dynamics gives to a value without one, unless another was agreed on, and a reason beside a deal that was lost without one.
fn has_moved(agreed: &Base, side: Side, field: Field, now: &Terms) -> bool {
    match (side, agreed.side(side).get(field), now.get(field)) {
        (
            Side::Dynamics,
            Term::Money {
                amount: base,
                currency: None,
            },
            Term::Money { amount: now, currency },
        ) => {
            let agreed = match agreed.referral.get(field) {
                Term::Money { currency, .. } => currency.as_ref(),
                _ => None,
            };
            let is_agreed = agreed.zip(currency.as_ref()).is_none_or(|(agreed, now)| agreed == now);
            base != now || !is_agreed
        }
        (
            Side::Dynamics,
            Term::Stage {
                stage: base,
                reason: None,
            },
            Term::Stage { stage: now, .. },
        ) => base != now,
        (_, base, now) => base != now,
    }
}

fn of_code(plan: &Plan, code: Code) -> BTreeSet<Field> {
    let findings = plan.findings.iter().filter(|finding| finding.code == code);
    findings.filter_map(|finding| finding.field).collect()
}

fn write(row: &mut RowRecord, field: Field, term: &Term, mark: Option<char>) -> Result<(), TestCaseError> {
    let currency = match term {
        Term::Money {
            currency: Some(code), ..
        } => vendors::currency(code.as_str()).map(|(id, _)| id),
        _ => None,
    };
    let mut change = RowChange::default();
    MAPPING.write(field, term, mark, currency, &mut change);
    row.update(&change).map_err(TestCaseError::fail)
}

fn merged(base: Option<&Base>, referral: &Terms, opportunity: &Terms, mapping: &Mapping) -> Merged {
    merge::merge(merge::Input {
        close_delay: None,
        answerable: true,
        mapping,
        base,
        referral,
        opportunity,
        money_digits: 2,
        digits_of: &BTreeMap::new(),
        marked: false,
        missing_currencies: &BTreeSet::new(),
        paused: None,
    })
}

/// A settled deal, and what people then did to either side: two further pairs of records, of which some fields are taken.
type Story = (Deal, (ReferralRecord, BTreeSet<Field>), (RowRecord, BTreeSet<Field>));

fn story() -> impl Strategy<Value = Story> {
    let records = (deals::referral(), deals::row(), any::<bool>());
    let deal = records.prop_map(|(referral, row, marked)| Deal::new(referral, row, marked));
    (
        deal,
        (deals::referral(), deals::fields()),
        (deals::row(), deals::fields()),
    )
}

fn edit(
    deal: &mut Deal,
    (referral, on_referral): &(ReferralRecord, BTreeSet<Field>),
    on_row: &(RowRecord, BTreeSet<Field>),
) {
    for field in on_referral {
        deals::take_referral(*field, referral, &mut deal.referral);
    }
    let (row, on_row) = on_row;
    for field in on_row {
        deals::take_row(*field, row, &mut deal.row);
    }
}

proptest! {
    #![proptest_config(config())]

    /// Row to terms to row to terms.
    #[test]
    fn projecting_twice_changes_nothing(row in deals::row(), mark in deals::mark()) {
        let terms = MAPPING.terms(&row.shown());
        let mut written = row.clone();
        for field in Field::ALL {
            write(&mut written, field, terms.get(field), mark)?;
        }
        prop_assert_eq!(MAPPING.terms(&written.shown()), terms);
    }

    #[test]
    fn what_was_fitted_fits(referral in deals::referral(), row in deals::row(), marked in any::<bool>()) {
        let deal = Deal::new(referral, row, marked);
        for side in SIDES {
            let (mut there, from) = (deal.terms(side), deal.terms(side.other()));
            for field in Field::ALL {
                let once = MAPPING.fit(field, from.get(field), side, &there, deal.digits(), marked);
                let twice = MAPPING.fit(field, &once.term, side, &there, deal.digits(), marked);
                prop_assert_eq!(&twice.term, &once.term);
                prop_assert!(!twice.cut);
                there.set(field, once.term.clone());
                let there_already = MAPPING.fit(field, &once.term, side, &there, deal.digits(), marked);
                prop_assert_eq!(&there_already.term, &once.term);
            }
        }
    }

    /// What the mapping says a column will show is what it shows once it is written.
    #[test]
    fn a_fitted_value_is_read_back_as_it_was_written(
        referral in deals::referral(), row in deals::row(), mark in deals::mark(),
    ) {
        let deal = Deal::new(referral, row.clone(), mark.is_some());
        let (there, from) = (deal.terms(Side::Dynamics), deal.terms(Side::PartnerCenter));
        for field in Field::ALL {
            let fitted = match from.get(field) {
                Term::Money { amount, currency: Some(code) } => {
                    let Some((_, digits)) = vendors::currency(code.as_str()) else { continue };
                    let term = Term::Money { amount: *amount, currency: Some(code.clone()) };
                    MAPPING.fit(field, &term, Side::Dynamics, &there, digits, mark.is_some())
                }
                Term::Stage { .. } | Term::Unreadable(_) | Term::Money { .. } => continue,
                term => MAPPING.fit(field, term, Side::Dynamics, &there, deal.digits(), mark.is_some()),
            };
            if fitted.term == Term::Nothing && field == Field::Name {
                continue;
            }
            let mut written = row.clone();
            write(&mut written, field, &fitted.term, mark)?;
            let terms = MAPPING.terms(&written.shown());
            prop_assert_eq!(terms.get(field), &fitted.term);
        }
    }

    /// Both records meet, settle, are edited, settle again: every request is one that the vendors take, and then there is
    /// silence. Legal moves, paths, lengths and the one-way visibility are the vendors' rules.
    #[test]
    fn planning_after_a_plan_was_carried_out_yields_nothing((mut deal, on_referral, on_row) in story()) {
        deal.settle()?;
        edit(&mut deal, &on_referral, &on_row);
        deal.settle()?;
    }

    /// What is created for a referral is taken by the vendor and is in step from the start, but for the deal's end: rows
    /// start open.
    #[test]
    fn a_created_opportunity_is_in_step(referral in deals::referral(), marked in any::<bool>()) {
        let shown = referral.shown();
        let terms = Terms::from_referral(&shown);
        let currency = match terms.get(Field::Value) {
            Term::Money { currency: Some(code), .. } => {
                let Some((id, digits)) = vendors::currency(code.as_str()) else { return Ok(()) };
                Some(KnownCurrency { id, digits })
            }
            _ => None,
        };
        let new = NewOpportunity { referral: &shown, terms: &terms, currency, account: None, contact: None };
        let (change, base, _) = plan::new_opportunity(&new, &policy(marked));
        let row = RowRecord::create(Kind::Opportunity, &change).map_err(TestCaseError::fail)?;
        let mut deal = Deal::new(referral, row, marked);
        let id = deal.link.opportunity.unwrap();
        let tags = &shown.details.requirements.solutions;
        let agreed = base.opportunity.get(Field::Solutions);
        deal.write_solutions(&plan::solutions::of_new_opportunity(id, tags, agreed, &MAPPING))?;
        let now = deal.terms(Side::Dynamics);
        for field in Field::ALL.into_iter().filter(|field| terms.get(*field).is_readable()) {
            prop_assert!(!has_moved(&base, Side::Dynamics, field, &now), "{field} is {:?}", now.get(field));
            let is_known = terms.get(field) == base.referral.get(field);
            prop_assert!(is_known || field == Field::Stage);
        }
        deal.link.base = Some(base);
        deal.link.money_digits = deal.digits();
        deal.settle()?;
    }

    #[test]
    fn an_echo_is_silent((mut deal, on_referral, on_row) in story()) {
        edit(&mut deal, &on_referral, &on_row);
        deal.settle()?;
        // An etag that moved for no reason of ours, and a trail line of ours, are what an echo is made of.
        deal.row.version += 1;
        deal.referral.version += 1;
        let plan = deal.plan();
        prop_assert!(!plan.writes());
        prop_assert!(plan.merged.changes.is_empty());
        prop_assert_eq!(Some(&plan.merged.base), deal.link.base.as_ref());
        // What is still said is about what is still wrong.
        for finding in &plan.findings {
            prop_assert!(
                matches!(
                    finding.code,
                    Code::UnknownValue | Code::CurrencyMissing | Code::Deferred | Code::ReferenceNamesNothing | Code::Refused
                ),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn both_sides_at_base_are_left_alone(referral in deals::referral(), row in deals::row()) {
        let base = Base { referral: Terms::from_referral(&referral.shown()), opportunity: MAPPING.terms(&row.shown()) };
        let merged = merged(Some(&base), &base.referral, &base.opportunity, &MAPPING);
        prop_assert_eq!(merged.base, base);
        prop_assert!(merged.changes.is_empty() && merged.findings.is_empty() && merged.cleared.is_empty());
        prop_assert_eq!((merged.toward_referral, merged.toward_opportunity), (Terms::default(), Terms::default()));
    }

    #[test]
    fn a_one_sided_change_survives_or_is_explained(
        (mut deal, on_referral, on_row) in story(), by_partner_center in any::<bool>(),
    ) {
        deal.settle()?;
        let before = deal.clone();
        let side = if by_partner_center {
            edit(&mut deal, &on_referral, &(on_row.0, BTreeSet::new()));
            Side::PartnerCenter
        } else {
            edit(&mut deal, &(on_referral.0, BTreeSet::new()), &on_row);
            Side::Dynamics
        };
        let base = before.link.base.clone().unwrap_or_default();
        let (edited, other) = (deal.terms(side), deal.terms(side.other()));
        let plan = deal.plan();
        deal.carry_out(&plan)?;
        let after = (deal.terms(side), deal.terms(side.other()));
        for field in Field::ALL {
            if !has_moved(&base, side, field, &edited) || has_moved(&base, side.other(), field, &other) {
                continue;
            }
            let withdrawn = field == Field::Visibility && edited.get(field) == &Term::Flag(false);
            if !withdrawn {
                prop_assert_eq!(after.0.get(field), edited.get(field), "{} of {} was taken back", field, side);
            }
            let explained = plan.findings.iter().any(|finding| {
                finding.field == Some(field)
                    && matches!(
                        finding.code,
                        Code::Frozen | Code::Deferred | Code::Missing | Code::IllegalMove | Code::UnknownValue | Code::CurrencyMissing
                            | Code::Refused
                    )
            });
            let fitted = deal.fit(field, edited.get(field), side.other());
            let mut expected = Base::default();
            expected.side_mut(side.other()).set(field, fitted);
            let arrived = !has_moved(&expected, side.other(), field, &after.1)
                || &deal.fit(field, after.1.get(field), side) == edited.get(field);
            prop_assert!(arrived || explained, "{field} of {side} was lost: {:?}\n{plan:#?}", edited.get(field));
        }
    }

    #[test]
    fn whatever_replaces_an_unseen_edit_says_so((mut deal, on_referral, on_row) in story(), settled in any::<bool>()) {
        if settled {
            deal.settle()?;
        }
        edit(&mut deal, &on_referral, &on_row);
        let plan = deal.plan();
        let base = deal.link.base.clone().unwrap_or_default();
        for side in SIDES {
            let now = deal.terms(side);
            for (field, _) in plan.merged.writes(side) {
                // Between two records that meet for the first time, an unset flag is nobody's edit.
                let unset = now.get(field) == &Term::Flag(false) && base.side(side).get(field) == &Term::Nothing;
                let moved = has_moved(&base, side, field, &now) && !unset;
                let change = plan.merged.changes.iter().find(|change| (change.field, change.side) == (field, side));
                let Some(change) = change else {
                    return Err(TestCaseError::fail(format!("{field} is written to {side} without a record")));
                };
                prop_assert_eq!(&change.old, now.get(field));
                if let Term::People(joined) = &change.new {
                    // Lists of people are joined: nobody is taken off.
                    let known = match &change.old {
                        Term::People(known) => known.clone(),
                        _ => BTreeMap::new(),
                    };
                    prop_assert!(known.iter().all(|(mail, person)| joined.get(mail) == Some(person)), "{change:?}");
                    continue;
                }
                prop_assert!(change.lost || !moved, "{change:?}");
                // Also lost is what stood there by an agreement to differ: the other side never had it.
                let other = base.side(side.other()).get(field);
                let differed = &deal.fit(field, other, side) != base.side(side).get(field);
                prop_assert!(moved || differed || !change.lost, "{change:?}");
                let conflict = plan.findings.iter().any(|finding| {
                    finding.field == Some(field) && matches!(finding.code, Code::Conflict | Code::Frozen)
                });
                prop_assert!(conflict || !moved, "{field} is replaced on {side} without a finding");
            }
        }
    }

    /// A side that was not read counts as what the base says: when that is so, reading it makes no difference.
    #[test]
    fn not_reading_a_side_that_did_not_move_changes_nothing(
        (mut deal, on_referral, on_row) in story(), by_partner_center in any::<bool>(),
    ) {
        deal.settle()?;
        deal.link.etags.referral = Some(deal.referral.etag());
        deal.link.etags.opportunity = Some(deal.row.etag());
        let reads = if by_partner_center {
            edit(&mut deal, &on_referral, &(on_row.0, BTreeSet::new()));
            (true, false)
        } else {
            edit(&mut deal, &(on_referral.0, BTreeSet::new()), &on_row);
            (false, true)
        };
        let unread = if by_partner_center { Side::Dynamics } else { Side::PartnerCenter };
        let base = deal.link.base.clone().unwrap_or_default();
        if deal.terms(unread) != *base.side(unread) {
            return Ok(());
        }
        let whole = deal.plan();
        match deal.plan_with(reads) {
            Ok(half) => {
                prop_assert_eq!(&half.merged, &whole.merged);
                prop_assert_eq!(&half.referral, &whole.referral);
                prop_assert_eq!(&half.opportunity, &whole.opportunity);
            }
            // What a row cannot hold, the memo of an old record may: the opportunity is read to find out.
            Err(need) => {
                let is_refused = !of_code(&whole, Code::Refused).is_empty();
                prop_assert!(whole.writes() || is_refused, "{need:?} for a plan that writes nothing");
            }
        }
    }

    /// Neither side is privileged but by its owner: for the fields that both hold alike, mirrored inputs give mirrored
    /// results.
    #[test]
    fn mirrored_inputs_give_mirrored_results(
        base in deals::plain_terms(), referral in deals::plain_terms(), opportunity in deals::plain_terms(),
        owner in deals::owner(), met in any::<bool>(),
    ) {
        let mirror = |owner: Owner| match owner {
            Owner::Side(side) => Owner::Side(side.other()),
            Owner::Manual => Owner::Manual,
        };
        let name = |owner: Owner| match owner {
            Owner::Side(Side::Dynamics) => "dynamics",
            Owner::Side(Side::PartnerCenter) => "partner_center",
            Owner::Manual => "manual",
        };
        let owned_by = |owner| {
            let source = mapping::DEFAULT.replace("owner = \"dynamics\"", &format!("owner = {:?}", name(owner)));
            Mapping::parse(&source).unwrap()
        };
        let base_of = |terms: &Terms| Base { referral: terms.clone(), opportunity: terms.clone() };
        let base = met.then(|| base_of(&base));
        let one = merged(base.as_ref(), &referral, &opportunity, &owned_by(owner));
        let other = merged(base.as_ref(), &opportunity, &referral, &owned_by(mirror(owner)));
        prop_assert_eq!(&one.toward_referral, &other.toward_opportunity);
        prop_assert_eq!(&one.toward_opportunity, &other.toward_referral);
        prop_assert_eq!(&one.base.referral, &other.base.opportunity);
        prop_assert_eq!(&one.base.opportunity, &other.base.referral);
        prop_assert_eq!(&one.silent, &other.silent);
        let sides = |merged: &Merged, flip: bool| -> Vec<_> {
            let changes = merged.changes.iter().cloned();
            changes.map(|change| (change.field, if flip { change.side.other() } else { change.side }, change.old, change.new, change.lost)).collect()
        };
        prop_assert_eq!(sides(&one, false), sides(&other, true));
    }
}

/// Not generated: the life cycles are small enough to try every pair.
#[test]
fn every_pair_of_stages_settles_with_legal_moves() {
    // Spellings that are read as one stage settle alike.
    let statuses = deals::STATUSES
        .into_iter()
        .filter(|(_, substatus)| !["Received", "Error"].contains(substatus));
    let states = deals::STATES.into_iter().filter(|(_, reason)| ![9, 5].contains(reason));
    let ends: Vec<_> = statuses
        .flat_map(|status| states.clone().map(move |state| (status, state)))
        .collect();
    for (before, after) in ends
        .iter()
        .flat_map(|before| ends.iter().map(move |after| (before, after)))
    {
        let referral = ReferralRecord::active(ReferralId::new(Uuid::from_u128(3)), jiff::Timestamp::UNIX_EPOCH);
        let mut deal = Deal::new(referral, RowRecord::open(), true);
        for ((status, substatus), (state, reason)) in [before, after] {
            (deal.referral.status, deal.referral.substatus) = ((*status).to_owned(), (*substatus).to_owned());
            deals::set_state(&mut deal.row, *state, *reason);
            deal.settle()
                .unwrap_or_else(|error| panic!("{before:?}, then {after:?}: {error}"));
        }
    }
}
