//! Money as exact decimals. A deal's value never passes through a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An exact decimal number; equal amounts are equal whatever zeros they were written with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

/// A number that cannot be held exactly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal number of at most 28 digits")]
pub struct InvalidAmount(pub String);

impl Amount {
    /// Wraps a decimal.
    #[must_use]
    pub fn new(value: Decimal) -> Self {
        Self(value.normalize())
    }

    /// The decimal itself.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// Rounded to so many digits after the point, half away from zero as Dataverse does.
    #[must_use]
    pub fn rounded(self, digits: u32) -> Self {
        Self::new(
            self.0
                .round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero),
        )
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let text = text.trim();
        exact(text)
            .map(Self::new)
            .ok_or_else(|| InvalidAmount(text.chars().take(64).collect()))
    }
}

/// Sign, point, 28 digits, an exponent and some zeros too many, in bytes.
const LONGEST: usize = 100;

/// The decimal's own readers take underscores between digits and two signs in an exponent, and round the digits before it.
/// And they call themselves for each digit: a number of enough zeros ends the stack.
fn exact(text: &str) -> Option<Decimal> {
    if text.len() > LONGEST || text.contains('_') {
        return None;
    }
    match text.split_once(['e', 'E']) {
        None => Decimal::from_str_exact(text).ok(),
        Some((digits, exponent)) => {
            Decimal::from_str_exact(digits).ok()?;
            exponent.parse::<i32>().ok()?;
            Decimal::from_scientific(text).ok()
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A raw JSON number keeps every digit; a float would not.
        RawValue::from_string(self.0.to_string())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // Partner Center's own sample sends numbers as strings (patch-a-referral); both forms are read.
        raw.get().trim_matches('"').parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_survive_that_a_float_would_lose() {
        let json = "123456789012345678.91";
        let amount: Amount = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&amount).unwrap(), json);
    }

    #[test]
    fn trailing_zeros_strings_and_exponents_are_the_same_amount() {
        let expected: Amount = "125000.5".parse().unwrap();
        for json in ["125000.5000", "\"125000.50\"", "1.250005e5"] {
            assert_eq!(serde_json::from_str::<Amount>(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn underscores_two_signs_and_more_digits_than_can_be_held_before_an_exponent_are_refused() {
        for text in ["1_000", "1_0e2", "1E-+17", "1.00000000000000000000000000001e0"] {
            assert_eq!(text.parse::<Amount>(), Err(InvalidAmount(text.to_owned())));
        }
    }

    #[test]
    fn a_number_of_any_length_is_read_or_refused() {
        for text in [
            "0".repeat(1_000_000),
            format!("0.{}", "0".repeat(1_000_000)),
            format!("1e{}", "0".repeat(1_000_000)),
        ] {
            assert!(text.parse::<Amount>().is_err());
            assert!(serde_json::from_str::<Amount>(&format!("\"{text}\"")).is_err());
        }
        assert!("0".repeat(LONGEST).parse::<Amount>().is_ok());
    }

    #[test]
    fn what_cannot_be_held_exactly_is_an_error_that_shows_it() {
        let error = serde_json::from_str::<Amount>("0.12345678901234567890123456789012").unwrap_err();
        assert!(error.to_string().contains("0.1234567890"), "{error}");
    }
}
