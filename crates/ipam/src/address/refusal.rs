//! Why a text is no address, prefix or range, and what would be.

use super::{Address, Cidr, Family, Special};
use std::net::Ipv4Addr;

/// Longer texts are cut in messages: a value can be as long as an annotation.
const QUOTED_CHARACTERS_MAX: usize = 64;
/// The longest range has 39 + 1 + 39 characters; what is much longer is not looked at.
const TEXT_BYTES_MAX: usize = 128;

/// What is wrong with a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Nothing was written.
    #[error("the value is empty; write an address like 10.0.0.1 or 2001:db8::1")]
    Empty,
    /// Far longer than any address.
    #[error("`{text}` is too long for an address, a prefix or a range ({bytes} bytes)")]
    TooLong {
        /// How it begins.
        text: String,
        /// How long it is.
        bytes: usize,
    },
    /// No address at all.
    #[error("`{text}` is not an IP address; write it like 10.0.0.1 or 2001:db8::1")]
    NotAnAddress {
        /// As given.
        text: String,
    },
    /// Octal to some programs, decimal to others.
    #[error("`{text}` has leading zeros, which some programs read as octal; write {right}")]
    LeadingZeros {
        /// As given.
        text: String,
        /// Without the zeros.
        right: Ipv4Addr,
    },
    /// Another spelling than the canonical one.
    #[error("`{text}` is not the canonical spelling; write {right}")]
    NotCanonical {
        /// As given.
        text: String,
        /// The canonical spelling.
        right: String,
    },
    /// `::ffff:10.0.0.1`.
    #[error("`{text}` is an IPv4 address in IPv6 notation; write {right}")]
    MappedIpv4 {
        /// As given.
        text: String,
        /// The same in IPv4 notation.
        right: String,
    },
    /// `fe80::1%eth0`.
    #[error("`{text}` names a zone, which means something on one machine only; write {right}")]
    Zone {
        /// As given.
        text: String,
        /// Without the zone.
        right: String,
    },
    /// A prefix where one address is wanted.
    #[error("`{text}` has a prefix length; write one address without it")]
    CidrForAddress {
        /// As given.
        text: String,
    },
    /// An address where a prefix is wanted.
    #[error("`{address}` has no prefix length; write {address}/{bits} for one address")]
    NoLength {
        /// As given.
        address: Address,
        /// The length that means one address.
        bits: u8,
    },
    /// The length is no number as we write them.
    #[error("prefix length `{text}` is not a plain number; write 0 to {bits}")]
    LengthNotNumber {
        /// As given.
        text: String,
        /// The longest.
        bits: u8,
    },
    /// The length is too large for the family.
    #[error("prefix length {length} is too long for {family}; the longest is {bits}")]
    LengthTooLong {
        /// As given.
        length: u128,
        /// The family.
        family: Family,
        /// The longest.
        bits: u8,
    },
    /// The address names a host within the prefix.
    #[error("`{text}` has host bits set; write {right}")]
    HostBits {
        /// As given.
        text: String,
        /// The prefix that contains it.
        right: Cidr,
    },
    /// Addresses with a meaning of their own.
    #[error("{cidr} overlaps {special}, which is never handed out; write a unicast prefix outside of {}", special.cidr())]
    Special {
        /// As given.
        cidr: String,
        /// What it overlaps.
        special: Special,
    },
    /// One end of `a-b` is missing.
    #[error("range `{text}` has only one end; write first-last, or one address alone")]
    HalfRange {
        /// As given.
        text: String,
    },
    /// The last is lower than the first.
    #[error("range {first}-{last} is reversed; write {last}-{first}")]
    Reversed {
        /// As given first.
        first: Address,
        /// As given last.
        last: Address,
    },
    /// IPv4 on one side, IPv6 on the other.
    #[error("range {first}-{last} mixes {} and {}; write both ends in one family", first.family(), last.family())]
    MixedFamilies {
        /// As given first.
        first: Address,
        /// As given last.
        last: Address,
    },
}

/// A value as it may stand in a message: cut, and without characters that act on a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let mut result: String =
        text.chars().take(QUOTED_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARACTERS_MAX).is_some() {
        result.push('…');
    }
    result
}

/// What can be said before looking at it.
pub(super) fn check_text(text: &str) -> Result<(), AddressRefused> {
    if text.is_empty() {
        Err(AddressRefused::Empty)
    } else if text.len() > TEXT_BYTES_MAX {
        Err(AddressRefused::TooLong { text: quoted(text), bytes: text.len() })
    } else {
        Ok(())
    }
}
