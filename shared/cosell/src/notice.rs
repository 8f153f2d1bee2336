//! What a genuine post says: look at this referral, or nothing that concerns us.
//!
//! Knows the event names and the form of Partner Center's event bodies. Refuses to know whether the bytes can be
//! trusted: it is called by the checks, after them. Guarantee: of the resource only its identifier is kept, so no host
//! that an event names is ever called.

use serde::Deserialize;

use crate::hint::{Cause, Hint, Subject};
use crate::ids::ReferralId;

/// Some serialisers put it before UTF-8 text; JSON parsers refuse it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Event names are short; this bounds what is logged of one we do not know.
const NAME_LIMIT: usize = 100;

/// A post, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Look at this referral.
    Hint(Hint),
    /// Somebody asked Partner Center to prove that events arrive.
    Test,
    /// An event of a family that we do not handle, or that is newer than we are.
    Foreign {
        /// Its name, bounded.
        name: String,
    },
}

/// Why a genuine post cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or a member is missing or of the wrong type. The parser's own words are not kept: they repeat the value.
    #[error("the event is not readable at line {line}, column {column}")]
    Unreadable {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A referral event whose resource does not end in a GUID.
    #[error("the event's resource does not end in a referral id")]
    NoReferral,
}

/// Further members exist and may be added; they are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_name: String,
    #[serde(default)]
    resource_uri: Option<String>,
    #[serde(default)]
    resource_change_utc_date: Option<String>,
}

/// Reads an event body.
/// <https://learn.microsoft.com/partner-center/developer/partner-center-webhook-events>
///
/// # Errors
/// [`Malformed`] where it is no event, or one of a referral that it does not name.
pub fn parse(body: &[u8]) -> Result<Notice, Malformed> {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let event: Event = serde_json::from_slice(text).map_err(|error| Malformed::Unreadable {
        line: error.line(),
        column: error.column(),
    })?;
    let cause = match event.event_name.as_str() {
        "referral-created" => Cause::ReferralCreated,
        "referral-updated" => Cause::ReferralUpdated,
        "related-referral-created" => Cause::RelatedReferralCreated,
        "related-referral-updated" => Cause::RelatedReferralUpdated,
        "test-created" => return Ok(Notice::Test),
        name => {
            return Ok(Notice::Foreign {
                name: name.chars().take(NAME_LIMIT).collect(),
            });
        }
    };
    let referral = event
        .resource_uri
        .as_deref()
        .and_then(referral_id)
        .ok_or(Malformed::NoReferral)?;
    Ok(Notice::Hint(Hint {
        subject: Subject::Referral(referral),
        cause,
        // Context for the audit only: an unreadable date must not cost us the hint.
        changed_at: event.resource_change_utc_date.and_then(|date| date.parse().ok()),
    }))
}

/// The last path segment, whatever scheme and host stand before it.
fn referral_id(uri: &str) -> Option<ReferralId> {
    let path = uri.split(['?', '#']).next()?.trim_end_matches('/');
    path.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10";

    fn event(name: &str, uri: &str) -> String {
        format!(
            r#"{{"EventName":"{name}","ResourceUri":"{uri}","ResourceName":"referral","AuditUri":null,"ResourceChangeUtcDate":"2026-01-28T09:14:09.5510217+00:00"}}"#
        )
    }

    #[test]
    fn the_four_referral_events_become_hints() {
        let cases = [
            ("referral-created", Cause::ReferralCreated),
            ("referral-updated", Cause::ReferralUpdated),
            ("related-referral-created", Cause::RelatedReferralCreated),
            ("related-referral-updated", Cause::RelatedReferralUpdated),
        ];
        for (name, cause) in cases {
            let uri = format!("https://api.partnercenter.microsoft.com/engagements/v1/referrals/{ID}");
            let expected = Hint {
                subject: Subject::Referral(ID.parse().unwrap()),
                cause,
                changed_at: Some("2026-01-28T09:14:09.5510217Z".parse().unwrap()),
            };
            assert_eq!(parse(event(name, &uri).as_bytes()).unwrap(), Notice::Hint(expected));
        }
    }

    #[test]
    fn host_query_and_trailing_slash_of_the_resource_do_not_matter() {
        for uri in [
            format!("http://elsewhere.example/{ID}/"),
            format!("https://h/referrals/{ID}?x=/y#z"),
            format!("/{ID}"),
            ID.to_owned(),
        ] {
            assert!(
                matches!(
                    parse(event("referral-updated", &uri).as_bytes()).unwrap(),
                    Notice::Hint(_)
                ),
                "{uri}"
            );
        }
    }

    #[test]
    fn what_names_no_referral_is_malformed() {
        for uri in [
            "",
            "https://h/referrals/",
            "https://h/referrals/42",
            "https://h/?id=8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10",
        ] {
            let error = parse(event("referral-updated", uri).as_bytes()).unwrap_err();
            assert!(matches!(error, Malformed::NoReferral), "{uri}");
        }
        for body in [
            "",
            "[]",
            "{}",
            r#"{"EventName":7}"#,
            r#"{"EventName":"referral-created"} x"#,
        ] {
            assert!(
                matches!(parse(body.as_bytes()).unwrap_err(), Malformed::Unreadable { .. }),
                "{body}"
            );
        }
    }

    #[test]
    fn of_what_is_malformed_only_the_place_is_told() {
        let error = parse(br#"{"EventName":{"Name":"Zenobia"}}"#).unwrap_err();
        assert_eq!(error.to_string(), "the event is not readable at line 1, column 13");
        let error = parse(br#""Zenobia""#).unwrap_err();
        assert!(!format!("{error:?}").contains("Zenobia"), "{error:?}");
    }

    #[test]
    fn a_byte_order_mark_an_odd_date_and_new_members_are_tolerated() {
        let body = format!(
            "\u{feff}{{\"EventName\":\"referral-created\",\"New\":[1],\"ResourceChangeUtcDate\":\"soon\",\"ResourceUri\":\"/{ID}\"}}"
        );
        assert!(matches!(
            parse(body.as_bytes()).unwrap(),
            Notice::Hint(Hint { changed_at: None, .. })
        ));
    }
}
