//! Partner Center's Referrals API.
//! <https://learn.microsoft.com/partner-center/developer/referral-resources>
//!
//! Knows: paths, headers, paging and the oddities of its lists. Refuses to know: what a referral means. Guarantees: a
//! write to an existing referral names the version it stands on; of a next link nothing but the query is used, so no
//! token follows it anywhere; a list ends after a bounded number of pages.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cosell::fault::{Class, Fault};
use cosell::ids::{EngagementId, Etag, OpportunityId, ReferralId};
use cosell::referral::{NewReferral, PatchOperation, Reading, Reference, Referral, Summary};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{self, Answer, Effect, Http, Operation, Request, Run};

const PATH: &str = "/v1.0/engagements/referrals";

/// The documentation sends this, also for PATCH, where the standard would have `application/json-patch+json`.
const JSON: &str = "application/json";

/// Documented as required: a new GUID for every call.
const CLIENT_REQUEST_ID: &str = "client-request-id";

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// An engagement has two referrals, few more when partners invite partners.
const ENGAGEMENT_PAGES: usize = 20;

/// A page holds 100 referrals; no partner is known to have a hundred thousand of them.
const ALL_PAGES: usize = 1_000;

/// Between the vendor's clock and ours, when ours says since when a referral may exist. Looking back further costs
/// nothing, because only an exact reference counts.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// The Referrals API. Clones are cheap.
#[derive(Clone, Debug)]
pub struct PartnerCenter {
    http: Http,
    /// Set once the service has refused a quoted GUID in a filter. The documentation quotes it, real links do not.
    is_guid_bare: Arc<AtomicBool>,
}

/// What became of a PATCH.
#[derive(Clone, Debug)]
#[must_use]
pub enum Patched {
    /// It is applied; with the referral afterwards, when the service showed it.
    Done(Option<Box<Referral>>),
    /// The referral has another version.
    Stale,
    /// There is no such referral, or none that we may see.
    Gone,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call itself.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// A referral that belongs to the deal at hand cannot be read. It is no reason to believe that there is none.
    #[error("a referral that was searched for is listed but cannot be read")]
    Hidden(#[source] http::Error),
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Http(error) | Self::Hidden(error) => error.class(),
        }
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Http(error) => error.code(),
            Self::Hidden(_) => "referral_unreadable",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let in_doubt = matches!(&error, Error::Http(error) if error.is_in_doubt());
        Self {
            class: error.class(),
            code: error.code(),
            message: http::chain(&error),
            in_doubt,
        }
    }
}

impl PartnerCenter {
    /// The API behind this remote.
    #[must_use]
    pub fn new(http: Http) -> Self {
        let is_guid_bare = Arc::default();
        Self { http, is_guid_bare }
    }

    /// The same API within the deadline of a run, which also notes the calls.
    #[must_use]
    pub fn during(&self, run: &Run) -> Self {
        Self {
            http: self.http.during(run),
            is_guid_bare: Arc::clone(&self.is_guid_bare),
        }
    }

    /// How it is called.
    pub(crate) const fn http(&self) -> &Http {
        &self.http
    }

    /// Fetches a token ahead of the first call.
    pub async fn warm_up(&self) {
        self.http.warm_up().await;
    }

