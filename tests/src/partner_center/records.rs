//! The stored referrals, every version of them.
//!
//! Knows: identity, versions, entity tags, what a complete record looks like. Refuses to know: rules, who writes.
//! Guarantee: no two versions in the store carry the same entity tag or the same time of change.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::document::Document;
use super::{rules, schema};

/// The partner's organisation in this world.
pub(super) const PARTNER: &str = "5f0d7c1e-3a94-4b6f-9d28-c1e7a05b4f63";
/// Its name.
pub(super) const PARTNER_NAME: &str = "Larkfield Software";
/// Its location.
pub(super) const PARTNER_LOCATION: &str = "90a4e6d2-7b13-4c58-8f0e-2d6b9c35a1e7";
/// Its numeric partner id.
pub(super) const PARTNER_MPN: &str = "7310482";

/// Server times carry seven digits of a second.
const TICK: SignedDuration = SignedDuration::from_nanos(100);

#[derive(Clone, Debug)]
struct Version {
    at: Timestamp,
    document: Document,
}

#[derive(Clone, Debug)]
struct Record {
    id: String,
    versions: Vec<Version>,
}

impl Record {
    fn as_of(&self, moment: Timestamp) -> Option<&Document> {
        self.versions
            .iter()
            .rfind(|version| version.at <= moment)
            .map(|version| &version.document)
    }
}

/// All referrals, in order of creation.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    records: Vec<Record>,
    writes: u64,
    newest: Timestamp,
}

impl Store {
    /// Stores a new referral under a new id; the service's own members are filled in.
    /// `derive` sets what follows from the time of the write.
    pub(super) fn insert(
        &mut self,
        mut document: Document,
        now: Timestamp,
        derive: impl FnOnce(&mut Document, Timestamp),
    ) -> Document {
        let at = self.tick(now);
        let id = Uuid::new_v4().to_string();
        if document.text_at(&["engagementId"]).is_none() {
            document.set("engagementId", Uuid::new_v4().to_string());
        }
        document.set("id", id.as_str());
        document.set("createdDateTime", moment_text(at));
        document.set(
            "links",
            links(&id, document.text_at(&["engagementId"]).unwrap_or_default()),
        );
        derive(&mut document, at);
        let document = self.stamp(document, at);
        self.records.push(Record {
            id,
            versions: vec![Version {
                at,
                document: document.clone(),
            }],
        });
        document
    }

    /// Stores a new version of a referral.
    pub(super) fn replace(
        &mut self,
        id: &str,
        mut document: Document,
        now: Timestamp,
        derive: impl FnOnce(&mut Document, Timestamp),
    ) -> Document {
        let at = self.tick(now);
        derive(&mut document, at);
        let document = self.stamp(document, at);
        if let Some(record) = self.records.iter_mut().find(|record| record.id == id) {
            record.versions.push(Version {
                at,
                document: document.clone(),
            });
        }
        document
    }

    /// The current version.
    pub(super) fn current(&self, id: &str) -> Option<&Document> {
        self.as_of(id, Timestamp::MAX)
    }

    /// The version that was current at that time.
    pub(super) fn as_of(&self, id: &str, moment: Timestamp) -> Option<&Document> {
        self.records
            .iter()
            .find(|record| record.id.eq_ignore_ascii_case(id))?
            .as_of(moment)
    }

    /// All referrals as they were at that time.
    pub(super) fn all_as_of(&self, moment: Timestamp) -> impl Iterator<Item = &Document> {
        self.records.iter().filter_map(move |record| record.as_of(moment))
    }

    /// All current referrals.
    pub(super) fn all(&self) -> impl Iterator<Item = &Document> {
        self.all_as_of(Timestamp::MAX)
    }

    /// All current referrals of an engagement.
    pub(super) fn of_engagement(&self, engagement: &str) -> impl Iterator<Item = &Document> {
        let engagement = engagement.to_ascii_lowercase();
        self.all()
            .filter(move |document| document.text_at(&["engagementId"]) == Some(engagement.as_str()))
    }

    /// Microsoft's newest record in an engagement; an invitation may have been repeated after it was declined.
    pub(super) fn microsofts(&self, engagement: &str) -> Option<&Document> {
        self.of_engagement(engagement)
            .filter(|referral| rules::is_microsofts(referral))
            .last()
    }

    fn tick(&mut self, now: Timestamp) -> Timestamp {
        let whole = now.as_nanosecond() - now.as_nanosecond().rem_euclid(TICK.as_nanos());
        let whole = Timestamp::from_nanosecond(whole).unwrap_or(now);
        self.newest = whole.max(self.newest + TICK);
        self.newest
    }

    fn stamp(&mut self, mut document: Document, at: Timestamp) -> Document {
        self.writes += 1;
        document.set("updatedDateTime", moment_text(at));
        // The quotes belong to the value.
        let seconds = u32::try_from(at.as_second()).unwrap_or_default();
        document.set(
            "eTag",
            format!("\"{:08x}-0000-0800-0000-{seconds:08x}0000\"", 0x3c00_0000 + self.writes),
        );
        document
    }
}

/// A date and time as the service prints its own.
pub(super) fn moment_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

/// Midnight of the day some days from now, as people enter dates.
pub(super) fn midnight(now: Timestamp, days: i64) -> String {
    let day = now + SignedDuration::from_hours(24 * days);
    day.strftime("%Y-%m-%dT00:00:00Z").to_string()
}

/// A record with every member that records have, before anybody has set one.
pub(super) fn blank_record() -> Document {
    let mut record = schema::blank(&schema::REFERRAL);
    if let Some(members) = record.members_mut() {
        members.0.retain(|(name, _)| name != "@odata.context");
        for (name, value) in [
            ("favorite", Document::Flag(false)),
            ("isSpam", Document::Flag(false)),
            ("quality", "Unknown".into()),
            ("dealSensitivity", "None".into()),
            ("registrationStatus", "None".into()),
            ("inviteContext", Document::Null),
            ("trackingInfo", Document::Null),
        ] {
            members.set(name, value);
        }
    }
    record
}

/// Wraps a value in objects, the outermost name first.
pub(super) fn nested(path: &[&str], value: Document) -> Document {
    path.iter().rev().fold(value, |inner, name| {
        let mut outer = Document::empty_object();
        outer.set(name, inner);
        outer
    })
}

fn links(id: &str, engagement: &str) -> Document {
    let base = "https://api.partner.microsoft.com/v1.0/engagements/referrals";
    serde_json::json!({
        "relatedReferrals": { "uri": format!("{base}?$filter=engagementId eq {engagement}"), "method": "GET" },
        "self": { "uri": format!("{base}/{id}"), "method": "GET" },
    })
    .into()
}
