//! A deal as both sides show it, in words.
//!
//! Knows: where each side keeps what a person cares about. Refuses to know: what should be there.

use std::collections::BTreeSet;

use cosell_tests::world::World;
use serde_json::Value;
use uuid::Uuid;

use cosell_tests::screen::Row;

/// A text member of a JSON object; empty when there is none.
pub(crate) fn text(value: &Value, path: &str) -> String {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Both sides of a deal, as they are now. Null stands for a record that is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deal {
    /// The row of the CRM.
    pub(crate) opportunity: Value,
    /// The partner's referral.
    pub(crate) referral: Value,
    /// Microsoft's referral of the same engagement.
    pub(crate) microsoft: Value,
    customer: String,
    currency: String,
    /// The active rows of the opportunity's solutions.
    solution_rows: Vec<Value>,
}

impl Deal {
    /// Looks at the opportunity and at the referral that names it.
    pub(crate) fn of_opportunity(world: &World, id: &str) -> Self {
        let opportunity = row(world, "opportunities", id);
        let referral = world.referrals_of(id).into_iter().next().unwrap_or_default();
        Self::joined(world, opportunity, referral)
    }

    /// Looks at the referral and at the opportunity that names it.
    pub(crate) fn of_referral(world: &World, id: &str) -> Self {
        let opportunity = world.opportunities_of(id).into_iter().next().unwrap_or_default();
        Self::joined(world, opportunity, world.referral(id))
    }

    fn joined(world: &World, opportunity: Value, referral: Value) -> Self {
        let engagement = text(&referral, "/engagementId");
        let own = text(&referral, "/id");
        let halves = world.partner_center.referrals_of_engagement(&engagement);
        let microsoft = halves
            .into_iter()
            .find(|half| text(half, "/id") != own)
            .unwrap_or_default();
        let customer = row(world, "accounts", &text(&opportunity, "/_parentaccountid_value"));
        let currency = row(
            world,
            "transactioncurrencies",
            &text(&opportunity, "/_transactioncurrencyid_value"),
        );
        Self {
            customer: text(&customer, "/name"),
            currency: text(&currency, "/isocurrencycode"),
            solution_rows: world.solution_rows(&text(&opportunity, "/opportunityid")),
            opportunity,
            referral,
            microsoft,
        }
    }

    pub(crate) fn opportunity_id(&self) -> String {
        text(&self.opportunity, "/opportunityid")
    }

    pub(crate) fn referral_id(&self) -> String {
        text(&self.referral, "/id")
    }

    /// Status and substatus of the partner's referral.
    pub(crate) fn referral_status(&self) -> String {
        status_of(&self.referral)
    }

    /// Status and substatus of Microsoft's referral.
    pub(crate) fn microsoft_status(&self) -> String {
        status_of(&self.microsoft)
    }

    /// State and status reason of the opportunity.
    pub(crate) fn opportunity_status(&self) -> String {
        let number = |member: &str| self.opportunity.get(member).and_then(Value::as_i64);
        match (number("statecode"), number("statuscode")) {
            (Some(0), Some(1)) => "Open, In Progress".to_owned(),
            (Some(0), Some(2)) => "Open, On Hold".to_owned(),
            (Some(1), _) => "Won".to_owned(),
            (Some(2), _) => "Lost".to_owned(),
            (None, None) => String::new(),
            (state, status) => format!("state {state:?}, status {status:?}"),
        }
    }

    pub(crate) fn opportunity_value(&self) -> String {
        money(self.opportunity.pointer("/estimatedvalue"), &self.currency)
    }

    pub(crate) fn referral_value(&self) -> String {
        money(
            self.referral.pointer("/details/dealValue"),
            &text(&self.referral, "/details/currency"),
        )
    }

    pub(crate) fn referral_close_date(&self) -> String {
        // Midnight UTC of the day; the rest says nothing.
        text(&self.referral, "/details/closingDateTime")
            .chars()
            .take(10)
            .collect()
    }

    pub(crate) fn opportunity_close_date(&self) -> String {
        text(&self.opportunity, "/estimatedclosedate")
    }

    /// The ids of the referral's solutions.
    pub(crate) fn referral_solutions(&self) -> String {
        let list = self.referral.pointer("/details/requirements/solutions");
        let list = list.and_then(Value::as_array).into_iter().flatten();
        in_order(list.map(|entry| text(entry, "/id")))
    }

    /// The ids of the opportunity's solutions: of its rows, and of its column beside them.
    pub(crate) fn opportunity_solutions(&self) -> String {
        let rows = self.solution_rows.iter().map(|row| text(row, "/cosell_solutionid"));
        let column = text(&self.opportunity, "/cosell_solutions");
        in_order(rows.chain(column.lines().map(str::to_owned)))
    }

    /// The newest line that the connector left in the CRM; empty when there is none.
    pub(crate) fn audit_line(&self) -> String {
        text(&self.opportunity, "/cosell_audit")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// Field by field; none of either side when both are missing.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let here = |exists: &Value, text: String| match (exists.is_null(), text.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "-".to_owned(),
            (false, false) => text,
        };
        let row = |label, dynamics: String, partner_center: String| Row {
            label,
            dynamics: here(&self.opportunity, dynamics),
            partner_center: here(&self.referral, partner_center),
        };
        let (opportunity, referral) = (&self.opportunity, &self.referral);
        let consent = match opportunity.get("cosell_syncwithpartnercenter").and_then(Value::as_bool) {
            Some(true) => "Yes",
            Some(false) | None => "No",
        };
        let mut rows = vec![
            row("name", text(opportunity, "/name"), text(referral, "/name")),
            row(
                "customer",
                self.customer.clone(),
                text(referral, "/customerProfile/name"),
            ),
            row("value", self.opportunity_value(), self.referral_value()),
            row("close date", self.opportunity_close_date(), self.referral_close_date()),
            row(
                "notes",
                text(opportunity, "/description"),
                text(referral, "/details/notes"),
            ),
            row("solutions", self.opportunity_solutions(), self.referral_solutions()),
            row("status", self.opportunity_status(), self.referral_status()),
            row("id", short(&self.opportunity_id()), short(&self.referral_id())),
            row(
                "linked to",
                short(&text(opportunity, "/cosell_referralidentifier")),
                short(&text(referral, "/externalReferenceId")),
            ),
            row(
                "Microsoft",
                text(opportunity, "/cosell_microsoftcrmid"),
                self.microsoft_status(),
            ),
            Row {
                label: "sync",
                dynamics: here(opportunity, consent.to_owned()),
                partner_center: String::new(),
            },
        ];
        if referral.is_null()
            && let Some(first) = rows.first_mut()
        {
            first.partner_center = "(nothing)".to_owned();
        }
        if opportunity.is_null()
            && let Some(first) = rows.first_mut()
        {
            first.dynamics = "(nothing)".to_owned();
        }
        rows
    }
}

