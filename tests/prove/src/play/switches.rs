//! What is switched off and on while deals are under way, and what an operator orders.
//!
//! Knows: the pause of one direction (`PAUSED`), a seller's consent, orders about one deal. Refuses to know: what becomes
//! of a deal meanwhile. Guarantee: every pause ends with the run; what sellers switched off may stay so, and is judged as
//! what it is.

use std::collections::HashMap;

use cosell::deal::{Currency, Field, Side, Term};
use cosell::finding::Code;
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{LinkId, OpportunityId, Record};
use cosell::link::{Change, Link, State};
use cosell::opportunity::Cell;
use cosell::order::Order;
use cosell::reconcile::Report;
use model::world::POLICY;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::judge::shows;
use super::measure::records;
use super::{Play, TIMEOUT, Typed, Worker};

/// An order for a value.
pub(super) struct Given {
    pub link: LinkId,
    pub field: Field,
    pub term: Term,
    /// What both sides showed, where they showed the same, whenever whoever carries it out looked.
    pub replaces: Vec<Term>,
}

impl Play {
    /// The administrator lets one side be written to no more, or again. Whoever is at work keeps the settings with which
    /// it began.
    pub(super) fn pause(&mut self) {
        if !self.knobs.pauses {
            return;
        }
        self.world.paused = match self.world.paused {
            Some(_) => None,
            None => [Side::Dynamics, Side::PartnerCenter].choose(&mut self.chance).copied(),
        };
        self.figures.pauses += u64::from(self.world.paused.is_some());
        let paused = self.world.paused;
        self.tell(|| format!("paused: {paused:?}"));
    }

    /// A seller switches the synchronisation of a deal off, or on again.
    pub(super) fn switch(&mut self) {
        if !self.knobs.switches {
            return;
        }
        let all: Vec<OpportunityId> = self.world.rows.keys().copied().collect();
        if let Some(id) = all.choose(&mut self.chance).copied() {
            self.switch_to(id, !self.is_switched_on(id));
        }
    }

    fn is_switched_on(&self, id: OpportunityId) -> bool {
        let row = self.world.rows.get(&id);
        row.is_some_and(|row| row.shown().flag(&POLICY.mapping.columns.sync))
    }

    fn switch_to(&mut self, id: OpportunityId, on: bool) {
        let Some(row) = self.world.rows.get_mut(&id) else {
            return;
        };
        row.cells.insert(POLICY.mapping.columns.sync.clone(), Cell::Flag(on));
        row.version += 1;
        self.world.ours.remove(&id);
        self.figures.switched_off += u64::from(!on);
        self.changed(Record::Opportunity(id));
        self.tell(|| format!("a seller switches {id} {}", if on { "on" } else { "off" }));
    }

    /// Every pause ends, and in half of the runs all sellers switch their deals on again.
    pub(super) fn end_switches(&mut self) {
        self.world.paused = None;
        if self.knobs.switches && self.chance.random_bool(0.5) {
            let all = self.world.rows.keys().copied();
            let off: Vec<OpportunityId> = all.filter(|id| !self.is_switched_on(*id)).collect();
            for id in off {
                self.switch_to(id, true);
            }
        }
    }

    /// Whether nobody keeps a deal in step: its seller has switched it off, or an operator has parted it.
    pub(super) fn is_left_alone(&self, link: &Link) -> bool {
        let is_off = || link.opportunity.is_some_and(|id| !self.is_switched_on(id));
        link.state == State::Parted || link.state == State::Paused && is_off()
    }

    // ---- orders --------------------------------------------------------------------------------------------------

