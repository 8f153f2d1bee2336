//! The list of checks and what came of each.
//!
//! Knows: how a result is shown and told to programs. Refuses to know: what was checked.

use serde_json::{Value, json};

use crate::screen::{Mark, Screen};
use crate::trouble::Trouble;

/// The checks so far.
pub(super) struct Sheet {
    screen: Screen,
    part: &'static str,
    documents: Vec<Value>,
    failed: usize,
}

impl Sheet {
    pub(super) const fn new(screen: Screen) -> Self {
        Self {
            screen,
            part: "",
            documents: Vec::new(),
            failed: 0,
        }
    }

    /// Begins a part.
    pub(super) fn part(&mut self, name: &'static str) {
        if !self.part.is_empty() {
            self.screen.gap();
        }
        self.part = name;
        self.screen.subheading(name);
    }

    /// It is as it should be.
    pub(super) fn good(&mut self, id: &'static str, text: &str) {
        self.screen.still();
        self.screen.marked(Mark::Good, text);
        self.note(id, json!({ "result": "ok", "message": text }));
    }

    /// It works, and still somebody should look.
    pub(super) fn noted(&mut self, id: &'static str, text: &str, cure: &str) {
        self.screen.still();
        self.screen.marked(Mark::Note, text);
        self.screen.cure(cure);
        self.note(id, json!({ "result": "warning", "message": text, "cure": cure }));
    }

    /// It does not work.
    pub(super) fn bad(&mut self, id: &'static str, what: &str, trouble: Trouble) {
        self.screen.still();
        self.screen.marked(Mark::Bad, &format!("{what}: {}", trouble.message));
        self.screen.cure(&trouble.cure);
        self.failed += 1;
        let Trouble {
            code, message, cure, ..
        } = trouble;
        self.note(
            id,
            json!({ "result": "failed", "code": code, "message": message, "cure": cure }),
        );
    }

    /// It could not be looked at.
    pub(super) fn skipped(&mut self, id: &'static str, what: &str, needs: &str) {
        self.screen.still();
        self.screen
            .marked(Mark::Skipped, &format!("{what}: skipped, needs {needs}"));
        self.note(id, json!({ "result": "skipped", "needs": needs }));
    }

    /// What is being looked at.
    pub(super) fn looking(&self, what: &str) {
        self.screen.moving(&format!("{what} ..."));
    }

    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    pub(super) fn documents(&self) -> Value {
        Value::Array(self.documents.clone())
    }

    fn note(&mut self, id: &'static str, mut document: Value) {
        if let Some(members) = document.as_object_mut() {
            members.insert("check".to_owned(), id.into());
        }
        self.documents.push(document);
    }
}
