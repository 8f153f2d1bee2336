//! What goes wrong with bytes, whatever they mean.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};

/// Pieces that have broken readers before: limits of numbers, of time and of text, and what quotes and paths are made of.
const PIECES: [&str; 46] = [
    "null",
    "true",
    "-",
    "-0",
    "0",
    "1",
    "1e999",
    "1e-999",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "0.12345678901234567890123456789012",
    "1_0",
    "+1",
    " ",
    "\t",
    "\r\n",
    "\0",
    "\"",
    "\\",
    "\\ud800",
    "\\u0000",
    "'",
    "''",
    "%27",
    "%00",
    "%2e%2e/",
    "../",
    "//",
    "\\\\",
    "@",
    "?",
    "#",
    ":",
    ",",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "\u{feff}",
    "\u{202e}",
    "é",
    "ß",
    "İ",
    "💥",
    "9999-12-31T23:59:60Z",
    "-009999-01-01T00:00:00Z",
    "Thu, 31 Dec 9999 23:59:59 GMT",
];

/// How often something is repeated at most; more is only slower.
const MOST_TIMES: usize = 300;

/// What a repeated document may grow to, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// One thing done to bytes. Places are fractions of the length.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, &'static str),
    Cut(Index, Index),
    CutByte(Index),
    Truncate(Index),
    Repeat(Index, Index, usize),
    Move(Index, Index, Index),
    Splice(Index, Index),
    Swell(Index),
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        6 => (at(), select(&PIECES[..])).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        2 => (at(), at()).prop_map(|(from, to)| Edit::Cut(from, to)),
        3 => at().prop_map(Edit::CutByte),
        1 => at().prop_map(Edit::Truncate),
        2 => (at(), at(), prop_oneof![Just(1), Just(2), 1..MOST_TIMES])
            .prop_map(|(from, to, times)| Edit::Repeat(from, to, times)),
        1 => (at(), at(), at()).prop_map(|(from, to, at)| Edit::Move(from, to, at)),
        1 => (at(), at()).prop_map(|(at, from)| Edit::Splice(at, from)),
        1 => at().prop_map(Edit::Swell),
    ]
}

impl Edit {
    /// Does it; `other` is another document of the same corpus.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>, other: &[u8]) {
        let length = bytes.len();
        let place = |at: &Index| at.index(length + 1);
        let span = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Flip(at, bit) => {
                if let Some(byte) = bytes.get_mut(place(at)) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Set(at, new) => {
                if let Some(byte) = bytes.get_mut(place(at)) {
                    *byte = *new;
                }
            }
            Self::Insert(at, piece) => {
                let at = place(at);
                bytes.splice(at..at, piece.bytes());
            }
            Self::Cut(from, to) => drop(bytes.drain(span(from, to))),
            Self::CutByte(at) => {
                let at = place(at);
                bytes.drain(at..(at + 1).min(length));
            }
            Self::Truncate(at) => bytes.truncate(place(at)),
            Self::Repeat(from, to, times) => {
                let span = span(from, to);
                let end = span.end;
                let piece = bytes.get(span).unwrap_or_default();
                let times = (*times).min(MOST_BYTES / piece.len().max(1));
                let more = piece.repeat(times);
                bytes.splice(end..end, more);
            }
            Self::Move(from, to, at) => {
                let piece: Vec<u8> = bytes.drain(span(from, to)).collect();
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, piece);
            }
            Self::Splice(at, from) => {
                bytes.truncate(place(at));
                bytes.extend(other.iter().skip(from.index(other.len() + 1)));
            }
            Self::Swell(at) => {
                let at = place(at);
                bytes.splice(at..at, "x".repeat(5_000).into_bytes());
            }
        }
    }
}
