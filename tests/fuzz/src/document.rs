//! JSON as its text, member by member: whatever a document can say that our types cannot.
//!
//! Guarantee: members keep their order, may come twice, and numbers keep their digits.

use std::fmt::Write as _;

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use serde_json::Value;

/// Values that stand where another type is expected, as JSON prints them; a few are no JSON at all.
const ODD: [&str; 40] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1",
    "727000001",
    "1e999",
    "1e-999",
    "1E+5",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "123456789012345678.91",
    "0.12345678901234567890123456789012",
    "12345678901234567890123456789012345678901234567890",
    "79228162514264337593543950336",
    "01",
    "NaN",
    r#""""#,
    r#"" ""#,
    r#""\u0000""#,
    r#""\ud800""#,
    r#""0""#,
    r#""1e5""#,
    r#""null""#,
    r#""true""#,
    r#""'""#,
    r#""é\u202e💥""#,
    r#""{8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10}""#,
    r#""00000000-0000-0000-0000-000000000000""#,
    r#""9999-12-31T23:59:59Z""#,
    r#""2026-02-30""#,
    r#""-009999-01-01""#,
    "[]",
    "{}",
    "[null]",
    r#"{"":null}"#,
    r#"{"code":-2147015902,"message":"m"}"#,
];

/// How deep a value may be nested: up to here, beyond what readers admit, and beyond what a stack would bear.
const DEPTHS: [usize; 4] = [1, 100, 200, 20_000];

/// A JSON value as it will be printed.
#[derive(Clone, Debug)]
pub enum Node {
    /// A printed value.
    Raw(String),
    /// A list.
    List(Vec<Node>),
    /// Members in their order.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Reads a valid document.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "documents to start from are valid, or the target is wrong"
    )]
    pub fn read(text: &str) -> Self {
        Self::of(serde_json::from_str(text).expect("a document of the corpus is not JSON"))
    }

    fn of(value: Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect()),
            Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, Self::of(value)))
                    .collect(),
            ),
            plain => Self::Raw(plain.to_string()),
        }
    }

    /// The document's text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut String) {
        match self {
            Self::Raw(raw) => text.push_str(raw),
            Self::List(items) => {
                text.push('[');
                for (position, item) in items.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { "," });
                    item.write_to(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (position, (name, value)) in members.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { "," });
                    // Writing to a string cannot fail.
                    write!(text, "{}:", Value::from(name.as_str())).ok();
                    value.write_to(text);
                }
                text.push('}');
            }
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::Raw(_) => 0,
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.count()).sum(),
        }
    }

    /// The value at this position, counted from the outside in and from first to last.
    fn at(&mut self, position: &mut usize) -> Option<&mut Self> {
        if *position == 0 {
            return Some(self);
        }
        *position -= 1;
        let inner: Box<dyn Iterator<Item = &mut Self>> = match self {
            Self::Raw(_) => return None,
            Self::List(items) => Box::new(items.iter_mut()),
            Self::Object(members) => Box::new(members.iter_mut().map(|(_, value)| value)),
        };
        for value in inner {
            let count = value.count();
            if *position < count {
                return value.at(position);
            }
            *position -= count;
        }
        None
    }
}

/// One thing done to a document.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Replace(Index, &'static str),
    Graft(Index, Index),
    Remove(Index, Index),
    Double(Index, Index, &'static str),
    Rename(Index, Index, Index),
    Nest(Index, usize, bool),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        8 => (at(), select(&ODD[..])).prop_map(|(at, odd)| Change::Replace(at, odd)),
        2 => (at(), at()).prop_map(|(at, from)| Change::Graft(at, from)),
        3 => (at(), at()).prop_map(|(at, which)| Change::Remove(at, which)),
        2 => (at(), at(), select(&ODD[..])).prop_map(|(at, which, odd)| Change::Double(at, which, odd)),
        2 => (at(), at(), at()).prop_map(|(at, which, like)| Change::Rename(at, which, like)),
        1 => (at(), select(&DEPTHS[..]), any::<bool>()).prop_map(|(at, depth, named)| Change::Nest(at, depth, named)),
    ]
}

impl Change {
    pub(crate) fn apply(&self, document: &mut Node, other: &Node) {
        let count = document.count();
        let (Self::Replace(at, _)
        | Self::Graft(at, _)
        | Self::Remove(at, _)
        | Self::Double(at, _, _)
        | Self::Rename(at, _, _)
        | Self::Nest(at, _, _)) = self;
        let Some(node) = document.at(&mut at.index(count)) else {
            return;
        };
        match self {
            Self::Replace(_, odd) => *node = Node::Raw((*odd).to_owned()),
            Self::Graft(_, from) => {
                let mut other = other.clone();
                let mut position = from.index(other.count());
                if let Some(graft) = other.at(&mut position) {
                    *node = graft.clone();
                }
            }
            Self::Remove(_, which) => match node {
                Node::List(items) if !items.is_empty() => drop(items.remove(which.index(items.len()))),
                Node::Object(members) if !members.is_empty() => drop(members.remove(which.index(members.len()))),
                _ => {}
            },
            Self::Double(_, which, odd) => match node {
                Node::List(items) if !items.is_empty() => items.push(which.get(items).clone()),
                Node::Object(members) if !members.is_empty() => {
                    let name = which.get(members).0.clone();
                    members.push((name, Node::Raw((*odd).to_owned())));
                }
                _ => {}
            },
            Self::Rename(_, which, like) => {
                if let Node::Object(members) = node
                    && !members.is_empty()
                {
                    let name = like.get(members).0.clone();
                    let position = which.index(members.len());
                    if let Some(member) = members.get_mut(position) {
                        // A name of its own in another case, or the name of a neighbour.
                        member.0 = if member.0 == name { name.to_uppercase() } else { name };
                    }
                }
            }
            Self::Nest(_, depth, named) => {
                let (open, close) = if *named { (r#"{"a":"#, "}") } else { ("[", "]") };
                let inner = node.write();
                *node = Node::Raw(format!("{}{inner}{}", open.repeat(*depth), close.repeat(*depth)));
            }
        }
    }
}
