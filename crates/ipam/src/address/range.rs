//! Ranges: an address, `first-last`, or a CIDR.

use super::refusal::{check_text, quoted};
use super::{Address, AddressRefused, Cidr, Family, Special};
use std::fmt;
use std::str::FromStr;

/// Addresses from `first` to `last`, both included, of one family. Printed as short as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: Address,
    last: Address,
}

impl AddressRange {
    /// For ends that are known to be in order.
    pub(super) const fn constant(first: Address, last: Address) -> Self {
        Self { first, last }
    }

    /// From `first` to `last`.
    ///
    /// # Errors
    /// [`AddressRefused::MixedFamilies`] or [`AddressRefused::Reversed`].
    pub fn new(first: Address, last: Address) -> Result<Self, AddressRefused> {
        if first.family() != last.family() {
            Err(AddressRefused::MixedFamilies { first, last })
        } else if first > last {
            Err(AddressRefused::Reversed { first, last })
        } else {
            Ok(Self { first, last })
        }
    }

    /// One address.
    pub const fn single(address: Address) -> Self {
        Self { first: address, last: address }
    }

    /// The lowest address.
    pub const fn first(&self) -> Address {
        self.first
    }

    /// The highest address.
    pub const fn last(&self) -> Address {
        self.last
    }

    /// Its family.
    pub const fn family(&self) -> Family {
        self.first.family()
    }

    /// The number of addresses; `u128::MAX` stands for 2^128.
    pub fn count(&self) -> u128 {
        self.last.value().saturating_sub(self.first.value()).saturating_add(1)
    }

    /// Whether the address is one of its own.
    pub fn contains(&self, address: Address) -> bool {
        self.first <= address && address <= self.last
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// What both contain.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        self.overlaps(other)
            .then(|| Self { first: self.first.max(other.first), last: self.last.min(other.last) })
    }

    /// The prefix that is this range exactly, if there is one.
    pub fn to_cidr(&self) -> Option<Cidr> {
        let cidr = self.cidrs().next()?;
        (cidr.range() == *self).then_some(cidr)
    }

    /// The fewest prefixes that are this range together, ascending; at most two for each bit of the family.
    pub fn cidrs(&self) -> impl Iterator<Item = Cidr> + use<> {
        let (mut from, last) = (Some(self.first), self.last);
        std::iter::from_fn(move || {
            let first = from.filter(|first| *first <= last)?;
            let bits = first.family().bits();
            // The widest prefix that begins here and does not reach beyond the end.
            let cidr = (0..=bits)
                .filter_map(|length| Cidr::new(first, length))
                .find(|cidr| cidr.last() <= last)?;
            from = cidr.last().next();
            Some(cidr)
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(formatter)
        } else if let Some(cidr) = self.to_cidr() {
            cidr.fmt(formatter)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text)?;
        if text.contains('/') {
            return Ok(text.parse::<Cidr>()?.range());
        }
        let range = match text.split_once('-') {
            Some(("", _) | (_, "")) => {
                return Err(AddressRefused::HalfRange { text: quoted(text) });
            }
            Some((first, last)) => Self::new(first.parse()?, last.parse()?)?,
            None => Self::single(text.parse()?),
        };
        let special = Special::ALL.into_iter().find(|one| one.cidr().range().overlaps(&range));
        match special {
            Some(special) => Err(AddressRefused::Special { cidr: range.to_string(), special }),
            None => Ok(range),
        }
    }
}
