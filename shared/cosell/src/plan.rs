//! The planner: from what is known of a deal to the exact requests that bring it into step.
//!
//! Knows: which request carries which field, in which order, on which version it stands. Refuses to know: how a request
//! is sent and what to do when it fails. Guarantees: a plan without requests writes nothing; every request is valid
//! against the published definition of its API; planning again after a plan was carried out yields nothing.

pub(crate) mod lead;
pub mod solutions;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use self::solutions::SolutionRequest;
use crate::amount::Amount;
use crate::deal::{Currency, Field, Particulars, Person, Side, Term, Terms};
use crate::finding::{Code, Finding};
use crate::ids::{AccountId, ContactId, CurrencyId, EngagementId, OpportunityId, ReferralId, SolutionId};
use crate::link::{Asked, Base, Change, Closing, Link, Shown, SyncStatus};
use crate::mapping::solutions::{SolutionRow, is_of, tag, tags, unsendable};
use crate::mapping::{self, Mapping};
use crate::merge::{self, Merged};
use crate::opportunity::{Cell, Row, RowChange};
use crate::order;
use crate::policy::Policy;
use crate::reconcile::call::{Close, Table};
use crate::referral::{
    AdditionalRequirements, MICROSOFT, Member, NewConsent, NewDetails, NewInviteContext, NewReferral, NewRequirements,
    PatchOperation, PatchValue, Reference, Referral, SolutionTag, Target,
};
use crate::stage::{OpportunityMove, Stage};

/// Lines the audit column keeps; its 100,000 characters hold far more than anyone reads.
const JOURNAL_LINES: usize = 60;

/// Characters of one line.
const JOURNAL_WIDTH: usize = 400;

/// What is known of a linked deal. A side that was not read is taken to be what the base says; the version in the
/// request proves it or refuses the request.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The link.
    pub link: &'a Link,
    /// What the sides last agreed on; a landed but uncommitted write counts as agreed.
    pub base: Option<&'a Base>,
    /// The referral, if it was read.
    pub referral: Option<&'a Referral>,
    /// The opportunity, if it was read.
    pub opportunity: Option<&'a Row>,
    /// Microsoft's half, if it was read.
    pub microsoft: Option<&'a Referral>,
    /// Currencies that were looked up.
    pub currencies: &'a BTreeMap<Currency, Option<KnownCurrency>>,
    /// Keys of solution rows that were found to be taken by rows of other deals.
    pub taken: &'a BTreeSet<Uuid>,
    /// Solutions of which the CRM refused a row for good in this run, with what is said of it.
    pub refused_rows: &'a BTreeMap<SolutionId, Finding>,
    /// Whether a move of the row that the CRM refused for good is tried again though nobody has changed the row since.
    pub tries_again: bool,
    /// Now: whether a closing has waited long enough.
    pub now: Timestamp,
    /// A person asked for this look: what a vendor refused for good is tried once more.
    pub insists: bool,
}

/// A row of `transactioncurrencies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCurrency {
    /// Its key.
    pub id: CurrencyId,
    /// Digits after the point that amounts keep.
    pub digits: u32,
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the merge came to.
    pub merged: Merged,
    /// PATCHes of the referral, in order; each is all or nothing. With each, the fields it carries.
    pub referral: Vec<(Vec<Field>, Vec<PatchOperation>)>,
    /// Requests on the opportunity, in order.
    pub opportunity: Vec<OpportunityRequest>,
    /// Requests on the rows of its solutions, in order.
    pub solutions: Vec<SolutionRequest>,
    /// What our columns show once it is done.
    pub shown: Shown,
    /// What a person has to settle.
    pub attention: Vec<Finding>,
    /// Why; the merge's findings among them.
    pub findings: Vec<Finding>,
    /// Whether the referral carries our reference once it is done.
    pub referenced: bool,
    /// Digits after the point that the CRM keeps for the deal's currency once it is done.
    pub money_digits: u32,
    /// Why an operator's order is not part of it.
    pub refusal: Option<Finding>,
    /// A closing that waits.
    pub closing: Option<Closing>,
    /// What became of the help that the seller wants.
    pub asked: Option<Asked>,
    /// Microsoft is to be asked for help, once everything else is in step.
    pub invites: bool,
}

impl Plan {
    /// Whether a vendor's record is changed by it.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.referral.is_empty() || !self.opportunity.is_empty()
    }

    /// Whether something is left out because its side is paused.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.findings.iter().any(|finding| finding.code == Code::Paused)
    }
}

/// One request on an opportunity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpportunityRequest {
    /// Set columns.
    Update(RowChange),
    /// Close it.
    Close(Close),
    /// Qualify it, which only leads can be: an opportunity takes its place.
    Qualify,
}

/// What has to be looked up before a plan can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The referral itself: the base is not enough, or its version is not known.
    Referral,
    /// The opportunity itself.
    Opportunity,
    /// The row of a currency.
    Currency(Currency),
}

/// Whether Microsoft is to be asked for help after the deal was shared without.
enum Invitation {
    /// Nothing new is wanted.
    Unwanted,
    /// It can be asked.
    Wanted,
    /// It cannot, for these reasons.
    Impossible(Vec<Finding>),
    /// It cannot, and never will for this wish; what there is to say of it.
    Never(Option<Finding>),
}

