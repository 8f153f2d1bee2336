//! Winning and losing an opportunity, and what is left of it when it is reopened.
//!
//! Knows: the two actions, the close activity they leave behind. Refuses to know: who may call them. Guarantee: an
//! opportunity leaves the open state only here, and only together with a close activity.

use jiff::tz::TimeZone;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Environment;
use super::body::{Changes, Writing, assignments};
use super::cell::Cell;
use super::refusal::Refusal;
use super::write::{Author, default_status};

/// How an opportunity ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Won,
    Lost,
}

impl Outcome {
    /// The action's name leads to its outcome.
    pub(super) fn of_action(name: &str) -> Option<Self> {
        match name {
            "WinOpportunity" => Some(Self::Won),
            "LoseOpportunity" => Some(Self::Lost),
            _ => None,
        }
    }

    fn state(self) -> i64 {
        match self {
            Self::Won => 1,
            Self::Lost => 2,
        }
    }
}

impl Environment {
    /// Runs one of the two actions from the body of a request.
    pub(super) fn close_by_action(&mut self, author: Author, outcome: Outcome, body: &[u8]) -> Result<(), Refusal> {
        let parameters = Changes::parse("opportunitycloses", body)?;
        let refuse = |message: String| Err(Refusal::payload("opportunitycloses", message));
        for name in parameters.properties() {
            if !["Status", "OpportunityClose"].contains(&name) {
                return refuse(format!("The parameter '{name}' does not exist."));
            }
        }
        let status = parameters
            .raw("Status")
            .map(RawValue::get)
            .and_then(|text| text.parse::<i64>().ok());
        let Some(status) = status else {
            return refuse("The parameter 'Status' must be a whole number.".to_owned());
        };
        let Some(close) = parameters.raw("OpportunityClose") else {
            return refuse("The parameter 'OpportunityClose' is missing.".to_owned());
        };
        let close = Changes::parse("opportunitycloses", close.get().as_bytes())?;
        self.close(author, outcome, status, &close)
    }

    /// Closes the opportunity that the close activity points to; status -1 asks for the default reason.
    pub(super) fn close(
        &mut self,
        author: Author,
        outcome: Outcome,
        status: i64,
        close: &Changes,
    ) -> Result<(), Refusal> {
        let (opportunities, closes) = (self.schema.get("opportunity")?, self.schema.get("opportunityclose")?);
        let assigned = assignments(self, &closes, close, Writing::Create)?;
        let Some(id) = assigned
            .get("opportunityid")
            .and_then(Option::as_ref)
            .and_then(Cell::id)
        else {
            return Err(Refusal::bad(
                "0x80040203",
                "OpportunityClose must be bound to an opportunity.",
            ));
        };
        let mut row = match self.store.row("opportunity", id) {
            Some(row) => (**row).clone(),
            None => return Err(Refusal::no_row("opportunity", id)),
        };
        if row.whole("statecode") != Some(0) {
            return Err(Refusal::bad("0x80040515", "The opportunity is already closed."));
        }
        let state = outcome.state();
        let status = if status == -1 {
            default_status(&opportunities, state).unwrap_or(status)
        } else {
            status
        };
        if opportunities.state_of(status).is_none_or(|owner| owner.value != state) {
            return Err(Refusal::invalid_status(status, state, "opportunity"));
        }
        let mut changes = Changes::default();
        changes.set("statecode", &state.into());
        changes.set("statuscode", &status.into());
        self.run_plugin(&opportunities, id, &mut changes)?;

        let activity = assigned
            .get(closes.key)
            .and_then(Option::as_ref)
            .and_then(Cell::id)
            .unwrap_or_else(Uuid::new_v4);
        if self.store.row("opportunityclose", activity).is_some() {
            return Err(Refusal::exists_already());
        }
        let mut close = self.new_row(author, &closes, activity, assigned)?;
        close.set("transactioncurrencyid", row.get("transactioncurrencyid").cloned());
        close.set("opportunitystatecode", Some(Cell::Whole(state)));
        close.set("opportunitystatuscode", Some(Cell::Whole(status)));
        close.set("statecode", Some(Cell::Whole(1)));
        close.set("statuscode", default_status(&closes, 1).map(Cell::Whole));
        self.work_out(&closes, &mut close);

        let fallback = match outcome {
            Outcome::Won => row.get("actualvalue").or_else(|| row.get("estimatedvalue")).cloned(),
            Outcome::Lost => row.get("actualvalue").cloned(),
        };
        row.set("actualvalue", close.get("actualrevenue").cloned().or(fallback));
        let ended = match close.get("actualend") {
            Some(Cell::Instant(at)) => *at,
            _ => self.now(),
        };
        row.set(
            "actualclosedate",
            Some(Cell::Date(ended.to_zoned(TimeZone::UTC).date())),
        );
        row.set("statecode", Some(Cell::Whole(state)));
        row.set("statuscode", Some(Cell::Whole(status)));
        self.work_out(&opportunities, &mut row);
        self.save(author, &closes, close);
        self.save(author, &opportunities, row);
        Ok(())
    }

    /// Marks the close activities of a reopened opportunity as canceled.
    pub(super) fn cancel_closes(&mut self, author: Author, opportunity: Uuid) {
        let Ok(closes) = self.schema.get("opportunityclose") else {
            return;
        };
        let left: Vec<_> = self
            .store
            .table(closes.name)
            .filter(|row| row.get("opportunityid").and_then(Cell::id) == Some(opportunity))
            .filter(|row| row.whole("statecode") == Some(1))
            .map(|row| (**row).clone())
            .collect();
        for mut row in left {
            row.set("statecode", Some(Cell::Whole(2)));
            row.set("statuscode", default_status(&closes, 2).map(Cell::Whole));
            self.save(author, &closes, row);
        }
    }
}
