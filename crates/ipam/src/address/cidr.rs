//! Prefixes.

use super::class::plain_number;
use super::refusal::{check_text, quoted};
use super::{Address, AddressRange, AddressRefused, Class, Family, Special};
use std::fmt;
use std::str::FromStr;

/// A prefix without host bits. Ordered by first address, the wider one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    family: Family,
    first: u128,
    length: u8,
}

/// The bits of a host part: all of 128 for length 0 of IPv6.
const fn host_mask(family: Family, length: u8) -> u128 {
    // A shift by all bits is no number in Rust.
    if length >= family.bits() { 0 } else { family.value_max() >> length }
}

impl Cidr {
    /// For constants whose host bits are known to be clear.
    pub(super) const fn constant(family: Family, first: u128, length: u8) -> Self {
        Self { family, first, length }
    }

    /// The prefix that begins with `first`; none if its host bits are set or the length is too long.
    pub fn new(first: Address, length: u8) -> Option<Self> {
        Self::containing(first, length).filter(|cidr| cidr.first == first.value())
    }

    /// The prefix of that length around an address; none if the length is too long.
    pub fn containing(address: Address, length: u8) -> Option<Self> {
        let family = address.family();
        (length <= family.bits()).then(|| Self {
            family,
            first: address.value() & !host_mask(family, length),
            length,
        })
    }

    /// Its family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Its length in bits.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// The lowest address.
    pub const fn first(&self) -> Address {
        Address { family: self.family, value: self.first }
    }

    /// The highest address.
    pub const fn last(&self) -> Address {
        Address { family: self.family, value: self.first | host_mask(self.family, self.length) }
    }

    /// From the lowest to the highest address.
    pub const fn range(&self) -> AddressRange {
        AddressRange::constant(self.first(), self.last())
    }

    /// The number of addresses; `u128::MAX` stands for 2^128.
    pub const fn count(&self) -> u128 {
        host_mask(self.family, self.length).saturating_add(1)
    }

    /// What people call it: A, B or C by its length, IPv4 only.
    pub const fn class(&self) -> Option<Class> {
        match (self.family, self.length) {
            (Family::V4, 8) => Some(Class::A),
            (Family::V4, 16) => Some(Class::B),
            (Family::V4, 24) => Some(Class::C),
            (Family::V4 | Family::V6, _) => None,
        }
    }

    /// Whether the address is one of its own.
    pub const fn contains(&self, address: Address) -> bool {
        matches!(
            (self.family, address.family()),
            (Family::V4, Family::V4) | (Family::V6, Family::V6)
        ) && address.value() & !host_mask(self.family, self.length) == self.first
    }

    /// Whether every address of the other is one of its own.
    pub const fn contains_cidr(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.first())
    }

    /// Whether they share an address: of two prefixes that do, one contains the other.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.contains_cidr(other) || other.contains_cidr(self)
    }

    /// The two halves, low one first; none for a single address.
    pub fn halves(&self) -> Option<(Self, Self)> {
        let length = self.length.checked_add(1).filter(|length| *length <= self.family.bits())?;
        let low = Self { length, ..*self };
        Some((low, low.buddy()?))
    }

    /// The other half of the prefix one bit shorter; none for length 0.
    pub fn buddy(&self) -> Option<Self> {
        if self.length == 0 {
            return None;
        }
        Some(Self { first: self.first ^ self.count_exact()?, ..*self })
    }

    /// The prefix one bit shorter; none for length 0.
    pub fn parent(&self) -> Option<Self> {
        Self::containing(self.first(), self.length.checked_sub(1)?)
    }

    fn count_exact(&self) -> Option<u128> {
        host_mask(self.family, self.length).checked_add(1)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first(), self.length)
    }
}

impl FromStr for Cidr {
    type Err = AddressRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text)?;
        let Some((before, after)) = text.split_once('/') else {
            let address: Address = text.parse()?;
            return Err(AddressRefused::NoLength { address, bits: address.family().bits() });
        };
        let address: Address = match before.parse() {
            Err(AddressRefused::MappedIpv4 { right, .. }) => {
                return Err(mapped(text, right, after));
            }
            other => other?,
        };
        let (family, bits) = (address.family(), address.family().bits());
        let length = plain_number(after)
            .ok_or_else(|| AddressRefused::LengthNotNumber { text: quoted(after), bits })?;
        let Some(cidr) =
            u8::try_from(length).ok().and_then(|length| Self::containing(address, length))
        else {
            return Err(AddressRefused::LengthTooLong { length, family, bits });
        };
        if cidr.first() != address {
            return Err(AddressRefused::HostBits { text: quoted(text), right: cidr });
        }
        match Special::overlapping(&cidr) {
            Some(special) => Err(AddressRefused::Special { cidr: cidr.to_string(), special }),
            None => Ok(cidr),
        }
    }
}

/// The refusal of a prefix in `::ffff:0:0/96`, with its length counted as IPv4 does.
fn mapped(text: &str, address: String, length: &str) -> AddressRefused {
    let shorter = plain_number(length).and_then(|length| length.checked_sub(96));
    let right = match shorter {
        Some(length) if length <= 32 => format!("{address}/{length}"),
        Some(_) | None => format!("{address} with an IPv4 length"),
    };
    AddressRefused::MappedIpv4 { text: quoted(text), right }
}