/// Whether the seller wants help that Microsoft was not asked for. An invitation is the creation of Microsoft's half;
/// what it asks for cannot be changed afterwards (`manage-co-sell-opportunities`).
fn invitation(picture: &Picture<'_>, opportunity: &Terms, policy: &Policy) -> Result<Invitation, Need> {
    let mapping = policy.mapping.as_ref();
    let (Some(row), Some(base)) = (picture.opportunity, picture.base) else {
        return Ok(Invitation::Unwanted);
    };
    if picture.link.is_lead() {
        // What is not accepted yet is nothing to ask for help with.
        return Ok(Invitation::Unwanted);
    }
    let particulars = mapping.particulars(row);
    let asked = picture.link.asked.as_ref();
    let is_new = asked.map_or(particulars.help.is_some(), |asked| asked.help != particulars.help);
    let has_half = picture.link.microsoft.is_some() || picture.microsoft.is_some();
    let never = |text: &str| Invitation::Never(Some(Finding::new(Code::Frozen, text).on(Side::Dynamics)));
    let is_wanted = particulars.help.is_some();
    if is_new && (is_wanted || has_half) || is_wanted && picture.insists {
        let referral = picture.referral.ok_or(Need::Referral)?;
        let sent = if referral.is_invited_by_microsoft() {
            Some("Microsoft sent this deal itself, so there is nobody to ask for help")
        } else if referral.is_from_another_partner() {
            Some("another partner sent this deal; help from Microsoft is for that partner to ask for")
        } else {
            None
        };
        if let Some(text) = sent {
            return Ok(if is_wanted {
                never(text)
            } else {
                Invitation::Never(None)
            });
        }
    }
    if has_half {
        return Ok(match (asked, &particulars.help) {
            _ if !is_new => Invitation::Unwanted,
            (Some(Asked { refused: None, .. }), Some(help)) => never(&format!(
                "Microsoft is asked for help once; that {} is wanted now, tell it in the notes",
                help.0
            )),
            (Some(Asked { refused: None, .. }), None) => {
                never("Microsoft was asked for help, which cannot be taken back")
            }
            // What was asked before this was written down is not known.
            _ => Invitation::Never(None),
        });
    }
    if !is_wanted {
        return Ok(Invitation::Unwanted);
    }
    if !is_new && !picture.insists {
        return Ok(match asked.and_then(|asked| asked.refused.clone()) {
            Some(text) => Invitation::Impossible(vec![Finding::new(Code::Refused, text).on(Side::Dynamics)]),
            None => Invitation::Unwanted,
        });
    }
    let referral = picture.referral.ok_or(Need::Referral)?;
    if base.referral.stage().is_closed() || Terms::from_referral(referral).stage().is_closed() {
        return Ok(never(
            "the referral is closed, so Microsoft cannot be asked for help any more",
        ));
    }
    let findings = validate(opportunity, &particulars, mapping);
    Ok(match (findings.is_empty(), policy.paused) {
        (false, _) => Invitation::Impossible(findings),
        (true, Some(Side::PartnerCenter)) => Invitation::Impossible(vec![
            Finding::new(
                Code::Paused,
                merge::held_back("asking Microsoft for help", Side::PartnerCenter),
            )
            .on(Side::PartnerCenter),
        ]),
        (true, _) => Invitation::Wanted,
    })
}

impl Plan {
    fn follow(&mut self, invitation: Invitation, picture: &Picture<'_>, policy: &Policy) {
        match invitation {
            Invitation::Unwanted => {}
            Invitation::Wanted => self.invites = true,
            Invitation::Impossible(findings) => self.findings.extend(findings),
            Invitation::Never(finding) => {
                let help = picture.opportunity.and_then(|row| policy.mapping.particulars(row).help);
                let asked = Some(Asked { help, refused: None });
                if finding.is_some() && policy.paused == Some(Side::Dynamics) && asked != self.asked {
                    let text = merge::held_back("what there is to say of the help wanted", Side::Dynamics);
                    self.findings.push(Finding::new(Code::Paused, text).on(Side::Dynamics));
                } else {
                    self.findings.extend(finding);
                    self.asked = asked;
                }
            }
        }
    }

    /// Has the trail written, should nothing else be that it goes with.
    fn write_trail(&mut self) {
        if self.opportunity.is_empty() {
            // Every update of a row carries its trail.
            self.opportunity.push(OpportunityRequest::Update(RowChange::default()));
        }
    }
}

/// How long a closing still has to wait; none when it has waited.
fn closing_wait(picture: &Picture<'_>, opportunity: &Terms, policy: &Policy) -> Option<SignedDuration> {
    let delay = policy.close_delay;
    let stage = opportunity.get(Field::Stage);
    let since = match &picture.link.closing {
        Some(closing) if &closing.stage == stage => closing.since,
        _ => picture.now,
    };
    let left = delay.saturating_sub(picture.now.duration_since(since));
    left.is_positive().then_some(left)
}

/// The closing that waits once this look is over.
fn closing(picture: &Picture<'_>, opportunity: &Terms, waits: bool, findings: &mut Vec<Finding>) -> Option<Closing> {
    let before = picture.link.closing.clone();
    let stage = opportunity.get(Field::Stage);
    if waits {
        let known = before.filter(|closing| &closing.stage == stage);
        if known.is_some() {
            // Said when it began.
            findings.retain(|finding| finding.code != Code::Closing);
        }
        return Some(known.unwrap_or_else(|| Closing {
            stage: stage.clone(),
            since: picture.now,
        }));
    }
    if picture.opportunity.is_none() {
        return before;
    }
    if before.is_some() && !opportunity.stage().is_closed() {
        findings.push(Finding::field(
            Code::TakenBack,
            Field::Stage,
            "the deal was opened again before Partner Center was told that it was closed",
        ));
    }
    None
}

/// Plans a linked deal.
///
/// # Errors
/// What has to be looked up first.
pub fn plan(picture: &Picture<'_>, policy: &Policy) -> Result<Plan, Need> {
    plan_ordered(picture, None, policy)
}

