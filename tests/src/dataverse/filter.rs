//! `$filter`: reads the expression and applies it to rows.
//!
//! Knows: the grammar and how values compare. Refuses to know: what the properties belong to; a resolver tells their
//! type, another their value. Guarantee: an expression that is not understood whole is refused, never half applied.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::address::{guid, unquote};
use super::body::{date, decimal, instant};
use super::cell::Cell;
use super::refusal::Refusal;
use super::schema::Kind;

/// A filter that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare {
        property: String,
        test: Test,
        value: Option<Cell>,
    },
    Match {
        property: String,
        function: Function,
        needle: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Test {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Contains,
    StartsWith,
    EndsWith,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "contains" => Self::Contains,
            "startswith" => Self::StartsWith,
            "endswith" => Self::EndsWith,
            _ => return None,
        })
    }
}

impl Filter {
    /// Reads an expression; `kind` tells the type of a property, or refuses it.
    pub(super) fn parse(text: &str, kind: &dyn Fn(&str) -> Result<Kind, Refusal>) -> Result<Self, Refusal> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            next: 0,
            text,
            kind,
        };
        let filter = parser.any()?;
        if parser.next < parser.tokens.len() {
            return Err(parser.malformed());
        }
        Ok(filter)
    }

    /// Applies the filter; `value` gives the cell of a property.
    pub(super) fn accepts(&self, value: &dyn Fn(&str) -> Option<Cell>) -> bool {
        match self {
            Self::And(left, right) => left.accepts(value) && right.accepts(value),
            Self::Or(left, right) => left.accepts(value) || right.accepts(value),
            Self::Not(inner) => !inner.accepts(value),
            Self::Compare {
                property,
                test,
                value: wanted,
            } => match (value(property), wanted) {
                (Some(found), Some(wanted)) => test.holds(compare(&found, wanted)),
                (None, None) => test.holds(Some(Ordering::Equal)),
                _ => test.holds(None),
            },
            Self::Match {
                property,
                function,
                needle,
            } => {
                let found = value(property)
                    .and_then(|cell| cell.text().map(str::to_lowercase))
                    .unwrap_or_default();
                match function {
                    Function::Contains => found.contains(needle),
                    Function::StartsWith => found.starts_with(needle),
                    Function::EndsWith => found.ends_with(needle),
                }
            }
        }
    }
}

/// Orders two cells of one column; text without regard to case, as the server's collation does.
pub(super) fn compare(left: &Cell, right: &Cell) -> Option<Ordering> {
    let number = |cell: &Cell| cell.decimal().or_else(|| cell.whole().map(Decimal::from));
    match (left, right) {
        (Cell::Text(left), Cell::Text(right)) => Some(left.to_lowercase().cmp(&right.to_lowercase())),
        (Cell::Boolean(left), Cell::Boolean(right)) => Some(left.cmp(right)),
        (Cell::Date(left), Cell::Date(right)) => Some(left.cmp(right)),
        (Cell::Instant(left), Cell::Instant(right)) => Some(left.cmp(right)),
        _ => match (left.id(), right.id()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => Some(number(left)?.cmp(&number(right)?)),
        },
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Text(String),
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' | ',' => 1,
            '\'' => text_length(rest)
                .ok_or_else(|| Refusal::query(format!("There is an unterminated literal in '{text}'.")))?,
            _ => rest.find([' ', '(', ')', ',', '\'']).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(match token {
            "(" => Token::Open,
            ")" => Token::Close,
            "," => Token::Comma,
            _ if first == '\'' => Token::Text(unquote(token).unwrap_or_default()),
            _ => Token::Word(token.to_owned()),
        });
        rest = behind.trim_start();
    }
    Ok(tokens)
}

/// Length of the quoted literal at the start, doubled quotes included.
fn text_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\'' && characters.next_if(|(_, next)| *next == '\'').is_none() {
            return Some(at + 1);
        }
    }
    None
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    text: &'a str,
    kind: &'a dyn Fn(&str) -> Result<Kind, Refusal>,
}

