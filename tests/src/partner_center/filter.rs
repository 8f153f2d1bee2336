//! The subset of OData `$filter` that the list of referrals understands.
//!
//! Knows: the grammar, and which members may be compared with what. Refuses to know: paging, ordering, storage.
//! Guarantee: an expression that is not fully understood is refused, never partly applied.

use std::cmp::Ordering;

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::document::Document;
use super::schema::{self, Shape};

/// Members for which the documents show a filter.
const FILTERABLE: &[&str] = &[
    "engagementId",
    "status",
    "substatus",
    "updatedDateTime",
    "qualification",
    "type",
    "direction",
    "customerProfile/address/country",
    "team/email",
];

/// A parsed expression.
#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// Some element of the array fulfils the inner expression.
    Any(String, Box<Self>),
    Compare(String, Operator, Literal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Flag(bool),
    Text(String),
    Guid(Uuid),
    Number(Decimal),
    Moment(Timestamp),
}

impl Filter {
    /// Reads an expression; the error says what was not understood. `any_member` lifts the list of members.
    pub(super) fn parse(text: &str, any_member: bool) -> Result<Self, String> {
        let mut reader = Reader { rest: text, any_member };
        let filter = reader.disjunction(None)?;
        match reader.rest.trim() {
            "" => Ok(filter),
            rest => Err(format!("unexpected '{rest}'")),
        }
    }

    /// Whether the expression compares this member.
    pub(super) fn mentions(&self, member: &str) -> bool {
        match self {
            Self::And(left, right) | Self::Or(left, right) => left.mentions(member) || right.mentions(member),
            Self::Any(_, inner) => inner.mentions(member),
            Self::Compare(path, ..) => path == member,
        }
    }

    /// Whether a referral fulfils it.
    pub(super) fn accepts(&self, referral: &Document) -> bool {
        match self {
            Self::And(left, right) => left.accepts(referral) && right.accepts(referral),
            Self::Or(left, right) => left.accepts(referral) || right.accepts(referral),
            Self::Any(list, inner) => referral.list_at(&steps(list)).iter().any(|item| inner.accepts(item)),
            Self::Compare(path, operator, literal) => literal
                .compare(referral.at(&steps(path)).unwrap_or(&Document::Null))
                .is_some_and(|order| match operator {
                    Operator::Eq => order == Ordering::Equal,
                    Operator::Gt => order == Ordering::Greater,
                    Operator::Ge => order != Ordering::Less,
                    Operator::Lt => order == Ordering::Less,
                    Operator::Le => order != Ordering::Greater,
                }),
        }
    }
}