fn row(world: &World, table: &str, id: &str) -> Value {
    Uuid::parse_str(id)
        .ok()
        .and_then(|id| world.dataverse.row(table, id))
        .unwrap_or_default()
}

fn status_of(referral: &Value) -> String {
    if referral.is_null() {
        return String::new();
    }
    format!("{}, {}", text(referral, "/status"), text(referral, "/substatus"))
}

/// Each once, in the order of the alphabet.
fn in_order(texts: impl Iterator<Item = String>) -> String {
    let texts: BTreeSet<String> = texts.collect();
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

/// The first part of a GUID: enough to see that two are the same.
fn short(id: &str) -> String {
    match id.split_once('-') {
        Some((first, _)) => format!("{first}…"),
        None => id.to_owned(),
    }
}

/// An amount with its currency, as people write it.
fn money(amount: Option<&Value>, currency: &str) -> String {
    let Some(amount) = amount.and_then(Value::as_f64) else {
        return String::new();
    };
    let plain = format!("{amount:.2}");
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, "00"));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{cents} {currency}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_grouped() {
        assert_eq!(money(Some(&json!(125_000.5)), "EUR"), "125,000.50 EUR");
        assert_eq!(money(Some(&json!(9000)), "USD"), "9,000.00 USD");
        assert_eq!(money(Some(&json!(12)), "USD"), "12.00 USD");
        assert_eq!(money(None, "USD"), "");
    }

    #[test]
    fn ids_are_cut_to_their_first_part() {
        assert_eq!(short("8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10"), "8a0c9f34…");
        assert_eq!(short(""), "");
    }
}
