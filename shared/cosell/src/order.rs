//! An operator's order: an edit of the opportunity on behalf of its seller, or a change of what belongs together.
//!
//! Knows: what an order sets, when it makes no sense, and how it is merged. Refuses to know: how it is written.
//! Guarantees: an edit that both sides cannot have is refused as a whole, with what stands in its way; whoever is
//! overruled by it without having been seen is in the changes, marked as lost; an order that is in force changes nothing.

use crate::deal::{Field, Side, Term, Terms};
use crate::finding::{Code, Finding};
use crate::ids::{OpportunityId, ReferralId};
use crate::link::Change;
use crate::merge::{self, Input, Merged};
use crate::stage::Stage;

/// What an operator wants of one deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The partner takes the deal.
    Accept,
    /// The partner does not.
    Decline {
        /// Why, as Partner Center shows it to whoever sent the deal.
        reason: String,
    },
    /// Both sides show this value.
    Restore {
        /// Of which field.
        field: Field,
        /// The value.
        value: Term,
    },
    /// These two, which exist already, are one deal.
    Link {
        /// The partner's own referral.
        referral: ReferralId,
        /// The opportunity.
        opportunity: OpportunityId,
    },
    /// The two are one deal no more.
    Unlink,
}

impl Order {
    /// The field that it sets, and to what; none when it is about what belongs together.
    #[must_use]
    pub fn edit(&self) -> Option<(Field, Term)> {
        match self {
            Self::Accept => Some((Field::Stage, Term::stage(Stage::Active, None))),
            Self::Decline { reason } => Some((Field::Stage, Term::stage(Stage::Lost, Some(reason)))),
            Self::Restore { field, value } => Some((*field, value.clone())),
            Self::Link { .. } | Self::Unlink => None,
        }
    }

    /// Whether the sides show what it sets.
    #[must_use]
    pub fn is_in_force(&self, referral: &Terms, opportunity: &Terms) -> bool {
        match self {
            Self::Accept => (referral.stage(), opportunity.stage()) == (Stage::Active, Stage::Active),
            Self::Decline { .. } => (referral.stage(), opportunity.stage()) == (Stage::Declined, Stage::Lost),
            // A side may show less of it than was ordered: a text that was cut, a rounded amount.
            Self::Restore { field, value } => [referral, opportunity].iter().any(|terms| terms.get(*field) == value),
            Self::Link { .. } | Self::Unlink => false,
        }
    }

    /// Why an answer to an invitation makes no sense by now; none when it does, or when the order is no answer.
    #[must_use]
    pub fn refusal(&self, referral: &Terms, opportunity: &Terms) -> Option<Finding> {
        let verb = match self {
            Self::Accept => "accepted",
            Self::Decline { .. } => "declined",
            Self::Restore { .. } | Self::Link { .. } | Self::Unlink => return None,
        };
        let text = match (self, referral.stage(), opportunity.stage()) {
            (Self::Accept, Stage::Active, _) => {
                "the deal is active in Partner Center, so it was accepted already; nothing is left to do".to_owned()
            }
            (_, Stage::Active, _) => {
                "the deal is active in Partner Center, so it was accepted already and cannot be declined; \
                 close the opportunity as lost instead"
                    .to_owned()
            }
            (_, Stage::Unknown(_), _) => format!(
                "Partner Center shows {} as stage, which the connector does not understand; answer the deal in Partner Center",
                referral.get(Field::Stage)
            ),
            (_, stage, _) if stage.is_closed() => format!(
                "the deal is {stage} in Partner Center, and a closed referral is final; it cannot be {verb} any more"
            ),
            (Self::Accept, _, stage) if stage.is_closed() => format!(
                "the opportunity is {stage} in Dynamics; reopen it there, which accepts the deal as well, or decline it"
            ),
            _ => return None,
        };
        Some(refused(Field::Stage, text))
    }
}

fn refused(field: Field, text: impl Into<String>) -> Finding {
    Finding::field(Code::OrderRefused, field, text)
}