fn steps(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

impl Literal {
    /// How the value stands to this literal; nothing when they cannot be compared.
    fn compare(&self, value: &Document) -> Option<Ordering> {
        match (self, value) {
            (Self::Null, Document::Null) => Some(Ordering::Equal),
            (Self::Flag(flag), Document::Flag(value)) => Some(value.cmp(flag)),
            (Self::Text(text), Document::Text(value)) => Some(value.as_str().cmp(text)),
            (Self::Guid(guid), Document::Text(value)) => Some(Uuid::try_parse(value).ok()?.cmp(guid)),
            (Self::Moment(moment), Document::Text(value)) => Some(value.parse::<Timestamp>().ok()?.cmp(moment)),
            (Self::Number(number), Document::Number(value)) => Some(schema::decimal(value)?.cmp(number)),
            _ => None,
        }
    }

    fn bare(word: &str) -> Result<Self, String> {
        Ok(match word {
            "null" => Self::Null,
            "true" => Self::Flag(true),
            "false" => Self::Flag(false),
            _ => {
                if let Ok(guid) = Uuid::try_parse(word) {
                    Self::Guid(guid)
                } else if let Ok(moment) = word.parse::<Timestamp>() {
                    Self::Moment(moment)
                } else if let Some(number) = schema::decimal(word) {
                    Self::Number(number)
                } else {
                    return Err(format!("'{word}' is no literal"));
                }
            }
        })
    }

    /// Fits the literal to the type of the member. GUIDs are understood with and without quotes.
    fn fit(self, shape: &Shape) -> Result<Self, String> {
        match (shape, self) {
            (_, Self::Null) => Ok(Self::Null),
            (Shape::Guid, Self::Text(text)) => Uuid::try_parse(&text)
                .map(Self::Guid)
                .map_err(|_| format!("'{text}' is no GUID")),
            (Shape::Guid, guid @ Self::Guid(_)) => Ok(guid),
            (Shape::Moment, moment @ Self::Moment(_)) => Ok(moment),
            (Shape::Number, number @ Self::Number(_)) => Ok(number),
            (Shape::Flag, flag @ Self::Flag(_)) => Ok(flag),
            (Shape::Text | Shape::Choice(_) | Shape::SalesStage, text @ Self::Text(_)) => Ok(text),
            (_, literal) => Err(format!("{literal:?} has not the type of the member")),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    any_member: bool,
}

/// Inside `any(...)`: the variable, and the array it runs over.
type Scope<'s> = Option<(&'s str, &'s str)>;

impl<'a> Reader<'a> {
    fn disjunction(&mut self, scope: Scope<'_>) -> Result<Filter, String> {
        let mut left = self.conjunction(scope)?;
        while self.keyword("or") {
            left = Filter::Or(Box::new(left), Box::new(self.conjunction(scope)?));
        }
        Ok(left)
    }

    fn conjunction(&mut self, scope: Scope<'_>) -> Result<Filter, String> {
        let mut left = self.term(scope)?;
        while self.keyword("and") {
            left = Filter::And(Box::new(left), Box::new(self.term(scope)?));
        }
        Ok(left)
    }

    fn term(&mut self, scope: Scope<'_>) -> Result<Filter, String> {
        if self.symbol('(') {
            let inner = self.disjunction(scope)?;
            return self.close(inner);
        }
        let word = self.word();
        if let Some(list) = word
            .strip_suffix("/any")
            .filter(|_| scope.is_none() && self.rest.starts_with('('))
        {
            return self.any(list);
        }
        let (member, full) = match scope {
            None => (word, word.to_owned()),
            Some((variable, list)) => {
                let member = word.strip_prefix(variable).and_then(|rest| rest.strip_prefix('/'));
                let member = member.ok_or_else(|| format!("'{word}' does not start with '{variable}/'"))?;
                (member, format!("{list}/{member}"))
            }
        };
        if !self.any_member && !FILTERABLE.contains(&full.as_str()) {
            return Err(format!("'{full}' cannot be filtered on"));
        }
        let pointer = match scope {
            None => format!("/{member}"),
            Some((_, list)) => format!("/{list}/0/{member}"),
        };
        let (_, shape) = schema::locate(&pointer).ok_or_else(|| format!("'{full}' is not a member"))?;
        let operator = match self.word() {
            "eq" => Operator::Eq,
            "gt" => Operator::Gt,
            "ge" => Operator::Ge,
            "lt" => Operator::Lt,
            "le" => Operator::Le,
            other => return Err(format!("the operator '{other}' is not supported")),
        };
        let literal = self.literal()?.fit(shape)?;
        if operator != Operator::Eq && !matches!(literal, Literal::Moment(_) | Literal::Number(_)) {
            return Err(format!("'{full}' has no order"));
        }
        Ok(Filter::Compare(member.to_owned(), operator, literal))
    }

    fn any(&mut self, list: &'a str) -> Result<Filter, String> {
        if !self.symbol('(') {
            return Err("'any' needs parentheses".to_owned());
        }
        let (variable, rest) = self.rest.split_once(':').ok_or("'any' needs a variable")?;
        self.rest = rest;
        let inner = self.disjunction(Some((variable.trim(), list)))?;
        self.close(Filter::Any(list.to_owned(), Box::new(inner)))
    }

    fn close(&mut self, filter: Filter) -> Result<Filter, String> {
        if self.symbol(')') {
            Ok(filter)
        } else {
            Err("a parenthesis is not closed".to_owned())
        }
    }

    fn symbol(&mut self, symbol: char) -> bool {
        match self.rest.trim_start().strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.rest;
        if self.word() == keyword {
            return true;
        }
        self.rest = before;
        false
    }

    fn word(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|letter: char| letter.is_whitespace() || matches!(letter, '(' | ')' | '\''));
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest;
        word
    }

    fn literal(&mut self) -> Result<Literal, String> {
        let Some(mut rest) = self.rest.trim_start().strip_prefix('\'') else {
            return Literal::bare(self.word());
        };
        let mut text = String::new();
        loop {
            let (part, after) = rest.split_once('\'').ok_or("a quote is not closed")?;
            text.push_str(part);
            match after.strip_prefix('\'') {
                // Two quotes stand for one.
                Some(more) => {
                    text.push('\'');
                    rest = more;
                }
                None => {
                    self.rest = after;
                    return Ok(Literal::Text(text));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::Filter;

    const GUID: &str = "d1f7b6a2-0c35-4b89-8e43-52a9c7e1f604";

    fn referral() -> Document {
        Document::parse(&format!(
            r#"{{"engagementId":"{GUID}","status":"New","substatus":"Pending","qualification":"SalesQualified",
                "type":"Shared","direction":"Incoming","updatedDateTime":"2026-01-28T09:14:07.1830421Z",
                "name":"O'Hara","customerProfile":{{"address":{{"country":"GB"}}}},
                "details":{{"dealValue":10.50}},"team":[{{"email":"a@b.example"}},{{"email":"c@d.example"}}]}}"#
        ))
        .unwrap()
    }

    fn accepts(text: &str) -> bool {
        Filter::parse(text, false).unwrap().accepts(&referral())
    }

    #[test]
    fn the_documented_expressions_are_understood() {
        assert!(accepts(&format!("engagementId eq '{GUID}'")));
        assert!(accepts(&format!("engagementId eq {}", GUID.to_uppercase())));
        assert!(accepts("status eq 'New' and qualification eq 'SalesQualified'"));
        assert!(accepts(
            "customerProfile/address/country eq 'GB' and direction eq 'Incoming'"
        ));
        assert!(!accepts("(type eq 'Shared' and direction eq 'Outgoing')"));
        assert!(accepts("(direction eq 'Incoming' and substatus eq 'Pending')"));
        assert!(accepts("team/any(t:t/email eq 'c@d.example')"));
        assert!(!accepts("team/any(t: t/email eq 'x@d.example') and status eq 'New'"));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(accepts(
            "status eq 'New' or status eq 'Active' and substatus eq 'Accepted'"
        ));
        assert!(!accepts(
            "(status eq 'New' or status eq 'Active') and substatus eq 'Accepted'"
        ));
    }

    #[test]
    fn moments_are_compared_as_moments() {
        assert!(accepts("updatedDateTime gt 2026-01-28T09:14:07Z"));
        assert!(accepts(
            "updatedDateTime ge 2026-01-28T09:14:07.1830421Z and updatedDateTime lt 2026-01-28T10:00:00Z"
        ));
        assert!(accepts("updatedDateTime le 2026-01-28T11:14:08+02:00"));
        assert!(!accepts("updatedDateTime gt 2026-01-28T09:14:07.1830421Z"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "status",
            "status ne 'New'",
            "status eq New",
            "status eq 'New' and",
            "status eq 'New')",
            "(status eq 'New'",
            "status eq 'New",
            "status gt 'New'",
            "contains(name,'x')",
            "status in ('New','Active')",
            "updatedDateTime gt '2026-01-28T09:14:07Z'",
            "engagementId eq 'not-a-guid'",
            "externalReferenceId eq 'x'",
            "nonsense eq 'x'",
            "team/any(t:x/email eq 'a')",
        ] {
            assert!(Filter::parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn the_list_of_members_can_be_lifted() {
        assert!(Filter::parse("name eq 'O''Hara'", true).unwrap().accepts(&referral()));
        assert!(
            Filter::parse("details/dealValue ge 10.5", true)
                .unwrap()
                .accepts(&referral())
        );
        assert!(Filter::parse("nonsense eq 'x'", true).is_err());
    }
}