/// Plans a linked deal of which an operator wants one field to be as given, on both sides.
///
/// # Errors
/// What has to be looked up first.
pub fn plan_ordered(picture: &Picture<'_>, order: Option<&(Field, Term)>, policy: &Policy) -> Result<Plan, Need> {
    let policy = &policy.of(picture.link.record());
    let mapping = policy.mapping.as_ref();
    let assumed = Base::default();
    let base = picture.base.unwrap_or(&assumed);
    let referral = match (picture.referral, picture.base) {
        (Some(referral), _) => Terms::from_referral(referral),
        (None, Some(base)) => base.referral.clone(),
        (None, None) => return Err(Need::Referral),
    };
    let mut opportunity = match (picture.opportunity, picture.base) {
        (Some(row), _) => mapping.terms(row),
        (None, Some(base)) => base.opportunity.clone(),
        (None, None) => return Err(Need::Opportunity),
    };
    let missing_currencies: BTreeSet<Currency> = picture
        .currencies
        .iter()
        .filter(|(_, known)| known.is_none())
        .map(|(code, _)| code.clone())
        .collect();
    let digits_of: BTreeMap<Currency, u32> = picture
        .currencies
        .iter()
        .filter_map(|(code, known)| known.map(|known| (code.clone(), known.digits)))
        .collect();
    let money_digits = picture
        .opportunity
        .and_then(|row| mapping.money_digits(row))
        .unwrap_or(picture.link.money_digits);
    let invitation = invitation(picture, &opportunity, policy)?;
    // Asking Microsoft for help makes the deal visible to it.
    let reveals = matches!(invitation, Invitation::Wanted) && opportunity.get(Field::Visibility) == &Term::Flag(false);
    if reveals {
        opportunity.set(Field::Visibility, Term::Flag(true));
    }
    let input = merge::Input {
        mapping,
        base: picture.base,
        referral: &referral,
        opportunity: &opportunity,
        money_digits,
        digits_of: &digits_of,
        marked: policy.display_checkmark,
        missing_currencies: &missing_currencies,
        close_delay: closing_wait(picture, &opportunity, policy),
        answerable: !picture.referral.is_some_and(Referral::is_from_another_partner),
        paused: policy.paused,
    };
    let (mut merged, refusal) = match order.map(|(field, value)| order::merge(input, *field, value)) {
        None => (merge::merge(input), None),
        Some(Ok(merged)) => (merged, None),
        Some(Err(refusal)) => (merge::merge(input), Some(refusal)),
    };
    if reveals && policy.paused != Some(Side::Dynamics) {
        let change = Change {
            field: Field::Visibility,
            side: Side::Dynamics,
            old: Term::Flag(false),
            new: Term::Flag(true),
            lost: false,
        };
        merged.findings.push(Finding::field(
            Code::Carried,
            Field::Visibility,
            "asking Microsoft for help makes the deal visible to Microsoft",
        ));
        merged.toward_opportunity.set(Field::Visibility, Term::Flag(true));
        merged.changes.push(change);
    }
    solutions::leave_out(&mut merged, opportunity.get(Field::Solutions), picture.refused_rows);
    leave_out_refused_move(&mut merged, picture);
    let mut plan = Plan {
        refusal,
        findings: merged.findings.clone(),
        referenced: picture.link.referenced,
        asked: picture.link.asked.clone(),
        ..Plan::default()
    };
    let is_answered = matches!(invitation, Invitation::Never(Some(_)));
    plan.follow(invitation, picture, policy);
    plan.closing = closing(picture, &opportunity, merged.closing, &mut plan.findings);
    plan.money_digits = match merged.toward_opportunity.get(Field::Value) {
        Term::Money {
            currency: Some(code), ..
        } => digits_of.get(code).copied().unwrap_or(money_digits),
        _ => money_digits,
    };
    let rows = picture
        .opportunity
        .map(|row| mapping.solution_rows(row))
        .unwrap_or_default();
    plan.findings.extend(solutions::unfilled(&rows));
    plan.solutions = solutions::plan(picture, &merged, policy)?;
    plan_referral(&mut plan, picture, &merged, &rows, &referral.stage(), policy)?;
    plan.attention = attention(picture, mapping, &plan.findings, &merged);
    plan.shown = shown(picture, &plan.attention, &mut plan.findings);
    if policy.paused == Some(Side::Dynamics) && plan.shown != picture.link.shown {
        // What is not shown is not told either: the look behind the pause finds both again.
        plan.shown = picture.link.shown.clone();
        plan.findings.retain(|finding| finding.code != Code::MicrosoftMoved);
        let text = merge::held_back("the deal's sync state", Side::Dynamics);
        plan.findings.push(Finding::new(Code::Paused, text).on(Side::Dynamics));
    }
    plan_opportunity(&mut plan, picture, &merged, &opportunity, base, policy)?;
    if is_answered && plan.asked != picture.link.asked {
        // Whoever wants help reads there why there is none.
        plan.write_trail();
    }
    plan.merged = merged;
    Ok(plan)
}

/// What is said of a move of the row that the CRM refused for good.
pub(crate) fn refused_move(why: &str) -> Finding {
    Finding::field(Code::Refused, Field::Stage, why).on(Side::Dynamics)
}

/// Leaves out a closing, a reopening or a qualification that the CRM refused for good, as long as the row is the one it
/// refused: the trail is written before each try, so that trying at every look would never end.
fn leave_out_refused_move(merged: &mut Merged, picture: &Picture<'_>) {
    let is_it = |finding: &&Finding| {
        (finding.field, finding.code, finding.side) == (Some(Field::Stage), Code::Refused, Some(Side::Dynamics))
    };
    let Some(refused) = picture.link.attention.iter().find(is_it) else {
        return;
    };
    let version = picture.opportunity.and_then(|row| row.etag.as_ref());
    let is_as_refused = version.is_some() && version == picture.link.etags.opportunity.as_ref();
    if picture.tries_again || !is_as_refused || merged.toward_opportunity.get(Field::Stage) == &Term::Nothing {
        return;
    }
    merged.toward_opportunity.set(Field::Stage, Term::Nothing);
    merged
        .changes
        .retain(|change| (change.field, change.side) != (Field::Stage, Side::Dynamics));
    for side in [Side::PartnerCenter, Side::Dynamics] {
        let agreed = picture.base.map(|base| base.side(side).get(Field::Stage).clone());
        merged.base.side_mut(side).set(Field::Stage, agreed.unwrap_or_default());
    }
    merged.findings.retain(|finding| finding.field != Some(Field::Stage));
    merged.findings.push(refused.clone());
}

fn plan_referral(
    plan: &mut Plan,
    picture: &Picture<'_>,
    merged: &Merged,
    rows: &[SolutionRow],
    stage: &Stage,
    policy: &Policy,
) -> Result<(), Need> {
    let mut fields = Vec::new();
    let mut first = Vec::new();
    for (field, term) in merged.writes(Side::PartnerCenter) {
        if field == Field::Stage {
            continue;
        }
        fields.push(field);
        let there = there(field, picture);
        first.extend(operations(field, term, &there, picture.referral, rows).ok_or(Need::Referral)?);
    }
    let accepts = matches!(merged.toward_referral.stage(), Stage::Active | Stage::Won | Stage::Lost);
    // Our id travels with the acceptance; whether the referral carries one already, only a read tells.
    // So does whether it is for us to answer.
    let answers = merged.toward_referral.get(Field::Stage) != &Term::Nothing || merged.closing;
    if answers && stage == &Stage::Unanswered && picture.referral.is_none() {
        return Err(Need::Referral);
    }
    if let Some(operation) = reference(plan, picture, stage, accepts, policy) {
        first.push(operation);
    }
    let mut last = Vec::new();
    if let Term::Stage { stage: to, reason } = merged.toward_referral.get(Field::Stage) {
        for step in stage.referral_moves(to).unwrap_or_default() {
            let Some((status, substatus)) = step.to_referral() else {
                continue;
            };
            let mut operations = vec![
                PatchOperation::replace("/status", PatchValue::Text(status.to_owned())),
                PatchOperation::replace("/substatus", PatchValue::Text(substatus.to_owned())),
            ];
            if let (Stage::Lost | Stage::Declined, Some(reason)) = (&step, reason) {
                operations.push(PatchOperation::replace(
                    "/statusReason",
                    PatchValue::Text(reason.clone()),
                ));
            }
            if step == Stage::Active {
                // On acceptance the terms may travel along (manage-co-sell-opportunities).
                fields.push(Field::Stage);
                first.splice(0..0, operations);
            } else {
                last.push((vec![Field::Stage], operations));
            }
        }
    }
    if !first.is_empty() {
        plan.referral.push((fields, first));
    }
    // Closing comes last: nothing may follow it.
    plan.referral.append(&mut last);
    if !plan.referral.is_empty() && picture.referral.is_none() && picture.link.etags.referral.is_none() {
        return Err(Need::Referral);
    }
    Ok(())
}