    /// An operator has something done to a deal, beside whatever the queue has done to it.
    pub(super) fn order(&mut self) {
        if !self.knobs.orders {
            return;
        }
        let Some(at) = self.workers.iter().position(Option::is_none) else {
            return;
        };
        let deals: Vec<Link> = self.world.links().collect();
        let Some(link) = deals.choose(&mut self.chance).cloned() else {
            return;
        };
        let parted = link.parted.last().filter(|_| link.state == State::Parted);
        let parted = parted.and_then(|parted| Some((parted.referral?, parted.opportunity?)));
        let (referral, order) = match (link.referral, parted) {
            (Some(referral), _) => (referral, self.any_order()),
            (None, Some((referral, opportunity))) => (referral, Some(Order::Link { referral, opportunity })),
            (None, None) => return,
        };
        let subject = Subject::Referral(referral);
        // What was chosen may be kept for the referral alone, which belongs to a deal.
        let link = self.world.find(subject).unwrap_or(link);
        if matches!(order, Some(Order::Link { .. })) {
            self.joined.insert(referral);
        }
        self.tell(|| format!("an operator orders {order:?} for {subject}"));
        if let Some((field, term)) = order.as_ref().and_then(Order::edit) {
            self.given.push(Given {
                link: link.id,
                field,
                term: term.clone(),
                replaces: Vec::new(),
            });
            // It is neither side's, and whoever gives it may have seen nothing: it competes with every other edit.
            for record in records(&link).into_iter().flatten() {
                self.log(record, (field, Term::Nothing, term.clone()), false);
            }
        }
        let gives = order.as_ref().and_then(Order::edit).is_some();
        self.world.order = order;
        let run = self.world.begin(&Hint::new(subject, Cause::Operator));
        self.world.order = None;
        let (until, order) = (
            self.world.now + TIMEOUT,
            self.given.len().checked_sub(1).filter(|_| gives),
        );
        if let Some(slot) = self.workers.get_mut(at) {
            *slot = Some(Worker {
                run,
                saw: HashMap::new(),
                until,
                message: None,
                order,
            });
        }
    }

    /// Whoever carries out an order looks at a record.
    pub(super) fn look_for_order(&mut self, order: usize) {
        let Some(given) = self.given.get(order) else { return };
        let Some(link) = self.world.link(given.link) else {
            return;
        };
        let shown = records(&link).map(|record| Some(self.shows(record?)?.get(given.field).clone()));
        if let [Some(there), Some(here)] = shown
            && shows(&here, &there)
            && let Some(given) = self.given.get_mut(order)
        {
            given.replaces.push(there);
        }
    }

    /// None is a thorough look, which an operator can order as well.
    fn any_order(&mut self) -> Option<Order> {
        let number = self.number();
        let restore = |field, value| Some(Order::Restore { field, value });
        match self.chance.random_range(0..9_u32) {
            0..2 => restore(Field::Notes, Term::text(Some(&format!("Operator note {number}")))),
            2..4 => {
                let amount = (number * 10 + 7).to_string().parse();
                let currency = Currency::parse("EUR");
                restore(
                    Field::Value,
                    amount.map_or(Term::Nothing, |amount| Term::Money { amount, currency }),
                )
            }
            4 => {
                let date = format!("2029-{:02}-{:02}", number % 12 + 1, number % 28 + 1);
                restore(Field::CloseDate, date.parse().map_or(Term::Nothing, Term::Date))
            }
            5 => Some(Order::Accept),
            6 => {
                let reason = "Not a fit".to_owned();
                Some(Order::Decline { reason })
            }
            7 => Some(Order::Unlink),
            _ => None,
        }
    }

    /// An order was carried out: from now on its value stands like one that a person typed, where nobody has replaced it yet.
    pub(super) fn end_order(&mut self, report: &Report) {
        let ordered = report.findings.iter().filter(|finding| finding.code == Code::Ordered);
        let fields: Vec<Field> = ordered.filter_map(|finding| finding.field).collect();
        let Some(link) = report.link.and_then(|id| self.world.link(id)) else {
            return;
        };
        for field in fields.into_iter().filter(|field| *field != Field::Stage) {
            self.figures.orders += 1;
            let mut records = records(&link).into_iter().flatten();
            let (Some(referral), Some(row)) = (records.next(), records.next()) else {
                continue;
            };
            let shown = |record| self.shows(record).map(|terms| terms.get(field).clone());
            let (Some(there), Some(here)) = (shown(referral), shown(row)) else {
                continue;
            };
            if shows(&here, &there) {
                self.typed.push(Typed {
                    subject: row,
                    field,
                    term: there,
                });
            }
        }
    }

    /// Whether an order replaced a value, as the records say, that both sides showed when it was carried out.
    pub(super) fn is_replaced_by_order(&self, link: &Link, field: Field, term: &Term) -> bool {
        let given = self
            .given
            .iter()
            .filter(|given| given.link == link.id && given.field == field);
        let entries = || self.world.audit.iter().filter(|entry| entry.link == link.id);
        let is_seen = |given: &&Given| given.replaces.iter().any(|seen| shows(seen, term));
        given.filter(is_seen).any(|given| {
            let mut changes = entries().flat_map(|entry| &entry.changes);
            let is_it = |change: &Change| change.field == field && shows(&change.old, term);
            changes.any(|change| is_it(change) && shows(&change.new, &given.term))
        })
    }
}