/// Merges with one field as an operator wants it on both sides.
///
/// # Errors
/// What stands in the way; then nothing is to be done for the order.
pub(crate) fn merge(input: Input<'_>, field: Field, value: &Term) -> Result<Merged, Finding> {
    let (mapping, label) = (input.mapping, input.mapping.label(field));
    if matches!(field, Field::Team | Field::Contacts) {
        let text = format!(
            "{label} only grows in Partner Center, so an earlier list is not put back; take people off in Partner Center"
        );
        return Err(refused(field, text));
    }
    if field == Field::Visibility && value == &Term::Flag(false) {
        return Err(refused(
            field,
            "what Microsoft could see once cannot be hidden from it again",
        ));
    }
    if field != Field::Stage && mapping.rule(field).is_none() {
        let text = format!("{label} is not mapped, so it is neither side's business; add it to the mapping");
        return Err(refused(field, text));
    }
    let Some(base) = input.base else {
        let text = "the two records have not been brought into step since they were linked, or since the mapping changed; \
                    run resync, then repeat the order";
        return Err(refused(field, text));
    };
    let (there, row) = (input.referral.get(field), input.opportunity.get(field));
    for (side, term) in [(Side::PartnerCenter, there), (Side::Dynamics, row)] {
        if let Term::Unreadable(text) = term {
            let text = format!(
                "{side} shows {text:?} as {field}, which the connector does not understand and does not overwrite; correct it there"
            );
            return Err(refused(field, text).on(side));
        }
    }
    let wanted = input.fit(field, value, Side::Dynamics).term;
    if let Term::Money {
        currency: Some(code), ..
    } = &wanted
        && input.missing_currencies.contains(code)
    {
        let text = format!("Dynamics has no active currency {code}; add it there, then repeat the order");
        return Err(refused(field, text).on(Side::Dynamics));
    }
    // What the order meets has been seen by whoever gave it, so only the order has moved.
    let mut edited = input.opportunity.clone();
    edited.set(field, wanted.clone());
    let mut seen = base.clone();
    seen.referral.set(field, there.clone());
    let moved = match wanted {
        Term::Nothing => Term::Unreadable(String::new()),
        _ => Term::Nothing,
    };
    seen.opportunity.set(field, moved);
    let mut merged = merge::merge(Input {
        base: Some(&seen),
        opportunity: &edited,
        // An operator means it: nothing is waited for.
        close_delay: input.close_delay.filter(|_| field != Field::Stage),
        ..input
    });
    let carries = |change: &Change| (change.field, change.side) == (field, Side::PartnerCenter);
    let is_carried = merged.changes.iter().any(carries);
    let ordered = Input {
        opportunity: &edited,
        ..input
    };
    if !is_carried && &ordered.fit(field, &wanted, Side::PartnerCenter).term != there {
        let said = merged.findings.iter().find(|finding| finding.field == Some(field));
        let text = said.map_or_else(
            || format!("{label} cannot be {wanted} on both sides"),
            |said| said.text.clone(),
        );
        return Err(refused(field, text));
    }
    for change in merged.changes.iter_mut().filter(|change| carries(change)) {
        change.lost = input.has_moved(Side::PartnerCenter, field);
    }
    if row != &wanted {
        if input.paused == Some(Side::Dynamics) {
            return Err(refused(field, merge::held_back(label, Side::Dynamics)).on(Side::Dynamics));
        }
        if field == Field::Name && wanted == Term::Nothing {
            return Err(refused(field, format!("{label} cannot be nothing in Dynamics")).on(Side::Dynamics));
        }
        if let (Some(from), Some(to)) = (row.as_stage(), wanted.as_stage())
            && from.opportunity_moves(to).is_none()
        {
            return Err(refused(field, format!("Dynamics cannot go from {row} to {wanted}")).on(Side::Dynamics));
        }
        merged.changes.push(Change {
            field,
            side: Side::Dynamics,
            old: row.clone(),
            new: wanted.clone(),
            lost: input.has_moved(Side::Dynamics, field),
        });
        if wanted == Term::Nothing {
            merged.cleared.insert((Side::Dynamics, field));
        }
        merged.toward_opportunity.set(field, wanted.clone());
    }
    merged
        .findings
        .retain(|finding| finding.field != Some(field) || finding.code != Code::Carried);
    let own: Vec<&Change> = merged.changes.iter().filter(|change| change.field == field).collect();
    if !own.is_empty() {
        let was: Vec<String> = own
            .iter()
            .map(|change| {
                let mark = if change.lost { ", recorded, can be restored" } else { "" };
                format!("{} in {}{mark}", change.old, change.side)
            })
            .collect();
        let text = format!(
            "{label} was set to {wanted} on both sides by an operator; it was {}",
            was.join(", ")
        );
        merged.findings.push(Finding::field(Code::Ordered, field, text));
    }
    Ok(merged)
}
