//! Text as columns hold it: marks, limits in UTF-16 units, one value a line.

use std::collections::BTreeSet;

use crate::deal::Term;
use crate::ids::SolutionId;

/// Marks that sync states, ours or the replaced connector's, leave before or after a name.
const MARKS: [char; 12] = [
    '✔', '✘', '✓', '✗', '✅', '❌', '☑', '☒', '❎', '✖', '\u{fe0f}', '\u{fe0e}',
];

/// A name with its mark, where there is room for it: a seller's own name is never cut for a mark.
pub(super) fn marked(name: &str, mark: Option<char>, limit: usize) -> String {
    mark.map(|mark| format!("{mark} {name}"))
        .filter(|marked| !cut(marked, limit).1)
        .unwrap_or_else(|| name.to_owned())
}

/// A name without the marks of ours or of the replaced connector.
#[must_use]
pub fn strip_mark(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || MARKS.contains(&c))
}

/// Text cut to so many UTF-16 units, on a character boundary.
#[must_use]
pub fn cut(text: &str, limit: usize) -> (&str, bool) {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units > limit {
            return (text.get(..at).unwrap_or(text), true);
        }
    }
    (text, false)
}

/// Solutions one a line, as many as there is room for: half an id would name another solution.
pub(super) fn whole_lines(ids: &BTreeSet<SolutionId>, limit: usize) -> (String, bool) {
    let mut text = String::new();
    for SolutionId(id) in ids {
        let longer = if text.is_empty() {
            id.clone()
        } else {
            format!("{text}\n{id}")
        };
        if cut(&longer, limit).1 {
            return (text, true);
        }
        text = longer;
    }
    (text, false)
}

pub(super) fn lines(text: &str) -> Term {
    let ids: BTreeSet<_> = text
        .split(['\n', '\r', ',', ';'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| SolutionId(line.to_owned()))
        .collect();
    if ids.is_empty() {
        Term::Nothing
    } else {
        Term::Solutions(ids)
    }
}