/// Sees to it that the referral carries the opportunity's id, without overwriting what anybody else wrote there.
fn reference(
    plan: &mut Plan,
    picture: &Picture<'_>,
    stage: &Stage,
    accepts: bool,
    policy: &Policy,
) -> Option<PatchOperation> {
    let opportunity = picture.link.opportunity?;
    match picture.referral.map(Referral::reference) {
        Some(Reference::Opportunity(id)) if id == opportunity => {
            plan.referenced = true;
            None
        }
        Some(Reference::Opportunity(_) | Reference::Foreign(_)) => {
            let text = format!(
                "the CRM id of the referral was changed to {:?}; it belongs to opportunity {opportunity}: put that id back, or unlink the two",
                picture
                    .referral
                    .and_then(|referral| referral.external_reference_id.as_deref())
                    .unwrap_or_default()
            );
            plan.findings
                .push(Finding::new(Code::ReferenceNamesNothing, text).on(Side::PartnerCenter));
            None
        }
        // An unanswered referral takes nothing but the answer; the id travels with the acceptance, or follows it.
        Some(Reference::None) if stage == &Stage::Unanswered && !accepts => None,
        // A closed referral takes no reference any more; the link in the ledger is enough.
        Some(Reference::None) if stage.is_closed() => {
            plan.referenced = true;
            None
        }
        Some(Reference::None) if policy.paused == Some(Side::PartnerCenter) => {
            let text = merge::held_back("the CRM id of the referral", Side::PartnerCenter);
            plan.findings
                .push(Finding::new(Code::Paused, text).on(Side::PartnerCenter));
            None
        }
        Some(Reference::None) => {
            plan.referenced = true;
            Some(PatchOperation::replace(
                "/externalReferenceId",
                PatchValue::Text(opportunity.to_string()),
            ))
        }
        None => None,
    }
}

/// What the referral shows of a field: as read, or as its version proves it to be.
fn there(field: Field, picture: &Picture<'_>) -> Term {
    match (picture.referral, picture.base) {
        (Some(referral), _) => Terms::from_referral(referral).get(field).clone(),
        (None, Some(base)) => base.referral.get(field).clone(),
        (None, None) => Term::Nothing,
    }
}

/// The operations that bring a list of people from `there` to `people`: only who is new is named, so that what the API
/// knows of the others stays. `is_empty` says whether nobody is on the list: a whole list takes the place of what is
/// there.
fn join(
    whole: &'static str,
    one: &'static str,
    people: &BTreeMap<String, Person>,
    there: &Term,
    is_empty: bool,
) -> Vec<PatchOperation> {
    let member = |(mail, person): (&String, &Person)| Member {
        first_name: person.first_name.clone(),
        last_name: person.last_name.clone(),
        phone_number: person.phone_number.clone(),
        email: mail.clone(),
    };
    if is_empty {
        return vec![PatchOperation::add(
            whole,
            PatchValue::People(people.iter().map(member).collect()),
        )];
    }
    let is_known = |mail: &String| matches!(there, Term::People(known) if known.contains_key(mail));
    people
        .iter()
        .filter(|(mail, _)| !is_known(mail))
        .map(|person| PatchOperation::add(one, PatchValue::Person(member(person))))
        .collect()
}

/// The operations that set one field; none when the referral itself is needed for them.
fn operations(
    field: Field,
    term: &Term,
    there: &Term,
    referral: Option<&Referral>,
    rows: &[SolutionRow],
) -> Option<Vec<PatchOperation>> {
    let text = |path, text: &str| vec![PatchOperation::replace(path, PatchValue::Text(text.to_owned()))];
    let optional = |path, text: &str| vec![PatchOperation::add(path, PatchValue::Text(text.to_owned()))];
    Some(match (field, term) {
        (Field::Notes, Term::Text(notes)) => text("/details/notes", notes),
        (Field::Notes, Term::Nothing) => text("/details/notes", ""),
        (Field::Value, Term::Money { amount, currency }) => {
            let mut operations = vec![PatchOperation::replace(
                "/details/dealValue",
                PatchValue::Amount(*amount),
            )];
            if let Some(currency) = currency {
                operations.extend(text("/details/currency", currency.as_str()));
            }
            operations
        }
        (Field::CloseDate, Term::Date(date)) => text("/details/closingDateTime", &midnight(*date)),
        (Field::Visibility, Term::Flag(visible)) => vec![PatchOperation::replace(
            "/consent/consentToShareReferralWithMicrosoftSellers",
            PatchValue::Flag(*visible),
        )],
        // Not every referral shows these members, and `replace` needs one that is there.
        (Field::SalesStage, Term::Text(stage)) => optional("/salesStage", stage),
        (Field::Campaign, Term::Text(campaign)) => optional("/campaignId", campaign),
        (Field::Campaign, Term::Nothing) => optional("/campaignId", ""),
        (Field::Program, Term::Text(program)) => optional("/referralProgram", program),
        (Field::Program, Term::Nothing) => optional("/referralProgram", ""),
        (Field::Team | Field::Contacts, Term::People(people)) => {
            let is_empty = match (there, referral) {
                (Term::People(_), _) => false,
                (_, Some(_)) => true,
                (_, None) => return None,
            };
            let (whole, one) = match field {
                Field::Team => ("/team", "/team/-"),
                _ => ("/customerProfile/team", "/customerProfile/team/-"),
            };
            join(whole, one, people, there, is_empty)
        }
        (Field::Solutions, Term::Solutions(ids)) => {
            // The whole list is replaced; what stays keeps the members we do not know.
            let there = &referral?.details.requirements.solutions;
            let tags = ids
                .iter()
                .filter_map(|id| {
                    let kept = there.iter().find(|tag| is_of(tag, id)).cloned();
                    kept.or_else(|| tag(id, rows))
                })
                .collect();
            vec![PatchOperation::replace(
                "/details/requirements/solutions",
                PatchValue::Solutions(tags),
            )]
        }
        _ => Vec::new(),
    })
}

