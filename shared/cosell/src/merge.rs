//! The three-way merge: what both sides showed when they last agreed, what each shows now, what each should show.
//!
//! Knows: per-field rules, both life cycles, what each side can hold. Refuses to know: requests, etags, clocks. It never
//! compares times: whose edit was later does not decide anything.
//! Guarantees: a one-sided change survives; an edit that loses is in the changes, marked as lost; what neither side
//! moved is not touched, even where the two differ.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::deal::{Currency, Field, Person, Side, Term, Terms, is_mail};
use crate::finding::{Code, Finding};
use crate::link::{Base, Change};
use crate::mapping::{Fitted, Mapping, Owner, solutions};
use crate::plan;
use crate::stage::Stage;

/// Most people on one list of a referral (portal guide, limits of a deal).
const MOST_PEOPLE: usize = 50;

/// What is merged.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Rules of the fields.
    pub mapping: &'a Mapping,
    /// What both sides showed when they last agreed; none when they meet for the first time.
    pub base: Option<&'a Base>,
    /// What the referral shows.
    pub referral: &'a Terms,
    /// What the opportunity shows.
    pub opportunity: &'a Terms,
    /// Digits after the point that the CRM keeps for the deal's currency.
    pub money_digits: u32,
    /// The same for currencies that were looked up, because a value may bring another currency.
    pub digits_of: &'a BTreeMap<Currency, u32>,
    /// Whether names carry a mark in the CRM.
    pub marked: bool,
    /// Currencies that the CRM is known to lack.
    pub missing_currencies: &'a BTreeSet<Currency>,
    /// How long a closing waits before Partner Center is told, when it still has to wait.
    pub close_delay: Option<SignedDuration>,
    /// Whether the partner's answer may be sent: what another partner sent is answered in Partner Center.
    pub answerable: bool,
    /// The side to which nothing is written for the moment. What would be is left as it is, base included, so that a
    /// later merge finds it again.
    pub paused: Option<Side>,
}

/// What the merge came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What both sides show once the writes are done.
    pub base: Base,
    /// What is written to the referral.
    pub toward_referral: Terms,
    /// What is written to the opportunity.
    pub toward_opportunity: Terms,
    /// Fields to be emptied in the opportunity: absent in `toward_opportunity`, since nothing is not a value.
    pub cleared: BTreeSet<(Side, Field)>,
    /// What is replaced by what.
    pub changes: Vec<Change>,
    /// Why.
    pub findings: Vec<Finding>,
    /// Fields that neither side moved.
    pub silent: BTreeSet<Field>,
    /// Fields that would be written to the paused side.
    pub held: BTreeSet<Field>,
    /// Fields that were changed to what the other side says, or is last known to say.
    pub met: BTreeSet<Field>,
    /// A closing waits before Partner Center is told.
    pub closing: bool,
}

impl Merged {
    /// The fields that are written to a side, with their values.
    pub fn writes(&self, side: Side) -> impl Iterator<Item = (Field, &Term)> {
        let terms = match side {
            Side::PartnerCenter => &self.toward_referral,
            Side::Dynamics => &self.toward_opportunity,
        };
        Field::ALL
            .into_iter()
            .map(move |field| (field, terms.get(field)))
            .filter(move |(field, term)| **term != Term::Nothing || self.cleared.contains(&(side, *field)))
    }

    /// Whether both sides are taken to have made the same of the solutions since they last agreed, so that none is written.
    pub(crate) fn solutions_coincide(&self, before: &Base) -> bool {
        [Side::PartnerCenter, Side::Dynamics].into_iter().all(|side| {
            let has_settled = self.base.side(side).get(Field::Solutions) != before.side(side).get(Field::Solutions);
            has_settled && !self.writes(side).any(|(written, _)| written == Field::Solutions)
        })
    }
}

/// What is said of a change: `value` is what the other side shows, of which the change may hold less.
pub(crate) fn told(change: &Change, value: &Term, mapping: &Mapping) -> Finding {
    let Change {
        field,
        side,
        old,
        new,
        lost,
    } = change;
    let (label, from) = (mapping.label(*field), side.other());
    let (code, text) = if *lost {
        let text = format!(
            "{label} was changed on both sides: {value} ({from}) is kept, {old} ({side}) is recorded and can be restored"
        );
        (Code::Conflict, text)
    } else {
        (
            Code::Carried,
            format!("{from} to {side}: {label} changed from {old} to {new}"),
        )
    };
    Finding::field(code, *field, text).on(*side)
}

/// What is said of something that is not written to a side for the moment.
pub(crate) fn held_back(what: &str, toward: Side) -> String {
    format!(
        "{what} is held back: writing to {toward} is paused by the setting PAUSED; it follows once the pause is over"
    )
}

