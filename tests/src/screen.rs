//! What the person in front of the terminal sees.
//!
//! Knows: widths, indents, colours, marks. Refuses to know: what is told. Guarantee: no escape sequence reaches anything
//! but a terminal, and none at all where `NO_COLOR` is set.

use std::fmt;
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

/// Width that fits every terminal, in characters.
const WIDTH: usize = 80;

/// Indent of what belongs to a step.
const INDENT: usize = 5;

/// Width of the first two columns of a comparison; the third takes the rest.
const COLUMNS: [usize; 2] = [11, 34];

/// One field of a deal, on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is called here.
    pub label: &'static str,
    /// As the CRM shows it.
    pub dynamics: String,
    /// As Partner Center shows it.
    pub partner_center: String,
}

/// A way to set text apart.
#[derive(Clone, Copy, Debug)]
enum Style {
    Bold,
    Dim,
    Green,
    Red,
}

impl Style {
    const fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
        }
    }
}

/// Standard output, in plain words.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    has_colour: bool,
}

impl Screen {
    /// The process's standard output; `may_colour` is what the person wishes.
    pub fn new(may_colour: bool) -> Self {
        Self {
            has_colour: may_colour && stdout().is_terminal(),
        }
    }

    fn styled(self, style: Style, text: impl fmt::Display) -> String {
        if self.has_colour {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
        } else {
            text.to_string()
        }
    }

    /// One line as it stands, or several.
    pub fn line(self, text: impl fmt::Display) {
        let mut out = stdout().lock();
        // Nobody is left to tell when the reader of a pipe has gone.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// An empty line.
    pub fn gap(self) {
        self.line("");
    }

    /// The head of a part.
    pub fn heading(self, text: &str) {
        self.gap();
        let text = self.styled(Style::Bold, text);
        self.line(text);
    }

    /// Something said by the way.
    pub fn aside(self, text: &str) {
        for part in wrapped(text, WIDTH) {
            let part = self.styled(Style::Dim, part);
            self.line(part);
        }
    }

    /// What somebody does, in front of what comes of it.
    pub fn step(self, number: &str, did: &str) {
        self.gap();
        for (index, part) in wrapped(did, WIDTH - INDENT).into_iter().enumerate() {
            let lead = if index == 0 { number } else { "" };
            let part = self.styled(Style::Bold, format!("{lead:<INDENT$}{part}"));
            self.line(part);
        }
        self.gap();
    }

    /// Both sides of a deal, field by field; what differs from `before` is set apart.
    pub fn comparison(self, rows: &[Row], before: &[Row]) {
        let head = columns("", "Dynamics 365", "Partner Center");
        let head = self.styled(Style::Dim, head);
        self.line(head);
        for row in rows {
            let is_new = !before.is_empty() && !before.contains(row);
            let text = columns(row.label, &row.dynamics, &row.partner_center);
            let text = if is_new {
                self.styled(Style::Bold, with_arrow(&text))
            } else {
                text
            };
            self.line(text);
        }
        self.gap();
    }

    /// A named text below a step, as long as it is.
    pub fn remark(self, label: &str, text: &str) {
        let [label_width, _] = COLUMNS;
        for (index, part) in wrapped(text, WIDTH - INDENT - label_width).into_iter().enumerate() {
            let lead = if index == 0 { label } else { "" };
            let lead = format!("{:INDENT$}{lead:<label_width$}", "");
            self.line(format!("{lead}{part}"));
        }
    }

    /// Something that had to be true, and is.
    pub fn held(self, text: &str) {
        let mark = self.styled(Style::Green, "✔");
        self.marked(&mark, text);
    }

    /// Something that had to be true, and is not.
    pub fn failed(self, text: &str) {
        let mark = self.styled(Style::Red, "✘");
        self.marked(&mark, text);
    }

    fn marked(self, mark: &str, text: &str) {
        for (index, part) in wrapped(text, WIDTH - INDENT - 2).into_iter().enumerate() {
            let lead = if index == 0 { mark } else { " " };
            self.line(format!("{:INDENT$}{lead} {part}", ""));
        }
    }

    /// How long a step took.
    pub fn took(self, took: Duration) {
        let text = format!("{:INDENT$}  after {}", "", seconds(took));
        let text = self.styled(Style::Dim, text);
        self.line(text);
    }

    /// The last word.
    pub fn verdict(self, all_held: bool, text: &str) {
        self.gap();
        let (style, mark) = if all_held {
            (Style::Green, "✔")
        } else {
            (Style::Red, "✘")
        };
        let text = self.styled(style, format!("{mark} {text}"));
        self.line(text);
    }

    /// Why the runner cannot go on, with the cure.
    pub fn trouble(self, text: &str) {
        self.gap();
        for (index, part) in wrapped(text, WIDTH - 2).into_iter().enumerate() {
            let lead = if index == 0 {
                self.styled(Style::Red, "✘")
            } else {
                " ".to_owned()
            };
            self.line(format!("{lead} {part}"));
        }
    }
}

/// A duration as people say it.
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn columns(label: &str, left: &str, right: &str) -> String {
    let [first, second] = COLUMNS;
    let left = cut(left, second - 1);
    let right = cut(right, WIDTH - INDENT - first - second);
    format!("{:INDENT$}{label:<first$}{left:<second$}{right}", "")
        .trim_end()
        .to_owned()
}

/// The same line with an arrow in its indent: also without colours one sees what is new.
fn with_arrow(line: &str) -> String {
    let rest: String = line.chars().skip(INDENT).collect();
    format!("{:>width$} {rest}", "→", width = INDENT - 1)
}

/// At most this many characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
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
        assert_eq!(wrapped("first\nsecond", 80), ["first", "second"]);
    }

    #[test]
    fn a_line_of_a_comparison_fits_the_terminal() {
        let long = "✔ ".repeat(60);
        let line = columns("close date", &long, &long);
        assert_eq!(line.chars().count(), WIDTH);
        assert_eq!(with_arrow(&line).chars().count(), WIDTH);
    }
}