/// Closing dates are sent as midnight UTC, the convention of the API.
fn midnight(date: jiff::civil::Date) -> String {
    format!("{date}T00:00:00Z")
}

fn plan_opportunity(
    plan: &mut Plan,
    picture: &Picture<'_>,
    merged: &Merged,
    opportunity: &Terms,
    base: &Base,
    policy: &Policy,
) -> Result<(), Need> {
    let mapping = policy.mapping.as_ref();
    let mut change = RowChange::default();
    let mark = mark_of(plan.shown.status, policy);
    for (field, term) in merged.writes(Side::Dynamics) {
        let currency = match (term, opportunity.get(field)) {
            (
                Term::Money {
                    currency: Some(code), ..
                },
                there,
            ) => match there {
                Term::Money {
                    currency: Some(current),
                    ..
                } if current == code => None,
                _ => match picture.currencies.get(code) {
                    Some(known) => known.map(|known| known.id),
                    None => return Err(Need::Currency(code.clone())),
                },
            },
            _ => None,
        };
        if field == Field::Solutions && mapping.solution_table().is_some() {
            // Rows are requests of their own, and come before this one: from now on all solutions are rows.
            let row = picture.opportunity.ok_or(Need::Opportunity)?;
            let added = plan.solutions.iter().filter(|request| request.adds());
            let added = added.map(|request| request.solution().clone()).collect();
            mapping.empty_memo(row, term, &added, &mut change);
        } else {
            mapping.write(field, term, mark, currency, &mut change);
        }
        if let (
            Field::Stage,
            Term::Stage {
                reason: Some(reason), ..
            },
        ) = (field, term)
        {
            change.set(mapping.columns.close_reason.clone(), Cell::Text(reason.clone()));
        }
    }
    show(&mut change, &plan.shown, &picture.link.shown, policy);
    if plan.shown.status != picture.link.shown.status && !merged.toward_opportunity_names() {
        let name = match picture.opportunity {
            Some(row) => mapping.terms(row).get(Field::Name).clone(),
            None => base.opportunity.get(Field::Name).clone(),
        };
        if policy.display_checkmark && name != Term::Nothing {
            mapping.write(Field::Name, &name, mark, None, &mut change);
        }
    }
    let mut before = Vec::new();
    let mut after = Vec::new();
    if let Term::Stage { stage: to, .. } = merged.toward_opportunity.get(Field::Stage) {
        let from = opportunity.stage();
        for step in mapping.moves(&from, to).unwrap_or_default() {
            match step {
                OpportunityMove::Qualify => {
                    // As for closing.
                    if picture.opportunity.is_none() {
                        return Err(Need::Opportunity);
                    }
                    after.push(OpportunityRequest::Qualify);
                }
                OpportunityMove::Disqualify => {
                    after.extend(state(mapping, &Stage::Lost).map(OpportunityRequest::Update));
                }
                OpportunityMove::Win | OpportunityMove::Lose => {
                    // The actions take no version: only a row just read tells that there is still something to close.
                    if picture.opportunity.is_none() {
                        return Err(Need::Opportunity);
                    }
                    after.extend(close(step, mapping, merged).map(OpportunityRequest::Close));
                }
                OpportunityMove::Reopen | OpportunityMove::Resume => {
                    before.extend(state(mapping, &mapping.reopened()).map(OpportunityRequest::Update));
                }
                OpportunityMove::Hold => {
                    before.extend(state(mapping, &Stage::Unanswered).map(OpportunityRequest::Update));
                }
            }
        }
    }
    plan.opportunity = before;
    // A change of state travels without the trail that explains it, so an update goes with it, before the row is closed.
    // So it does with rows of solutions, which carry no trail either.
    if !change.is_empty() || !plan.opportunity.is_empty() || !after.is_empty() || !plan.solutions.is_empty() {
        plan.opportunity.push(OpportunityRequest::Update(change));
    }
    plan.opportunity.append(&mut after);
    if !plan.opportunity.is_empty() && picture.opportunity.is_none() && picture.link.etags.opportunity.is_none() {
        return Err(Need::Opportunity);
    }
    Ok(())
}

impl Merged {
    fn toward_opportunity_names(&self) -> bool {
        self.toward_opportunity.get(Field::Name) != &Term::Nothing
    }
}

/// State changes travel in a request of their own: mixed with other columns they run the update logic twice.
fn state(mapping: &Mapping, stage: &Stage) -> Option<RowChange> {
    let row = mapping.status(stage)?;
    let mut change = RowChange::default();
    change.set("statecode", Cell::Number(Amount::new(row.state.into())));
    change.set("statuscode", Cell::Number(Amount::new(row.status.into())));
    Some(change)
}

fn close(step: OpportunityMove, mapping: &Mapping, merged: &Merged) -> Option<Close> {
    let won = step == OpportunityMove::Win;
    let stage = if won { Stage::Won } else { Stage::Lost };
    let reason = match merged.toward_opportunity.get(Field::Stage) {
        Term::Stage { reason, .. } => reason.clone(),
        _ => None,
    };
    mapping.status(&stage).map(|row| Close {
        won,
        status: row.status,
        subject: if won {
            "Won in Partner Center"
        } else {
            "Closed in Partner Center"
        }
        .to_owned(),
        description: reason,
    })
}