impl Input<'_> {
    const fn now(&self, side: Side) -> &Terms {
        match side {
            Side::PartnerCenter => self.referral,
            Side::Dynamics => self.opportunity,
        }
    }

    /// Whether a side shows something else than when the two last agreed.
    pub(crate) fn has_moved(&self, side: Side, field: Field) -> bool {
        let then = self
            .base
            .map(|base| base.side(side).get(field))
            .unwrap_or(&Term::Nothing);
        match (side, then, self.now(side).get(field)) {
            // A value that came without a currency takes the row's, which the base could not know.
            (
                Side::Dynamics,
                Term::Money {
                    amount: base,
                    currency: None,
                },
                Term::Money { amount: now, currency },
            ) => base != now || currency.as_ref().is_some_and(|now| self.has_entered(field, now)),
            // A reason that stands there, or is added, after the deal was lost without one: nobody can take it any more.
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

    /// Whether the currency of a row that had none is a person's: it is another than was agreed on, or none was and the
    /// CRM gives rows none by itself.
    fn has_entered(&self, field: Field, now: &Currency) -> bool {
        match self.base.map(|base| base.referral.get(field)) {
            Some(Term::Money {
                currency: Some(agreed), ..
            }) => agreed != now,
            _ => !self.mapping.gives_currency(),
        }
    }

    /// What a side can hold of a value.
    pub(crate) fn fit(&self, field: Field, term: &Term, toward: Side) -> Fitted {
        let Input {
            mapping,
            money_digits,
            digits_of,
            marked,
            ..
        } = *self;
        // Rows hold any number of them.
        if (toward, field) == (Side::Dynamics, Field::Solutions) && mapping.solution_table().is_some() {
            return Fitted {
                term: solutions::held(term),
                cut: false,
            };
        }
        let there = self.now(toward);
        let digits = match term {
            Term::Money {
                currency: Some(brought),
                ..
            } => digits_of.get(brought).copied().unwrap_or(money_digits),
            _ => money_digits,
        };
        mapping.fit(field, term, toward, there, digits, marked)
    }
}

/// What is said of a value that a choice of the CRM has no number for.
pub(crate) fn no_choice(value: &Term, label: &str) -> String {
    format!(
        "Partner Center says {value}, for which {label:?} has no choice; add it to the values of the mapping, and to the CRM"
    )
}

/// Whether Partner Center takes no deal without a field.
const fn is_demanded(field: Field) -> bool {
    matches!(field, Field::Value | Field::CloseDate | Field::Solutions)
}

/// What is said of something that an unanswered referral does not take.
pub(crate) fn deferred(field: Field, label: &str) -> Finding {
    let text = format!("{label} is sent to Partner Center once the deal is accepted");
    Finding::field(Code::Deferred, field, text).on(Side::PartnerCenter)
}

fn told_duration(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// Merges all fields.
#[must_use]
pub fn merge(input: Input<'_>) -> Merged {
    let empty = Base::default();
    let base = input.base.unwrap_or(&empty);
    let mut merge = Merge {
        input,
        base,
        merged: Merged {
            base: base.clone(),
            ..Merged::default()
        },
    };
    // The stage first: whether the referral takes other fields depends on where it stands and where it goes.
    merge.field(Field::Stage);
    for field in Field::ALL {
        if field != Field::Stage {
            merge.field(field);
        }
    }
    merge.merged
}

struct Merge<'a> {
    input: Input<'a>,
    base: &'a Base,
    merged: Merged,
}

impl Merge<'_> {
    const fn now(&self, side: Side) -> &Terms {
        self.input.now(side)
    }

    fn has_moved(&self, side: Side, field: Field) -> bool {
        self.input.has_moved(side, field)
    }

    fn fit(&self, field: Field, term: &Term, toward: Side) -> Fitted {
        self.input.fit(field, term, toward)
    }

    fn field(&mut self, field: Field) {
        if field != Field::Stage && self.input.mapping.rule(field).is_none() {
            // Not mapped: neither side's business.
            self.merged.silent.insert(field);
            return;
        }
        let (referral, opportunity) = (
            self.has_moved(Side::PartnerCenter, field),
            self.has_moved(Side::Dynamics, field),
        );
        if !referral && !opportunity {
            self.merged.silent.insert(field);
            return;
        }
        if let Some((side, text)) =
            [Side::PartnerCenter, Side::Dynamics]
                .into_iter()
                .find_map(|side| match self.now(side).get(field) {
                    Term::Unreadable(text) => Some((side, text.clone())),
                    _ => None,
                })
        {
            // Neither sent nor overwritten, and the base stays: once the value makes sense, the merge goes on.
            let text = format!(
                "{side} shows {text:?} as {field}, which the connector does not understand; the field is left alone on both sides"
            );
            self.note(Finding::field(Code::UnknownValue, field, text).on(side));
            return;
        }
        if field == Field::Visibility {
            return self.visibility();
        }
        if matches!(field, Field::Team | Field::Contacts) {
            // Lists of people are no conflict: the CRM's people join those that are there.
            return if opportunity && self.now(Side::Dynamics).get(field) != &Term::Nothing {
                self.carry(field, Side::Dynamics, false)
            } else {
                self.agree(field)
            };
        }
        match (referral, opportunity) {
            (true, false) => self.carry(field, Side::PartnerCenter, self.differed(field)),
            (false, _) => self.carry(field, Side::Dynamics, self.differed(field)),
            (true, true) => self.both_moved(field),
        }
    }

    /// Whether the two agreed to differ: what the side that has not moved says does not stand on the other.
    fn differed(&self, field: Field) -> bool {
        let (referral, opportunity) = (self.base.referral.get(field), self.base.opportunity.get(field));
        let is_typed = |term: &Term| !matches!(term, Term::Nothing | Term::Unreadable(_));
        field != Field::Stage
            && is_typed(referral)
            && is_typed(opportunity)
            && &self.fit(field, referral, Side::Dynamics).term != opportunity
            && &self.fit(field, opportunity, Side::PartnerCenter).term != referral
    }

    fn both_moved(&mut self, field: Field) {
        let (referral, opportunity) = (self.input.referral.get(field), self.input.opportunity.get(field));
        if &self.fit(field, referral, Side::Dynamics).term == opportunity
            || &self.fit(field, opportunity, Side::PartnerCenter).term == referral
        {
            return self.meet(field);
        }
        let owner = match field {
            Field::Stage => Owner::Side(self.further()),
            _ => self.input.mapping.rule(field).map_or(Owner::Manual, |rule| rule.owner),
        };
        match owner {
            Owner::Side(winner) => self.carry(field, winner, true),
            Owner::Manual => {
                let text = format!(
                    "{} was changed on both sides: Partner Center says {referral}, Dynamics says {opportunity}; choose one",
                    self.input.mapping.label(field)
                );
                self.note(Finding::field(Code::ManualConflict, field, text));
            }
        }
    }

    /// Which side's stage wins: the further one. Among closed ones Partner Center's, which cannot be changed any more.
    /// Two records that meet for the first time are not accepted by that alone.
    fn further(&self) -> Side {
        let (referral, opportunity) = (self.input.referral.stage(), self.input.opportunity.stage());
        let meets = self.input.base.is_none() && !opportunity.is_closed();
        if meets || referral.progress() >= opportunity.progress() {
            Side::PartnerCenter
        } else {
            Side::Dynamics
        }
    }

    /// Visible on one side means visible on both: consent to share cannot be withdrawn.
    fn visibility(&mut self) {
        let field = Field::Visibility;
        let visible = |side: Side| self.now(side).get(field) == &Term::Flag(true);
        match (visible(Side::PartnerCenter), visible(Side::Dynamics)) {
            (true, true) | (false, false) => self.agree(field),
            (true, false) => self.show_again(field, Side::Dynamics),
            (false, true) => self.show_again(field, Side::PartnerCenter),
        }
    }

    fn show_again(&mut self, field: Field, hidden: Side) {
        let withdrawn = self.base.side(hidden).get(field) == &Term::Flag(true);
        if withdrawn {
            let text = format!(
                "{} was switched off in {hidden}; a deal that was shared with Microsoft stays visible, so it is switched on again",
                self.input.mapping.label(field)
            );
            self.note(Finding::field(Code::Frozen, field, text).on(hidden));
        }
        self.carry(field, hidden.other(), withdrawn);
    }

    /// Both sides say the same by now, or agree to differ: only the base moves.
    fn agree(&mut self, field: Field) {
        for side in [Side::PartnerCenter, Side::Dynamics] {
            self.settle(side, field);
        }
    }

    /// Both sides have come to say the same.
    fn meet(&mut self, field: Field) {
        self.merged.met.insert(field);
        self.agree(field);
    }

    /// What was emptied in Dynamics though Partner Center demands it is filled in, and waits: the two do not agree to differ
    /// any more, so that whoever empties it again is told again.
    fn fill_in(&mut self, field: Field, toward: Side) {
        let emptied = toward == Side::PartnerCenter && is_demanded(field);
        if emptied && self.base.opportunity.get(field) == &Term::Nothing {
            let kept = self.base.referral.get(field).clone();
            self.merged.base.opportunity.set(field, kept);
        }
    }

    /// The base of a side becomes what it shows.
    fn settle(&mut self, side: Side, field: Field) {
        let now = self.now(side).get(field).clone();
        self.merged.base.side_mut(side).set(field, now);
    }

    fn note(&mut self, finding: Finding) {
        self.merged.findings.push(finding);
    }

    /// Takes the value of one side over to the other; `conflict` says that the other side's value is lost by it.
    fn carry(&mut self, field: Field, from: Side, conflict: bool) {
        let toward = from.other();
        let value = self.now(from).get(field).clone();
        let fitted = self.fit(field, &value, toward);
        let there = self.now(toward).get(field).clone();
        if fitted.term == there {
            return self.meet(field);
        }
        match self.gate(field, &value, &fitted.term, toward) {
            Gate::Open if self.input.paused == Some(toward) => {
                self.merged.held.insert(field);
                let finding = Finding::field(Code::Paused, field, held_back(self.input.mapping.label(field), toward));
                return self.note(finding.on(toward));
            }
            Gate::Open => {
                let closes = field == Field::Stage && fitted.term.as_stage().is_some_and(Stage::is_closed);
                if let (Side::PartnerCenter, true, Some(delay)) = (toward, closes, self.input.close_delay) {
                    self.merged.closing = true;
                    let text = format!(
                        "the deal is closed in Partner Center as {} in {}, and that is final: to take it back, reopen it before",
                        fitted.term,
                        told_duration(delay)
                    );
                    return self.note(Finding::field(Code::Closing, field, text).on(toward));
                }
            }
            Gate::Later(finding) => {
                self.note(finding);
                return self.fill_in(field, toward);
            }
            Gate::Shut(finding) => {
                self.note(finding);
                // The two agree to differ: each side's value stays where it is and is not looked at again.
                return self.agree(field);
            }
        }
        let label = self.input.mapping.label(field);
        let change = Change {
            field,
            side: toward,
            old: there,
            new: fitted.term.clone(),
            lost: conflict,
        };
        let mut findings = vec![told(&change, &value, self.input.mapping)];
        if fitted.cut {
            let text = format!("{label} is longer than {toward} holds; it was cut there and stays whole in {from}");
            findings.push(Finding::field(Code::TextCut, field, text).on(toward));
        }
        self.merged.findings.extend(findings);
        self.settle(from, field);
        self.merged.base.side_mut(toward).set(field, fitted.term.clone());
        self.merged.changes.push(change);
        if fitted.term == Term::Nothing {
            self.merged.cleared.insert((toward, field));
        }
        match toward {
            Side::PartnerCenter => self.merged.toward_referral.set(field, fitted.term),
            Side::Dynamics => self.merged.toward_opportunity.set(field, fitted.term),
        }
    }

    /// Whether a side takes a value now, later, or not at all.
    fn gate(&self, field: Field, value: &Term, fitted: &Term, toward: Side) -> Gate {
        let label = self.input.mapping.label(field);
        let shut = |code, text: String| Gate::Shut(Finding::field(code, field, text).on(toward));
        let later = |code, text: String| Gate::Later(Finding::field(code, field, text).on(toward));
        let stage = self.input.referral.stage();
        match (toward, field) {
            (Side::PartnerCenter, Field::Stage) if stage == Stage::Unanswered && !self.input.answerable => shut(
                Code::IllegalMove,
                format!("another partner sent this deal; answer it in Partner Center, it is not {fitted} there yet"),
            ),
            (_, Field::Stage) => {
                let there = self.now(toward).stage();
                let (legal, target) = match fitted.as_stage() {
                    Some(target) if toward == Side::PartnerCenter => (there.referral_moves(target).is_some(), target),
                    Some(target) => (self.input.mapping.moves(&there, target).is_some(), target),
                    None => return shut(Code::UnknownValue, format!("{value} is not a stage")),
                };
                // A reason alone is no move; Partner Center takes it only together with the closing.
                if !legal || (target == &there && stage.is_closed() && toward == Side::PartnerCenter) {
                    let cure = if there.is_closed() && toward == Side::PartnerCenter {
                        "a closed referral is final; create a new deal instead"
                    } else {
                        "change it there by hand"
                    };
                    let code = if target == &there {
                        Code::Frozen
                    } else {
                        Code::IllegalMove
                    };
                    return shut(code, format!("{toward} cannot go from {there} to {fitted}: {cure}"));
                }
                Gate::Open
            }
            (Side::PartnerCenter, _) if stage.is_closed() => shut(
                Code::Frozen,
                format!(
                    "{label} changed in Dynamics to {value} after the referral was closed; Partner Center keeps what it has"
                ),
            ),
            (_, _) if !self.input.mapping.update(field).allows(toward) && self.input.base.is_some() => shut(
                Code::Frozen,
                format!(
                    "{label} now differs: {toward} does not take a later change of it, so it keeps {}",
                    self.now(toward).get(field)
                ),
            ),
            (Side::Dynamics, _) if !fitted.is_readable() => {
                Gate::Later(Finding::field(Code::UnknownValue, field, no_choice(value, label)).on(toward.other()))
            }
            (Side::PartnerCenter, Field::Name) => shut(
                Code::Frozen,
                format!("{label} differs: Partner Center takes a name only when a deal is created"),
            ),
            (Side::PartnerCenter, field) if is_demanded(field) && value == &Term::Nothing => shut(
                Code::Missing,
                format!(
                    "{label} was emptied in Dynamics; Partner Center demands it and keeps {}; fill it in",
                    self.now(toward).get(field)
                ),
            ),
            (Side::PartnerCenter, Field::Solutions) if solutions::unsendable(value, label).is_some() => {
                let text = solutions::unsendable(value, label).unwrap_or_default();
                // Once the referral is closed nobody can send them any more.
                if self.merged.toward_referral.stage().is_closed() {
                    shut(Code::Frozen, text)
                } else {
                    later(Code::Refused, text)
                }
            }
            (Side::Dynamics, Field::Solutions)
                if self.input.mapping.solution_table().is_some() && solutions::too_long(value).next().is_some() =>
            {
                Gate::Later(plan::solutions::unholdable(value, label))
            }
            (Side::PartnerCenter, Field::SalesStage) if value == &Term::Nothing => shut(
                Code::Frozen,
                format!(
                    "{label} was emptied in Dynamics; Partner Center has no word for that and keeps {}",
                    self.now(toward).get(field)
                ),
            ),
            (Side::PartnerCenter, Field::Team | Field::Contacts) if incomplete(value).is_some() => shut(
                Code::Missing,
                format!(
                    "fill in first name, last name, mail address and phone number of {}; Partner Center takes nobody without them",
                    incomplete(value).unwrap_or_default()
                ),
            ),
            (Side::PartnerCenter, Field::Team | Field::Contacts) if matches!(fitted, Term::People(people) if people.len() > MOST_PEOPLE) => {
                shut(
                    Code::Frozen,
                    format!("Partner Center takes at most {MOST_PEOPLE} people on a list; {value} was not added"),
                )
            }
            (Side::PartnerCenter, _) if stage == Stage::Unanswered => {
                match (self.merged.toward_referral.stage(), field) {
                    // What may travel with an acceptance (manage-co-sell-opportunities); the rest follows it.
                    (
                        Stage::Active | Stage::Won | Stage::Lost,
                        Field::Value | Field::CloseDate | Field::Notes | Field::Campaign,
                    ) => Gate::Open,
                    // The list may travel as a whole, not one more person for it.
                    (Stage::Active | Stage::Won | Stage::Lost, Field::Team)
                        if self.now(toward).get(field) == &Term::Nothing =>
                    {
                        Gate::Open
                    }
                    _ => Gate::Later(deferred(field, label)),
                }
            }
            (Side::Dynamics, Field::Name) if fitted == &Term::Nothing => shut(
                Code::Frozen,
                format!("{label} was emptied in Partner Center; Dynamics keeps its name"),
            ),
            (Side::Dynamics, _) => match fitted {
                Term::Money {
                    currency: Some(currency),
                    ..
                } if self.input.missing_currencies.contains(currency) => later(
                    Code::CurrencyMissing,
                    format!("Dynamics has no active currency {currency}; add it there, then the value follows"),
                ),
                _ => Gate::Open,
            },
            (Side::PartnerCenter, _) => Gate::Open,
        }
    }
}

