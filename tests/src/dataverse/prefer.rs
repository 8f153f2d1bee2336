//! The `Prefer` header and its echo `Preference-Applied`.
//!
//! Knows: the preferences of the Web API. Refuses to know: what they do. Guarantee: a preference is echoed only when it
//! was understood.

use http::HeaderMap;

use super::refusal::Refusal;

/// Largest page, and the page of those who ask for none.
pub(super) const LARGEST_PAGE: usize = 5000;

/// What a request prefers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    pub(super) representation: bool,
    pub(super) page_size: Option<usize>,
    pub(super) track_changes: bool,
    pub(super) annotations: Annotations,
    applied: Vec<String>,
}

impl Preferences {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for header in headers.get_all("prefer") {
            let text = header
                .to_str()
                .map_err(|_| Refusal::query("The header Prefer is not text."))?;
            for preference in split(text) {
                read.take(preference.trim())?;
            }
        }
        Ok(read)
    }

    fn take(&mut self, preference: &str) -> Result<(), Refusal> {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        match name {
            "return" if value == "representation" => self.representation = true,
            "odata.track-changes" if value.is_empty() => self.track_changes = true,
            "odata.maxpagesize" => {
                let size = value.parse().ok().filter(|size| *size > 0);
                let size: usize = size.ok_or_else(|| Refusal::query(format!("'{value}' is not a page size.")))?;
                self.page_size = Some(size.min(LARGEST_PAGE));
            }
            "odata.include-annotations" => {
                self.annotations = Annotations(value.split(',').map(|name| name.trim().to_owned()).collect());
            }
            _ => return Ok(()),
        }
        self.applied.push(preference.to_owned());
        Ok(())
    }

    /// The value of `Preference-Applied`, if anything was.
    pub(super) fn applied(&self) -> Option<String> {
        (!self.applied.is_empty()).then(|| self.applied.join(", "))
    }
}

/// Splits at commas outside of quotes.
fn split(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
    .collect()
}

/// Which annotations are wanted: names, or prefixes that end in a star.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations(Vec<String>);

impl Annotations {
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn includes(&self, name: &str) -> bool {
        self.0.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == name,
        })
    }
}