/// What needs a person: what this look found, and what earlier looks found that nobody has touched since, as far as this
/// look can tell.
fn attention(picture: &Picture<'_>, mapping: &Mapping, findings: &[Finding], merged: &Merged) -> Vec<Finding> {
    let silent = &merged.silent;
    let has_account = |row: &Row| !mapping.particulars(row).customer.name.is_empty();
    let is_unread = |side: Side| match side {
        Side::PartnerCenter => picture.referral.is_none(),
        Side::Dynamics => picture.opportunity.is_none(),
    };
    let stands = |finding: &&Finding| match (finding.field, finding.code, finding.side) {
        // Whoever settled it has to wait for the end of the pause.
        (Some(field), _, _) if merged.held.contains(&field) => true,
        // These leave the base where it was, so a look at the side that had moved would have found them again.
        (Some(field), Code::UnknownValue, Some(side)) => silent.contains(&field) && is_unread(side),
        (Some(field), Code::CurrencyMissing | Code::Refused, Some(side)) => {
            silent.contains(&field) && is_unread(side.other())
        }
        (Some(field), Code::ManualConflict, _) => {
            silent.contains(&field) && (is_unread(Side::PartnerCenter) || is_unread(Side::Dynamics))
        }
        (Some(field), _, _) => silent.contains(&field),
        (None, Code::Ambiguous, _) => !picture.opportunity.is_some_and(has_account),
        (None, _, Some(side)) => is_unread(side),
        (None, _, None) => false,
    };
    let is_new = |finding: &&Finding| !findings.contains(*finding);
    let standing = picture.link.attention.iter().filter(stands).filter(is_new);
    standing
        .chain(findings.iter().filter(|finding| finding.code.needs_attention()))
        .cloned()
        .collect()
}

fn shown(picture: &Picture<'_>, attention: &[Finding], findings: &mut Vec<Finding>) -> Shown {
    let before = &picture.link.shown;
    let status = if attention.is_empty() {
        SyncStatus::Synced
    } else {
        SyncStatus::Error
    };
    let mut shown = Shown {
        referral: picture.link.referral,
        status: Some(status),
        ..before.clone()
    };
    if let Some(microsoft) = picture.microsoft {
        let mut tell = |text: String| findings.push(Finding::new(Code::MicrosoftMoved, text));
        let stage = Stage::from_referral(&microsoft.status, &microsoft.substatus);
        if before.microsoft.as_ref() != Some(&stage) {
            let reason = microsoft.status_reason.as_deref().map(str::trim).unwrap_or_default();
            let because = if reason.is_empty() || !stage.is_closed() {
                String::new()
            } else {
                format!(" ({reason})")
            };
            tell(format!("Microsoft's referral is {stage}{because}"));
        }
        shown.microsoft = Some(stage);
        // Its half begins as a copy of ours, so what it shows at first is not Microsoft's.
        let terms = Terms::from_referral(microsoft);
        let ours = match (picture.referral, picture.base) {
            (Some(referral), _) => Terms::from_referral(referral),
            (None, Some(base)) => base.referral.clone(),
            (None, None) => Terms::default(),
        };
        let text = |field| match terms.get(field) {
            Term::Nothing | Term::Unreadable(_) => None,
            term => Some(term.to_string()),
        };
        let (notes, team) = (text(Field::Notes), text(Field::Team));
        for (field, now, then, what) in [
            (Field::Notes, &notes, &before.microsoft_notes, "notes"),
            (Field::Team, &team, &before.microsoft_team, "people"),
        ] {
            let is_ours = then.is_none() && ours.get(field) == terms.get(field);
            if let Some(now) = now.as_ref().filter(|now| Some(*now) != then.as_ref() && !is_ours) {
                tell(format!("Microsoft's {what} on the deal: {now}"));
            }
        }
        (shown.microsoft_notes, shown.microsoft_team) = (notes, team);
        let id = microsoft
            .tracking_info
            .microsoft_msx_id
            .clone()
            .filter(|id| !id.trim().is_empty());
        shown.microsoft_crm_id = id.or(shown.microsoft_crm_id);
    }
    shown
}

/// The mark before the name that goes with a sync state.
#[must_use]
pub fn mark_of(status: Option<SyncStatus>, policy: &Policy) -> Option<char> {
    match status {
        Some(SyncStatus::Synced) if policy.display_checkmark => Some('✔'),
        Some(SyncStatus::Error) if policy.display_checkmark => Some('✘'),
        _ => None,
    }
}

/// Adds what our columns show to a change, where it differs from what they showed before.
pub(crate) fn show(change: &mut RowChange, shown: &Shown, before: &Shown, policy: &Policy) {
    let columns = &policy.mapping.columns;
    if let Some(referral) = shown.referral
        && shown.referral != before.referral
    {
        change.set(columns.referral_identifier.clone(), Cell::Text(referral.to_string()));
        change.set(
            columns.referral_link.clone(),
            Cell::Text(policy.mapping.referral_link(referral)),
        );
    }
    if let Some(status) = shown.status
        && shown.status != before.status
    {
        change.set(columns.sync_status.clone(), policy.mapping.sync_status(status));
    }
    if let Some(id) = &shown.microsoft_crm_id
        && shown.microsoft_crm_id != before.microsoft_crm_id
    {
        change.set(
            columns.microsoft_crm_id.clone(),
            Cell::Text(mapping::cut(id, 100).0.to_owned()),
        );
    }
    let said = |shown: &Shown| {
        let Shown {
            microsoft,
            microsoft_notes,
            microsoft_team,
            ..
        } = shown.clone();
        (microsoft, microsoft_notes, microsoft_team)
    };
    if said(shown) != said(before) && change.is_empty() {
        // Only the trail tells it; the caller adds the trail to every change that is not empty.
        change.set(columns.audit.clone(), Cell::Null);
    }
}

/// Puts findings on top of the trail.
pub fn journal(lines: &mut Vec<String>, findings: &[Finding], now: Timestamp) {
    let minute = now.strftime("%Y-%m-%d %H:%M UTC").to_string();
    for finding in findings {
        let line = format!("{minute} - {}", finding.text.replace(['\n', '\r'], " "));
        lines.insert(0, mapping::cut(&line, JOURNAL_WIDTH).0.to_owned());
    }
    lines.truncate(JOURNAL_LINES);
}

/// Adds the trail to a change.
pub fn show_journal(change: &mut RowChange, lines: &[String], mapping: &Mapping) {
    change.set(mapping.columns.audit.clone(), Cell::Text(lines.join("\n")));
}

/// What is needed to create an opportunity or a lead.
#[derive(Clone, Copy, Debug)]
pub struct NewOpportunity<'a> {
    /// The referral.
    pub referral: &'a Referral,
    /// Its terms as they were announced in the ledger.
    pub terms: &'a Terms,
    /// The row of its currency.
    pub currency: Option<KnownCurrency>,
    /// The customer's account.
    pub account: Option<AccountId>,
    /// The customer's contact.
    pub contact: Option<ContactId>,
}

