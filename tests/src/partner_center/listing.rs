//! The list of referrals: filter, order, selection and pages.
//!
//! Knows: query options and the continuation token. Refuses to know: who asks, how records come to be. Guarantee: a
//! token continues after the last record it showed, so records that change meanwhile are never skipped, only repeated.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Document, Members};
use super::filter::Filter;
use super::refusal::Refusal;
use super::schema;

/// What one world allows or refuses in lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) page_size: usize,
    pub(super) refuse_updated_filter: bool,
    pub(super) filter_any_member: bool,
}

/// A list request; it is also what a continuation token carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Query {
    filter: Option<String>,
    order_by_updated: bool,
    ascending: bool,
    select: Option<Vec<String>>,
    /// How many more records may be shown in all.
    top: Option<usize>,
    skip: usize,
    /// The time and id of the last record shown.
    after: Option<(Timestamp, String)>,
}

/// One page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Document>,
    /// The token of the next page, percent-encoded.
    pub(super) next: Option<String>,
}

impl Query {
    /// Reads a query string; options outside the documented ones are refused.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wrong = || Refusal::invalid(name.as_ref(), format!("'{value}' is not understood as '{name}'."));
            if seen.contains(&name) {
                return Err(Refusal::invalid(name.as_ref(), "The option is given twice."));
            }
            match name.as_ref() {
                "$filter" => parsed.filter = Some(value.clone().into_owned()),
                "$orderby" => {
                    let mut words = value.split_ascii_whitespace();
                    parsed.order_by_updated = match words.next() {
                        Some("createdDateTime") => false,
                        Some("updatedDateTime") => true,
                        _ => return Err(wrong()),
                    };
                    parsed.ascending = match words.next() {
                        None | Some("asc") => true,
                        Some("desc") => false,
                        Some(_) => return Err(wrong()),
                    };
                    if words.next().is_some() {
                        return Err(wrong());
                    }
                }
                "$select" => {
                    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
                    if names
                        .iter()
                        .any(|name| name.contains('/') || schema::locate(&format!("/{name}")).is_none())
                    {
                        return Err(wrong());
                    }
                    parsed.select = Some(names);
                }
                "$top" => parsed.top = Some(value.parse().map_err(|_| wrong())?),
                "$skip" => parsed.skip = value.parse().map_err(|_| wrong())?,
                "$count" => drop(value.parse::<bool>().map_err(|_| wrong())?),
                "$expand" if value.is_empty() => {}
                "$skiptoken" => {
                    let token = STANDARD.decode(value.as_bytes()).map_err(|_| wrong())?;
                    parsed = serde_json::from_slice(&token).map_err(|_| wrong())?;
                }
                _ => {
                    return Err(Refusal::invalid(
                        name.as_ref(),
                        format!("The option '{name}' is not supported."),
                    ));
                }
            }
            seen.push(name);
        }
        if seen.len() > 1 && seen.iter().any(|name| name == "$skiptoken") {
            return Err(Refusal::invalid(
                "$skiptoken",
                "A continuation carries no other option.",
            ));
        }
        Ok(parsed)
    }

    /// The page this query asks for.
    pub(super) fn page<'d>(
        mut self,
        referrals: impl Iterator<Item = &'d Document>,
        policy: Policy,
    ) -> Result<Page, Refusal> {
        let filter = match &self.filter {
            None => None,
            Some(text) => {
                let filter = Filter::parse(text, policy.filter_any_member)
                    .map_err(|message| Refusal::invalid("$filter", format!("The filter is not valid: {message}.")))?;
                if policy.refuse_updated_filter && filter.mentions("updatedDateTime") {
                    return Err(Refusal::invalid("$filter", "'updatedDateTime' cannot be filtered on."));
                }
                Some(filter)
            }
        };
        let mut found: Vec<_> = referrals
            .filter(|referral| filter.as_ref().is_none_or(|filter| filter.accepts(referral)))
            .map(|referral| (self.key(referral), referral))
            .filter(|(key, _)| {
                self.after
                    .as_ref()
                    .is_none_or(|after| self.order(after, key) == Ordering::Less)
            })
            .collect();
        found.sort_by(|(left, _), (right, _)| self.order(left, right));
        let size = self.top.map_or(policy.page_size, |top| top.min(policy.page_size));
        let mut rest = found.into_iter().skip(self.skip);
        let shown: Vec<_> = rest.by_ref().take(size).collect();
        self.top = self.top.map(|top| top.saturating_sub(shown.len()));
        let more = rest.next().is_some() && self.top != Some(0);
        self.skip = 0;
        self.after = shown.last().map(|(key, _)| key.clone());
        let items = shown.into_iter().map(|(_, referral)| self.selected(referral)).collect();
        Ok(Page {
            items,
            next: more.then(|| self.token()),
        })
    }

    fn key(&self, referral: &Document) -> (Timestamp, String) {
        let name = if self.order_by_updated {
            "updatedDateTime"
        } else {
            "createdDateTime"
        };
        let moment = referral
            .text_at(&[name])
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        (moment, referral.text_at(&["id"]).unwrap_or_default().to_owned())
    }

    fn order(&self, left: &(Timestamp, String), right: &(Timestamp, String)) -> Ordering {
        if self.ascending {
            left.cmp(right)
        } else {
            right.cmp(left)
        }
    }

    fn selected(&self, referral: &Document) -> Document {
        match (&self.select, referral.members()) {
            (Some(names), Some(members)) => Document::Object(Members(
                members
                    .0
                    .iter()
                    .filter(|(name, _)| names.contains(name))
                    .cloned()
                    .collect(),
            )),
            _ => referral.clone(),
        }
    }

    fn token(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let token: String = url::form_urlencoded::byte_serialize(STANDARD.encode(text).as_bytes()).collect();
        // The vendor's tokens are percent-encoded with small letters.
        ["%2B", "%2F", "%3D"]
            .iter()
            .fold(token, |token, code| token.replace(code, &code.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::{Page, Policy, Query};

    fn referrals(count: usize) -> Vec<Document> {
        (0..count)
            .map(|index| {
                Document::parse(&format!(
                    r#"{{"id":"{index}","status":"{}","createdDateTime":"2026-01-01T00:00:0{index}.0000000Z",
                        "updatedDateTime":"2026-01-02T00:00:0{}.0000000Z"}}"#,
                    if index % 2 == 0 { "New" } else { "Active" },
                    9 - index
                ))
                .unwrap()
            })
            .collect()
    }

    fn policy() -> Policy {
        Policy {
            page_size: 2,
            refuse_updated_filter: false,
            filter_any_member: false,
        }
    }

    fn page(query: &str, referrals: &[Document]) -> Page {
        Query::parse(query).unwrap().page(referrals.iter(), policy()).unwrap()
    }

    fn ids(query: &str, referrals: &[Document]) -> Vec<String> {
        let mut found = Vec::new();
        let mut next = Some(query.to_owned());
        while let Some(query) = next {
            let page = page(&query, referrals);
            assert!(page.items.len() <= 2);
            found.extend(page.items.iter().map(|item| item.text_at(&["id"]).unwrap().to_owned()));
            next = page.next.map(|token| format!("$skiptoken={token}"));
        }
        found
    }

    #[test]
    fn pages_follow_one_another_in_order() {
        let all = referrals(5);
        assert_eq!(ids("", &all).join(""), "43210");
        assert_eq!(ids("$orderby=updatedDateTime%20desc", &all).join(""), "01234");
        assert_eq!(ids("$orderby=updatedDateTime", &all).join(""), "43210");
        assert_eq!(ids("$filter=status%20eq%20%27New%27", &all).join(""), "420");
        assert_eq!(ids("$top=3&$skip=1", &all).join(""), "321");
        assert_eq!(ids("$top=0", &all).join(""), "");
    }

    #[test]
    fn a_page_that_ends_exactly_has_no_successor() {
        assert!(page("", &referrals(2)).next.is_none());
        assert!(page("", &referrals(3)).next.is_some());
    }

    #[test]
    fn a_record_that_moves_to_the_end_is_still_shown() {
        let mut all = referrals(4);
        let first = page("$orderby=updatedDateTime", &all);
        // Shown first, changed meanwhile: it reappears and pushes nobody out.
        all[3].set("updatedDateTime", "2026-01-03T00:00:00.0000000Z");
        let rest = ids(&format!("$skiptoken={}", first.next.unwrap()), &all);
        assert_eq!(rest.join(""), "103");
    }

    #[test]
    fn selection_shows_nothing_else() {
        let page = page("$select=id,status", &referrals(1));
        assert_eq!(page.items[0].to_string(), r#"{"id":"0","status":"New"}"#);
    }

    #[test]
    fn unknown_options_are_refused() {
        for query in [
            "pageSize=5",
            "api-version=v1.0",
            "$orderby=name",
            "$orderby=createdDateTime%20down",
            "$top=x",
            "$select=nonsense",
            "$expand=team",
            "$search=x",
            "$skiptoken=%%%",
            "$top=1&$top=2",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
        let strict = Policy {
            refuse_updated_filter: true,
            ..policy()
        };
        let query = Query::parse("$filter=updatedDateTime%20gt%202026-01-01T00:00:00Z").unwrap();
        assert!(query.page(std::iter::empty(), strict).is_err());
    }
}
