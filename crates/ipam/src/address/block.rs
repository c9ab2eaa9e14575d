//! Blocks of 256 addresses: one /24 of IPv4, one /120 of IPv6. A block is what one object stores, so its name follows
//! from the addresses alone and a second object for the same addresses cannot exist.

use super::{Address, AddressRange, Cidr, Family};
use std::fmt;

/// The slots of a block.
pub const BLOCK_SLOTS: u16 = 256;

/// Which 256 addresses. Ordered by family, then by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    family: Family,
    number: u128,
}

impl BlockId {
    /// The block an address lies in, and its slot there.
    pub const fn of(address: Address) -> (Self, u8) {
        let [.., index] = address.value().to_be_bytes();
        (Self { family: address.family(), number: address.value() >> 8 }, index)
    }

    /// The block with this number (its first address divided by 256); none beyond the family's last.
    pub const fn new(family: Family, number: u128) -> Option<Self> {
        if number > family.value_max() >> 8 { None } else { Some(Self { family, number }) }
    }

    /// The block that is this prefix: a /24 or a /120.
    pub fn from_cidr(cidr: &Cidr) -> Option<Self> {
        let (block, _) = Self::of(cidr.first());
        (block.cidr() == *cidr).then_some(block)
    }

    /// Its family.
    pub const fn family(self) -> Family {
        self.family
    }

    /// Its first address divided by 256.
    pub const fn number(self) -> u128 {
        self.number
    }

    /// Its addresses.
    pub const fn cidr(self) -> Cidr {
        Cidr::constant(self.family, self.number << 8, self.family.bits().saturating_sub(8))
    }

    /// Its addresses.
    pub const fn range(self) -> AddressRange {
        self.cidr().range()
    }

    /// The address of a slot.
    pub fn address(self, index: u8) -> Address {
        let value = (self.number << 8) | u128::from(index);
        Address { family: self.family, value }
    }

    /// Its part of an object's name: letters, digits and hyphens, one spelling for a block (`10-0-1-0`; for IPv6 the
    /// 30 hexadecimal digits of the prefix).
    pub fn name_part(self) -> String {
        match self.family {
            Family::V4 => self.cidr().first().to_string().replace('.', "-"),
            Family::V6 => format!("{:030x}", self.number),
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cidr().fmt(formatter)
    }
}