/// The stage an opportunity is created with: rows start open.
#[must_use]
pub fn initial_stage(referral: &Stage) -> Stage {
    match referral {
        Stage::Unanswered => Stage::Unanswered,
        _ => Stage::Active,
    }
}

/// The row of an opportunity to be created, or of a lead if the policy's mapping is that of leads, and what both sides
/// agree on once it exists.
#[must_use]
pub fn new_opportunity(new: &NewOpportunity<'_>, policy: &Policy) -> (RowChange, Base, Vec<Finding>) {
    let mapping = policy.mapping.as_ref();
    let mut change = mapping.constants(Table::Opportunity);
    let mut findings = Vec::new();
    let mut base = Base {
        referral: new.terms.clone(),
        opportunity: Terms::default(),
    };
    let stage = if mapping.is_of_leads() {
        Stage::Unanswered
    } else {
        initial_stage(&new.terms.stage())
    };
    base.referral.set(Field::Stage, Term::stage(stage.clone(), None));
    base.opportunity.set(Field::Stage, Term::stage(stage.clone(), None));
    let mark = mark_of(Some(SyncStatus::Synced), policy);
    for field in Field::ALL {
        let Some(rule) = mapping.rule(field).filter(|rule| rule.create.toward_dynamics) else {
            continue;
        };
        let mut term = new.terms.get(field).clone();
        let is_blank = |text: &str| mapping::strip_mark(text).is_empty();
        if field == Field::Name && matches!(&term, Term::Nothing | Term::Text(_)) && is_blank(text_of(&term)) {
            // An unanswered referral may have no name yet; a row without one cannot be found by people.
            let customer = &new.referral.customer_profile.name;
            let name = if customer.trim().is_empty() {
                new.referral.id.to_string()
            } else {
                customer.clone()
            };
            term = Term::text(Some(&format!("Referral - {name}")));
        }
        if !term.is_readable() {
            // Not agreed upon: each look at the referral finds it again.
            base.referral.set(field, Term::Nothing);
            findings.push(
                Finding::field(
                    Code::UnknownValue,
                    field,
                    format!(
                        "Partner Center shows {term} as {field}; it was left out of the {}",
                        mapping.row()
                    ),
                )
                .on(Side::PartnerCenter),
            );
            continue;
        }
        if field == Field::Value && matches!(&term, Term::Money { currency: Some(_), .. }) && new.currency.is_none() {
            continue;
        }
        if field == Field::Solutions && mapping.solution_table().is_some() {
            // Each becomes a row of its own.
            let held = solutions::fitting(&term, &rule.label, &mut findings);
            base.opportunity.set(field, held);
            continue;
        }
        let digits = new.currency.map_or(2, |currency| currency.digits);
        let fitted = mapping.fit(
            field,
            &term,
            Side::Dynamics,
            &base.opportunity,
            digits,
            policy.display_checkmark,
        );
        if !fitted.term.is_readable() {
            base.referral.set(field, Term::Nothing);
            let text = merge::no_choice(&term, rule.label.as_str());
            findings.push(Finding::field(Code::UnknownValue, field, text).on(Side::PartnerCenter));
            continue;
        }
        if fitted.cut {
            findings.push(
                Finding::field(
                    Code::TextCut,
                    field,
                    format!(
                        "{} is longer than Dynamics holds; it was cut there and stays whole in Partner Center",
                        rule.label
                    ),
                )
                .on(Side::Dynamics),
            );
        }
        if fitted.term != Term::Nothing {
            mapping.write(
                field,
                &fitted.term,
                mark,
                new.currency.map(|currency| currency.id),
                &mut change,
            );
        }
        base.opportunity.set(field, fitted.term);
    }
    if let Some(row) = mapping.status(&stage) {
        change.set("statuscode", Cell::Number(Amount::new(row.status.into())));
    }
    if let Some(account) = new.account {
        if !mapping.is_of_leads() {
            change.bind("customerid_account", "accounts", account.uuid());
        }
        change.bind("parentaccountid", "accounts", account.uuid());
    }
    if let Some(contact) = new.contact {
        change.bind("parentcontactid", "contacts", contact.uuid());
    }
    if let Some(columns) = mapping.lead_columns() {
        lead::introduce(&mut change, columns, &new.referral.customer_profile);
    }
    change.set(mapping.columns.sync.clone(), Cell::Flag(true));
    (change, base, findings)
}

/// The contact of a customer that the CRM does not know.
#[must_use]
pub fn new_contact(referral: &Referral, account: Option<AccountId>, mapping: &Mapping) -> Option<RowChange> {
    let person = referral.customer_profile.team.first()?;
    let mut change = mapping.new_contact(person);
    if let Some(account) = account {
        change.bind("parentcustomerid_account", "accounts", account.uuid());
    }
    Some(change)
}

