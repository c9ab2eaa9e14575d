//! An instant in UTC microseconds, and the half-open interval between two.
//!
//! Microseconds, because Kubernetes' `MicroTime`, PostgreSQL's `timestamptz` and a Prometheus millisecond all fit in
//! them without loss. The range is that of `jiff::Timestamp` (the years −9999 to 9999), so every instant has a text.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Microseconds in one hour, the width of a usage window.
pub const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Serialises as the bare integer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Instant(i64);

/// A text or number that is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstantRefused {
    /// Not RFC 3339.
    #[error("`{text}` is not an instant; write it like 2026-11-01T00:00:00Z")]
    NotRfc3339 {
        /// The text as given.
        text: String,
    },
    /// More digits than microseconds hold: cutting them would move a boundary.
    #[error("`{text}` is finer than a microsecond; give at most six digits after the point")]
    TooFine {
        /// The text as given.
        text: String,
    },
    /// Outside of the years −9999 to 9999.
    #[error("{microseconds} µs since 1970 is outside of the years -9999 to 9999")]
    OutOfRange {
        /// The number as given.
        microseconds: i128,
    },
}

impl Instant {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// Not after any instant: a bound for searches, never the time of a fact.
    pub const MIN: Self = Self(i64::MIN);
    /// Not before any instant: a bound for searches, never the time of a fact.
    pub const MAX: Self = Self(i64::MAX);

    /// An instant from microseconds since 1970.
    ///
    /// # Errors
    /// [`InstantRefused::OutOfRange`] outside of the years −9999 to 9999.
    pub fn from_microseconds(microseconds: i64) -> Result<Self, InstantRefused> {
        jiff::Timestamp::from_microsecond(microseconds)
            .map(|_| Self(microseconds))
            .map_err(|_| InstantRefused::OutOfRange { microseconds: i128::from(microseconds) })
    }

    /// An instant from milliseconds since 1970, as Prometheus gives them.
    ///
    /// # Errors
    /// [`InstantRefused::OutOfRange`] outside of the years −9999 to 9999.
    pub fn from_milliseconds(milliseconds: i64) -> Result<Self, InstantRefused> {
        match milliseconds.checked_mul(1_000) {
            Some(microseconds) => Self::from_microseconds(microseconds),
            None => Err(InstantRefused::OutOfRange {
                microseconds: i128::from(milliseconds).saturating_mul(1_000),
            }),
        }
    }

    /// The same instant cut to microseconds.
    pub fn from_timestamp(timestamp: jiff::Timestamp) -> Self {
        Self(timestamp.as_microsecond())
    }

    /// The same instant for `jiff`.
    pub fn to_timestamp(self) -> jiff::Timestamp {
        // Only `MIN` and `MAX` lie outside of the range of `jiff`: every constructor has checked.
        let nearest = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(nearest)
    }

    /// Microseconds since 1970.
    pub const fn microseconds(self) -> i64 {
        self.0
    }

    /// The start of the UTC hour that the instant lies in.
    #[must_use]
    pub fn hour_start(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(HOUR_MICROSECONDS)))
    }

    /// The start of the next UTC hour: strictly later.
    #[must_use]
    pub fn next_hour(self) -> Self {
        self.hour_start().plus_microseconds(HOUR_MICROSECONDS)
    }

    /// The instant moved by `microseconds`, held at the ends of the range.
    #[must_use]
    pub fn plus_microseconds(self, microseconds: i64) -> Self {
        let moved = self.0.saturating_add(microseconds);
        Self(
            moved.clamp(
                jiff::Timestamp::MIN.as_microsecond(),
                jiff::Timestamp::MAX.as_microsecond(),
            ),
        )
    }

    /// Microseconds from `earlier` to this instant; negative when it is later.
    pub fn microseconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_timestamp().fmt(formatter)
    }
}

impl FromStr for Instant {
    type Err = InstantRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let timestamp: jiff::Timestamp =
            text.parse().map_err(|_| InstantRefused::NotRfc3339 { text: text.to_owned() })?;
        if timestamp.subsec_nanosecond().rem_euclid(1_000) != 0 {
            return Err(InstantRefused::TooFine { text: text.to_owned() });
        }
        Ok(Self::from_timestamp(timestamp))
    }
}

/// `[from, to)`; empty when `to <= from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// The first instant within.
    pub from: Instant,
    /// The first instant after.
    pub to: Instant,
}

impl Interval {
    /// `[from, to)`.
    pub const fn new(from: Instant, to: Instant) -> Self {
        Self { from, to }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.to <= self.from
    }

    /// Whether `instant` is in it.
    pub fn contains(&self, instant: Instant) -> bool {
        self.from <= instant && instant < self.to
    }

    /// What both have in common; `None` when that is nothing.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let common = Self::new(self.from.max(other.from), self.to.min(other.to));
        (!common.is_empty()).then_some(common)
    }

    /// Its length; 0 when empty.
    pub fn microseconds(&self) -> i64 {
        self.to.microseconds_since(self.from).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_accepted_and_refused() {
        for (text, microseconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00.000001+01:00", 1),
            ("1969-12-31T23:59:59.999999Z", -1),
        ] {
            assert_eq!(text.parse::<Instant>().unwrap().microseconds(), microseconds);
        }
        for text in ["", "now", "2026-11-01", "2026-11-01T00:00:00", "1970-01-01T00:00:00.0000001Z"]
        {
            let refusal = text.parse::<Instant>().unwrap_err().to_string();
            assert!(refusal.contains(text), "{refusal}");
        }
        assert!(Instant::from_milliseconds(i64::MAX).is_err());
        assert!(Instant::from_microseconds(i64::MIN).is_err());
    }

    proptest! {
        #[test]
        fn hours_tile(microseconds in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
            let instant = Instant::from_microseconds(microseconds).unwrap();
            let hour = Interval::new(instant.hour_start(), instant.next_hour());
            prop_assert!(hour.contains(instant));
            prop_assert_eq!(hour.microseconds(), HOUR_MICROSECONDS);
            prop_assert_eq!(hour.to.hour_start(), hour.to);
            prop_assert_eq!(instant.to_string().parse::<Instant>().unwrap(), instant);
        }
    }
}
