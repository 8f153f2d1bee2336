//! `show`: what both sides say, what they last agreed on, and what would be done. It writes nothing.

use cosell::deal::{Field, Term, Terms};
use cosell::fault::{Class, Fault};
use cosell::finding::Finding;
use cosell::hint::Subject;
use cosell::link::{AuditEntry, Link};
use cosell::plan::{self, Picture};
use jiff::Timestamp;
use serde::Serialize;

use crate::connector::Connector;
use crate::http::Run;

/// Audit records that are shown.
const SHOWN: usize = 20;

/// One field on both sides.
#[derive(Debug, Serialize)]
pub struct Column {
    field: &'static str,
    base: Option<String>,
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
    pub plan: Vec<Finding>,
    /// The newest audit records, newest first.
    pub audit: Vec<AuditEntry>,
}

impl Connector {
    /// Shows a deal; none when the ledger does not know the record.
    ///
    /// # Errors
    /// When the ledger or a vendor does not answer.
    pub async fn show(&self, subject: Subject, run: &Run, now: Timestamp) -> Result<Option<Shown>, Fault> {
        let Some(link) = self.ledger.find(subject).await? else {
            return Ok(None);
        };
        let referral = match link.referral {
            Some(id) => self.partner_center.during(run).get(id).await?,
            None => None,
        };
        let mapping = self.policy.of(link.record()).mapping;
        let row = match link.record() {
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
            .map(|field| Column {
                field: field.as_str(),
                base: text(base.map(|base| &base.referral), field),
                partner_center: text(left.as_ref(), field),
                dynamics: text(right.as_ref(), field),
            })
            .collect();
        let currencies = std::collections::BTreeMap::new();
        let picture = Picture {
            link: &link,
            base,
            referral: referral.as_ref(),
            opportunity: row.as_ref(),
            microsoft: None,
            currencies: &currencies,
            now,
            insists: false,
        };
        let planned = match plan::plan(&picture, &self.policy) {
            Ok(plan) => plan.findings,
            Err(_) => Vec::new(),
        };
        let audit = self.ledger.audit_of(link.id, SHOWN).await?;
        Ok(Some(Shown {
            link,
            fields,
            plan: planned,
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