impl Parser<'_> {
    fn malformed(&self) -> Refusal {
        Refusal::query(format!("Syntax error at token {} in '{}'.", self.next, self.text))
    }

    fn take(&mut self) -> Result<Token, Refusal> {
        let token = self.tokens.get(self.next).cloned().ok_or_else(|| self.malformed())?;
        self.next += 1;
        Ok(token)
    }

    fn take_if(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.next) == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        self.take_if(&Token::Word(wanted.to_owned()))
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Refusal> {
        if self.take_if(wanted) {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn any(&mut self) -> Result<Filter, Refusal> {
        let mut left = self.all()?;
        while self.take_word("or") {
            left = Filter::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Filter, Refusal> {
        let mut left = self.one()?;
        while self.take_word("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, Refusal> {
        if self.take_word("not") {
            let inner = self.one()?;
            // `not` binds closer than a comparison, which would make it deny a property.
            return match inner {
                Filter::Compare { .. } if self.tokens.get(self.next.wrapping_sub(1)) != Some(&Token::Close) => {
                    Err(self.malformed())
                }
                inner => Ok(Filter::Not(Box::new(inner))),
            };
        }
        if self.take_if(&Token::Open) {
            let inner = self.any()?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        let Token::Word(word) = self.take()? else {
            return Err(self.malformed());
        };
        match Function::named(&word) {
            Some(function) if self.take_if(&Token::Open) => self.function(function),
            _ => self.comparison(word),
        }
    }

    fn function(&mut self, function: Function) -> Result<Filter, Refusal> {
        let Token::Word(property) = self.take()? else {
            return Err(self.malformed());
        };
        self.expect(&Token::Comma)?;
        let Token::Text(needle) = self.take()? else {
            return Err(self.malformed());
        };
        self.expect(&Token::Close)?;
        match (self.kind)(&property)? {
            Kind::Text(_) | Kind::Link(_) | Kind::Memo(_) => Ok(Filter::Match {
                property,
                function,
                needle: needle.to_lowercase(),
            }),
            _ => Err(Refusal::query(format!("'{property}' is not a text."))),
        }
    }

    fn comparison(&mut self, property: String) -> Result<Filter, Refusal> {
        let kind = (self.kind)(&property)?;
        let Token::Word(operator) = self.take()? else {
            return Err(self.malformed());
        };
        let test = Test::named(&operator).ok_or_else(|| self.malformed())?;
        let literal = self.take()?;
        let value = value(kind, &literal).ok_or_else(|| {
            Refusal::query(format!(
                "A binary operator with incompatible types was detected at '{property}' in '{}'.",
                self.text
            ))
        })?;
        let unordered = value.is_none() || matches!(kind, Kind::Key | Kind::Guid | Kind::Boolean | Kind::Lookup(_));
        if unordered && !matches!(test, Test::Equal | Test::NotEqual) {
            return Err(Refusal::query(format!(
                "'{property}' cannot be ordered by '{operator}' here."
            )));
        }
        Ok(Filter::Compare { property, test, value })
    }
}

/// Reads a literal as a property's type demands; the inner none is null.
fn value(kind: Kind, literal: &Token) -> Option<Option<Cell>> {
    if *literal == Token::Word("null".to_owned()) {
        return Some(None);
    }
    let cell = match (kind, literal) {
        (Kind::Text(_) | Kind::Link(_) | Kind::Memo(_), Token::Text(text)) => Cell::Text(text.clone()),
        (Kind::Boolean, Token::Word(word)) => Cell::Boolean(word.parse().ok()?),
        (Kind::Key | Kind::Guid | Kind::Lookup(_), Token::Word(word)) => Cell::Guid(guid(word)?),
        (Kind::Choice(_) | Kind::State | Kind::Status | Kind::Whole(..) | Kind::Version, Token::Word(word)) => {
            Cell::Whole(word.parse().ok()?)
        }
        (Kind::Money(..) | Kind::Decimal(_) | Kind::Number(..), Token::Word(word)) => Cell::Decimal(decimal(word)?),
        (Kind::Date, Token::Word(word)) => Cell::Date(date(word)?),
        (Kind::Instant, Token::Word(word)) => Cell::Instant(instant(word)?),
        _ => return None,
    };
    Some(Some(cell))
}