/// The mail address of somebody who lacks what Partner Center wants of every person.
fn incomplete(people: &Term) -> Option<String> {
    let Term::People(people) = people else { return None };
    let lacks = |person: &Person| {
        [&person.first_name, &person.last_name, &person.phone_number]
            .into_iter()
            .any(String::is_empty)
    };
    people
        .iter()
        .find(|(key, person)| !is_mail(key) || lacks(person))
        .map(|(mail, _)| mail.clone())
}

/// Whether a value may be written.
enum Gate {
    /// Now.
    Open,
    /// Not yet: the base stays, so it is tried again with every look.
    Later(Finding),
    /// Never: both keep what they have.
    Shut(Finding),
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::ids::SolutionId;
    use crate::mapping::DEFAULT;

    /// A field in shorthand: what is not given is what both sides agreed on.
    type Edits<'a> = &'a [(Field, Term)];

    fn text(text: &str) -> Term {
        Term::Text(text.to_owned())
    }

    fn money(amount: &str, code: &str) -> Term {
        Term::Money {
            amount: amount.parse().unwrap(),
            currency: Currency::parse(code),
        }
    }

    fn stage(stage: Stage) -> Term {
        Term::stage(stage, None)
    }

    fn agreed() -> Terms {
        let mut terms = Terms::default();
        terms.set(Field::Name, text("Deal"));
        terms.set(Field::Value, money("100", "EUR"));
        terms.set(Field::CloseDate, Term::Date(jiff::civil::date(2026, 6, 30)));
        terms.set(Field::Notes, text("Notes"));
        terms.set(Field::Stage, stage(Stage::Active));
        terms.set(Field::Visibility, Term::Flag(true));
        terms.set(
            Field::Solutions,
            Term::Solutions([SolutionId("SOL-1".to_owned())].into()),
        );
        terms
    }

