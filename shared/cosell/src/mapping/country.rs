//! Countries by name: the codes of ISO 3166-1 and what their countries are called.
//!
//! Knows: English names of all, and the German, French, Spanish, Italian, Dutch and Portuguese ones where most customers
//! are. Refuses to know: spellings of one CRM; those stand in its mapping file.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Mapping;

/// One country a line: its code, a blank, its names with bars between them.
const COUNTRIES: &str = include_str!("../../countries.txt");

/// Codes by name and by code, in lower case.
static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut codes = HashMap::new();
    for (code, names) in COUNTRIES.lines().filter_map(|line| line.split_once(' ')) {
        codes.insert(code.to_lowercase(), code);
        codes.extend(names.split('|').map(|name| (name.to_lowercase(), code)));
    }
    codes
});

impl Mapping {
    /// The two-letter code of a country, or the text as it is when nobody knows its code. The mapping's own names come
    /// first.
    pub(super) fn country(&self, text: &str) -> String {
        let name = text.to_lowercase();
        let own = self.countries.get(&name).map(String::as_str);
        own.or_else(|| CODES.get(&name).copied()).unwrap_or(text).to_owned()
    }

    /// Whether this is a code of ISO 3166-1, in capitals.
    #[must_use]
    pub fn is_country(code: &str) -> bool {
        code.len() == 2 && CODES.get(&code.to_lowercase()).is_some_and(|known| *known == code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_listed_once_in_order_and_no_name_twice() {
        let codes: Vec<&str> = COUNTRIES.lines().filter_map(|line| line.get(..2)).collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted());
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        let names: Vec<String> = COUNTRIES
            .lines()
            .flat_map(|line| line.get(3..).unwrap().split('|'))
            .map(str::to_lowercase)
            .collect();
        let twice: Vec<_> = names
            .iter()
            .filter(|name| names.iter().filter(|other| other == name).count() > 1)
            .collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(names.iter().all(|name| name.len() > 1 && name == name.trim()));
    }
}
