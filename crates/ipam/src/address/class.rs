//! Classes: printed for people, accepted in place of a length, never stored.

use super::refusal::quoted;
use std::fmt;
use std::str::FromStr;

/// What operators call an IPv4 prefix of 8, 16 or 24 bits, wherever it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Any /8.
    A,
    /// Any /16.
    B,
    /// Any /24.
    C,
}

impl Class {
    /// The length it stands for.
    pub const fn length(self) -> u8 {
        match self {
            Self::A => 8,
            Self::B => 16,
            Self::C => 24,
        }
    }
}

/// A text that is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a class; write A (/8), B (/16), C (/24), or a prefix length")]
pub struct ClassRefused {
    /// As given.
    pub text: String,
}

impl FromStr for Class {
    type Err = ClassRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "A" => Ok(Self::A),
            "B" => Ok(Self::B),
            "C" => Ok(Self::C),
            _ => Err(ClassRefused { text: quoted(text) }),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        })
    }
}

/// A decimal number as we write them: digits alone, no sign, no leading zero, at most `u128::MAX`.
pub(crate) fn plain_number(text: &str) -> Option<u128> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// A prefix length given as a class (`C`) or as a number (`24`, also with the slash).
///
/// # Errors
/// [`ClassRefused`] for anything else, 129 and more included.
pub fn length_from_text(text: &str) -> Result<u8, ClassRefused> {
    if let Ok(class) = text.parse::<Class>() {
        return Ok(class.length());
    }
    plain_number(text.strip_prefix('/').unwrap_or(text))
        .and_then(|length| u8::try_from(length).ok())
        .filter(|length| *length <= 128)
        .ok_or_else(|| ClassRefused { text: quoted(text) })
}
