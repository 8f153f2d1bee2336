//! Items that are not as we write them: restored from elsewhere, edited in a console, written by another version.
//!
//! Guarantee under test: an item is read as what it says or not at all, and what is said of one that is not read names its
//! key and the place, and repeats nothing of its content.

use cosell::deal::{Field, Side, Term};
use cosell::hint::Cause;
use cosell::ids::EngagementId;
use cosell::link::{Base, Change, Due, Etags, Outcome};
use cosell::referral::Member;
use fuzz::proptest::prelude::{any, prop_assert, prop_assert_eq};
use fuzz::proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// A person whose address is the key of a map; the log must never show either.
const NAME: &str = "Zenobia";
const MAIL: &str = "zenobia@customer.example";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sample() -> Link {
    let id = ReferralId::new(Uuid::from_u128(0x2e6d_0b71_93c4_4f5a_8d17_0a9c_6b3e_5f28));
    let mut link = Link::new(id.into());
    link.version = 7;
    link.writer = "run-1".to_owned();
    link.referral = Some(id);
    link.opportunity = Some(OpportunityId::new(Uuid::from_u128(2)));
    link.engagement = Some(EngagementId::new(Uuid::from_u128(3)));
    link.microsoft = Some(ReferralId::new(Uuid::from_u128(4)));
    let people = Term::people(&[Member {
        first_name: NAME.to_owned(),
        last_name: "Q".to_owned(),
        phone_number: "1".to_owned(),
        email: MAIL.to_owned(),
    }]);
    let mut base = Base::default();
    for side in [Side::PartnerCenter, Side::Dynamics] {
        let terms = base.side_mut(side);
        terms.set(Field::Name, Term::text(Some("Deal of Zenobia")));
        terms.set(Field::Contacts, people.clone());
        let amount = "125000.5".parse().unwrap();
        terms.set(Field::Value, Term::Money { amount, currency: None });
        terms.set(Field::CloseDate, Term::Date("2026-03-31".parse().unwrap()));
    }
    link.base = Some(base);
    link.due = Some(Due {
        at: at("2026-02-03T08:41:20Z"),
        attempts: 2,
        why: "throttled".to_owned(),
    });
    link
}

fn entry() -> AuditEntry {
    let change = Change {
        field: Field::Name,
        side: Side::Dynamics,
        old: Term::Nothing,
        new: Term::text(Some("Deal of Zenobia")),
        lost: true,
    };
    AuditEntry {
        link: sample().id,
        version: 7,
        at: at("2026-02-03T08:41:20Z"),
        cause: Cause::ReferralUpdated,
        trace: "t".to_owned(),
        referral: sample().referral,
        opportunity: None,
        lead: None,
        findings: Vec::new(),
        changes: vec![change],
        etags: Etags::default(),
        requests: vec!["r".to_owned()],
        outcome: Outcome::Written,
    }
}

/// An item in DynamoDB's own JSON, whatever can be made of it.
fn item(json: &str) -> Item {
    let Ok(Value::Object(members)) = serde_json::from_str(json) else {
        return Item::new();
    };
    let attribute = |value: &Value| {
        let (kind, value) = value.as_object()?.iter().next()?;
        match (kind.as_str(), value) {
            ("S", Value::String(text)) => Some(AttributeValue::S(text.clone())),
            ("N", Value::String(digits)) => Some(AttributeValue::N(digits.clone())),
            (_, Value::Bool(flag)) => Some(AttributeValue::Bool(*flag)),
            (_, Value::Null) => Some(AttributeValue::Null(true)),
            _ => None,
        }
    };
    let attributes = members
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), attribute(value)?)));
    attributes.collect()
}

fn dynamo_json(item: &Item) -> String {
    let attribute = |value: &AttributeValue| match value {
        AttributeValue::N(digits) => json!({ "N": digits }),
        other => json!({ "S": other.as_s().unwrap() }),
    };
    let members = item.iter().map(|(name, value)| (name.clone(), attribute(value)));
    Value::Object(members.collect()).to_string()
}

fn says_where_and_nothing_else(error: &Error, item: &Item) -> TestCaseResult {
    let Error::Undecodable { key, place } = error else {
        prop_assert!(false, "{error}");
        return Ok(());
    };
    prop_assert_eq!(key, &Key::of(item).pk);
    prop_assert!(place.chars().count() <= 210, "{place}");
    prop_assert!(!place.to_lowercase().contains(&NAME.to_lowercase()), "{place}");
    Ok(())
}

