//! Reading the mapping file: every problem is found in one pass, and each names its line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// Everything that is wrong with a mapping file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mapping file has {} problem(s): {}", .0.len(), join(.0))]
pub struct InvalidMapping(pub Vec<Problem>);

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects problems while a file is read.
pub(super) struct Problems<'a> {
    source: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(source: &'a str) -> Self {
        Self {
            source,
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let line = self
            .source
            .bytes()
            .take(span.start)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        self.found.push(Problem {
            line,
            text: text.into(),
        });
    }

    pub(super) fn finish<T>(mut self, value: T) -> Result<T, InvalidMapping> {
        self.found.sort_by_key(|problem| problem.line);
        if self.found.is_empty() {
            Ok(value)
        } else {
            Err(InvalidMapping(self.found))
        }
    }
}

/// A table that is read key by key; what was not read at the end is unknown.
pub(super) struct Section<'t> {
    entries: BTreeMap<String, (Range<usize>, Spanned<DeValue<'t>>)>,
    span: Range<usize>,
    name: String,
}

impl<'t> Section<'t> {
    pub(super) fn new(name: impl Into<String>, span: Range<usize>, table: DeTable<'t>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().clone().into_owned(), (key.span(), value)))
            .collect();
        Self {
            entries,
            span,
            name: name.into(),
        }
    }

    pub(super) const fn span(&self) -> &Range<usize> {
        &self.span
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &str, problems: &mut Problems<'_>) -> (String, Range<usize>) {
        match self.take(key) {
            Some(value) => {
                let span = value.span();
                match value.into_inner() {
                    DeValue::String(Cow::Borrowed(text)) if !text.trim().is_empty() => (text.to_owned(), span),
                    DeValue::String(Cow::Owned(text)) if !text.trim().is_empty() => (text, span),
                    _ => {
                        problems.add(
                            &span,
                            format!("{key} in {} must be a text that is not blank", self.name),
                        );
                        (String::new(), span)
                    }
                }
            }
            None => {
                problems.add(&self.span, format!("{} lacks {key}", self.name));
                (String::new(), self.span.clone())
            }
        }
    }

    /// A text that may be absent; a blank one is reported.
    pub(super) fn optional_text(&mut self, key: &str, problems: &mut Problems<'_>) -> Option<(String, Range<usize>)> {
        self.has(key).then(|| self.text(key, problems))
    }

    /// Whether an entry is there that was not read yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str, problems: &mut Problems<'_>) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            problems.add(&span, format!("{key} in {} must be a list of texts", self.name));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(text) => texts.push(text.into_owned()),
                _ => problems.add(&span, format!("{key} in {} must hold texts only", self.name)),
            }
        }
        Some(texts)
    }

    /// A whole number; `None` when it is absent or wrong (which is then reported).
    pub(super) fn integer(&mut self, key: &str, required: bool, problems: &mut Problems<'_>) -> Option<i64> {
        let Some(value) = self.take(key) else {
            if required {
                problems.add(&self.span, format!("{} lacks {key}", self.name));
            }
            return None;
        };
        let span = value.span();
        let number = match value.into_inner() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            problems.add(&span, format!("{key} in {} must be a whole number", self.name));
        }
        number
    }

    /// Yes or no; absent means no.
    pub(super) fn flag(&mut self, key: &str, problems: &mut Problems<'_>) -> bool {
        match self.take(key) {
            None => false,
            Some(value) => {
                let span = value.span();
                match value.into_inner() {
                    DeValue::Boolean(flag) => flag,
                    _ => {
                        problems.add(&span, format!("{key} in {} must be true or false", self.name));
                        false
                    }
                }
            }
        }
    }

    /// A table within this one; an empty one when it is absent.
    pub(super) fn section(&mut self, key: &str, problems: &mut Problems<'_>) -> Self {
        let name = format!("[{key}]");
        match self.take(key) {
            None => Self {
                entries: BTreeMap::new(),
                span: self.span.clone(),
                name,
            },
            Some(value) => {
                let span = value.span();
                match value.into_inner() {
                    DeValue::Table(table) => Self::new(name, span, table),
                    _ => {
                        problems.add(&span, format!("{key} must be a table"));
                        Self {
                            entries: BTreeMap::new(),
                            span,
                            name,
                        }
                    }
                }
            }
        }
    }

    /// A list of tables within this one.
    pub(super) fn sections(&mut self, key: &str, problems: &mut Problems<'_>) -> Vec<Self> {
        let Some(value) = self.take(key) else {
            problems.add(&self.span, format!("there is no [[{key}]]"));
            return Vec::new();
        };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            problems.add(&span, format!("{key} must be a list of tables, written [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => sections.push(Self::new(format!("[[{key}]]"), span, table)),
                _ => problems.add(&span, format!("{key} must hold tables only")),
            }
        }
        sections
    }

    /// The keys that were not read yet.
    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// All entries that were not read yet, as they are.
    pub(super) fn rest(&mut self) -> Vec<(String, Spanned<DeValue<'t>>)> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(key, (_, value))| (key, value))
            .collect()
    }

    /// Reports what was not read.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for (key, (span, _)) in &self.entries {
            problems.add(span, format!("{} has no setting {key:?}", self.name));
        }
    }
}
