//! The driver: performs the calls of the reconcile machine with the real clients.
//!
//! Knows which client serves which call. Refuses to decide anything: what a failure means is in its class, what comes
//! next is the machine's. Guarantee: the vendors' request ids of a run end up in the audit that the run writes.

use std::sync::Arc;
use std::time::Duration;

use cosell::deal::Side;
use cosell::fault::Fault;
use cosell::finding::Finding;
use cosell::hint::Hint;
use cosell::link::{Change, LinkWrite, Outcome};
use cosell::mapping::Mapping;
use cosell::order::Order;
use cosell::policy::Policy;
use cosell::reconcile::call::{Answer, Call, Search};
use cosell::reconcile::{Next, Reconcile, Report, Trigger};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::connector::Connector;
use crate::dataverse::{Closed, Created, Dataverse, Updated};
use crate::http::{Run, Tally};
use crate::ledger::{Ledger, Written};
use crate::partner_center::{PartnerCenter, Patched};

/// Calls a run may make at most; far above what any deal needs, so only a mistake of ours can reach it.
const MOST_CALLS: u32 = 100;

/// What a run keeps of its time when it waits for another.
const RESERVE: Duration = Duration::from_secs(5);

/// One look at one deal.
#[derive(Debug)]
pub struct Look {
    /// What to look at, and why.
    pub hint: Hint,
    /// Key that joins trigger, calls and audit.
    pub trace: String,
    /// Now.
    pub now: Timestamp,
}

/// What a look came to, and what it cost.
#[derive(Debug)]
pub struct Looked {
    /// How it ended.
    pub report: Report,
    /// Writes to the vendors that were tried.
    pub writes: Writes,
    /// Requests to the vendors.
    pub tally: Tally,
}

/// Writes that were tried, by the side they were meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// To opportunities, and to accounts and contacts with them.
    pub toward_dynamics: u64,
    /// To referrals.
    pub toward_partner_center: u64,
}

impl Writes {
    const fn count(&mut self, toward: Side) {
        match toward {
            Side::Dynamics => self.toward_dynamics += 1,
            Side::PartnerCenter => self.toward_partner_center += 1,
        }
    }
}

impl std::ops::AddAssign for Writes {
    fn add_assign(&mut self, more: Self) {
        self.toward_dynamics += more.toward_dynamics;
        self.toward_partner_center += more.toward_partner_center;
    }
}

impl Connector {
    /// Looks at a deal and does what is to be done.
    pub async fn reconcile(&self, look: Look, run: &Run) -> Looked {
        self.carry_out(look, None, run).await
    }

    /// Looks at a deal, and does with it what an operator orders.
    pub async fn carry_out(&self, look: Look, order: Option<Order>, run: &Run) -> Looked {
        let mut machine = Reconcile::new(trigger(look, order), &self.policy);
        let clients = self.clients(run);
        let mut writes = Writes::default();
        let mut requests = Vec::new();
        for _ in 0..MOST_CALLS {
            match machine.next() {
                Next::Done(report) => {
                    return Looked {
                        report,
                        writes,
                        tally: run.tally(),
                    };
                }
                Next::Call(call) => {
                    if let Some(side) = call.writes_toward() {
                        writes.count(side);
                    }
                    let answer = clients.perform(call, &mut requests).await;
                    machine.answer(answer);
                }
            }
        }
        Looked {
            report: Report::runaway(),
            writes,
            tally: run.tally(),
        }
    }
}

/// What a look would come to.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// How it would end.
    pub outcome: Outcome,
    /// Why.
    pub findings: Vec<Finding>,
    /// What would be written.
    pub changes: Vec<Change>,
}

impl Connector {
    /// What a look at a deal would do now. It reads, and writes nothing at all.
    pub async fn preview(&self, look: Look, run: &Run) -> Preview {
        let policy = Policy {
            dry_run: true,
            ..self.policy.as_ref().clone()
        };
        let mut machine = Reconcile::new(trigger(look, None), &policy);
        let clients = self.clients(run);
        let mut report = Report::runaway();
        for _ in 0..MOST_CALLS {
            match machine.next() {
                // The first thing that would be remembered tells what would have been done.
                Next::Call(Call::Commit(write) | Call::Intend(write)) => {
                    let entry = write.audit.into_iter().next_back();
                    return entry.map_or_else(
                        || Preview {
                            outcome: Outcome::Noted,
                            findings: Vec::new(),
                            changes: Vec::new(),
                        },
                        |entry| Preview {
                            outcome: entry.outcome,
                            findings: entry.findings,
                            changes: entry.changes,
                        },
                    );
                }
                Next::Call(call) if call.writes_toward().is_some() => break,
                Next::Call(call) => {
                    let answer = clients.perform(call, &mut Vec::new()).await;
                    machine.answer(answer);
                }
                Next::Done(done) => {
                    report = done;
                    break;
                }
            }
        }
        Preview {
            outcome: report.outcome,
            findings: report.findings,
            changes: Vec::new(),
        }
    }

    fn clients<'a>(&'a self, run: &'a Run) -> Clients<'a> {
        Clients {
            partner_center: self.partner_center.during(run),
            dataverse: self.dataverse.during(run),
            ledger: &self.ledger,
            mapping: Arc::clone(&self.policy.mapping),
            run,
        }
    }
}

fn trigger(look: Look, order: Option<Order>) -> Trigger {
    Trigger {
        hint: look.hint,
        now: look.now,
        trace: look.trace,
        writer: Uuid::new_v4().to_string(),
        order,
    }
}

