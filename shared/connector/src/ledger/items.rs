//! The shapes of the ledger's items: keys, attributes, indexes.
//!
//! Knows: how each record is spelt in DynamoDB; every attribute name stands here once. Refuses to know: any call.
//! Guarantee: what is encoded here is decoded here to an equal value.
//!
//! Points in time are RFC 3339 texts with nine digits of fraction: of one length, so that they sort and compare as text
//! in key conditions and condition expressions, and can be read in a console.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cosell::ids::{LinkId, OpportunityId, ReferralId};
use cosell::link::{AuditEntry, Link, Pointer};
use cosell::poll::Cursor;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_path_to_error::Path;
use uuid::Uuid;

use super::{Error, Listed};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
pub(super) const VERSION: &str = "version";
pub(super) const LINK: &str = "link";
pub(super) const PARTED: &str = "parted";
pub(super) const DUE_SHARD: &str = "due_shard";
pub(super) const DUE_AT: &str = "due_at";
pub(super) const ATTENTION_SHARD: &str = "attention_shard";
pub(super) const ATTENTION_SINCE: &str = "attention_since";
pub(super) const HOLDER: &str = "holder";
pub(super) const UNTIL: &str = "until";
pub(super) const OPEN_UNTIL: &str = "open_until";
pub(super) const DAY: &str = "day";
const CAUGHT_UP: &str = "caught_up";
const WRITER: &str = "writer";
const BODY: &str = "body";
const VALUE: &str = "value";
const AT: &str = "at";
const EXPIRES: &str = "expires";
const REFERRAL: &str = "referral";
const OPPORTUNITY: &str = "opportunity";
const MICROSOFT: &str = "microsoft";

/// Index of deals that are looked at again by themselves.
pub(super) const DUE_INDEX: &str = "due";
/// Index of deals that wait for a person.
pub(super) const ATTENTION_INDEX: &str = "attention";
/// Index of audit records by day.
pub(super) const DAY_INDEX: &str = "day";

/// The only shard of both sparse indexes. A partition takes a thousand writes a second; the vendors' budgets let us
/// change fifteen deals in that time. The attribute exists because an index needs a partition key.
pub(super) const SHARD: &str = "0";

/// Sort key of links and of the pointers to them.
pub(super) const LINK_SORT: &str = "LINK";
/// What the keys of links, and of nothing else, start with.
pub(super) const LINK_PREFIX: &str = "LINK#";

/// How long audit records are kept: a year's report, and a month to notice that it is missing something.
const RETENTION: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How a list of people is spelt in a body.
const PEOPLE: &str = "people";

/// The deepest place of ours is a fraction of it; what is longer is not ours.
const PLACE_CHARS: usize = 200;

/// DynamoDB's limit for one item: names and values together, in bytes.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Partition and sort key of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn link(id: LinkId) -> Self {
        Self {
            pk: format!("{LINK_PREFIX}{id}"),
            sk: LINK_SORT.to_owned(),
        }
    }

    pub(super) fn pointer(pointer: Pointer) -> Self {
        let (pk, sk) = match pointer {
            Pointer::Referral(id) => (format!("REFERRAL#{id}"), LINK_SORT.to_owned()),
            Pointer::Opportunity(id) => (format!("OPPORTUNITY#{id}"), LINK_SORT.to_owned()),
            Pointer::Lead(id) => (format!("LEAD#{id}"), LINK_SORT.to_owned()),
            Pointer::Microsoft(id) => (format!("MICROSOFT#{id}"), LINK_SORT.to_owned()),
            Pointer::Engagement(id) => (format!("ENGAGEMENT#{id}"), LINK_SORT.to_owned()),
            Pointer::SolutionRow { row, seen_by } => (solution_row(row), Self::link(seen_by).pk),
        };
        Self { pk, sk }
    }

    pub(super) fn cursor(system: &str) -> Self {
        Self {
            pk: format!("CURSOR#{system}"),
            sk: "CURSOR".to_owned(),
        }
    }

    pub(super) fn lease(name: &str) -> Self {
        Self {
            pk: format!("LEASE#{name}"),
            sk: "LEASE".to_owned(),
        }
    }

    pub(super) fn breaker(api: &str) -> Self {
        Self {
            pk: format!("BREAKER#{api}"),
            sk: "BREAKER".to_owned(),
        }
    }

    /// Twelve digits keep versions in order as text.
    fn audit(entry: &AuditEntry, position: usize) -> Self {
        Self {
            pk: entry.link.to_string(),
            sk: format!("{:012}#{position}", entry.version),
        }
    }

    pub(super) fn item(&self) -> Item {
        Item::from([(PK.to_owned(), text(&self.pk)), (SK.to_owned(), text(&self.sk))])
    }

    fn of(item: &Item) -> Self {
        Self {
            pk: string(item, PK).unwrap_or_default().to_owned(),
            sk: string(item, SK).unwrap_or_default().to_owned(),
        }
    }
}

