//! Why a claim gets nothing now, in words for its author. Nothing in here says who has what: that is not theirs to know.

use crate::address::{Address, Family};
use calendar::Instant;
use ids::ResourceUid;
use std::fmt;

/// Why an address that lies in a pool is never handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// In an excluded range.
    Excluded,
    /// A router.
    Gateway,
    /// The network or broadcast address, or the subnet-router address.
    Edge,
    /// Ends in .0 or .255 where the pool avoids those.
    ZeroOr255,
}

impl fmt::Display for Withheld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Excluded => "excluded",
            Self::Gateway => "a gateway",
            Self::Edge => "a network, broadcast or subnet-router address",
            Self::ZeroOr255 => "skipped by the pool, as it ends in .0 or .255",
        })
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The claim asks for none, or for too many.
    #[error("spec.count: {count} addresses cannot be claimed at once; ask for 1 to {most}")]
    Count {
        /// As asked.
        count: u16,
        /// The most.
        most: u16,
    },
    /// A named address, and something that needs more than one.
    #[error("spec.address: {address} is one address; leave count at 1 and name its family alone")]
    AddressIsOne {
        /// As asked.
        address: Address,
    },
    /// No pool was named, or none is left.
    #[error("no pool fits the claim; name one, or a selector that matches one")]
    NoPool,
    /// The pool is not here.
    #[error("pool {pool} does not exist in this address space")]
    PoolUnknown {
        /// UID as asked.
        pool: ResourceUid,
    },
    /// The pool hands out nothing now.
    #[error("pool {pool} is disabled")]
    PoolDisabled {
        /// Its UID.
        pool: ResourceUid,
    },
    /// Not in `allowedTenants`.
    #[error(
        "pool {pool} is not open to this tenant; its operator has to add the tenant to allowedTenants"
    )]
    NotAllowed {
        /// Its UID.
        pool: ResourceUid,
    },
    /// The pool has no such addresses.
    #[error("pool {pool} has no {family} addresses")]
    NoSuchFamily {
        /// Its UID.
        pool: ResourceUid,
        /// As asked.
        family: Family,
    },
    /// The address is in none of the pools.
    #[error("spec.address: {address} is out of the pool's ranges")]
    OutOfRange {
        /// As asked.
        address: Address,
    },
    /// The address is never handed out.
    #[error("spec.address: {address} is never handed out: it is {reason}")]
    Excluded {
        /// As asked.
        address: Address,
        /// Why not.
        reason: Withheld,
    },
    /// Somebody has the address.
    #[error("spec.address: {address} is in use")]
    InUse {
        /// As asked.
        address: Address,
    },
    /// Somebody had it until just now.
    #[error("spec.address: {address} was given back and rests until {until}")]
    Quarantined {
        /// As asked.
        address: Address,
        /// When it is free.
        until: Instant,
    },
    /// The address is in a block that another tenant has for itself.
    #[error("spec.address: {address} is in a block that belongs to another tenant")]
    BlockTaken {
        /// As asked.
        address: Address,
    },
    /// Everything free lies beside somebody else's.
    #[error(
        "every free {family} address of pool {pool} is beside another tenant's, and the pool is strict"
    )]
    NoIsolatedSlot {
        /// Its UID.
        pool: ResourceUid,
        /// Of which family.
        family: Family,
    },
    /// Too little is free.
    #[error(
        "pool {pool} has {free} free {family} addresses for this tenant, and the claim needs {wanted}"
    )]
    PoolExhausted {
        /// Its UID.
        pool: ResourceUid,
        /// Of which family.
        family: Family,
        /// What the claim still needs.
        wanted: u16,
        /// What it could have had.
        free: u128,
    },
    /// What is free is kept for older claims.
    #[error("the free {family} addresses of pool {pool} are kept for older claims that wait")]
    KeptForOlder {
        /// Its UID.
        pool: ResourceUid,
        /// Of which family.
        family: Family,
        /// What the claim still needs.
        wanted: u16,
    },
}

impl Refusal {
    /// Whether the claim waits and is tried again when something becomes free; otherwise its author has to change it, or the
    /// operator the pool.
    pub const fn waits(&self) -> bool {
        match self {
            Self::InUse { .. }
            | Self::Quarantined { .. }
            | Self::BlockTaken { .. }
            | Self::NoIsolatedSlot { .. }
            | Self::PoolExhausted { .. }
            | Self::KeptForOlder { .. }
            | Self::PoolDisabled { .. } => true,
            Self::Count { .. }
            | Self::AddressIsOne { .. }
            | Self::NoPool
            | Self::PoolUnknown { .. }
            | Self::NotAllowed { .. }
            | Self::NoSuchFamily { .. }
            | Self::OutOfRange { .. }
            | Self::Excluded { .. } => false,
        }
    }

    /// The constant word for a condition.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Count { .. } => "InvalidCount",
            Self::AddressIsOne { .. } => "InvalidAddress",
            Self::NoPool => "NoPool",
            Self::PoolUnknown { .. } => "PoolUnknown",
            Self::PoolDisabled { .. } => "PoolDisabled",
            Self::NotAllowed { .. } => "NotAllowed",
            Self::NoSuchFamily { .. } => "NoSuchFamily",
            Self::OutOfRange { .. } => "OutOfRange",
            Self::Excluded { .. } => "Excluded",
            Self::InUse { .. } => "InUse",
            Self::Quarantined { .. } => "Quarantined",
            Self::BlockTaken { .. } => "BlockTaken",
            Self::NoIsolatedSlot { .. } => "NoIsolatedSlot",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::KeptForOlder { .. } => "KeptForOlder",
        }
    }
}