    fn with(edits: Edits<'_>) -> Terms {
        let mut terms = agreed();
        for (field, term) in edits {
            terms.set(*field, term.clone());
        }
        terms
    }

    /// Merges edits of both sides of a deal; `before` is what the two agreed on, in so far as it is not the usual.
    fn merged(mapping: &str, before: Edits<'_>, referral: Edits<'_>, opportunity: Edits<'_>) -> Merged {
        merged_as(mapping, (before, referral, opportunity), |_| {})
    }

    /// The same under other circumstances.
    fn merged_as(
        mapping: &str,
        (before, referral, opportunity): (Edits<'_>, Edits<'_>, Edits<'_>),
        change: impl FnOnce(&mut Input<'_>),
    ) -> Merged {
        let base = Base {
            referral: with(before),
            opportunity: with(before),
        };
        let (referral, opportunity) = (
            with(&[before, referral].concat()),
            with(&[before, opportunity].concat()),
        );
        let mapping = Mapping::parse(mapping).unwrap();
        let digits_of = [(Currency::parse("JPY").unwrap(), 0)].into();
        let missing_currencies = [Currency::parse("XXX").unwrap()].into();
        let mut input = Input {
            close_delay: None,
            answerable: true,
            mapping: &mapping,
            base: Some(&base),
            referral: &referral,
            opportunity: &opportunity,
            money_digits: 2,
            digits_of: &digits_of,
            marked: true,
            missing_currencies: &missing_currencies,
            paused: None,
        };
        change(&mut input);
        merge(input)
    }

    fn codes(merged: &Merged) -> Vec<Code> {
        merged.findings.iter().map(|finding| finding.code).collect()
    }

    /// How many fields are written to a side.
    fn written(merged: &Merged, side: Side) -> usize {
        merged.writes(side).count()
    }

    #[test]
    fn what_is_said_names_the_thing_the_value_and_the_cure() {
        let said = [
            (
                held_back("the deal", Side::Dynamics),
                ["the deal", "Dynamics", "PAUSED", "follows"],
            ),
            (
                no_choice(&text("Autumn"), "Campaign"),
                ["Autumn", "Campaign", "Partner Center", "add it"],
            ),
        ];
        for (said, parts) in said {
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        let told = [30, 119, 120, 300].map(|seconds| told_duration(SignedDuration::from_secs(seconds)));
        assert_eq!(told, ["30 seconds", "119 seconds", "2 minutes", "5 minutes"]);
    }

    /// The two had agreed to differ: what one side says never stood on the other, and nobody there has seen it.
    #[test]
    fn what_stood_on_one_side_only_is_recorded_when_the_other_moves() {
        let differing = |opportunity: &Term, from: Side| {
            let edit = [(Field::Notes, text("Newest"))];
            let (mut base, mut mine) = (agreed(), agreed());
            base.set(Field::Notes, opportunity.clone());
            mine.set(Field::Notes, opportunity.clone());
            let base = Base {
                referral: agreed(),
                opportunity: base,
            };
            let (mut referral, mut opportunity) = (agreed(), mine);
            match from {
                Side::PartnerCenter => referral.set(Field::Notes, edit[0].1.clone()),
                Side::Dynamics => opportunity.set(Field::Notes, edit[0].1.clone()),
            }
            merged_as(DEFAULT, (&[], &[], &[]), |input| {
                *input = Input {
                    base: Some(Box::leak(Box::new(base))),
                    referral: Box::leak(Box::new(referral)),
                    opportunity: Box::leak(Box::new(opportunity)),
                    ..*input
                };
            })
        };
        for (there, from, lost) in [
            (text("The seller's own"), Side::PartnerCenter, true),
            (text("The seller's own"), Side::Dynamics, true),
            (text("Notes"), Side::PartnerCenter, false),
            (Term::Nothing, Side::PartnerCenter, false),
        ] {
            let merged = differing(&there, from);
            let [change] = &merged.changes[..] else {
                panic!("{:#?}", merged.changes);
            };
            assert_eq!((change.side, change.lost), (from.other(), lost), "{there:?} {from:?}");
        }
    }

    fn people(people: &[(&str, [&str; 3])]) -> Term {
        let person = |[first, last, phone]: [&str; 3]| Person {
            first_name: first.to_owned(),
            last_name: last.to_owned(),
            phone_number: phone.to_owned(),
        };
        let people = people.iter().map(|(key, parts)| ((*key).to_owned(), person(*parts)));
        Term::People(people.collect())
    }

    #[test]
    fn a_person_is_sent_with_all_that_partner_center_demands_or_named() {
        let whole = ("kim@aldermoor.example", ["Kim", "Vale", "+44 1"]);
        let incomplete = [
            ("lee@aldermoor.example", ["", "Moss", "+44 2"]),
            ("lee@aldermoor.example", ["Lee", "", "+44 2"]),
            ("lee@aldermoor.example", ["Lee", "Moss", ""]),
            ("lee moss", ["Lee", "Moss", "+44 2"]),
        ];
        for field in [Field::Team, Field::Contacts] {
            let sent = merged(DEFAULT, &[], &[], &[(field, people(&[whole]))]);
            assert_eq!(sent.toward_referral.get(field), &people(&[whole]), "{field:?}");
            assert_eq!(codes(&sent), [Code::Carried], "{field:?}");
            for person in incomplete {
                let kept = merged(DEFAULT, &[], &[], &[(field, people(&[whole, person]))]);
                assert_eq!(written(&kept, Side::PartnerCenter), 0, "{field:?} {person:?}");
                assert_eq!(codes(&kept), [Code::Missing], "{field:?} {person:?}");
                let text = &kept.findings[0].text;
                assert!(text.contains(person.0) && text.contains("fill in"), "{text}");
            }
        }
    }

    #[test]
    fn a_list_of_people_has_an_end() {
        let crowd = |count: usize| {
            let mails: Vec<String> = (0..count).map(|n| format!("p{n:03}@aldermoor.example")).collect();
            let all: Vec<_> = mails.iter().map(|mail| (mail.as_str(), ["A", "B", "1"])).collect();
            people(&all)
        };
        let most = merged(DEFAULT, &[], &[], &[(Field::Team, crowd(MOST_PEOPLE))]);
        assert_eq!(most.toward_referral.get(Field::Team), &crowd(MOST_PEOPLE));
        let more = merged(DEFAULT, &[], &[], &[(Field::Team, crowd(MOST_PEOPLE + 1))]);
        assert_eq!(written(&more, Side::PartnerCenter), 0);
        assert_eq!(codes(&more), [Code::Frozen]);
    }

    #[test]
    fn one_field_moved_on_one_side() {
        use Code::{Carried, Conflict, CurrencyMissing, Frozen, IllegalMove, Missing, TextCut, UnknownValue};
        use Side::{Dynamics, PartnerCenter};
        let long = text(&"x".repeat(2001));
        // Who moved what, what is written to the other side, and what is said of it.
        type Case<'a> = (Side, Field, Term, Option<Term>, &'a [Code]);
        let cases: &[Case<'_>] = &[
            (Dynamics, Field::Notes, text("New"), Some(text("New")), &[Carried]),
            (PartnerCenter, Field::Notes, text("New"), Some(text("New")), &[Carried]),
            (Dynamics, Field::Notes, Term::Nothing, Some(Term::Nothing), &[Carried]),
            (
                PartnerCenter,
                Field::Notes,
                long,
                Some(text(&"x".repeat(2000))),
                &[Carried, TextCut],
            ),
            (
                Dynamics,
                Field::Value,
                money("5.25", "USD"),
                Some(money("5.25", "USD")),
                &[Carried],
            ),
            (
                PartnerCenter,
                Field::Value,
                money("5.255", "EUR"),
                Some(money("5.26", "EUR")),
                &[Carried],
            ),
            (
                PartnerCenter,
                Field::Value,
                money("5.5", "JPY"),
                Some(money("6", "JPY")),
                &[Carried],
            ),
            (PartnerCenter, Field::Value, money("100.001", "EUR"), None, &[]),
            (PartnerCenter, Field::Value, money("5", "XXX"), None, &[CurrencyMissing]),
            (Dynamics, Field::Value, Term::Nothing, None, &[Missing]),
            (Dynamics, Field::CloseDate, Term::Nothing, None, &[Missing]),
            (
                PartnerCenter,
                Field::CloseDate,
                Term::Nothing,
                Some(Term::Nothing),
                &[Carried],
            ),
            (Dynamics, Field::Solutions, Term::Nothing, None, &[Missing]),
            (Dynamics, Field::Name, text("Other"), None, &[Frozen]),
            (
                PartnerCenter,
                Field::Name,
                text("✔ Other"),
                Some(text("Other")),
                &[Carried],
            ),
            (PartnerCenter, Field::Name, text("✔"), None, &[Frozen]),
            (
                Dynamics,
                Field::Visibility,
                Term::Flag(false),
                None,
                &[Frozen, Conflict],
            ),
            (Dynamics, Field::Stage, stage(Stage::Unanswered), None, &[]),
            (
                Dynamics,
                Field::Stage,
                stage(Stage::Won),
                Some(stage(Stage::Won)),
                &[Carried],
            ),
            (
                Dynamics,
                Field::Stage,
                stage(Stage::Lost),
                Some(Term::stage(Stage::Lost, Some("Others"))),
                &[Carried],
            ),
            (
                PartnerCenter,
                Field::Stage,
                stage(Stage::Expired),
                Some(stage(Stage::Lost)),
                &[Carried],
            ),
            (
                PartnerCenter,
                Field::Stage,
                stage(Stage::Unanswered),
                Some(stage(Stage::Unanswered)),
                &[Carried],
            ),
            (
                PartnerCenter,
                Field::Notes,
                Term::Unreadable("?".to_owned()),
                None,
                &[UnknownValue],
            ),
        ];
        for (side, field, term, carried, expected) in cases {
            let edits = [(*field, term.clone())];
            let (referral, opportunity): (Edits<'_>, Edits<'_>) = match side {
                PartnerCenter => (&edits, &[]),
                Dynamics => (&[], &edits),
            };
            let merged = merged(DEFAULT, &[], referral, opportunity);
            let found = merged.writes(side.other()).find(|(written, _)| written == field);
            assert_eq!(
                found.map(|(_, term)| term),
                carried.as_ref(),
                "{field} of {side}: {term}"
            );
            assert_eq!(codes(&merged), *expected, "{field} of {side}: {term}");
        }
        let illegal = merged(
            DEFAULT,
            &[(Field::Stage, stage(Stage::Won))],
            &[],
            &[(Field::Stage, stage(Stage::Active))],
        );
        assert_eq!(codes(&illegal), [IllegalMove]);
        assert_eq!((written(&illegal, PartnerCenter), written(&illegal, Dynamics)), (0, 0));
    }

    #[test]
    fn both_sides_moved_and_the_owner_decides() {
        let referral = [(Field::Notes, text("Theirs"))];
        let opportunity = [(Field::Notes, text("Ours"))];
        for (owner, expected) in [
            ("dynamics", Some((Side::PartnerCenter, text("Theirs"), text("Ours")))),
            ("partner_center", Some((Side::Dynamics, text("Ours"), text("Theirs")))),
            ("manual", None),
        ] {
            let mapping = DEFAULT.replace("owner = \"dynamics\"", &format!("owner = {owner:?}"));
            let merged = merged(&mapping, &[], &referral, &opportunity);
            let change = merged.changes.first().map(|change| {
                assert!(change.lost);
                (change.side, change.old.clone(), change.new.clone())
            });
            assert_eq!(change, expected, "{owner}");
            let code = if expected.is_some() {
                Code::Conflict
            } else {
                Code::ManualConflict
            };
            assert_eq!(codes(&merged), [code], "{owner}");
        }
    }

    #[test]
    fn what_a_side_holds_of_the_others_value_is_no_conflict() {
        let (whole, held) = (text(&"x".repeat(2001)), text(&"x".repeat(2000)));
        let merged = merged(
            DEFAULT,
            &[],
            &[(Field::Notes, whole.clone())],
            &[(Field::Notes, held.clone())],
        );
        assert_eq!((merged.changes.len(), merged.findings.len()), (0, 0));
        assert_eq!(merged.base.referral.get(Field::Notes), &whole);
        assert_eq!(merged.base.opportunity.get(Field::Notes), &held);
    }

    #[test]
    fn value_and_currency_are_one() {
        let referral = [(Field::Value, money("100", "USD"))];
        let opportunity = [(Field::Value, money("90", "EUR"))];
        let merged = merged(DEFAULT, &[], &referral, &opportunity);
        assert_eq!(merged.toward_referral.get(Field::Value), &money("90", "EUR"));
        assert_eq!(merged.toward_opportunity.get(Field::Value), &Term::Nothing);
    }

    #[test]
    fn the_further_stage_wins_and_never_goes_back() {
        let stages = &[Stage::Unanswered, Stage::Active, Stage::Won, Stage::Lost];
        for (before, referral, opportunity) in stages.iter().flat_map(|before| {
            stages
                .iter()
                .flat_map(move |one| stages.iter().map(move |other| (before, one, other)))
        }) {
            let edit = |to: &Stage| [(Field::Stage, stage(to.clone()))];
            let merged = merged(DEFAULT, &edit(before), &edit(referral), &edit(opportunity));
            if let Some(to) = merged.toward_referral.get(Field::Stage).as_stage() {
                assert!(
                    to.progress() > referral.progress(),
                    "{before}: {referral} -> {to} because of {opportunity}"
                );
            }
        }
    }

    #[test]
    fn a_closing_waits_and_nothing_else_does() {
        let before = [(Field::Stage, stage(Stage::Unanswered))];
        let wait = |input: &mut Input<'_>| input.close_delay = Some(SignedDuration::from_secs(300));
        for (to, is_held) in [(Stage::Active, false), (Stage::Won, true), (Stage::Lost, true)] {
            let edits = [(Field::Stage, stage(to.clone()))];
            let merged = merged_as(DEFAULT, (&before, &[], &edits), wait);
            assert_eq!(
                (merged.closing, codes(&merged) == [Code::Closing]),
                (is_held, is_held),
                "{to}"
            );
            assert_eq!(written(&merged, Side::PartnerCenter), usize::from(!is_held), "{to}");
        }
        let notes = merged_as(DEFAULT, (&[], &[], &[(Field::Notes, text("New"))]), wait);
        assert_eq!((notes.closing, written(&notes, Side::PartnerCenter)), (false, 1));
        // Dynamics takes a closing at once, and takes it back.
        let closed = merged_as(DEFAULT, (&[], &[(Field::Stage, stage(Stage::Won))], &[]), wait);
        assert_eq!((closed.closing, written(&closed, Side::Dynamics)), (false, 1));
    }

    #[test]
    fn a_deal_that_another_partner_sent_is_not_answered_for_it() {
        let before = [(Field::Stage, stage(Stage::Unanswered))];
        let edits = [(Field::Stage, stage(Stage::Active))];
        let merged = merged_as(DEFAULT, (&before, &[], &edits), |input| input.answerable = false);
        assert_eq!((codes(&merged), merged.changes), (vec![Code::IllegalMove], Vec::new()));
    }

    /// Nobody can do anything about a closed referral; a row can be moved by hand.
    #[test]
    fn a_move_that_a_side_does_not_take_is_told_with_its_cure() {
        let to = |to: Stage| [(Field::Stage, stage(to))];
        let closed = merged(DEFAULT, &to(Stage::Won), &[], &to(Stage::Lost));
        let said = |merged: &Merged| {
            let [said] = merged.findings.as_slice() else {
                panic!("{:#?}", merged.findings)
            };
            (
                said.code,
                said.text.contains("create a new deal"),
                said.text.contains("by hand"),
            )
        };
        assert_eq!(said(&closed), (Code::IllegalMove, true, false));
        let reason = [(Field::Stage, Term::stage(Stage::Lost, Some("Budget")))];
        let price = [(Field::Stage, Term::stage(Stage::Lost, Some("Price")))];
        let late = merged(DEFAULT, &price, &[], &reason);
        assert_eq!(said(&late), (Code::Frozen, true, false));
        // A qualified lead takes no other state.
        static MAPPING: LazyLock<Mapping> = LazyLock::new(|| Mapping::parse(DEFAULT).unwrap());
        let of_lead = |input: &mut Input<'_>| input.mapping = MAPPING.leads().unwrap();
        let qualified = merged_as(DEFAULT, (&[], &to(Stage::Lost), &[]), of_lead);
        assert_eq!(said(&qualified), (Code::IllegalMove, false, true));
        // A reason that comes with the closing travels with it.
        let closing = merged(DEFAULT, &[], &[], &reason);
        assert_eq!(
            (codes(&closing), written(&closing, Side::PartnerCenter)),
            (vec![Code::Carried], 1)
        );
    }

    /// Partner Center has no word for "no sales stage", and takes a team with an acceptance only where it has none yet.
    #[test]
    fn what_partner_center_has_no_word_for_is_kept_there() {
        let mapping = DEFAULT.replace(
            "[people]",
            "[[field]]\ndeal = \"sales_stage\"\ncolumn = \"@stage\"\nlabel = \"Sales stage\"\nkind = \"text\"\n\
             create = \"both\"\nupdate = \"both\"\nowner = \"dynamics\"\nrequired = false\n[people]",
        );
        let before = [(Field::SalesStage, text("Qualify"))];
        let emptied = merged(&mapping, &before, &[], &[(Field::SalesStage, Term::Nothing)]);
        assert_eq!(
            (codes(&emptied), written(&emptied, Side::PartnerCenter)),
            (vec![Code::Frozen], 0)
        );
        let changed = merged(&mapping, &before, &[], &[(Field::SalesStage, text("Develop"))]);
        assert_eq!(
            (codes(&changed), written(&changed, Side::PartnerCenter)),
            (vec![Code::Carried], 1)
        );
        let kim = people(&[("kim@aldermoor.example", ["Kim", "Vale", "+44 1"])]);
        let both = people(&[
            ("kim@aldermoor.example", ["Kim", "Vale", "+44 1"]),
            ("lee@aldermoor.example", ["Lee", "Moss", "+44 2"]),
        ]);
        let accepted = |before: Term, after: Term| {
            let before = [(Field::Stage, stage(Stage::Unanswered)), (Field::Team, before)];
            let edits = [(Field::Stage, stage(Stage::Active)), (Field::Team, after)];
            let merged = merged(DEFAULT, &before, &[], &edits);
            merged
                .writes(Side::PartnerCenter)
                .map(|(field, _)| field)
                .collect::<Vec<_>>()
        };
        assert_eq!(accepted(Term::Nothing, kim.clone()), [Field::Stage, Field::Team]);
        assert_eq!(
            accepted(kim, both),
            [Field::Stage],
            "one more person follows the acceptance"
        );
    }

    #[test]
    fn a_closed_opportunity_closes_the_referral_that_it_meets() {
        for (to, sent) in [(Stage::Active, None), (Stage::Won, Some(&Stage::Won))] {
            let edits = [(Field::Stage, stage(to.clone()))];
            let merged = merged_as(DEFAULT, (&[], &[], &edits), |input| input.base = None);
            assert_eq!(merged.toward_referral.get(Field::Stage).as_stage(), sent, "{to}");
        }
    }

    #[test]
    fn before_the_acceptance_nothing_is_sent_but_what_travels_with_it() {
        let before = [(Field::Stage, stage(Stage::Unanswered))];
        let edits = [
            (Field::Notes, text("New")),
            (
                Field::Solutions,
                Term::Solutions([SolutionId("SOL-2".to_owned())].into()),
            ),
        ];
        let held = merged(DEFAULT, &before, &[], &edits);
        assert_eq!(codes(&held), [Code::Deferred, Code::Deferred]);
        assert_eq!(held.base, merged(DEFAULT, &before, &[], &[]).base);
        let accepted = [edits.to_vec(), vec![(Field::Stage, stage(Stage::Active))]].concat();
        let accepted = merged(DEFAULT, &before, &[], &accepted);
        let sent: Vec<_> = accepted.writes(Side::PartnerCenter).map(|(field, _)| field).collect();
        assert_eq!(sent, [Field::Notes, Field::Stage]);
        // What Partner Center demands is not emptied with the acceptance either.
        let emptied = [(Field::Value, Term::Nothing), (Field::Stage, stage(Stage::Active))];
        let emptied = merged(DEFAULT, &before, &[], &emptied);
        assert_eq!(codes(&emptied), [Code::Carried, Code::Missing]);
        assert!(emptied.cleared.is_empty());
    }

    #[test]
    fn a_closed_referral_takes_nothing() {
        let before = [(Field::Stage, stage(Stage::Won))];
        let mapping = Mapping::parse(DEFAULT).unwrap();
        let is_judged = |field: &Field| match field {
            Field::Stage => true,
            // A ratchet, and lists of people: neither is anybody's value.
            Field::Visibility | Field::Team | Field::Contacts => false,
            field => mapping.rule(*field).is_some(),
        };
        for field in Field::ALL.into_iter().filter(is_judged) {
            let other = match field {
                Field::Stage => stage(Stage::Lost),
                Field::Value => money("1", "EUR"),
                _ => text("other"),
            };
            let merged = merged(DEFAULT, &before, &[], &[(field, other)]);
            assert_eq!(written(&merged, Side::PartnerCenter), 0, "{field}");
            assert_eq!(merged.findings.len(), 1, "{field}");
        }
    }

    #[test]
    fn what_dynamics_adds_by_itself_is_no_edit() {
        let before = [(
            Field::Value,
            Term::Money {
                amount: "7".parse().unwrap(),
                currency: None,
            },
        )];
        let merged = merged(DEFAULT, &before, &[], &[(Field::Value, money("7", "EUR"))]);
        assert_eq!(merged.changes, []);
        assert!(merged.silent.contains(&Field::Value));
    }

    #[test]
    fn a_field_that_does_not_travel_to_dynamics_asks_for_no_further_choice_there() {
        let of = |update: &str| {
            DEFAULT.replace(
                "[people]",
                &format!(
                    "[[field]]\ndeal = \"campaign\"\ncolumn = \"@campaign\"\nlabel = \"Campaign\"\nkind = \"choice\"\n\
                     values = {{ Spring = 1 }}\ncreate = \"none\"\nupdate = {update:?}\nowner = \"dynamics\"\nrequired = false\n\
                     [people]"
                ),
            )
        };
        let referral = [(Field::Campaign, text("Autumn"))];
        for (update, code) in [
            ("both", Code::UnknownValue),
            ("toward_partner_center", Code::Frozen),
            ("none", Code::Frozen),
        ] {
            let merged = merged(&of(update), &[(Field::Campaign, text("Spring"))], &referral, &[]);
            assert_eq!(codes(&merged), [code], "{update}");
            assert_eq!(written(&merged, Side::Dynamics), 0, "{update}");
        }
    }

    #[test]
    fn a_currency_that_is_entered_later_is_an_edit() {
        // Shared as 7 EUR by the default, or received without a currency, while the row has none.
        let bare = |amount: &str| Term::Money {
            amount: amount.parse().unwrap(),
            currency: None,
        };
        let lookup = "kind = \"lookup\"\ncolumn = \"transactioncurrencyid\"";
        let texts = DEFAULT.replace(lookup, "kind = \"text\"\ncolumn = \"@currency\"");
        for (mapping, agreed, now, carried) in [
            (DEFAULT, money("7", "EUR"), money("7", "EUR"), None),
            (DEFAULT, money("7", "EUR"), money("7", "USD"), Some(money("7", "USD"))),
            // Rows that point to currencies get one by themselves.
            (DEFAULT, bare("7"), money("7", "USD"), None),
            (&texts, money("7", "EUR"), bare("7"), None),
            (&texts, money("7", "EUR"), money("7", "EUR"), None),
            (&texts, money("7", "EUR"), money("7", "USD"), Some(money("7", "USD"))),
            (&texts, bare("7"), money("7", "USD"), Some(money("7", "USD"))),
            (&texts, bare("7"), money("8", "USD"), Some(money("8", "USD"))),
        ] {
            let mut base = Base {
                referral: with(&[(Field::Value, agreed.clone())]),
                opportunity: with(&[(Field::Value, bare("7"))]),
            };
            let merged = merge(Input {
                close_delay: None,
                answerable: true,
                mapping: &Mapping::parse(mapping).unwrap(),
                base: Some(&base),
                referral: &base.referral,
                opportunity: &with(&[(Field::Value, now.clone())]),
                money_digits: 2,
                digits_of: &BTreeMap::new(),
                marked: true,
                missing_currencies: &BTreeSet::new(),
                paused: None,
            });
            let sent = Some(merged.toward_referral.get(Field::Value)).filter(|sent| *sent != &Term::Nothing);
            assert_eq!(sent, carried.as_ref(), "{agreed} and then {now}");
            if carried.is_some() {
                base.referral.set(Field::Value, now.clone());
                base.opportunity.set(Field::Value, now.clone());
            }
            assert_eq!(merged.base, base, "{agreed} and then {now}");
        }
    }

    #[test]
    fn records_that_meet_for_the_first_time_fill_each_other() {
        let referral = with(&[(Field::Notes, Term::Nothing), (Field::Stage, stage(Stage::Unanswered))]);
        let opportunity = with(&[(Field::CloseDate, Term::Nothing), (Field::Value, money("1", "EUR"))]);
        let merged = merge(Input {
            close_delay: None,
            answerable: true,
            mapping: &Mapping::parse(DEFAULT).unwrap(),
            base: None,
            referral: &referral,
            opportunity: &opportunity,
            money_digits: 2,
            digits_of: &BTreeMap::new(),
            marked: false,
            missing_currencies: &BTreeSet::new(),
            paused: None,
        });
        // The referral is not accepted only because somebody had an open opportunity.
        assert_eq!(merged.toward_opportunity.stage(), Stage::Unanswered);
        assert_eq!(
            merged.toward_opportunity.get(Field::CloseDate),
            agreed().get(Field::CloseDate)
        );
        assert!(
            merged
                .findings
                .iter()
                .any(|finding| finding.code == Code::Deferred && finding.field == Some(Field::Notes))
        );
    }
}
