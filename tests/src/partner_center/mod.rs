//! Microsoft Partner Center as far as co-sell needs it: referrals, webhook registration, signed deliveries, and the host
//! of the signing certificate.
//!
//! Knows: how its parts are wired, and the switches of a test. Refuses to know: the connector. Guarantee: what the vendor
//! does not document as allowed is refused; where the documents leave a choice, a switch makes the other one.

mod actors;
mod certificates;
mod control;
mod deliveries;
mod desk;
mod document;
mod filter;
mod listing;
mod patch;
mod records;
mod referrals;
mod refusal;
mod registration;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use serde_json::Value;

use self::certificates::{Authority, Carrier};
use self::deliveries::Courier;
use self::desk::{Desk, Switches};
use crate::clock::Clock;
use crate::entra::Entra;
use crate::switchboard::Switchboard;

pub use self::actors::{Inbound, InboundDeal, InboundKind};
pub use self::certificates::{SignedPost, Variant};
pub use self::deliveries::{Delivery, Release};
pub use self::refusal::Refusal;
pub use self::registration::Registration;

/// Id of the partner's organisation in every world.
pub const PARTNER_ORGANIZATION: &str = records::PARTNER;

struct Inner {
    desk: Arc<Desk>,
    authority: Arc<Authority>,
    certificates: SocketAddr,
}

/// The simulated Partner Center. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct PartnerCenter {
    inner: Arc<Inner>,
    /// Unknown (port 0) until the servers are up; the control routes do not need them.
    referrals: SocketAddr,
    webhooks: SocketAddr,
}

impl fmt::Debug for PartnerCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartnerCenter")
            .field("referrals", &self.referrals)
            .finish_non_exhaustive()
    }
}

impl PartnerCenter {
    /// Serves the Referrals API, the registration API and the certificate host.
    ///
    /// # Errors
    /// When an address cannot be bound or the certificates cannot be made.
    pub async fn start(
        board: &Switchboard,
        clock: &Clock,
        entra: &Entra,
        referrals: SocketAddr,
        webhooks: SocketAddr,
        certificates: SocketAddr,
    ) -> std::io::Result<Self> {
        let (host, seat) = certificates::host();
        let certificates = board.serve("certificates", certificates, host).await?;
        let authority = Authority::new(certificates, clock.now()).map_err(std::io::Error::other)?;
        let authority = seat.get_or_init(|| Arc::new(authority)).clone();
        let courier = Courier::new(authority.clone(), clock.clone()).map_err(std::io::Error::other)?;
        let desk = Arc::new(Desk::new(clock.clone(), entra.clone(), courier));
        let inner = Arc::new(Inner {
            desk: desk.clone(),
            authority,
            certificates,
        });
        let mut simulator = Self {
            inner,
            referrals,
            webhooks,
        };
        let router = referrals::router(desk.clone()).merge(control::router(simulator.clone()));
        simulator.referrals = board.serve("partner_center", referrals, router).await?;
        simulator.webhooks = board
            .serve("registration", webhooks, registration::router(desk))
            .await?;
        Ok(simulator)
    }

    fn desk(&self) -> &Desk {
        &self.inner.desk
    }

    fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.desk().state().switches);
    }

    /// Base URL that stands for `https://api.partner.microsoft.com`.
    #[must_use]
    pub fn referrals_url(&self) -> String {
        format!("http://{}", self.referrals)
    }

    /// Base URL that stands for `https://api.partnercenter.microsoft.com`.
    #[must_use]
    pub fn webhooks_url(&self) -> String {
        format!("http://{}", self.webhooks)
    }

    /// Host and port that serve the signing certificate and its issuer, over plain http.
    #[must_use]
    pub fn certificate_host(&self) -> String {
        self.inner.certificates.to_string()
    }

    /// The root under which the signing certificate stands.
    #[must_use]
    pub fn trust_anchors_pem(&self) -> String {
        self.inner.authority.root_pem()
    }

    /// Renews key and certificate under the same URL.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn rotate_certificate(&self) -> std::io::Result<()> {
        self.inner.authority.rotate().map_err(std::io::Error::other)
    }

    /// Headers and body of a delivery with this body, signed as the vendor does.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign_post(&self, body: &[u8]) -> std::io::Result<SignedPost> {
        self.inner
            .authority
            .sign(body, Carrier::MsSignature)
            .map_err(std::io::Error::other)
    }

    /// A delivery with this body that differs from a good one in one way.
    ///
    /// # Errors
    /// When signing fails.
    pub fn certificate_variant(&self, variant: Variant, body: &[u8]) -> std::io::Result<SignedPost> {
        self.inner
            .authority
            .variant(variant, body)
            .map_err(std::io::Error::other)
    }

    /// The exact body of an event about a referral.
    #[must_use]
    pub fn event_body(&self, event: &str, referral: &str) -> Vec<u8> {
        // ResourceChangeUtcDate is the date of the change, not of the event.
        let changed = self.find_referral(referral).and_then(|record| {
            let at = record.get("updatedDateTime")?.as_str()?;
            at.parse().ok()
        });
        desk::referral_notice(event, referral, changed.unwrap_or_else(|| self.desk().now())).body()
    }

    /// A stored referral; `null` when there is none.
    #[must_use]
    pub fn referral(&self, id: &str) -> Value {
        self.find_referral(id).unwrap_or(Value::Null)
    }

    /// A stored referral.
    #[must_use]
    pub fn find_referral(&self, id: &str) -> Option<Value> {
        self.desk().state().store.current(id).map(document::Document::to_value)
    }

    /// A stored referral as JSON text, with every digit as it was sent.
    #[must_use]
    pub fn referral_text(&self, id: &str) -> Option<String> {
        self.desk().state().store.current(id).map(ToString::to_string)
    }

    /// All stored referrals, the partner's and Microsoft's, in order of creation.
    #[must_use]
    pub fn referrals(&self) -> Vec<Value> {
        self.desk()
            .state()
            .store
            .all()
            .map(document::Document::to_value)
            .collect()
    }

    /// All stored referrals of an engagement.
    #[must_use]
    pub fn referrals_of_engagement(&self, engagement: &str) -> Vec<Value> {
        self.desk()
            .state()
            .store
            .of_engagement(engagement)
            .map(document::Document::to_value)
            .collect()
    }

    /// What is registered now.
    #[must_use]
    pub fn registration(&self) -> Option<Registration> {
        self.desk().state().registration.clone()
    }

    /// Registers without going through the API; signatures travel in `x-ms-signature`.
    pub fn register_directly(&self, url: &str, events: &[&str]) {
        let now = self.desk().now();
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        let mut state = self.desk().state();
        let registration = Registration::new(url, &events, true, now, state.registration.as_ref());
        state.registration = Some(registration);
    }

    /// Every event raised so far and what became of it.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.desk().courier.deliveries()
    }

    /// Waits until no delivery is under way; false when that took longer. What is held back does not count.
    pub async fn quiet(&self, timeout: Duration) -> bool {
        self.desk().courier.quiet(timeout).await
    }

    /// While on, events are kept back until [`PartnerCenter::release`].
    pub fn hold_deliveries(&self, on: bool) {
        self.desk().courier.hold(on);
    }

    /// Sends what was kept back.
    pub fn release(&self, order: Release) {
        self.desk().courier.release(order);
    }

    /// While on, events are lost.
    pub fn drop_deliveries(&self, on: bool) {
        self.desk().courier.drop_all(on);
    }

    /// How many times each event is delivered from now on; 1 is normal.
    pub fn duplicate_deliveries(&self, times: usize) {
        self.desk().courier.copies(times);
    }

    /// Wait after a first failed attempt; each further wait is twice the one before.
    pub fn delivery_backoff(&self, base: Duration) {
        self.desk().courier.backoff(base);
    }

    /// How long an attempt waits for its answer.
    pub fn delivery_timeout(&self, timeout: Duration) {
        self.desk().courier.timeout(timeout);
    }

    /// New and changed records show in lists only after this long.
    pub fn list_lag(&self, lag: Duration) {
        let lag = SignedDuration::try_from(lag).unwrap_or(SignedDuration::MAX);
        self.switch(|switches| switches.list_lag = lag);
    }

    /// A read shows the version, or the absence, of this long ago.
    pub fn stale_reads(&self, lag: Duration) {
        let lag = SignedDuration::try_from(lag).unwrap_or(SignedDuration::MAX);
        self.switch(|switches| switches.stale_reads = lag);
    }

    /// Records per page of a list.
    pub fn page_size(&self, records: usize) {
        self.switch(|switches| switches.page_size = records.max(1));
    }

    /// Status of a successful POST: 201, or 200.
    pub fn post_status(&self, status: StatusCode) {
        self.switch(|switches| switches.post_status = status);
    }

    /// While on, a filter on `updatedDateTime` is refused.
    pub fn reject_updated_filter(&self, on: bool) {
        self.switch(|switches| switches.reject_updated_filter = on);
    }

    /// While on, any member may be filtered on and not only those the documents show.
    pub fn filter_any_member(&self, on: bool) {
        self.switch(|switches| switches.filter_any_member = on);
    }

    /// While on, the next link leads to the next page when followed as it stands.
    pub fn well_formed_next_link(&self, on: bool) {
        self.switch(|switches| switches.well_formed_next_link = on);
    }

    /// While on, writes through the Referrals API raise no events.
    pub fn suppress_own_events(&self, on: bool) {
        self.switch(|switches| switches.suppress_own_events = on);
    }

    /// While on, a PATCH may name any member that the owner may edit and not only the published paths.
    pub fn accept_unlisted_paths(&self, on: bool) {
        self.switch(|switches| switches.accept_unlisted_paths = on);
    }

    /// While on, a write that changes nothing keeps the entity tag and raises no event.
    pub fn keep_etag_on_no_op(&self, on: bool) {
        self.switch(|switches| switches.keep_etag_on_no_op = on);
    }

    /// While on, the header `client-request-id` is demanded.
    pub fn require_client_request_id(&self, on: bool) {
        self.switch(|switches| switches.require_client_request_id = on);
    }

    /// While on, events about Microsoft's record carry the id of the partner's own record.
    pub fn related_events_name_own_record(&self, on: bool) {
        self.switch(|switches| switches.related_events_name_own_record = on);
    }

    /// While on, the Referrals API finds that the user is neither Referrals admin nor Referrals user.
    pub fn refuse_referrals_role(&self, on: bool) {
        self.switch(|switches| switches.refuse_referrals_role = on);
    }

    /// While on, the registration API finds that the user has not the role.
    pub fn refuse_role(&self, on: bool) {
        self.switch(|switches| switches.refuse_role = on);
    }
}
