//! The end of a run: everything comes to rest, and then the promises are held against what is there.
//!
//! Knows: what must hold. Refuses to know: how the run went. Guarantee: what excuses a difference is named here, and
//! nothing else does.

use std::collections::{BTreeSet, HashMap};

use cosell::deal::{Field, Term, Terms};
use cosell::finding::{Code, Finding};
use cosell::hint::Subject;
use cosell::ids::{OpportunityId, Record, ReferralId};
use cosell::link::{Change, Link};
use jiff::SignedDuration;
use model::vendors::{ReferralRecord, STAMP};
use model::world::{LIST_LAG, POLICY};

use super::measure::records;
use super::polls::Kind;
use super::{Play, Typed};

/// Sweeps until nothing may be left to do.
const MOST_SWEEPS: u32 = 40;

/// From one poll to the next.
const POLL: SignedDuration = SignedDuration::from_mins(1);

impl Play {
    /// Nothing goes wrong any more and nobody types: everything that waits is done, and one sweep is made if it `sweeps`.
    pub(super) fn come_to_rest(&mut self, sweeps: bool) -> Result<(), String> {
        self.tell(|| "from here on nothing goes wrong".to_owned());
        let mut has_listed_all = false;
        for sweep in 0..MOST_SWEEPS {
            self.drain()?;
            if sweeps && sweep == 0 {
                self.begin_poll(Kind::Compare);
                self.begin_poll(Kind::PartnerCenter);
                self.drain()?;
            }
            let next = self.world.links().filter_map(|link| link.due.map(|due| due.at)).min();
            match next {
                Some(next) => {
                    // What is overdue waits for the next poll, and not all of them get through to the queue: it takes no
                    // message twice within minutes.
                    self.world.now = next.max(self.world.now + POLL);
                    self.begin_poll(Kind::Dynamics);
                }
                None if sweeps && !has_listed_all => {
                    has_listed_all = true;
                    self.world.now += LIST_LAG;
                    self.begin_poll(Kind::PartnerCenter);
                }
                None => return Ok(()),
            }
        }
        let due: Vec<_> = self.world.links().filter(|link| link.due.is_some()).collect();
        Err(format!("it never comes to rest: {due:#?}"))
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            self.listen();
            let is_busy = self.workers.iter().any(Option::is_some);
            let mut groups = BTreeSet::new();
            let firsts = self
                .queue
                .iter()
                .filter(|message| groups.insert(message.hint.group_id()));
            let waits = firsts.map(|message| message.visible).min();
            if !self.events.is_empty() {
                self.deliver_event();
            } else if self.goes_on_polling() || self.follows() {
                // There may be more of it.
            } else if is_busy {
                self.work();
            } else if let Some(visible) = waits {
                self.world.now = self.world.now.max(visible);
                self.work();
            } else {
                return Ok(());
            }
        }
        Err("work without end".to_owned())
    }

    pub(super) fn judge(&mut self) -> Result<(), String> {
        if let Some(refusal) = self.world.refusals.first() {
            return Err(format!("a vendor refused {refusal}"));
        }
        if let Some(id) = self.deleted.iter().find(|id| self.world.rows.contains_key(id)) {
            return Err(format!("{id} was deleted and is back"));
        }
        self.judge_pairs()?;
        let links: Vec<_> = self.world.links().collect();
        for link in &links {
            if let Some(pending) = &link.pending {
                return Err(format!("{} is still announced: {pending:?}", link.id));
            }
            self.judge_agreement(link)?;
        }
        self.judge_typed()?;
        self.judge_choices()?;
        self.judge_conflicts()?;
        self.judge_silence()
    }

    /// Where the CRM lists its changes, a deletion is noticed. What was deleted before the first list is not told there.
    pub(super) fn judge_deleted(&self) -> Result<(), String> {
        let is_told = |id: &&OpportunityId| self.knobs.tracks_changes && self.is_watched(Record::Opportunity(**id));
        for id in self.deleted.iter().filter(is_told) {
            let link = self.world.find(Subject::Opportunity(*id));
            let is_shared = |link: &Link| link.opportunity == Some(*id) && link.referral.is_some();
            if let Some(link) = link.filter(|link| is_shared(link) && link.attention.is_empty()) {
                return Err(format!("{id} was deleted and nobody is told\n{link:#?}"));
            }
        }
        Ok(())
    }

    /// One opportunity a referral, one referral an opportunity.
    fn judge_pairs(&self) -> Result<(), String> {
        let mut rows: HashMap<String, OpportunityId> = HashMap::new();
        for (id, row) in &self.world.rows {
            let shown = row.shown();
            let Some(referral) = shown.text(&POLICY.mapping.columns.referral_identifier) else {
                continue;
            };
            if let Some(other) = rows.insert(referral.to_owned(), *id) {
                return Err(format!(
                    "{id} and {other} are both opportunities of referral {referral}"
                ));
            }
        }
        let own: Vec<&ReferralRecord> = self.world.referrals.values().filter(|one| !one.microsofts).collect();
        let mut referrals: HashMap<&str, ReferralId> = HashMap::new();
        let mut engagements = BTreeSet::new();
        for referral in &own {
            if let Some(reference) = &referral.reference
                && let Some(other) = referrals.insert(reference, referral.id)
            {
                return Err(format!(
                    "{} and {other} are both referrals of opportunity {reference}",
                    referral.id
                ));
            }
        }
        for half in self.world.referrals.values().filter(|one| one.microsofts) {
            if !engagements.insert(half.engagement) {
                return Err(format!("Microsoft has two halves of engagement {}", half.engagement));
            }
        }
        // What a seller shares is shared, or listed.
        for (id, row) in &self.world.rows {
            let link = self.world.find(Subject::Opportunity(*id));
            let is_met = link.is_some_and(|link| link.referral.is_some() || !link.attention.is_empty());
            if row.shown().flag(&POLICY.mapping.columns.sync) && !is_met {
                return Err(format!(
                    "opportunity {id} is to be shared, has no referral and no reason"
                ));
            }
        }
        // What was announced has arrived.
        for referral in own {
            let link = self.world.find(Subject::Referral(referral.id));
            let is_there = link.is_some_and(|link| {
                let is_deleted = link.opportunity.is_some_and(|id| self.deleted.contains(&id));
                let is_there = link.record().is_some_and(|row| self.world.row(row).is_some());
                let is_parted = link.has_parted(Subject::Referral(referral.id));
                is_there || is_deleted || is_parted || !link.attention.is_empty()
            });
            // Nobody needs a deal that was declined before we met.
            if !is_there && referral.substatus != "Declined" {
                return Err(format!("referral {} has no opportunity and no reason", referral.id));
            }
        }
        Ok(())
    }

    /// Both sides say the same, or the deal is listed with a reason.
    pub(super) fn judge_agreement(&self, link: &Link) -> Result<(), String> {
        let (Some(referral), Some(row)) = (link.referral, link.record()) else {
            return Ok(());
        };
        if self.is_left_alone(link) {
            return Ok(());
        }
        if !self.world.referrals.contains_key(&referral) || self.world.row(row).is_none() {
            return Ok(());
        }
        let typed = |field: &Field| {
            matches!(
                field,
                Field::Notes | Field::Value | Field::CloseDate | Field::Solutions | Field::Stage
            )
        };
        let apart = self.world.apart(link);
        let mut untold = apart
            .into_iter()
            .filter(|field| typed(field) && !self.is_told(link, *field));
        let Some(field) = untold.next() else {
            return Ok(());
        };
        let says = records(link).map(|record| {
            let shown = record.and_then(|record| self.shows(record));
            shown.map(|terms| terms.get(field).to_string()).unwrap_or_default()
        });
        Err(format!(
            "{field} of {}: in Partner Center and in Dynamics {says:?}, and nobody is told\n{link:#?}",
            link.id,
        ))
    }

    /// Whether a field is listed for a person, waits for the referral's answer, with which it travels, or was explained once
    /// the referral took no change any more.
    pub(super) fn is_told(&self, link: &Link, field: Field) -> bool {
        let referral = link.referral.and_then(|id| self.world.referrals.get(&id));
        let status = referral.map_or("", |referral| referral.status.as_str());
        let explains = |finding: &&Finding| matches!(finding.code, Code::Frozen | Code::IllegalMove | Code::Refused);
        let entries = self.world.audit.iter().filter(|entry| entry.link == link.id);
        let of_closed = entries.filter(|_| status == "Closed").flat_map(|entry| &entry.findings);
        let mut told = of_closed.filter(explains).chain(&link.attention);
        status == "New" || told.any(|finding| finding.field == Some(field))
    }

    /// What was typed is final on both sides, or was replaced by someone who saw it, or is recorded as a loser.
    fn judge_typed(&mut self) -> Result<(), String> {
        let typed = std::mem::take(&mut self.typed);
        for Typed { subject, field, term } in typed {
            let Some(link) = self.world.find(subject) else { continue };
            let shown: Vec<Terms> = records(&link)
                .into_iter()
                .flatten()
                .filter_map(|side| self.shows(side))
                .collect();
            let is_kept = shown.iter().all(|terms| shows(terms.get(field), &term));
            let changes = self
                .world
                .audit
                .iter()
                .filter(|entry| entry.link == link.id)
                .flat_map(|entry| &entry.changes);
            let is_typed = |winner: &Term| {
                self.log
                    .iter()
                    .any(|edit| edit.field == field && shows(winner, &edit.term))
            };
            let is_loser = |change: &&Change| change.field == field && change.old == term && change.lost;
            // Of two records that an operator has joined the owner's value stays, whoever typed it.
            let is_joined = link.referral.is_some_and(|id| self.joined.contains(&id));
            let is_lost = changes
                .filter(is_loser)
                .any(|change| is_joined || is_typed(&change.new));
            // What is listed or waits still stands where it was typed.
            let stands = shown.iter().any(|terms| shows(terms.get(field), &term));
            let is_listed = stands && (self.is_told(&link, field) || self.is_left_alone(&link));
            let is_gone = shown.len() < 2;
            let is_replaced = self.is_replaced_by_order(&link, field, &term);
            if !is_kept && !is_lost && !is_listed && !is_gone && !is_replaced {
                return Err(format!(
                    "{term} was typed as {field} of {subject} and is gone\n{link:#?}"
                ));
            }
        }
        Ok(())
    }

    /// Looking again writes nothing to a vendor, and once more, nothing to the ledger either.
    fn judge_silence(&mut self) -> Result<(), String> {
        let before = self.world.vendor_writes;
        self.figures.vendor_writes = u64::from(before);
        self.figures.vendor_reads = u64::from(self.world.vendor_reads);
        self.look_at_everything()?;
        let kept = self.world.writes.len();
        self.look_at_everything()?;
        let (writes, kept) = (self.world.vendor_writes - before, self.world.writes.len() - kept);
        if writes > 0 || kept > 0 {
            return Err(format!(
                "{writes} writes to vendors and {kept} in all though nothing had changed"
            ));
        }
        Ok(())
    }

    fn look_at_everything(&mut self) -> Result<(), String> {
        for id in self.world.rows.keys().copied().collect::<Vec<_>>() {
            self.changed(Record::Opportunity(id));
        }
        for id in self.world.leads.keys().copied().collect::<Vec<_>>() {
            self.changed(Record::Lead(id));
        }
        self.world.now += SignedDuration::from_mins(30);
        self.begin_poll(Kind::Compare);
        self.drain()
    }
}

/// Whether what is shown is what was typed, as it is or with what a plug-in has added to it.
pub(super) fn shows(shown: &Term, typed: &Term) -> bool {
    shown == typed || matches!(shown, Term::Text(text) if text.strip_suffix(STAMP) == Some(&typed.to_string()))
}
