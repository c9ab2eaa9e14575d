//! VLAN ids and ranges of them.

use crate::address::{plain_number, quoted};
use std::fmt;
use std::str::FromStr;

/// A VLAN id, 1 to 4094: 0 means "no VLAN" and 4095 is reserved by IEEE 802.1Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

/// Ids from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanRange {
    first: VlanId,
    last: VlanId,
}

/// What is wrong with a VLAN id or range, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VlanRefused {
    /// Nothing was written.
    #[error("the value is empty; write a VLAN id like 100, or a range like 100-199")]
    Empty,
    /// No number as we write them.
    #[error("`{text}` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros")]
    NotANumber {
        /// As given.
        text: String,
    },
    /// 0, 4095 and more.
    #[error("VLAN id {id} is outside of 1 to 4094")]
    OutOfRange {
        /// As given.
        id: u128,
    },
    /// One end of `a-b` is missing.
    #[error("range `{text}` has only one end; write first-last, or one id alone")]
    HalfRange {
        /// As given.
        text: String,
    },
    /// The last is lower than the first.
    #[error("range {first}-{last} is reversed; write {last}-{first}")]
    Reversed {
        /// As given first.
        first: VlanId,
        /// As given last.
        last: VlanId,
    },
}

impl VlanId {
    /// 1.
    pub const MIN: Self = Self(1);
    /// 4094.
    pub const MAX: Self = Self(4094);

    /// An id.
    ///
    /// # Errors
    /// [`VlanRefused::OutOfRange`] for 0, 4095 and more.
    pub fn new(id: u16) -> Result<Self, VlanRefused> {
        let id = Self(id);
        if (Self::MIN..=Self::MAX).contains(&id) {
            Ok(id)
        } else {
            Err(VlanRefused::OutOfRange { id: u128::from(id.0) })
        }
    }

    /// As a number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for VlanId {
    type Err = VlanRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(VlanRefused::Empty);
        }
        let id =
            plain_number(text).ok_or_else(|| VlanRefused::NotANumber { text: quoted(text) })?;
        u16::try_from(id).map_err(|_| VlanRefused::OutOfRange { id }).and_then(Self::new)
    }
}

impl VlanRange {
    /// From `first` to `last`.
    ///
    /// # Errors
    /// [`VlanRefused::Reversed`].
    pub fn new(first: VlanId, last: VlanId) -> Result<Self, VlanRefused> {
        if first > last {
            Err(VlanRefused::Reversed { first, last })
        } else {
            Ok(Self { first, last })
        }
    }

    /// The lowest id.
    pub const fn first(&self) -> VlanId {
        self.first
    }

    /// The highest id.
    pub const fn last(&self) -> VlanId {
        self.last
    }

    /// The number of ids.
    pub const fn count(&self) -> u16 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1)
    }

    /// Whether the id is one of its own.
    pub fn contains(&self, id: VlanId) -> bool {
        self.first <= id && id <= self.last
    }

    /// Whether they share an id.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Its ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = VlanId> + use<> {
        (self.first.0..=self.last.0).map(VlanId)
    }
}

impl fmt::Display for VlanRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(formatter)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for VlanRange {
    type Err = VlanRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('-') {
            Some(("", _) | (_, "")) => Err(VlanRefused::HalfRange { text: quoted(text) }),
            Some((first, last)) => Self::new(first.parse()?, last.parse()?),
            None => text.parse().map(|id| Self { first: id, last: id }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_ranges_have_one_spelling() {
        for text in ["1", "4094", "10-20", "1-4094"] {
            assert_eq!(text.parse::<VlanRange>().unwrap().to_string(), text);
        }
        assert_eq!("7-7".parse::<VlanRange>().unwrap().to_string(), "7");
        assert_eq!("1-4094".parse::<VlanRange>().unwrap().ids().count(), 4094);
    }

    #[test]
    fn each_refusal_says_what_would_be_right() {
        for (text, message) in [
            ("", "the value is empty; write a VLAN id like 100, or a range like 100-199"),
            ("0", "VLAN id 0 is outside of 1 to 4094"),
            ("4095", "VLAN id 4095 is outside of 1 to 4094"),
            ("70000", "VLAN id 70000 is outside of 1 to 4094"),
            ("10-", "range `10-` has only one end; write first-last, or one id alone"),
            ("-10", "range `-10` has only one end; write first-last, or one id alone"),
            ("20-10", "range 20-10 is reversed; write 10-20"),
            ("010", "`010` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros"),
            ("+1", "`+1` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros"),
            (
                "1-2-3",
                "`2-3` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros",
            ),
            ("1 - 2", "`1 ` is not a plain VLAN id; write 1 to 4094 without sign or leading zeros"),
        ] {
            assert_eq!(text.parse::<VlanRange>().unwrap_err().to_string(), message);
        }
    }
}
