//! `show`: what both sides say, what they last agreed on, and what would be done. It writes nothing.

use cosell::deal::{Field, Term, Terms};
use cosell::fault::{Class, Fault};
use cosell::finding::Finding;
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::Record;
use cosell::link::{AuditEntry, Due, Link, Pending};
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::{Loser, losers};
use crate::connector::Connector;
use crate::driver::{Look, Preview};
use crate::http::Run;

/// Audit records that are shown.
const SHOWN: usize = 20;

/// One field on both sides.
#[derive(Debug, Serialize)]
pub struct Column {
    field: &'static str,
    label: String,
    /// What both last agreed on: the referral's half.
    base: Option<String>,
    /// The opportunity's half, where it is another: a cut text, a rounded value, what both agreed to differ in.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_dynamics: Option<String>,
    partner_center: Option<String>,
    dynamics: Option<String>,
}

/// A deal as it stands.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// What the ledger knows.
    pub link: Link,
    /// Field by field.
    pub fields: Vec<Column>,
    /// What the planner would do now.
    pub plan: Preview,
    /// What a person has to settle, and since when.
    pub attention: Vec<Finding>,
    /// Since when.
    pub attention_since: Option<Timestamp>,
    /// What was announced and is not committed.
    pub pending: Option<Pending>,
    /// When it is looked at again by itself.
    pub due: Option<Due>,
    /// The newest audit records, newest first.
    pub audit: Vec<AuditEntry>,
    /// What of it can be restored.
    pub restorable: Vec<Loser>,
}

impl Connector {
    /// Shows a deal; none when the ledger does not know the record.
    ///
    /// # Errors
    /// When the ledger or a vendor does not answer.
    pub async fn show(&self, subject: Subject, trace: &str, now: Timestamp, run: &Run) -> Result<Option<Shown>, Fault> {
        let Some(link) = self.ledger.find(subject).await? else {
            return Ok(None);
        };
        // A link that was let go by one of its records may not name the one that was asked for.
        let referral = match subject {
            Subject::Referral(id) => link.referral.or(Some(id)),
            Subject::Opportunity(_) | Subject::Lead(_) => link.referral,
        };
        let referral = match referral {
            Some(id) => self.partner_center.during(run).get(id).await?,
            None => None,
        };
        let record = match subject {
            Subject::Referral(_) => link.record(),
            Subject::Opportunity(id) => link.record().or(Some(Record::Opportunity(id))),
            Subject::Lead(id) => link.record().or(Some(Record::Lead(id))),
        };
        let mapping = self.policy.of(record).mapping;
        let row = match record {
            Some(id) => {
                self.dataverse
                    .during(run)
                    .read(id.set(), id.uuid(), &mapping.opportunity_query())
                    .await?
            }
            None => None,
        };
        let left = referral.as_ref().map(Terms::from_referral);
        let right = row.as_ref().map(|row| mapping.terms(row));
        let base = link.base.as_ref();
        let text = |terms: Option<&Terms>, field| {
            terms
                .map(|terms| terms.get(field))
                .filter(|term| **term != Term::Nothing)
                .map(ToString::to_string)
        };
        let fields = Field::ALL
            .into_iter()
            .map(|field| {
                let halves = base.map(|base| (base.referral.get(field), base.opportunity.get(field)));
                let differs = halves.is_some_and(|(referral, opportunity)| referral != opportunity);
                Column {
                    field: field.as_str(),
                    label: mapping.label(field).to_owned(),
                    base: text(base.map(|base| &base.referral), field),
                    base_dynamics: halves
                        .filter(|_| differs)
                        .map(|(_, opportunity)| opportunity.to_string()),
                    partner_center: text(left.as_ref(), field),
                    dynamics: text(right.as_ref(), field),
                }
            })
            .collect();
        let look = Look {
            // As the daily look at everything: an operator's would also ask again for what was refused once.
            hint: Hint::new(subject, Cause::Compare),
            trace: trace.to_owned(),
            now,
        };
        let plan = self.preview(look, run).await;
        let audit = self.ledger.audit_of(link.id, SHOWN).await?;
        Ok(Some(Shown {
            fields,
            plan,
            attention: link.attention.clone(),
            attention_since: link.attention_since,
            pending: link.pending.clone(),
            due: link.due.clone(),
            restorable: losers(&audit),
            link,
            audit,
        }))
    }

    /// The fault of a command that names no record.
    #[must_use]
    pub fn unknown(subject: Subject) -> Fault {
        Fault {
            class: Class::Permanent,
            code: "not_linked",
            message: format!("{subject} is not known to the ledger; check the id, or run resync on it"),
            in_doubt: false,
        }
    }
}