/// Partition of a solution row: one pointer for each link that has seen it.
pub(super) fn solution_row(row: Uuid) -> String {
    format!("SOLUTION#{row}")
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn instant(at: Timestamp) -> AttributeValue {
    text(format!("{at:.9}"))
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn parsed<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<T, Error> {
    string(item, name)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| undecodable(item, name))
}

/// What may be absent; what is there and cannot be read is not.
fn given<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<Option<T>, Error> {
    item.contains_key(name).then(|| parsed(item, name)).transpose()
}

fn unsigned(item: &Item, name: &'static str) -> Result<u64, Error> {
    item.get(name)
        .and_then(|value| value.as_n().ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| undecodable(item, name))
}

fn undecodable(item: &Item, place: &str) -> Error {
    Error::Undecodable {
        key: Key::of(item).pk,
        place: place.to_owned(),
    }
}

/// Reads the JSON in `body`. Of a failure only the place is told: the words of the parser quote values.
fn body<T: DeserializeOwned>(item: &Item) -> Result<T, Error> {
    let json = string(item, BODY).ok_or_else(|| undecodable(item, BODY))?;
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| undecodable(item, &place_of(error.path())))
}

/// Where in the body: our own names, as far as they go. People are kept by mail address or name, which no log may show.
fn place_of(path: &Path) -> String {
    let is_ours = |segment: &String| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_[]?".contains(&byte);
        segment.bytes().all(plain)
    };
    let segments: Vec<String> = path.iter().map(ToString::to_string).take_while(is_ours).collect();
    let ours = segments
        .split_inclusive(|segment| segment == PEOPLE)
        .next()
        .unwrap_or_default();
    let place = format!("{BODY}.{}", ours.join("."));
    place.chars().take(PLACE_CHARS).collect()
}

/// Refuses what DynamoDB would: by name, and before anything is sent.
fn checked(item: Item) -> Result<Item, Error> {
    let bytes = size(&item);
    if bytes <= MAX_ITEM_BYTES {
        return Ok(item);
    }
    let key = Key::of(&item).pk;
    Err(Error::TooLarge { key, bytes })
}

/// Bytes as DynamoDB counts them. Digits of numbers are counted one by one, which is more than they take.
pub(super) fn size(item: &Item) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        // We write no others.
        _ => 0,
    };
    item.iter().map(|(name, content)| name.len() + value(content)).sum()
}

pub(super) fn of_link(link: &Link) -> Result<Item, Error> {
    let json = serde_json::to_string(link).map_err(|source| Error::Unencodable { link: link.id, source })?;
    let mut item = Key::link(link.id).item();
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(VERSION, number(link.version));
    set(WRITER, text(&link.writer));
    set(BODY, text(json));
    if let Some(id) = link.referral {
        set(REFERRAL, text(id.to_string()));
    }
    if let Some(id) = link.opportunity {
        set(OPPORTUNITY, text(id.to_string()));
    }
    if let Some(id) = link.microsoft {
        set(MICROSOFT, text(id.to_string()));
    }
    if let Some(due) = &link.due {
        set(DUE_SHARD, text(SHARD));
        set(DUE_AT, instant(due.at));
    }
    if !link.attention.is_empty() {
        // A deal that waits for a person is always listed, first if nobody noted since when.
        let since = link.attention_since.unwrap_or(Timestamp::UNIX_EPOCH);
        set(ATTENTION_SHARD, text(SHARD));
        set(ATTENTION_SINCE, instant(since));
    }
    checked(item)
}

pub(super) fn link(item: &Item) -> Result<Link, Error> {
    body(item)
}

/// Whether both items are the same write: same version, same run and same content. One run may try two different
/// writes of one version, the second because it never heard of the first; only the content tells them apart.
pub(super) fn same_write(ours: &Item, found: &Item) -> bool {
    [VERSION, WRITER, BODY]
        .iter()
        .all(|name| ours.get(*name) == found.get(*name))
}

pub(super) fn body_text(item: &Item) -> &str {
    string(item, BODY).unwrap_or_default()
}