struct Clients<'a> {
    partner_center: PartnerCenter,
    dataverse: Dataverse,
    ledger: &'a Ledger,
    mapping: Arc<Mapping>,
    run: &'a Run,
}

impl Clients<'_> {
    async fn perform(&self, call: Call, requests: &mut Vec<String>) -> Answer {
        let answer = Box::pin(self.attempt(call, requests)).await;
        requests.extend(self.run.take_request_ids().into_iter().map(|id| id.0));
        answer.unwrap_or_else(Answer::Failed)
    }

    /// Entity set of solution rows; nothing asks for it where the mapping has none.
    fn solutions(&self) -> &str {
        self.mapping.solution_table().map_or("", |table| &table.set)
    }

    async fn attempt(&self, call: Call, requests: &mut Vec<String>) -> Result<Answer, Fault> {
        Ok(match call {
            Call::FindLink(subject) => Answer::Link(self.ledger.find(subject).await?.map(Box::new)),
            Call::FindEngagement(id) => Answer::Link(self.ledger.find_engagement(id).await?.map(Box::new)),
            Call::ReadLink(id) => Answer::Link(self.ledger.get(id).await?.map(Box::new)),
            Call::Wait(time) => {
                let left = self.run.deadline().left().saturating_sub(RESERVE);
                tokio::time::sleep(time.unsigned_abs().min(left)).await;
                Answer::Done
            }
            Call::ReadReferral(id) => Answer::Referral(self.partner_center.get(id).await?.map(Box::new)),
            Call::ReadRecord(id) => {
                let query = self.mapping.of(id).opportunity_query();
                let row = self.dataverse.read(id.set(), id.uuid(), &query).await?;
                Answer::Row(row.map(Box::new))
            }
            Call::FindOffspring(id) => Answer::Rows(self.dataverse.find_offspring(id).await?),
            Call::SearchReferrals(Search::Reference { opportunity, since }) => {
                Answer::Referrals(self.partner_center.created_since(opportunity, since).await?)
            }
            Call::SearchReferrals(Search::Engagement(id)) => {
                Answer::Referrals(self.partner_center.engagement(id).await?)
            }
            Call::FindCurrency(code) => Answer::Rows(self.dataverse.find_currency(code.as_str()).await?),
            Call::FindAccount { name, postal_code } => Answer::Rows(
                self.dataverse
                    .find_account(self.mapping.account(), &name, &postal_code)
                    .await?,
            ),
            Call::FindAccountsOf { domain } => {
                Answer::Rows(self.dataverse.find_accounts_of(self.mapping.account(), &domain).await?)
            }
            Call::FindContact { email } => Answer::Rows(
                self.dataverse
                    .find_contact(&self.mapping.contact().email, &email)
                    .await?,
            ),
            Call::Intend(write) => self.write(&write).await?,
            Call::Commit(mut write) => {
                if let Some(entry) = write.audit.last_mut() {
                    entry.requests = std::mem::take(requests);
                }
                self.write(&write).await?
            }
            Call::PatchReferral { id, etag, operations } => {
                match self.partner_center.patch(id, &etag, &operations).await? {
                    Patched::Done(referral) => Answer::Referral(referral),
                    Patched::Stale => Answer::Stale,
                    Patched::Gone => Answer::Gone,
                }
            }
            Call::CreateReferral(referral) => {
                Answer::Referral(self.partner_center.create(&referral).await?.map(Box::new))
            }
            Call::CreateRow { table, id, change } => {
                match self
                    .dataverse
                    .create_only(table.set(), id, &change, "$select=modifiedon")
                    .await?
                {
                    Created::Done(row) => Answer::Row(Some(Box::new(row))),
                    Created::Exists => Answer::Exists,
                }
            }
            Call::UpdateRecord { id, etag, change } => {
                match self
                    .dataverse
                    .update(id.set(), id.uuid(), &etag, &change, "$select=modifiedon")
                    .await?
                {
                    Updated::Done(row) => Answer::Row(Some(Box::new(row))),
                    Updated::Stale => Answer::Stale,
                    Updated::Gone => Answer::Gone,
                }
            }
            Call::AddSolution { key, change } => {
                match self
                    .dataverse
                    .create_only(self.solutions(), key, &change, "$select=modifiedon")
                    .await?
                {
                    Created::Done(row) => Answer::Row(Some(Box::new(row))),
                    Created::Exists => Answer::Exists,
                }
            }
            Call::UpdateSolution { key, etag, change } => {
                match self
                    .dataverse
                    .update(self.solutions(), key, &etag, &change, "$select=modifiedon")
                    .await?
                {
                    Updated::Done(row) => Answer::Row(Some(Box::new(row))),
                    Updated::Stale => Answer::Stale,
                    Updated::Gone => Answer::Gone,
                }
            }
            Call::QualifyLead { id, qualify } => match self.dataverse.qualify(id, &qualify).await? {
                Closed::Done => Answer::Done,
                // By somebody else, or disqualified: the machine reads it again.
                Closed::Already => Answer::Stale,
                Closed::Gone => Answer::Gone,
            },
            Call::CloseOpportunity { id, close } => match self.dataverse.close(id, &close).await? {
                Closed::Done => Answer::Done,
                // Closed by somebody else, perhaps differently: the machine reads it again and compares.
                Closed::Already => Answer::Stale,
                Closed::Gone => Answer::Gone,
            },
        })
    }

    async fn write(&self, write: &LinkWrite) -> Result<Answer, Fault> {
        Ok(match self.ledger.write(write).await? {
            Written::Done => Answer::Done,
            Written::Outrun => Answer::Outrun,
            Written::Taken(pointer, by) => Answer::Taken(pointer, by),
        })
    }
}