/// What a deal to be shared must have (`create-a-referral`, required members; deal entry rules of the portal).
#[must_use]
pub fn validate(terms: &Terms, particulars: &Particulars, mapping: &Mapping) -> Vec<Finding> {
    let terms = &mapping.with_defaults(terms);
    let mut findings = Vec::new();
    let mut missing = |field: Option<Field>, text: String| {
        findings.push(Finding {
            code: Code::Missing,
            field,
            side: Some(Side::Dynamics),
            text,
        });
    };
    for field in Field::ALL {
        let required = mapping.rule(field).is_some_and(|rule| rule.required);
        match terms.get(field) {
            Term::Nothing if required => missing(Some(field), format!("fill in {:?}", mapping.label(field))),
            Term::Money { currency: None, .. } => missing(Some(field), "choose a currency".to_owned()),
            Term::Solutions(_) if unsendable(terms.get(field), mapping.label(field)).is_some() => {
                let why = unsendable(terms.get(field), mapping.label(field));
                missing(Some(field), why.unwrap_or_default());
            }
            Term::Unreadable(text) => {
                missing(
                    Some(field),
                    format!("{:?} holds {text:?}, which cannot be sent", mapping.label(field)),
                );
            }
            _ => {}
        }
    }
    if terms.stage() != Stage::Active && terms.get(Field::Stage).is_readable() {
        missing(
            Some(Field::Stage),
            format!(
                "a deal is shared while it is open and in progress; this one is {}",
                terms.stage()
            ),
        );
    }
    for finding in solutions::unfilled(&particulars.solutions) {
        missing(None, finding.text);
    }
    let customer = &particulars.customer;
    for (value, what) in [
        (&customer.name, "an account with a name"),
        (&customer.address.address_line1, "Street 1 of the account's address"),
        (&customer.address.city, "the city of the account's address"),
        (&customer.address.country, "the country of the account's address"),
    ] {
        if value.is_empty() {
            missing(None, format!("fill in {what}"));
        }
    }
    let country = &customer.address.country;
    if !country.is_empty() && !Mapping::is_country(country) {
        missing(
            None,
            format!(
                "the account's country {country:?} is not known; use a two-letter code such as DE, or add the name to [countries] of the mapping"
            ),
        );
    }
    match particulars.team.first() {
        None => missing(
            None,
            "assign the opportunity to a person; Partner Center wants a seller's name, mail and phone".to_owned(),
        ),
        Some(seller) => incomplete(seller, "owner", &mut missing),
    }
    if let Some(help) = &particulars.help {
        if !mapping.knows_help(help) {
            missing(
                None,
                format!("the help wanted ({}) is not one that Partner Center knows", help.0),
            );
        }
        match customer.team.first() {
            None => missing(None, "choose a contact; asking Microsoft for help needs one".to_owned()),
            Some(contact) => incomplete(contact, "contact", &mut missing),
        }
    }
    findings
}

fn incomplete(person: &Member, who: &str, missing: &mut impl FnMut(Option<Field>, String)) {
    for (value, what) in [
        (&person.first_name, "first name"),
        (&person.last_name, "last name"),
        (&person.email, "mail address"),
        (&person.phone_number, "phone number"),
    ] {
        if value.is_empty() {
            missing(None, format!("fill in the {what} of the {who}"));
        }
    }
}

/// Text, or blank.
fn text_of(term: &Term) -> &str {
    match term {
        Term::Text(text) => text,
        _ => "",
    }
}

/// The body of the partner's own referral.
#[must_use]
pub fn new_referral(
    id: OpportunityId,
    terms: &Terms,
    particulars: &Particulars,
    mapping: &Mapping,
) -> Option<NewReferral> {
    let terms = &mapping.with_defaults(terms);
    let text = |field| {
        if is_sent(field, mapping) {
            text_of(terms.get(field)).to_owned()
        } else {
            String::new()
        }
    };
    let (
        Term::Money {
            amount,
            currency: Some(currency),
        },
        Term::Date(date),
    ) = (terms.get(Field::Value), terms.get(Field::CloseDate))
    else {
        return None;
    };
    let solutions: Vec<SolutionTag> = match terms.get(Field::Solutions) {
        Term::Solutions(ids) if is_sent(Field::Solutions, mapping) => tags(ids, &particulars.solutions),
        _ => Vec::new(),
    };
    let cosell = particulars.help.is_some();
    let target = match solutions.first() {
        Some(solution) if cosell => {
            vec![Target {
                kind: "SolutionProfile".to_owned(),
                id: solution.id.0.clone(),
            }]
        }
        _ => Vec::new(),
    };
    Some(NewReferral {
        engagement_id: None,
        name: text(Field::Name),
        external_reference_id: Some(id.to_string()),
        qualification: "SalesQualified".to_owned(),
        kind: if cosell { "Shared" } else { "Independent" }.to_owned(),
        target,
        customer_profile: particulars.customer.clone(),
        consent: NewConsent {
            consent_to_to_share_info_with_others: true,
            consent_to_contact: true,
            consent_to_share_referral_with_microsoft_sellers: cosell
                || terms.get(Field::Visibility) == &Term::Flag(true),
        },
        details: NewDetails {
            notes: text(Field::Notes),
            deal_value: *amount,
            currency: currency.as_str().to_owned(),
            closing_date_time: midnight(*date),
            requirements: NewRequirements {
                solutions,
                additional_requirements: AdditionalRequirements {
                    attributes: mapping.attributes.clone(),
                },
            },
        },
        team: particulars.team.clone(),
        invite_context: None,
    })
}

/// The body of Microsoft's half: the same deal, addressed to Microsoft, within the engagement of the first.
#[must_use]
pub fn new_microsoft_referral(own: NewReferral, engagement: EngagementId, particulars: &Particulars) -> NewReferral {
    NewReferral {
        engagement_id: Some(engagement),
        external_reference_id: None,
        target: vec![Target {
            kind: "BusinessProfileLocation".to_owned(),
            id: MICROSOFT.to_owned(),
        }],
        invite_context: Some(NewInviteContext {
            notes: particulars.message.clone().unwrap_or_default(),
            assistance_request_code: particulars
                .help
                .as_ref()
                .map_or_else(|| "Unknown".to_owned(), |help| help.0.clone()),
        }),
        ..own
    }
}

/// What both sides agree on once an opportunity was shared.
#[must_use]
pub fn shared_base(terms: &Terms, mapping: &Mapping) -> Base {
    let mut base = Base {
        referral: mapping.with_defaults(terms),
        opportunity: terms.clone(),
    };
    for field in Field::ALL.into_iter().filter(|field| !is_sent(*field, mapping)) {
        base.referral.set(field, Term::Nothing);
    }
    // These follow with the next look, if they are to be sent at all.
    for field in mapping::FOLLOWING {
        base.referral.set(field, Term::Nothing);
        if is_sent(field, mapping) {
            base.opportunity.set(field, Term::Nothing);
        }
    }
    base
}

/// Whether a field travels to Partner Center when a deal is created there.
fn is_sent(field: Field, mapping: &Mapping) -> bool {
    mapping.rule(field).is_none_or(|rule| rule.create.toward_partner_center)
}

/// The referral among several that a doubtful creation can have made: the oldest with our reference.
#[must_use]
pub fn oldest(referrals: &[Referral], matches: impl Fn(&Referral) -> bool) -> Option<(&Referral, Vec<ReferralId>)> {
    let mut found: Vec<&Referral> = referrals.iter().filter(|referral| matches(referral)).collect();
    found.sort_by_key(|referral| (referral.created_date_time.value().copied(), referral.id));
    let (first, others) = found.split_first()?;
    Some((first, others.iter().map(|referral| referral.id).collect()))
}

#[cfg(test)]
mod tests;