pub(super) fn of_pointer(pointer: Pointer, to: LinkId) -> Item {
    let mut item = Key::pointer(pointer).item();
    item.insert(LINK.to_owned(), text(to.to_string()));
    item
}

/// A pointer that was let go: any link may take it, and until then it tells who held it.
pub(super) fn of_freed_pointer(pointer: Pointer, by: LinkId) -> Item {
    let mut item = Key::pointer(pointer).item();
    item.insert(PARTED.to_owned(), text(by.to_string()));
    item
}

pub(super) fn pointed_at(item: &Item) -> Result<LinkId, Error> {
    let name = if item.contains_key(PARTED) { PARTED } else { LINK };
    parsed(item, name)
}

pub(super) fn of_audit(entry: &AuditEntry, position: usize) -> Result<Item, Error> {
    let json = serde_json::to_string(entry).map_err(|source| Error::Unencodable {
        link: entry.link,
        source,
    })?;
    let expires = entry.at.checked_add(RETENTION).unwrap_or(Timestamp::MAX);
    let mut item = Key::audit(entry, position).item();
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(BODY, text(json));
    set(DAY, text(day(entry.at)));
    set(AT, instant(entry.at));
    // Time to live is read as seconds since 1970 and nothing else.
    set(EXPIRES, number(expires.as_second()));
    checked(item)
}

/// The day, in UTC, under which an audit record is listed.
fn day(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

pub(super) fn audit(item: &Item) -> Result<AuditEntry, Error> {
    body(item)
}

pub(super) fn of_cursor(system: &str, cursor: &Cursor) -> Item {
    let mut item = Key::cursor(system).item();
    item.insert(VALUE.to_owned(), text(&cursor.value));
    item.insert(VERSION.to_owned(), number(cursor.version));
    if let Some(at) = cursor.caught_up {
        item.insert(CAUGHT_UP.to_owned(), instant(at));
    }
    item
}

pub(super) fn cursor(item: &Item) -> Result<Cursor, Error> {
    Ok(Cursor {
        value: parsed(item, VALUE)?,
        version: unsigned(item, VERSION)?,
        caught_up: given(item, CAUGHT_UP)?,
    })
}

pub(super) fn of_lease(name: &str, holder: &str, until: Timestamp) -> Item {
    let mut item = Key::lease(name).item();
    item.insert(HOLDER.to_owned(), text(holder));
    item.insert(UNTIL.to_owned(), instant(until));
    item
}

pub(super) fn of_breaker(api: &str, open_until: Timestamp) -> Item {
    let mut item = Key::breaker(api).item();
    item.insert(OPEN_UNTIL.to_owned(), instant(open_until));
    item
}

pub(super) fn open_until(item: &Item) -> Result<Timestamp, Error> {
    parsed(item, OPEN_UNTIL)
}

/// Reads what an index holds of a link. `sorted_by` is the index's sort key.
pub(super) fn listed(item: &Item, sorted_by: &'static str) -> Result<Listed, Error> {
    let id = string(item, PK)
        .and_then(|pk| pk.strip_prefix(LINK_PREFIX))
        .and_then(|id| id.parse().ok());
    Ok(Listed {
        link: id.ok_or_else(|| undecodable(item, PK))?,
        at: parsed(item, sorted_by)?,
        referral: given::<ReferralId>(item, REFERRAL)?,
        opportunity: given::<OpportunityId>(item, OPPORTUNITY)?,
        microsoft: given::<ReferralId>(item, MICROSOFT)?,
    })
}

/// A place in a list as text: the time it is sorted by, and the link.
pub(super) fn of_place(key: &Item, sorted_by: &str) -> String {
    format!("{} {}", string(key, sorted_by).unwrap_or_default(), Key::of(key).pk)
}

/// The key that a place in a list stands for.
pub(super) fn place(text_of_place: &str, shard: &str, sorted_by: &str) -> Option<Item> {
    let (at, pk) = text_of_place
        .split_once(' ')
        .filter(|(at, pk)| !at.is_empty() && pk.starts_with(LINK_PREFIX))?;
    let key = Key {
        pk: pk.to_owned(),
        sk: LINK_SORT.to_owned(),
    };
    let mut item = key.item();
    item.insert(shard.to_owned(), text(SHARD));
    item.insert(sorted_by.to_owned(), text(at));
    Some(item)
}

/// Keys of an answer that another page follows.
pub(super) fn page_key(item: &Item) -> (String, String) {
    let Key { pk, sk } = Key::of(item);
    (pk, sk)
}

#[cfg(test)]
mod foreign;
