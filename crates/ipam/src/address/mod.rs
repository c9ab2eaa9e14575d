//! Addresses, prefixes and ranges: parsed strictly, printed in one way, computed with as integers.
//!
//! A value that two programs may read differently is refused, and the refusal names the spelling that is right: an
//! address with leading zeros is octal to some, `::ffff:10.0.0.1` is IPv4 to some, host bits mean one thing to a router
//! and another to an interface. What is accepted has exactly one spelling, so that a CIDR can be compared, hashed and
//! used as part of a name as text.
//!
//! Arithmetic is on `u128` with the family beside it; nothing here allocates except messages.

mod block;
mod cidr;
mod class;
mod range;
mod refusal;
mod set;
mod special;
#[cfg(test)]
mod tests;

pub use block::{BLOCK_SLOTS, BlockId};
pub use cidr::Cidr;
pub(crate) use class::plain_number;
pub use class::{Class, ClassRefused, length_from_text};
pub use range::AddressRange;
pub use refusal::AddressRefused;
pub(crate) use refusal::quoted;
pub use set::AddressSet;
pub use special::Special;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 32 bits.
    V4,
    /// 128 bits.
    V6,
}

impl Family {
    /// The length of a prefix of one address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The highest address as an integer.
    pub const fn value_max(self) -> u128 {
        match self {
            Self::V4 => 0xffff_ffff,
            Self::V6 => u128::MAX,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One address. Ordered by family, then by number; never an IPv4 address in IPv6 notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    family: Family,
    value: u128,
}

impl Address {
    /// The address with this number; none if the family has no such number.
    pub const fn new(family: Family, value: u128) -> Option<Self> {
        if value > family.value_max() { None } else { Some(Self { family, value }) }
    }

    /// The address of a standard type; an IPv4 address in IPv6 notation becomes IPv4.
    pub fn from_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(address) => {
                Self { family: Family::V4, value: u128::from(address.to_bits()) }
            }
            IpAddr::V6(address) => Self { family: Family::V6, value: address.to_bits() },
        }
    }

    /// As the standard type.
    pub fn to_ip(self) -> IpAddr {
        match (self.family, u32::try_from(self.value)) {
            (Family::V4, Ok(bits)) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            // A V4 with more than 32 bits cannot be made.
            (Family::V4, Err(_)) => IpAddr::V4(Ipv4Addr::BROADCAST),
            (Family::V6, _) => IpAddr::V6(Ipv6Addr::from_bits(self.value)),
        }
    }

    /// Its family.
    pub const fn family(self) -> Family {
        self.family
    }

    /// Its number within the family.
    pub const fn value(self) -> u128 {
        self.value
    }

    /// The next higher address, if there is one.
    pub fn next(self) -> Option<Self> {
        Self::new(self.family, self.value.checked_add(1)?)
    }

    /// The next lower address, if there is one.
    pub fn previous(self) -> Option<Self> {
        Self::new(self.family, self.value.checked_sub(1)?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(formatter)
    }
}

impl FromStr for Address {
    type Err = AddressRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        refusal::check_text(text)?;
        if text.contains('/') {
            return Err(AddressRefused::CidrForAddress { text: quoted(text) });
        }
        if let Some((address, _zone)) = text.split_once('%') {
            return Err(AddressRefused::Zone { text: quoted(text), right: quoted(address) });
        }
        let Ok(ip) = text.parse::<IpAddr>() else {
            return Err(match without_leading_zeros(text) {
                Some(right) => AddressRefused::LeadingZeros { text: quoted(text), right },
                None => AddressRefused::NotAnAddress { text: quoted(text) },
            });
        };
        let address = Self::from_ip(ip);
        if ip.is_ipv6() && address.family == Family::V4 {
            return Err(AddressRefused::MappedIpv4 {
                text: quoted(text),
                right: address.to_string(),
            });
        }
        if address.to_string() != text {
            return Err(AddressRefused::NotCanonical {
                text: quoted(text),
                right: address.to_string(),
            });
        }
        Ok(address)
    }
}

/// What was probably meant by dotted numbers of which some begin with zeros.
fn without_leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut parts = Vec::new();
    for part in text.split('.') {
        let shorter = part.trim_start_matches('0');
        parts.push(if shorter.is_empty() && !part.is_empty() { "0" } else { shorter });
    }
    parts.join(".").parse().ok()
}
