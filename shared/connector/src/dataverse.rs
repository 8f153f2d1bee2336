//! Dataverse's Web API, as far as opportunities and their neighbours need it.
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>
//!
//! Knows: paths, headers, preconditions, change tracking and the error codes that tell one refusal from another. Refuses
//! to know: what a column means. Guarantees: an update names the version it stands on and never creates; a create never
//! updates; a link is followed only below our own environment's `/api/data/`.

use cosell::fault::{Class, Fault};
use cosell::ids::{CurrencyId, Etag, LeadId, OpportunityId};
use cosell::mapping::AccountColumns;
use cosell::opportunity::{Cell, Page, Row, RowChange};
use cosell::reconcile::call::{Close, MOST_FOUND, Qualify};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use crate::http::{self, Answer, Effect, Http, Request, Run};

/// The newest version; 9.0 and 9.1 answer alike.
const API: &str = "/api/data/v9.2";

/// Below it every link must stay. Versions may differ: the service prints its own.
const LINKS: &str = "/api/data/";

const JSON: &str = "application/json; charset=utf-8";

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Look-ups come with the table they point to; formatted values, in whatever language, are left out.
const ANNOTATIONS: &str = r#"odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname""#;
const ROW_AFTERWARDS: &str =
    r#"return=representation,odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname""#;

/// Tracked requests ask for no annotations: those once made the delta link disappear.
/// 500 rows keep a page well below the limit for answers and a first sync of 100,000 rows below 200 calls.
const TRACKED: &str = "odata.track-changes,odata.maxpagesize=500";
const PAGED: &str = "odata.maxpagesize=500";

/// Escapes everything but what RFC 3986 calls unreserved.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Dataverse's error codes that decide something here.
mod code {
    pub(super) const NO_SUCH_ROW: [&str; 3] = ["0x80040217", "0x80060891", "0x80100006"];
    pub(super) const DUPLICATE_RULE: &str = "0x80040333";
    pub(super) const KEY_TAKEN: &str = "0x80060892";
    pub(super) const ALREADY_CLOSED: &str = "0x80040515";
    pub(super) const INVALID_TRANSITION: &str = "0x8004f00e";
    pub(super) const DELTA_EXPIRED: &str = "0x80044352";
    pub(super) const NO_COLUMN: [&str; 2] = ["0x80060888", "0x80048d19"];
    pub(super) const NOT_TRACKED: [&str; 2] = ["0x80072491", "0x80072492"];
}

/// A Dataverse environment. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Dataverse {
    http: Http,
}

/// What became of creating a row under an id of ours.
#[derive(Clone, Debug)]
#[must_use]
pub enum Created {
    /// It exists now; perhaps with few columns, when the service did not show it.
    Done(Row),
    /// There was one already.
    Exists,
}

/// What became of an update.
#[derive(Clone, Debug)]
#[must_use]
pub enum Updated {
    /// It is applied; perhaps with few columns, when the service did not show the row.
    Done(Row),
    /// The row has another version.
    Stale,
    /// There is no such row.
    Gone,
}

