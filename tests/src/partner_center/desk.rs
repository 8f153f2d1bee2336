//! Where every change of a referral is completed, stored and announced, whoever makes it.
//!
//! Knows: which members follow from a change, which event belongs to it, whom a token admits. Refuses to know: routes
//! and query options. Guarantee: no version enters the store without its event being raised (unless a switch says so).

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::deliveries::{Courier, Notice};
use super::document::Document;
use super::records::{self, PARTNER, PARTNER_MPN, PARTNER_NAME, Store, moment_text};
use super::refusal::Refusal;
use super::registration::{Registration, Validation};
use super::rules::{self, MICROSOFT};
use super::schema::{self, Reading};
use super::vocabulary::{REFERRAL_CREATED, REFERRAL_UPDATED, RELATED_CREATED, RELATED_UPDATED};
use crate::clock::Clock;
use crate::entra::{Entra, PARTNER_AUDIENCE, TokenCheck};

/// A receiver has this long to answer an invitation.
pub(super) const ANSWER_TIME: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client of the Referrals API.
    Api,
    /// A person in the partner's portal.
    Portal,
    /// Microsoft's people.
    Microsoft,
    /// The service, by the clock.
    Service,
}

impl Origin {
    /// As records show it.
    fn application(self) -> &'static str {
        match self {
            Self::Api => "PartnerApi",
            Self::Portal => "PartnerCenter",
            Self::Microsoft => "Microsoft",
            Self::Service => "ReferralService",
        }
    }
}

/// Behaviour that a test may change.
#[derive(Clone, Debug)]
pub(super) struct Switches {
    pub(super) list_lag: SignedDuration,
    pub(super) stale_reads: SignedDuration,
    pub(super) page_size: usize,
    pub(super) post_status: StatusCode,
    pub(super) reject_updated_filter: bool,
    pub(super) filter_any_member: bool,
    pub(super) well_formed_next_link: bool,
    pub(super) suppress_own_events: bool,
    pub(super) accept_unlisted_paths: bool,
    pub(super) keep_etag_on_no_op: bool,
    pub(super) require_client_request_id: bool,
    pub(super) related_events_name_own_record: bool,
    pub(super) refuse_role: bool,
    pub(super) refuse_referrals_role: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            list_lag: SignedDuration::ZERO,
            stale_reads: SignedDuration::ZERO,
            page_size: 100,
            post_status: StatusCode::CREATED,
            reject_updated_filter: false,
            filter_any_member: false,
            well_formed_next_link: false,
            suppress_own_events: false,
            accept_unlisted_paths: false,
            keep_etag_on_no_op: false,
            require_client_request_id: false,
            related_events_name_own_record: false,
            refuse_role: false,
            refuse_referrals_role: false,
        }
    }
}

/// All that changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) switches: Switches,
    pub(super) registration: Option<Registration>,
    pub(super) validations: Vec<Validation>,
}

impl State {
    /// The moment whose versions a reader sees who lags behind by this much.
    pub(super) fn horizon(now: Timestamp, lag: SignedDuration) -> Timestamp {
        if lag.is_zero() { Timestamp::MAX } else { now - lag }
    }
}

/// The shared inside of the simulator.
pub(super) struct Desk {
    pub(super) clock: Clock,
    pub(super) entra: Entra,
    pub(super) courier: Courier,
    state: Mutex<State>,
}

