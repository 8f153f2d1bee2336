//! JSON as it was sent: members keep their order and numbers keep their digits.
//!
//! Knows: the shape of JSON. Refuses to know: what any member means. Guarantee: a number that is stored and returned is
//! the same text. (`serde_json::Value` would pass money through binary floating point.)

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Any JSON value, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number, as it was spelt.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object, its members in the order they were sent.
    Object(Members),
}

/// The members of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(pub(super) Vec<(String, Document)>);

impl Document {
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        let text = text.trim();
        Ok(match text.as_bytes().first() {
            Some(b'n') => {
                serde_json::from_str::<()>(text)?;
                Self::Null
            }
            Some(b't' | b'f') => Self::Flag(serde_json::from_str(text)?),
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b'[') => Self::List(serde_json::from_str(text)?),
            Some(b'{') => Self::Object(serde_json::from_str(text)?),
            _ => Self::Number(serde_json::from_str::<Box<RawValue>>(text)?.get().to_owned()),
        })
    }

    /// The same as a value of `serde_json`; long numbers may lose digits.
    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    pub(super) fn empty_object() -> Self {
        Self::Object(Members::default())
    }

    /// The member under a path of names, if every step is there.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |here, name| here.members()?.get(name))
    }

    /// The text under a path, if there is one.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.text()
    }

    /// The elements under a path; none when it is absent or no array.
    pub(super) fn list_at(&self, path: &[&str]) -> &[Self] {
        match self.at(path) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> Option<&Members> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn members_mut(&mut self) -> Option<&mut Members> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Sets a member of an object; anything else stays as it is.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Self>) {
        if let Some(members) = self.members_mut() {
            members.set(name, value.into());
        }
    }

    /// Lays `patch` over this: objects member by member, anything else replaces.
    pub(super) fn merge(&mut self, patch: Self) {
        match (self, patch) {
            (Self::Object(here), Self::Object(patch)) => {
                for (name, value) in patch.0 {
                    match here.get_mut(&name) {
                        Some(old) => old.merge(value),
                        None => here.set(&name, value),
                    }
                }
            }
            (here, patch) => *here = patch,
        }
    }
}

impl Members {
    pub(super) fn get(&self, name: &str) -> Option<&Document> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Document> {
        self.0
            .iter_mut()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    pub(super) fn set(&mut self, name: &str, value: Document) {
        match self.get_mut(name) {
            Some(old) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl From<&str> for Document {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Document {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<Self>> for Document {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl<T: Into<Self>> From<Option<T>> for Document {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self::parse(&value.to_string()).unwrap_or(Self::Null)
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = map.next_entry::<String, Document>()? {
                    if members.get(&name).is_some() {
                        return Err(A::Error::custom(format!("member '{name}' is given twice")));
                    }
                    members.0.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(digits) => RawValue::from_string(digits.clone())
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.0.len()))?;
                for (name, value) in &members.0 {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Document;

    #[test]
    fn digits_and_order_survive() {
        let text = r#"{"b":123456789012345678.10,"a":[0.1,1e3,null,true],"c":{"d":"\u00e9"}}"#;
        let document = Document::parse(text).unwrap();
        assert_eq!(
            document.to_string(),
            r#"{"b":123456789012345678.10,"a":[0.1,1e3,null,true],"c":{"d":"é"}}"#
        );
    }

    #[test]
    fn a_member_given_twice_is_refused() {
        assert!(Document::parse(r#"{"a":1,"a":2}"#).is_err());
        assert!(Document::parse("nonsense").is_err());
    }
}