    /// Reads one referral; none when there is none, or none that our user may see.
    /// <https://learn.microsoft.com/partner-center/developer/get-a-referral>
    ///
    /// # Errors
    /// When the service does not answer, refuses, or answers with something else.
    pub async fn get(&self, id: ReferralId) -> Result<Option<Referral>, Error> {
        let request = self.read("reading a referral", &format!("{PATH}/{id}"))?;
        match self.http.send(request).await {
            Ok(answer) => Ok(Some(with_etag(answer.decode()?, &answer))),
            Err(error) if error.has_status(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists all referrals of an engagement: the partner's own and those of others.
    /// <https://learn.microsoft.com/partner-center/developer/get-a-list-of-referrals>
    ///
    /// # Errors
    /// As [`PartnerCenter::get`]; also when one of them cannot be read, because the answer decides whether another one is
    /// created.
    pub async fn engagement(&self, id: EngagementId) -> Result<Vec<Referral>, Error> {
        let operation = "listing an engagement";
        let bare = format!("{PATH}?$filter=engagementId%20eq%20{id}");
        if self.is_guid_bare.load(Ordering::Relaxed) {
            return self.engagement_pages(operation, &bare).await;
        }
        let quoted = format!("{PATH}?$filter=engagementId%20eq%20%27{id}%27");
        match self.engagement_pages(operation, &quoted).await {
            Err(Error::Http(error)) if error.has_status(StatusCode::BAD_REQUEST) => {
                let referrals = self.engagement_pages(operation, &bare).await?;
                // Remembered only now: a request that fails both ways says nothing about quotes.
                self.is_guid_bare.store(true, Ordering::Relaxed);
                Ok(referrals)
            }
            result => result,
        }
    }

    async fn engagement_pages(&self, operation: &'static str, first: &str) -> Result<Vec<Referral>, Error> {
        let mut pages = self.pages(operation, first, ENGAGEMENT_PAGES);
        let mut referrals = Vec::new();
        while let Some(page) = pages.next().await? {
            for raw in page {
                referrals.push(read_element(pages.operation(), &raw).map_err(Error::Hidden)?);
            }
        }
        Ok(referrals)
    }

    /// Finds referrals that carry this opportunity as their reference and were created not before `since`, newest first.
    /// The service cannot filter by reference, so the newest are paged through and compared here.
    ///
    /// # Errors
    /// As [`PartnerCenter::get`]; also when a referral with this reference cannot be read.
    pub async fn created_since(&self, reference: OpportunityId, since: Timestamp) -> Result<Vec<Referral>, Error> {
        let since = since.checked_sub(CLOCK_MARGIN).unwrap_or(Timestamp::MIN);
        let first = format!("{PATH}?$orderby=createdDateTime%20desc");
        let mut pages = self.pages("searching new referrals", &first, ALL_PAGES);
        let mut order = Descending::new(since);
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            for raw in page {
                match read_element::<Referral>(pages.operation(), &raw) {
                    Ok(referral) => {
                        order.see(referral.created_date_time.value().copied());
                        if referral.reference() == Reference::Opportunity(reference) {
                            found.push(referral);
                        }
                    }
                    // Somebody else's unreadable referral is not our concern; ours must not be taken for absent.
                    Err(error) if raw.get().to_ascii_lowercase().contains(&reference.to_string()) => {
                        return Err(Error::Hidden(error));
                    }
                    Err(error) => skip(&error),
                }
            }
            if order.is_past() {
                break;
            }
        }
        Ok(found)
    }

    /// Pages through referrals that changed not before `since`, newest first. Ordering is the vendor's documented option,
    /// filtering by time is not, so the end is found by order. `since` should overlap what was seen before.
    #[must_use]
    pub fn updated_since(&self, since: Timestamp) -> Updates {
        let first = format!("{PATH}?$orderby=updatedDateTime%20desc");
        Updates {
            pages: self.pages("listing changed referrals", &first, ALL_PAGES),
            order: Descending::new(since),
        }
    }

    /// Goes on where [`Updates::place`] said.
    #[must_use]
    pub fn updated_from(&self, place: &str, since: Timestamp) -> Updates {
        // The place is a query and nothing else, whoever kept it.
        let first = format!("{PATH}?{}", place.split('#').next().unwrap_or_default());
        Updates {
            pages: self.pages("listing changed referrals", &first, ALL_PAGES),
            order: Descending::new(since),
        }
    }

    /// Creates a referral. The answer is the referral; none when the service showed nothing readable, which is as good as
    /// a lost answer: it has to be searched for.
    ///
    /// Not idempotent: after an error that is in doubt the referral may exist.
    /// <https://learn.microsoft.com/partner-center/developer/create-a-referral>
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn create(&self, referral: &NewReferral) -> Result<Option<Referral>, Error> {
        let url = self.http.url(PATH)?;
        let request = Request::new("creating a referral", Method::POST, url, Effect::Adds)
            .guid(CLIENT_REQUEST_ID)
            .json(JSON, referral)?;
        let answer = self.http.send(request).await?;
        Ok(answer.decode_if_readable().map(|referral| with_etag(referral, &answer)))
    }

    /// Changes a referral that is still at this version.
    /// <https://learn.microsoft.com/partner-center/developer/patch-a-referral>
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn patch(&self, id: ReferralId, etag: &Etag, operations: &[PatchOperation]) -> Result<Patched, Error> {
        let url = self.http.url(&format!("{PATH}/{id}"))?;
        let request = Request::new("changing a referral", Method::PATCH, url, Effect::Guarded)
            .guid(CLIENT_REQUEST_ID)
            .header(PREFER, "return=representation")
            .if_match(etag)?
            .json(JSON, &operations)?;
        match self.http.send(request).await {
            Ok(answer) => {
                let referral = answer.decode_if_readable();
                Ok(Patched::Done(
                    referral.map(|referral| Box::new(with_etag(referral, &answer))),
                ))
            }
            Err(error) if error.has_status(StatusCode::PRECONDITION_FAILED) => Ok(Patched::Stale),
            Err(error) if error.has_status(StatusCode::NOT_FOUND) => Ok(Patched::Gone),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, operation: &'static str, path_and_query: &str) -> Result<Request, http::Error> {
        let url = self.http.url(path_and_query)?;
        Ok(Request::get(operation, url).guid(CLIENT_REQUEST_ID))
    }

    fn pages(&self, operation: &'static str, first: &str, most: usize) -> Pages {
        Pages {
            client: self.clone(),
            name: operation,
            next: Some(first.to_owned()),
            seen: HashSet::new(),
            most,
        }
    }
}

/// The pages of [`PartnerCenter::updated_since`].
#[derive(Debug)]
pub struct Updates {
    pages: Pages,
    order: Descending,
}

impl Updates {
    /// Where the next page begins, to be kept between two runs; none when there is none.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        let next = self.pages.next.as_deref().filter(|_| !self.order.is_past())?;
        next.split_once('?').map(|(_, query)| query)
    }

    /// The next page; none after the last one. A page may be empty.
    ///
    /// # Errors
    /// When the service does not answer, refuses, or the list does not end.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Summary>>, Error> {
        if self.order.is_past() {
            return Ok(None);
        }
        let Some(page) = self.pages.next().await? else {
            return Ok(None);
        };
        let mut summaries = VecDeque::new();
        for raw in page {
            match read_element::<Listed>(self.pages.operation(), &raw) {
                Ok(listed) => {
                    let updated_at = listed.updated_date_time.value().copied();
                    // What has no readable time is looked at rather than missed.
                    if self.order.see(updated_at) {
                        summaries.push_back(Summary {
                            id: listed.id,
                            engagement_id: listed.engagement_id.value().copied(),
                            updated_at,
                            etag: listed.etag.value().cloned(),
                        });
                    }
                }
                Err(error) => skip(&error),
            }
        }
        Ok(Some(summaries.into()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: ReferralId,
    #[serde(default)]
    engagement_id: Reading<EngagementId>,
    #[serde(default)]
    updated_date_time: Reading<Timestamp>,
    #[serde(default, rename = "eTag")]
    etag: Reading<Etag>,
}

/// Watches a list that should run from new to old, to stop where it gets older than what is wanted. A list that is not in
/// order is read to its end.
#[derive(Debug)]
struct Descending {
    since: Timestamp,
    last: Option<Timestamp>,
    is_in_order: bool,
}

impl Descending {
    const fn new(since: Timestamp) -> Self {
        Self {
            since,
            last: None,
            is_in_order: true,
        }
    }

    /// Takes note of the next element; true when it is wanted.
    fn see(&mut self, at: Option<Timestamp>) -> bool {
        let Some(at) = at else {
            return true;
        };
        self.is_in_order &= self.last.is_none_or(|last| at <= last);
        self.last = Some(at);
        at >= self.since
    }

    fn is_past(&self) -> bool {
        self.is_in_order && self.last.is_some_and(|last| last < self.since)
    }
}

/// One page of a list. Elements stay text until somebody reads them, so that a strange one does not spoil the others.
#[derive(Deserialize)]
struct List {
    /// Present even when there is nothing: its absence is no list, and must not be taken for an empty one.
    #[serde(default)]
    value: Option<Vec<Box<RawValue>>>,
    #[serde(default, rename = "@odata.nextLink")]
    next_link: Option<String>,
}

#[derive(Debug)]
struct Pages {
    client: PartnerCenter,
    name: &'static str,
    next: Option<String>,
    seen: HashSet<String>,
    most: usize,
}

impl Pages {
    fn operation(&self) -> Operation {
        self.client.http.operation(self.name)
    }

    async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, http::Error> {
        let Some(path) = self.next.take() else {
            return Ok(None);
        };
        let is_loop = self.seen.contains(&path);
        if is_loop || self.seen.len() >= self.most {
            return Err(http::Error::Endless {
                operation: self.operation(),
                pages: self.seen.len(),
                is_loop,
            });
        }
        let answer = self.client.http.send(self.client.read(self.name, &path)?).await?;
        self.seen.insert(path);
        let list: List = answer.decode()?;
        let page = list.value.ok_or_else(|| http::Error::NoList(self.operation()))?;
        // Documented next links have scheme http and a path that does not exist. The query is passed on byte for byte.
        self.next = match list.next_link.as_deref() {
            None => None,
            Some(link) => {
                let link = link.split('#').next().unwrap_or_default();
                let (_, query) = link
                    .split_once('?')
                    .filter(|(_, query)| !query.is_empty())
                    .ok_or_else(|| http::Error::LinkCut(self.operation()))?;
                Some(format!("{PATH}?{query}"))
            }
        };
        Ok(Some(page))
    }
}

fn read_element<T: serde::de::DeserializeOwned>(operation: Operation, raw: &RawValue) -> Result<T, http::Error> {
    http::decode(operation, raw.get().as_bytes())
}

fn skip(error: &http::Error) {
    tracing::warn!(error = %http::chain(error), "an unreadable element of a list was skipped");
}

/// The body's version is preferred; some answers have it in the header only.
fn with_etag(mut referral: Referral, answer: &Answer) -> Referral {
    referral.etag = referral.etag.or_else(|| answer.etag());
    referral
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
