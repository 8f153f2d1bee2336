//! Reads the path of a request: segments with their keys, and the two spellings of a row's address.
//!
//! Knows: how keys are written in a URL. Refuses to know: tables and rows. Guarantee: nothing is corrected; a spelling
//! that the API does not accept is refused.

use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::refusal::Refusal;

/// Characters that make a key in a URL fail.
const UNUSABLE_IN_KEYS: &[char] = &['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+'];

/// What stands in the parentheses of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// One value without a name.
    Plain(String),
    /// Names with values as written.
    Named(Vec<(String, String)>),
}

/// One part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) arguments: Option<Arguments>,
}

/// Reads the part of a path behind the version segment, still percent-encoded.
pub(super) fn segments(path: &str) -> Result<Vec<Segment>, Refusal> {
    path.split('/').map(segment).collect()
}

fn segment(encoded: &str) -> Result<Segment, Refusal> {
    let text = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| Refusal::query("The request URI is not valid UTF-8."))?;
    let Some((name, rest)) = text.split_once('(') else {
        return Ok(Segment {
            name: text.into_owned(),
            arguments: None,
        });
    };
    let inside = rest
        .strip_suffix(')')
        .ok_or_else(|| Refusal::query(format!("Bad Request - Error in query syntax: '{text}'.")))?;
    Ok(Segment {
        name: name.to_owned(),
        arguments: Some(arguments(inside)?),
    })
}

fn arguments(inside: &str) -> Result<Arguments, Refusal> {
    let parts = split_outside_quotes(inside, ',');
    if let [single] = parts.as_slice()
        && !single.contains('=')
    {
        return Ok(Arguments::Plain((*single).to_owned()));
    }
    let named = parts.iter().map(|part| {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| Refusal::query(format!("The key '{inside}' mixes named and unnamed values.")))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    Ok(Arguments::Named(named.collect::<Result<_, _>>()?))
}

/// Splits at a separator that stands neither in quotes nor in parentheses.
pub(super) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut depth) = (false, 0_usize);
    text.split(move |character| {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == separator && !quoted && depth == 0
    })
    .collect()
}

/// Undoes the quotes of a text literal; none when it is not one.
pub(super) fn unquote(literal: &str) -> Option<String> {
    let inside = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let undone = inside.replace("''", "\u{0}");
    (!undone.contains('\'')).then(|| undone.replace('\u{0}', "'"))
}

/// Reads a GUID in its usual spelling with hyphens; other spellings are refused.
pub(super) fn guid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Refuses key values that the API cannot find even when they exist.
pub(super) fn check_key_value(value: &str) -> Result<(), Refusal> {
    if value.contains(UNUSABLE_IN_KEYS) {
        return Err(Refusal::query(format!(
            "The key value '{value}' holds a character that is not supported in a URL."
        )));
    }
    Ok(())
}
