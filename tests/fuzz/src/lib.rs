//! Foreign bytes: valid documents with something done to them, and a runner that shows each reader of ours many of them.
//!
//! Knows: how documents go wrong, on the level of bytes ([`bytes()`]), of characters ([`text`]), of JSON members
//! ([`json`]) and of lines ([`toml`]). Refuses to know: any reader, and any of our types. Guarantee: a target that panics, hangs, or takes memory out
//! of proportion fails, and the failure shows the smallest input found that does it.
//!
//! Each crate keeps its targets beside its readers, in a test module called `foreign`, so that nothing is made public for
//! their sake. `CASES=n` plays so many cases of each and reports them; without it a small number runs, in silence. Should a
//! case end the whole process (a stack that overflows does), `TRACE=file` leaves the last input in that file.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};

pub mod document;
mod edit;
mod lines;
mod runner;

pub use proptest;
pub use runner::check;

use document::Node;
use edit::Edit;

/// Fewer mutations keep a document in reach of the checks that lie deeper.
const MOST_EDITS: usize = 5;

/// Bytes made of these documents: flipped, cut, repeated, moved about, spliced, and now and then simply random.
pub fn bytes<D: Into<Vec<u8>>>(corpus: impl IntoIterator<Item = D>) -> impl Strategy<Value = Vec<u8>> {
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(Into::into).collect();
    let noise = vec(any::<u8>(), 0..64);
    let edits = vec(edit::edit(), 0..=MOST_EDITS);
    (any::<Index>(), edits, any::<Index>(), noise).prop_map(move |(which, edits, other, noise)| {
        // One in thirty-two is noise from its first byte.
        if which.index(32) == 31 {
            return noise;
        }
        let (document, other): (&Vec<u8>, &Vec<u8>) = (which.get(&corpus), other.get(&corpus));
        edited(document, &edits, other)
    })
}

/// Text made of these texts, in the same way.
pub fn text<D: Into<String>>(corpus: impl IntoIterator<Item = D>) -> impl Strategy<Value = String> {
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|text| text.into().into_bytes()).collect();
    bytes(corpus).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// JSON made of these documents: members of other types, absent, renamed, doubled or nested; sometimes bytes of it are
/// spoilt as well.
///
/// # Panics
/// When a document of the corpus is not JSON.
pub fn json<D: AsRef<str>>(corpus: impl IntoIterator<Item = D>) -> impl Strategy<Value = String> {
    let corpus: Vec<Node> = corpus.into_iter().map(|text| Node::read(text.as_ref())).collect();
    let changes = vec(document::change(), 0..=MOST_EDITS);
    let spoils = select(vec![false, false, false, true]);
    let edits = vec(edit::edit(), 1..=2);
    (any::<Index>(), changes, any::<Index>(), spoils, edits).prop_map(move |(which, changes, other, spoils, edits)| {
        let (mut node, other): (Node, &Node) = (which.get(&corpus[..]).clone(), other.get(&corpus[..]));
        for change in &changes {
            change.apply(&mut node, other);
        }
        let text = node.write();
        if !spoils {
            return text;
        }
        let bytes = edited(text.as_bytes(), &edits, other.write().as_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A settings file made of these files: lines absent, doubled or moved, values of another type or of another line; sometimes
/// bytes of it are spoilt as well.
pub fn toml<D: AsRef<str>>(corpus: impl IntoIterator<Item = D>) -> impl Strategy<Value = String> {
    let corpus: Vec<String> = corpus.into_iter().map(|text| text.as_ref().to_owned()).collect();
    let changes = vec(lines::change(), 0..=MOST_EDITS);
    let spoils = select(vec![false, false, false, true]);
    (any::<Index>(), changes, spoils, edit::edit()).prop_map(move |(which, changes, spoils, edit)| {
        let mut lines: Vec<String> = which.get(&corpus[..]).lines().map(str::to_owned).collect();
        for change in &changes {
            change.apply(&mut lines);
        }
        let text = lines.join("\n");
        if !spoils {
            return text;
        }
        let bytes = edited(text.as_bytes(), &[edit], text.as_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The vendors' documents of a folder of `tests/fixtures`, in the order of their names.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
#[expect(clippy::expect_used, reason = "a target without its documents tests nothing")]
pub fn fixtures(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder);
    let entries = std::fs::read_dir(folder).expect("no such folder of fixtures");
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let texts = paths.iter().map(std::fs::read_to_string);
    texts.collect::<Result<_, _>>().expect("an unreadable fixture")
}

fn edited(document: &[u8], edits: &[Edit], other: &[u8]) -> Vec<u8> {
    let mut bytes = document.to_vec();
    for edit in edits {
        edit.apply(&mut bytes, other);
    }
    bytes
}
