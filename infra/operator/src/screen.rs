//! What the person in front of the terminal sees.
//!
//! Knows: widths, indents, colours, marks, and on which stream what belongs. Refuses to know: what is told. Guarantees: no
//! escape sequence reaches anything but a terminal, and none at all where `NO_COLOR` is set; with `--json` standard
//! output carries one JSON document and nothing else.

use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::trouble::Trouble;

/// Width that fits every terminal, in characters.
const WIDTH: usize = 96;

/// Whether what was written last ends with an empty line, or nothing was written yet.
static IS_APART: AtomicBool = AtomicBool::new(true);

/// Indent of what belongs to a line above.
const INDENT: usize = 2;

/// A way to set text apart.
#[derive(Clone, Copy, Debug)]
enum Style {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Style {
    const fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
        }
    }
}

/// How a line is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Done, or as it should be.
    Good,
    /// Something to look at.
    Note,
    /// Wrong.
    Bad,
    /// Not looked at.
    Skipped,
}

/// The terminal, or what stands in for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Standard output belongs to a program.
    is_json: bool,
    has_colour: bool,
    is_terminal: bool,
}

impl Screen {
    /// `may_colour` is what the person wishes.
    pub(crate) fn new(is_json: bool, may_colour: bool) -> Self {
        let is_terminal = if is_json {
            stderr().is_terminal()
        } else {
            stdout().is_terminal()
        };
        Self {
            is_json,
            has_colour: may_colour && is_terminal,
            is_terminal,
        }
    }

    fn styled(self, style: Style, text: impl fmt::Display) -> String {
        if self.has_colour {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
        } else {
            text.to_string()
        }
    }

    fn write(self, text: &str) {
        IS_APART.store(text == "\n", Ordering::Relaxed);
        // Nobody is left to tell when the reader of a pipe has gone.
        if self.is_json {
            let mut out = stderr().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        } else {
            let mut out = stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }

    /// The answer for a program.
    pub(crate) fn document(self, value: &Value) {
        if self.is_json {
            let mut out = stdout().lock();
            let _ = writeln!(out, "{value:#}").and_then(|()| out.flush());
        }
    }

    /// One line as it stands.
    pub(crate) fn line(self, text: impl fmt::Display) {
        self.write(&format!("{text}\n"));
    }

    /// An empty line.
    pub(crate) fn gap(self) {
        self.line("");
    }

    /// The head of a part.
    pub(crate) fn heading(self, text: &str) {
        let text = self.styled(Style::Bold, text);
        self.line(text);
        self.gap();
    }

    /// The head of a smaller part.
    pub(crate) fn subheading(self, text: &str) {
        let text = self.styled(Style::Bold, text);
        self.line(format!("{:INDENT$}{text}", ""));
    }

    /// Plain words, wrapped.
    pub(crate) fn say(self, text: &str) {
        for part in wrapped(text, WIDTH - INDENT) {
            self.line(format!("{:INDENT$}{part}", ""));
        }
    }

    /// Something said by the way.
    pub(crate) fn aside(self, text: &str) {
        for part in wrapped(text, WIDTH - INDENT) {
            let part = self.styled(Style::Dim, part);
            self.line(format!("{:INDENT$}{part}", ""));
        }
    }

    /// A name and its value.
    pub(crate) fn pair(self, name: &str, value: impl fmt::Display) {
        let name = self.styled(Style::Dim, format!("{name:<14}"));
        self.line(format!("{:INDENT$}{name}{value}", ""));
    }

    /// A marked line.
    pub(crate) fn marked(self, mark: Mark, text: &str) {
        let (style, sign) = match mark {
            Mark::Good => (Style::Green, "✔"),
            Mark::Note => (Style::Yellow, "!"),
            Mark::Bad => (Style::Red, "✘"),
            Mark::Skipped => (Style::Dim, "-"),
        };
        let sign = self.styled(style, sign);
        for (index, part) in wrapped(text, WIDTH - 2 * INDENT).into_iter().enumerate() {
            let lead = if index == 0 { sign.as_str() } else { " " };
            let part = if mark == Mark::Skipped {
                self.styled(Style::Dim, part)
            } else {
                part
            };
            self.line(format!("{:INDENT$}{lead} {part}", ""));
        }
    }

    /// What to do about the line above.
    pub(crate) fn cure(self, text: &str) {
        for (index, part) in wrapped(text, WIDTH - 4 * INDENT).into_iter().enumerate() {
            let lead = if index == 0 {
                self.styled(Style::Bold, "→")
            } else {
                " ".to_owned()
            };
            self.line(format!("{:width$}{lead} {part}", "", width = 2 * INDENT));
        }
    }

    /// Why the command ends here.
    pub(crate) fn trouble(self, trouble: &Trouble) {
        if !IS_APART.load(Ordering::Relaxed) {
            self.gap();
        }
        self.marked(Mark::Bad, &trouble.message);
        self.cure(&trouble.cure);
    }

    /// What comes next.
    pub(crate) fn next(self, text: &str) {
        self.gap();
        let text = format!("Next: {text}");
        for part in wrapped(&text, WIDTH - INDENT) {
            self.line(format!("{:INDENT$}{part}", ""));
        }
    }

    /// Something that moves, shown on a terminal only and replaced by what is written next.
    pub(crate) fn moving(self, text: &str) {
        if self.is_terminal {
            let text: String = text.chars().take(WIDTH - INDENT).collect();
            let text = self.styled(Style::Dim, text);
            self.write(&format!("\r\u{1b}[2K{:INDENT$}{text}", ""));
        }
    }

    /// Wipes what was moving.
    pub(crate) fn still(self) {
        if self.is_terminal {
            self.write("\r\u{1b}[2K");
        }
    }

    /// Rows under a head, each column as wide as its widest entry.
    pub(crate) fn table(self, head: &[&str], rows: &[Vec<String>]) {
        let widths: Vec<usize> = head
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let cells = rows.iter().filter_map(|row| row.get(index));
                let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
                widest.max(name.chars().count())
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        let text = self.styled(Style::Dim, line(&mut head.iter().copied()));
        self.line(format!("{:INDENT$}{text}", ""));
        for row in rows {
            let text = line(&mut row.iter().map(String::as_str));
            self.line(format!("{:INDENT$}{text}", ""));
        }
    }
}

/// A duration as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration.as_secs() < 10 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if duration.as_secs() < 120 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} min", duration.as_secs() / 60)
    }
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_never_lost() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrapped("a-word-that-is-too-long x", 4),
            ["a-word-that-is-too-long", "x"]
        );
    }
}
