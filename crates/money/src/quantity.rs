//! Usage quantities: integers of a meter's base unit.
//!
//! 128 bits, because 10^30 base units (a year of a petabyte per second, in bits) have to fit and sums must not wrap.
//! In texts a quantity is a decimal string: a JSON number would pass through a binary float in most readers and lose
//! its tail.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A number of base units. Serialises as a decimal string where a person may read it, else as 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(pub i128);

/// A text that is not a whole number of base units.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a whole number of base units of at most 38 digits")]
pub struct QuantityRefused {
    /// The text as given.
    pub text: String,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` beyond 128 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` beyond 128 bits.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Quantity {
    type Err = QuantityRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `+5` and `005` would be second spellings of one number.
        let digits = text.strip_prefix('-').unwrap_or(text);
        let canonical = digits == "0" && text == "0"
            || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if canonical => Ok(Self(number)),
            _ => Err(QuantityRefused { text: text.to_owned() }),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i128(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            i128::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_one_spelling() {
        for text in ["0", "-1", "170141183460469231731687303715884105727"] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
            let json = serde_json::to_string(&text.parse::<Quantity>().unwrap()).unwrap();
            assert_eq!(json, format!("\"{text}\""));
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "1.0",
            "1e3",
            " 1",
            "1701411834604692317316873037158841057280",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text} was accepted");
        }
    }
}
