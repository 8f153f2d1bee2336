//! What goes wrong with a file of `key = value` lines that people edit.

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::{Index, select};

/// Values of other types, as TOML prints them; a few are no TOML at all.
const ODD: [&str; 22] = [
    "\"\"",
    "\" \"",
    "\"x\"",
    "\"@x\"",
    "\"é💥\\u0000\"",
    "'''",
    "\"\"\"",
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "1e999",
    "nan",
    "true",
    "false",
    "[]",
    "[[[[]]]]",
    "[\"\", 1, true]",
    "{}",
    "{ a = { b = { c = 1 } } }",
    "2026-01-30T00:00:00Z",
];

/// One thing done to a file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Remove(Index),
    Double(Index),
    Move(Index, Index),
    Value(Index, &'static str),
    ValueOf(Index, Index),
    Key(Index, &'static str),
    Nest(Index, usize),
    /// A whole section goes, or comes twice.
    Section(Index, bool),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Change::Remove),
        1 => at().prop_map(Change::Double),
        1 => (at(), at()).prop_map(|(from, to)| Change::Move(from, to)),
        4 => (at(), select(&ODD[..])).prop_map(|(at, odd)| Change::Value(at, odd)),
        4 => (at(), at()).prop_map(|(at, like)| Change::ValueOf(at, like)),
        1 => (at(), select(vec!["x", "\"\"", "a.b", "\"é\"", "limit", "deal", ""])).prop_map(|(at, key)| Change::Key(at, key)),
        1 => (at(), select(vec![1, 100, 20_000])).prop_map(|(at, depth)| Change::Nest(at, depth)),
        2 => (at(), any::<bool>()).prop_map(|(at, twice)| Change::Section(at, twice)),
    ]
}

impl Change {
    pub(crate) fn apply(&self, lines: &mut Vec<String>) {
        if lines.is_empty() {
            return;
        }
        let length = lines.len();
        match self {
            Self::Remove(at) => drop(lines.remove(at.index(length))),
            Self::Double(at) => lines.insert(at.index(length), at.get(lines).clone()),
            Self::Move(from, to) => {
                let line = lines.remove(from.index(length));
                lines.insert(to.index(length), line);
            }
            Self::Value(at, odd) => with_value(lines, at, odd),
            Self::ValueOf(at, like) => {
                if let Some((_, value)) = like.get(lines).clone().split_once('=') {
                    with_value(lines, at, value.trim());
                }
            }
            Self::Key(at, key) => {
                if let Some(line) = lines.get_mut(at.index(length))
                    && let Some((_, value)) = line.split_once('=')
                {
                    *line = format!("{key} ={value}");
                }
            }
            Self::Section(at, twice) => {
                let heads = lines.iter().enumerate().filter(|(_, line)| line.starts_with('['));
                let heads: Vec<usize> = heads.map(|(position, _)| position).collect();
                if heads.is_empty() {
                    return;
                }
                let which = at.index(heads.len());
                let (from, to) = (*at.get(&heads), heads.get(which + 1).copied().unwrap_or(length));
                let section: Vec<String> = lines.drain(from..to).collect();
                if *twice {
                    let both = [&section[..], &section[..]].concat();
                    lines.splice(from..from, both);
                }
            }
            Self::Nest(at, depth) => with_value(lines, at, &format!("{}{}", "[".repeat(*depth), "]".repeat(*depth))),
        }
    }
}

fn with_value(lines: &mut [String], at: &Index, value: &str) {
    let position = at.index(lines.len());
    if let Some(line) = lines.get_mut(position)
        && let Some((key, _)) = line.split_once('=')
    {
        *line = format!("{key}= {value}");
    }
}