impl Desk {
    pub(super) fn new(clock: Clock, entra: Entra, courier: Courier) -> Self {
        Self {
            clock,
            entra,
            courier,
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Only a user who signed in with a second factor may use referrals.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match self.entra.check(token, PARTNER_AUDIENCE) {
            TokenCheck::Valid {
                delegated: true,
                mfa: true,
                ..
            } if self.state().switches.refuse_referrals_role => Err(Refusal::general(
                StatusCode::FORBIDDEN,
                "accessDenied",
                "The user has not the role that this needs.",
            )),
            TokenCheck::Valid {
                delegated: true,
                mfa: true,
                ..
            } => Ok(()),
            TokenCheck::Valid { delegated: false, .. } => Err(Refusal::general(
                StatusCode::FORBIDDEN,
                "accessDenied",
                "Referrals need a signed-in user.",
            )),
            TokenCheck::Valid { .. }
            | TokenCheck::Missing
            | TokenCheck::Unknown
            | TokenCheck::Expired
            | TokenCheck::WrongAudience { .. } => Err(Refusal::general(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "The token is not accepted.",
            )),
        }
    }

    /// Enters a deal as the partner: the own record, or the invitation of Microsoft.
    pub(super) fn create(&self, state: &mut State, posted: Document, origin: Origin) -> Result<Document, Refusal> {
        let posted = schema::conform(posted, &schema::REFERRAL, "", Reading::Creation)?;
        rules::check_creation(&posted)?;
        let invitation = rules::invites_microsoft(&posted);
        let partners: Vec<&Document> = match posted.text_at(&["engagementId"]) {
            Some(engagement) => state.store.of_engagement(engagement).collect(),
            None => Vec::new(),
        };
        if posted.text_at(&["engagementId"]).is_some() && partners.is_empty() {
            return Err(Refusal::invalid("/engagementId", "The engagement does not exist."));
        }
        if invitation {
            rules::check_invitation(partners.into_iter().find(|referral| !rules::is_microsofts(referral)))?;
        }
        let mut referral = records::blank_record();
        referral.merge(posted);
        referral.set("direction", "Outgoing");
        if referral.text_at(&["mpnId"]).is_none() {
            referral.set("mpnId", PARTNER_MPN);
        }
        let (owner, owner_name) = if invitation {
            (MICROSOFT, "Microsoft")
        } else {
            (PARTNER, PARTNER_NAME)
        };
        referral.set("organizationId", owner);
        referral.set("organizationName", owner_name);
        if invitation {
            let inviter = json!({ "organizationId": PARTNER, "organizationName": PARTNER_NAME });
            referral.merge(records::nested(&["inviteContext", "invitedBy"], inviter.into()));
        }
        let status = if invitation {
            ("New", "Pending")
        } else {
            ("Active", "Accepted")
        };
        referral.set("status", status.0);
        referral.set("substatus", status.1);
        Ok(self.insert(state, referral, origin))
    }

    /// Stores a record that is complete but for what the service adds.
    pub(super) fn insert(&self, state: &mut State, mut referral: Document, origin: Origin) -> Document {
        referral.set("createdVia", origin.application());
        referral.set("lastModifiedVia", origin.application());
        let stored = state.store.insert(referral, self.now(), |referral, at| {
            if rules::position(referral).0 == "Active" {
                referral.set("acceptedDateTime", moment_text(at));
            } else {
                referral.set("expirationDateTime", moment_text(at + ANSWER_TIME));
            }
        });
        self.announce(state, &stored, true, origin);
        stored
    }

    /// Stores a change that was judged before.
    pub(super) fn commit(&self, state: &mut State, before: &Document, mut after: Document, origin: Origin) -> Document {
        if state.switches.keep_etag_on_no_op && origin == Origin::Api {
            let mut changes = Vec::new();
            rules::differences(before, &after, "", &mut changes);
            if changes.is_empty() {
                return before.clone();
            }
        }
        after.set("lastModifiedVia", origin.application());
        let id = before.text_at(&["id"]).unwrap_or_default();
        let was = rules::position(before).0;
        let stored = state.store.replace(id, after, self.now(), |referral, at| {
            let status = rules::position(referral).0.to_owned();
            if was != "Active" && status == "Active" {
                referral.set("acceptedDateTime", moment_text(at));
                referral.set("expirationDateTime", Document::Null);
            }
            if was != "Closed" && status == "Closed" {
                referral.set("closedDateTime", moment_text(at));
            }
            complete_registrations(referral, at);
        });
        self.announce(state, &stored, false, origin);
        stored
    }

    fn announce(&self, state: &State, referral: &Document, created: bool, origin: Origin) {
        if origin == Origin::Api && state.switches.suppress_own_events {
            return;
        }
        let Some(registration) = &state.registration else {
            return;
        };
        let event = match (rules::is_microsofts(referral), created) {
            (false, true) => REFERRAL_CREATED,
            (false, false) => REFERRAL_UPDATED,
            (true, true) => RELATED_CREATED,
            (true, false) => RELATED_UPDATED,
        };
        if !registration.wants(event) {
            return;
        }
        let mut id = referral.text_at(&["id"]).unwrap_or_default();
        if rules::is_microsofts(referral) && state.switches.related_events_name_own_record {
            let engagement = referral.text_at(&["engagementId"]).unwrap_or_default();
            let mut partners = state.store.of_engagement(engagement);
            let own = partners.find(|partner| !rules::is_microsofts(partner));
            id = own.and_then(|own| own.text_at(&["id"])).unwrap_or(id);
        }
        self.courier
            .raise(&referral_notice(event, id, self.now()), registration);
    }
}

/// The notice of a change of a referral.
pub(super) fn referral_notice<'a>(event: &'a str, id: &'a str, changed: Timestamp) -> Notice<'a> {
    let uri = format!("https://api.partnercenter.microsoft.com/engagements/v1/referrals/{id}");
    Notice {
        event,
        resource: "referral",
        id,
        uri,
        changed,
    }
}

/// Gives new deal registrations what the service adds to them.
fn complete_registrations(referral: &mut Document, at: Timestamp) {
    let Some(Document::List(registrations)) = referral
        .members_mut()
        .and_then(|members| members.get_mut("registrations"))
    else {
        return;
    };
    let mut pending = false;
    for registration in registrations
        .iter_mut()
        .filter(|registration| registration.text_at(&["id"]).is_none())
    {
        pending = true;
        registration.set("id", Uuid::new_v4().to_string());
        registration.set("registrationDateTime", moment_text(at));
        registration.set("status", "ReviewPending");
        registration.set("statusReason", Document::Null);
        registration.set(
            "statusHistory",
            Document::from(json!({ "reviewPendingDateTime": moment_text(at) })),
        );
    }
    if pending {
        referral.set("registrationStatus", "ReviewPending");
    }
}