/// What became of closing an opportunity, or of qualifying a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Closed {
    /// It is closed now.
    Done,
    /// It was closed before, by us or by somebody else, perhaps differently.
    Already,
    /// There is no such opportunity.
    Gone,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call itself.
    #[error(transparent)]
    Http(http::Error),
    /// The mapping names a column that the CRM does not have: no deal can be read or written until one of the two is
    /// corrected, and then all of them go on.
    #[error("Dynamics has no column {column:?} on {table}; run `make columns`, or correct the name in the mapping")]
    ColumnMissing {
        /// Logical name of the table.
        table: String,
        /// The name in the mapping.
        column: String,
        /// What Dynamics said.
        #[source]
        source: http::Error,
    },
    /// The stored link is too old, or the table's columns have changed: everything has to be read again.
    #[error("the delta link has expired; all rows have to be compared once")]
    DeltaExpired,
    /// The table does not track changes, which only an administrator can decide, and only once.
    #[error("the table does not track changes; switch on change tracking, or poll by modification time")]
    TrackingDisabled,
    /// The last page does not say where later changes will be; the old link stays good.
    #[error("the last page of changes came without a delta link")]
    DeltaMissing,
    /// Another row carries the value of an alternate key, as a copy of an opportunity does with its referral's id.
    #[error("another row carries the same referral id, perhaps a copy of this one; clear it there")]
    KeyTaken(#[source] http::Error),
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Http(error) => error.class(),
            Self::DeltaExpired => Class::Conflict,
            Self::TrackingDisabled | Self::ColumnMissing { .. } => Class::Fatal,
            Self::DeltaMissing => Class::Transient { after: None },
            Self::KeyTaken(_) => Class::Permanent,
        }
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Http(error) => error.code(),
            Self::DeltaExpired => "delta_expired",
            Self::TrackingDisabled => "tracking_disabled",
            Self::ColumnMissing { .. } => "column_missing",
            Self::DeltaMissing => "delta_missing",
            Self::KeyTaken(_) => "key_taken",
        }
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        match missing_column(&error) {
            Some((table, column)) => Self::ColumnMissing {
                table,
                column,
                source: error,
            },
            None => Self::Http(error),
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

impl Dataverse {
    /// The environment behind this remote.
    #[must_use]
    pub const fn new(http: Http) -> Self {
        Self { http }
    }

    /// The same environment within the deadline of a run, which also notes the calls.
    #[must_use]
    pub fn during(&self, run: &Run) -> Self {
        let http = self.http.during(run);
        Self { http }
    }

    /// How it is called.
    pub(crate) const fn http(&self) -> &Http {
        &self.http
    }

    /// Fetches a token ahead of the first call.
    pub async fn warm_up(&self) {
        self.http.warm_up().await;
    }

    /// Reads one row; none when there is none. `query` is `$select=..` and perhaps `&$expand=..`.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/retrieve-entity-using-web-api>
    ///
    /// # Errors
    /// When the service does not answer, refuses, or answers with something else.
    pub async fn read(&self, set: &str, id: Uuid, query: &str) -> Result<Option<Row>, Error> {
        let url = self.http.url(&format!("{API}/{set}({id})?{query}"))?;
        match self.http.send(get("reading a row", url, ANNOTATIONS)).await {
            Ok(answer) => {
                let mut row = with_etag(answer.decode()?, &answer);
                self.complete(&mut row).await?;
                Ok(Some(row))
            }
            Err(error) if says_no_such_row(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches the rest of expanded lists, which page on their own. A list with a gap must not be taken for a whole one, so
    /// no row of it may be unreadable.
    async fn complete(&self, row: &mut Row) -> Result<(), Error> {
        let operation = "reading a row";
        while let Some((name, link)) = row.take_more() {
            let mut next = Some(link);
            while let Some(link) = next {
                let url = self.http.checked(&link, LINKS)?;
                let (rows, more) = self.whole(operation, url).await?;
                row.append(name.clone(), rows);
                next = more;
            }
        }
        Ok(())
    }

    /// Creates a row under an id of our choice, unless there is one.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/perform-conditional-operations-using-web-api>
    ///
    /// # Errors
    /// When the service does not answer or refuses; a hit of a duplicate detection rule is a refusal.
    pub async fn create_only(&self, set: &str, id: Uuid, change: &RowChange, query: &str) -> Result<Created, Error> {
        let request = self
            .patch("creating a row", set, id, query, change)?
            .header(IF_NONE_MATCH, "*");
        match self.http.send(request).await {
            Ok(answer) => Ok(Created::Done(row_afterwards(&answer))),
            // The vendor uses this code for a row that is there and for another one that holds the key: look which.
            Err(error) if error.has_code(code::KEY_TAKEN) => match self.read(set, id, query).await? {
                Some(_) => Ok(Created::Exists),
                None => Err(Error::KeyTaken(error)),
            },
            Err(error)
                if error.has_status(StatusCode::PRECONDITION_FAILED) && !error.has_code(code::DUPLICATE_RULE) =>
            {
                Ok(Created::Exists)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a row that is still at this version; never creates it.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn update(
        &self,
        set: &str,
        id: Uuid,
        etag: &Etag,
        change: &RowChange,
        query: &str,
    ) -> Result<Updated, Error> {
        let request = self.patch("changing a row", set, id, query, change)?.if_match(etag)?;
        match self.http.send(request).await {
            Ok(answer) => Ok(Updated::Done(row_afterwards(&answer))),
            Err(error) if error.has_code(code::KEY_TAKEN) => Err(Error::KeyTaken(error)),
            Err(error)
                if error.has_status(StatusCode::PRECONDITION_FAILED) && !error.has_code(code::DUPLICATE_RULE) =>
            {
                Ok(Updated::Stale)
            }
            Err(error) if says_no_such_row(&error) => Ok(Updated::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes an opportunity as won or lost, which an update cannot do. Repeating it is harmless: what is closed is
    /// refused.
    /// <https://learn.microsoft.com/dynamics365/developer/reference/webapi/winopportunity>
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn close(&self, id: OpportunityId, close: &Close) -> Result<Closed, Error> {
        let (operation, action) = if close.won {
            ("winning an opportunity", "WinOpportunity")
        } else {
            ("losing an opportunity", "LoseOpportunity")
        };
        let mut activity = RowChange::default();
        activity.set("subject", Cell::Text(close.subject.clone()));
        if let Some(description) = &close.description {
            activity.set("description", Cell::Text(description.clone()));
        }
        activity.bind("opportunityid", "opportunities", id.uuid());
        let body = CloseBody {
            status: close.status,
            opportunity_close: activity,
        };
        let url = self.http.url(&format!("{API}/{action}"))?;
        let request = Request::new(operation, Method::POST, url, Effect::Guarded).json(JSON, &body)?;
        match self.http.send(with_versions(request)).await {
            Ok(_) => Ok(Closed::Done),
            Err(error) if error.has_code(code::ALREADY_CLOSED) => Ok(Closed::Already),
            Err(error) if says_no_such_row(&error) => Ok(Closed::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Qualifies a lead: the opportunity, and the account and contact that are asked for, are made at once with it.
    /// Repeating it is harmless: only an open lead can be qualified.
    /// <https://learn.microsoft.com/dynamics365/developer/reference/webapi/qualifylead>
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn qualify(&self, id: LeadId, qualify: &Qualify) -> Result<Closed, Error> {
        let body = QualifyBody {
            create_account: qualify.create_account,
            create_contact: qualify.create_contact,
            create_opportunity: true,
            status: qualify.status,
            currency: qualify.currency.map(|id| CurrencyReference { kind: CURRENCY, id }),
        };
        let url = self
            .http
            .url(&format!("{API}/leads({id})/Microsoft.Dynamics.CRM.QualifyLead"))?;
        let request = Request::new("qualifying a lead", Method::POST, url, Effect::Guarded).json(JSON, &body)?;
        match self.http.send(with_versions(request)).await {
            Ok(_) => Ok(Closed::Done),
            Err(error) if error.has_code(code::INVALID_TRANSITION) => Ok(Closed::Already),
            Err(error) if says_no_such_row(&error) => Ok(Closed::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// The opportunities that came of a lead, the oldest first; at most [`MOST_FOUND`].
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn find_offspring(&self, lead: LeadId) -> Result<Vec<Row>, Error> {
        let filter = format!("_originatingleadid_value eq {lead}");
        let select = "opportunityid,createdon&$orderby=createdon%20asc,opportunityid%20asc";
        self.find("finding a lead's opportunity", "opportunities", select, &filter)
            .await
    }

    /// Active currencies with this ISO code: normally one.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn find_currency(&self, iso_code: &str) -> Result<Vec<Row>, Error> {
        let select = "transactioncurrencyid,isocurrencycode,currencyprecision";
        let filter = format!("isocurrencycode eq {} and statecode eq 0", literal(iso_code));
        self.find("finding a currency", "transactioncurrencies", select, &filter)
            .await
    }

    /// Active accounts with this name and, unless it is blank, this postal code.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn find_account(
        &self,
        columns: &AccountColumns,
        name: &str,
        postal_code: &str,
    ) -> Result<Vec<Row>, Error> {
        let mut filter = format!("{} eq {} and statecode eq 0", columns.name, literal(name));
        if !postal_code.trim().is_empty() {
            filter.push_str(&format!(" and {} eq {}", columns.postal_code, literal(postal_code)));
        }
        let select = format!("accountid,{},{}", columns.name, columns.postal_code);
        self.find("finding an account", "accounts", &select, &filter).await
    }

    /// Active accounts whose web site names a domain or whose mail address is in it. A name that merely contains the
    /// domain is among them: look at each. At [`MOST_FOUND`] there may be more than were listed.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn find_accounts_of(&self, columns: &AccountColumns, domain: &str) -> Result<Vec<Row>, Error> {
        let AccountColumns {
            name,
            website,
            email,
            country,
            ..
        } = columns;
        let filter = format!(
            "(contains({website},{}) or endswith({email},{})) and statecode eq 0",
            literal(domain),
            literal(&format!("@{domain}"))
        );
        let select = format!("accountid,{name},{website},{email},{country}");
        self.find("finding accounts of a domain", "accounts", &select, &filter)
            .await
    }

    /// Active contacts with this mail address, which stands in `column`.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn find_contact(&self, column: &str, email: &str) -> Result<Vec<Row>, Error> {
        let filter = format!("{column} eq {} and statecode eq 0", literal(email));
        let select = format!("contactid,{column}");
        self.find("finding a contact", "contacts", &select, &filter).await
    }

    async fn find(&self, operation: &'static str, set: &str, select: &str, filter: &str) -> Result<Vec<Row>, Error> {
        let url = self.search(set, select, filter)?;
        // Two are told from one here, so nothing may be skipped.
        Ok(self.whole(operation, url).await?.0)
    }

    fn search(&self, set: &str, select: &str, filter: &str) -> Result<Url, http::Error> {
        let filter = utf8_percent_encode(filter, LITERAL);
        let query = format!("$select={select}&$filter={filter}&$top={MOST_FOUND}");
        self.http.url(&format!("{API}/{set}?{query}"))
    }

    /// A page of which every row can be read, and the link to the next.
    async fn whole(&self, operation: &'static str, url: Url) -> Result<(Vec<Row>, Option<String>), Error> {
        let answer = self.http.send(get(operation, url, ANNOTATIONS)).await?;
        let list: List = answer.decode()?;
        let rows = list.value.ok_or_else(|| http::Error::NoList(answer.operation()))?;
        let rows = rows
            .iter()
            .map(|raw| http::decode(self.http.operation(operation), raw.get().as_bytes()));
        Ok((rows.collect::<Result<_, _>>()?, list.next_link))
    }

    /// One page of changed rows of a table. Without a link it is the first page of all rows with these columns (a list of
    /// names, comma separated); with a link it is the page or the later changes the link stands for, and `select` is not
    /// used. Save a delta link only when everything before it is safe.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/use-change-tracking-synchronize-data-external-systems>
    ///
    /// # Errors
    /// [`Error::DeltaExpired`], [`Error::TrackingDisabled`], [`Error::DeltaMissing`], and as [`Dataverse::read`].
    pub async fn changes(&self, set: &str, link: Option<&str>, select: &str) -> Result<Page, Error> {
        let url = match link {
            Some(link) => self.http.checked(link, LINKS)?,
            None => self.http.url(&format!("{API}/{set}?$select={select}"))?,
        };
        let page = self.page("reading changes", url, TRACKED).await?;
        if page.next.is_none() && page.delta.is_none() {
            return Err(Error::DeltaMissing);
        }
        Ok(page)
    }

    /// The first page of rows of a table modified not before `since`, for tables that do not track changes. It knows no
    /// deletions, and a slow transaction shows up behind its time: overlap by minutes.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn modified_since(&self, set: &str, key: &str, since: Timestamp, select: &str) -> Result<Page, Error> {
        // Whole seconds, as the column is kept; rounded down.
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let filter = utf8_percent_encode(&format!("modifiedon ge {since}"), LITERAL).to_string();
        let url = self.http.url(&format!(
            "{API}/{set}?$select={select}&$filter={filter}&$orderby=modifiedon%20asc,{key}%20asc"
        ))?;
        self.page("reading modified rows", url, PAGED).await
    }

    /// The page after one of [`Dataverse::modified_since`].
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn more_modified(&self, next: &str) -> Result<Page, Error> {
        let url = self.http.checked(next, LINKS)?;
        self.page("reading modified rows", url, PAGED).await
    }

    /// One page of the opportunities whose flag in this column is set. Without a link it is the first one; the columns are
    /// a list of names, comma separated.
    ///
    /// # Errors
    /// As [`Dataverse::read`].
    pub async fn flagged(&self, link: Option<&str>, flag: &str, select: &str) -> Result<Page, Error> {
        let url = match link {
            Some(link) => self.http.checked(link, LINKS)?,
            None => {
                let filter = utf8_percent_encode(&format!("{flag} eq true"), LITERAL).to_string();
                self.http.url(&format!(
                    "{API}/opportunities?$select={select}&$filter={filter}&$orderby=opportunityid%20asc"
                ))?
            }
        };
        self.page("listing shared opportunities", url, PAGED).await
    }

    async fn page(&self, operation: &'static str, url: Url, prefer: &'static str) -> Result<Page, Error> {
        let answer = self.http.send(get(operation, url, prefer)).await.map_err(tracking)?;
        let list: List = answer.decode()?;
        // A link that must not be followed is an error now, before anybody stores it.
        for link in [&list.next_link, &list.delta_link].into_iter().flatten() {
            self.http.checked(link, LINKS)?;
        }
        let mut rows = Vec::new();
        for raw in list.value.ok_or_else(|| http::Error::NoList(answer.operation()))? {
            match http::decode(self.http.operation(operation), raw.get().as_bytes()) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    tracing::warn!(error = %http::chain(&error), "an unreadable row of a page was skipped");
                }
            }
        }
        Ok(Page {
            rows,
            next: list.next_link,
            delta: list.delta_link,
        })
    }

    fn patch(
        &self,
        operation: &'static str,
        set: &str,
        id: Uuid,
        query: &str,
        change: &RowChange,
    ) -> Result<Request, http::Error> {
        let url = self.http.url(&format!("{API}/{set}({id})?{query}"))?;
        let request = Request::new(operation, Method::PATCH, url, Effect::Guarded).header(PREFER, ROW_AFTERWARDS);
        with_versions(request).json(JSON, change)
    }
}

#[derive(Serialize)]
struct CloseBody {
    #[serde(rename = "Status")]
    status: i64,
    #[serde(rename = "OpportunityClose")]
    opportunity_close: RowChange,
}

const CURRENCY: &str = "Microsoft.Dynamics.CRM.transactioncurrency";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QualifyBody {
    create_account: bool,
    create_contact: bool,
    create_opportunity: bool,
    status: i64,
    #[serde(rename = "OpportunityCurrencyId", skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyReference>,
}

#[derive(Serialize)]
struct CurrencyReference {
    #[serde(rename = "@odata.type")]
    kind: &'static str,
    #[serde(rename = "transactioncurrencyid")]
    id: CurrencyId,
}

/// A page. Keys come in any order; rows stay text until each is read for itself. `value` is present even when there is
/// nothing: its absence is no list, and must not be taken for an empty one.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    value: Option<Vec<Box<RawValue>>>,
    #[serde(default, rename = "@odata.nextLink")]
    next_link: Option<String>,
    #[serde(default, rename = "@odata.deltaLink")]
    delta_link: Option<String>,
}

/// A read. The documentation wants caches overridden by the literal word `null`; on writes it would collide with the
/// preconditions.
fn get(operation: &'static str, url: Url, prefer: &'static str) -> Request {
    with_versions(Request::get(operation, url))
        .header(IF_NONE_MATCH, "null")
        .header(PREFER, prefer)
}

fn with_versions(request: Request) -> Request {
    request
        .header(HeaderName::from_static("odata-maxversion"), "4.0")
        .header(HeaderName::from_static("odata-version"), "4.0")
}

/// A text in a filter: quotes doubled. Encoding for the URL comes after.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether a 404 means the row. The same status stands for an unknown path or a gateway's page, and taking those for a
/// deleted row would end deals.
fn says_no_such_row(error: &http::Error) -> bool {
    let Some(refusal) = error.refusal() else {
        return false;
    };
    let is_code = code::NO_SUCH_ROW.iter().any(|code| refusal.has_code(code));
    // Samples show error objects whose code is empty.
    let is_nameless = refusal.is_structured && refusal.codes.is_empty();
    refusal.status == StatusCode::NOT_FOUND && (is_code || is_nameless)
}

/// Table and column, when a request named one that is not there. Only the words tell: the codes stand for much else.
fn missing_column(error: &http::Error) -> Option<(String, String)> {
    let refusal = error
        .refusal()
        .filter(|refusal| code::NO_COLUMN.iter().any(|code| refusal.has_code(code)))?;
    let quoted = |before: &str| {
        let (_, rest) = refusal.message.split_once(before)?;
        rest.split_once('\'').map(|(name, _)| name.to_owned())
    };
    let column = quoted("property named '").or_else(|| {
        let says_so = refusal.message.contains("' does not exist on type '");
        quoted("The property '").filter(|_| says_so)
    })?;
    let table = quoted("Microsoft.Dynamics.CRM.")?;
    Some((table, column))
}

/// The two refusals of change tracking are told by code, since their status is nowhere documented.
fn tracking(error: http::Error) -> Error {
    if error.has_code(code::DELTA_EXPIRED) {
        return Error::DeltaExpired;
    }
    if code::NOT_TRACKED.iter().any(|code| error.has_code(code)) {
        return Error::TrackingDisabled;
    }
    error.into()
}

fn row_afterwards(answer: &Answer) -> Row {
    with_etag(answer.decode_if_readable().unwrap_or_default(), answer)
}

fn with_etag(mut row: Row, answer: &Answer) -> Row {
    row.etag = row.etag.or_else(|| answer.etag());
    row
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