#[test]
fn a_stored_record_is_read_whole_or_refused_by_key_and_place() {
    let items = [of_link(&sample()).unwrap(), of_audit(&entry(), 0).unwrap()];
    let bodies = items.clone().map(|item| body_text(&item).to_owned());
    let cases = (
        fuzz::json(items.map(|item| dynamo_json(&item))),
        fuzz::json(bodies),
        any::<bool>(),
    );
    fuzz::check(
        "ledger: links and audit",
        file!(),
        2_500,
        cases,
        |(json, new_body, swaps)| {
            let mut item = item(&json);
            if swaps {
                item.insert(BODY.to_owned(), text(new_body));
            }
            match link(&item) {
                Ok(read) => {
                    let written = of_link(&read).unwrap();
                    prop_assert_eq!(link(&written).unwrap(), read);
                    prop_assert!(same_write(&written, &written));
                }
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            match audit(&item) {
                Ok(read) => prop_assert_eq!(audit(&of_audit(&read, 0).unwrap()).unwrap(), read),
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            Ok(())
        },
    );
}

#[test]
fn small_items_say_exactly_what_is_read_of_them() {
    let link = sample();
    let cursor_now = Cursor {
        value: r#"{"since":"2026-02-03T08:41:20Z"}"#.to_owned(),
        version: 41,
        caught_up: Some(at("2026-02-03T08:41:20Z")),
    };
    let items = [
        of_pointer(Pointer::Referral(link.referral.unwrap()), link.id),
        of_freed_pointer(Pointer::Opportunity(link.opportunity.unwrap()), link.id),
        of_cursor("dynamics", &cursor_now),
        of_lease("poll-dynamics", "run-1", at("2026-02-03T08:41:20Z")),
        of_breaker("dataverse", at("2026-02-03T08:41:20Z")),
        of_link(&link).unwrap(),
    ];
    let corpus = items.map(|item| dynamo_json(&item));
    fuzz::check(
        "ledger: pointers, cursors, breakers, lists",
        file!(),
        4_000,
        fuzz::json(corpus),
        |json| {
            let item = item(&json);
            let said = |name: &str| string(&item, name).map(str::to_owned);
            match pointed_at(&item) {
                Ok(id) => {
                    let text = said(PARTED).or(said(LINK)).unwrap_or_default();
                    prop_assert_eq!(id.to_string(), text.trim().to_lowercase());
                }
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            match cursor(&item) {
                Ok(read) => {
                    prop_assert_eq!(string(&item, VALUE), Some(read.value.as_str()));
                    prop_assert_eq!(read.caught_up.is_some(), item.contains_key(CAUGHT_UP));
                    prop_assert_eq!(cursor(&of_cursor("dynamics", &read)).unwrap(), read);
                }
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            match open_until(&item) {
                Ok(until) => prop_assert_eq!(open_until(&of_breaker("dataverse", until)).unwrap(), until),
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            match listed(&item, DUE_AT) {
                Ok(read) => {
                    prop_assert_eq!(
                        Key::link(read.link).pk,
                        said(PK)
                            .unwrap_or_default()
                            .to_lowercase()
                            .replace("link#", LINK_PREFIX)
                    );
                    prop_assert_eq!(read.referral.is_some(), item.contains_key(REFERRAL));
                    prop_assert_eq!(read.opportunity.is_some(), item.contains_key(OPPORTUNITY));
                    prop_assert_eq!(read.microsoft.is_some(), item.contains_key(MICROSOFT));
                }
                Err(error) => says_where_and_nothing_else(&error, &item)?,
            }
            Ok(())
        },
    );
}

#[test]
fn a_place_in_a_list_is_the_key_it_was_made_of() {
    let key = of_link(&sample()).unwrap();
    let corpus = [
        of_place(&key, DUE_AT),
        "2026-02-03T08:41:20Z LINK#".to_owned(),
        " LINK#x".to_owned(),
    ];
    fuzz::check("ledger: places in lists", file!(), 3_000, fuzz::text(corpus), |said| {
        if let Some(key) = place(&said, DUE_SHARD, DUE_AT) {
            prop_assert_eq!(of_place(&key, DUE_AT), said);
            prop_assert_eq!(key.len(), 4);
            prop_assert!(Key::of(&key).pk.starts_with(LINK_PREFIX));
        }
        Ok(())
    });
}

#[test]
fn different_records_never_share_a_key() {
    let pointer = |kind: u8, id: u128| {
        let id = Uuid::from_u128(id);
        let same = Uuid::from_u128(7);
        match kind % 7 {
            0 => Pointer::Referral(ReferralId::new(id)),
            1 => Pointer::Opportunity(OpportunityId::new(id)),
            2 => Pointer::Lead(cosell::ids::LeadId::new(id)),
            3 => Pointer::Microsoft(ReferralId::new(id)),
            4 => Pointer::Engagement(EngagementId::new(id)),
            5 => Pointer::SolutionRow {
                row: id,
                seen_by: LinkId::new(same),
            },
            _ => Pointer::SolutionRow {
                row: same,
                seen_by: LinkId::new(id),
            },
        }
    };
    let pairs = (any::<u128>(), 0..=128_u32, any::<[u8; 2]>());
    fuzz::check("ledger: keys", file!(), 1_000, pairs, |(id, bit, kinds)| {
        let other = id ^ 1_u128.checked_shl(bit).unwrap_or(0);
        let (one, two) = (pointer(kinds[0], id), pointer(kinds[1], other));
        prop_assert_eq!(Key::pointer(one) == Key::pointer(two), one == two);
        prop_assert_ne(&Key::pointer(one).pk, &Key::link(LinkId::new(Uuid::from_u128(id))).pk)
    });
}

fn prop_assert_ne(one: &str, two: &str) -> TestCaseResult {
    prop_assert!(one != two, "{one}");
    Ok(())
}

#[test]
fn a_broken_person_is_named_by_place_and_not_by_address() {
    let mut item = of_link(&sample()).unwrap();
    let broken = body_text(&item).replace(r#""first_name":"Zenobia""#, r#""first_name":7"#);
    item.insert(BODY.to_owned(), text(broken));
    let said = link(&item).unwrap_err().to_string();
    assert!(said.contains("at body.base.referral.?.people;"), "{said}");
}

#[test]
fn a_list_shows_no_deal_under_another_name_because_its_own_is_unreadable() {
    let mut item = of_link(&sample()).unwrap();
    item.insert(REFERRAL.to_owned(), text("2e6d0b71"));
    let said = listed(&item, DUE_AT).unwrap_err().to_string();
    assert!(said.contains("at referral;"), "{said}");
}
