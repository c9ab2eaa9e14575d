//! Addresses with a meaning of their own, which no prefix may contain.

use super::{Address, Cidr, Family};
use std::fmt;

/// Why a range of addresses is never handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Special {
    /// 0.0.0.0/8: "this network".
    ThisNetwork,
    /// 127.0.0.0/8.
    Loopback4,
    /// 169.254.0.0/16, where clouds keep their metadata service.
    LinkLocal4,
    /// 224.0.0.0/4.
    Multicast4,
    /// 240.0.0.0/4, the limited broadcast address included.
    ClassE,
    /// `::/127`: unspecified and loopback.
    Loopback6,
    /// `::ffff:0:0/96`: IPv4 in IPv6 notation.
    MappedIpv4,
    /// `fe80::/10`.
    LinkLocal6,
    /// `ff00::/8`.
    Multicast6,
}

impl Special {
    /// All of them, in order of address.
    pub const ALL: [Self; 9] = [
        Self::ThisNetwork,
        Self::Loopback4,
        Self::LinkLocal4,
        Self::Multicast4,
        Self::ClassE,
        Self::Loopback6,
        Self::MappedIpv4,
        Self::LinkLocal6,
        Self::Multicast6,
    ];

    /// Its addresses.
    pub const fn cidr(self) -> Cidr {
        match self {
            Self::ThisNetwork => Cidr::constant(Family::V4, 0, 8),
            Self::Loopback4 => Cidr::constant(Family::V4, 0x7f00_0000, 8),
            Self::LinkLocal4 => Cidr::constant(Family::V4, 0xa9fe_0000, 16),
            Self::Multicast4 => Cidr::constant(Family::V4, 0xe000_0000, 4),
            Self::ClassE => Cidr::constant(Family::V4, 0xf000_0000, 4),
            Self::Loopback6 => Cidr::constant(Family::V6, 0, 127),
            Self::MappedIpv4 => Cidr::constant(Family::V6, 0xffff_0000_0000, 96),
            Self::LinkLocal6 => Cidr::constant(Family::V6, 0xfe80 << 112, 10),
            Self::Multicast6 => Cidr::constant(Family::V6, 0xff00 << 112, 8),
        }
    }

    /// The first one that a prefix overlaps.
    pub fn overlapping(cidr: &Cidr) -> Option<Self> {
        Self::ALL.into_iter().find(|special| special.cidr().overlaps(cidr))
    }

    /// The one that an address belongs to.
    pub fn containing(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|special| special.cidr().contains(address))
    }
}

impl fmt::Display for Special {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::ThisNetwork => "the \"this network\" addresses",
            Self::Loopback4 | Self::Loopback6 => "the loopback addresses",
            Self::LinkLocal4 | Self::LinkLocal6 => "the link-local addresses",
            Self::Multicast4 | Self::Multicast6 => "the multicast addresses",
            Self::ClassE => "class E",
            Self::MappedIpv4 => "IPv4 in IPv6 notation",
        };
        write!(formatter, "{name} ({})", self.cidr())
    }
}
