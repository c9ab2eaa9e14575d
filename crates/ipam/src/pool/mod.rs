//! A pool: which addresses it may hand out, to whom, in which order.
//!
//! What is never handed out is a union of sets (excluded, gateways, edges of on-link prefixes), taken before anything is
//! counted, so an address that is out for two reasons is out once. `.0` and `.255` are too many to be listed under a /8;
//! they are counted arithmetically and masked block by block.

mod counts;
mod territory;
#[cfg(test)]
mod tests;

pub use counts::{Counts, PerMille};
pub use territory::Territory;

use crate::address::{Address, AddressRange, AddressSet, BlockId, Cidr, Family};
use ids::{AccountId, ResourceUid};
use std::collections::BTreeSet;

/// How long a released address rests when the pool does not say.
pub const QUARANTINE_SECONDS_DEFAULT: u32 = 300;

/// In which order free addresses are handed out; each rule is exact (`docs/decisions/0070-ipam.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// The lowest free address of the lowest eligible block.
    Sequential,
    /// Next to the tenant's own, so that a tenant needs few prefixes.
    TenantRun,
    /// Far from other tenants, in an order nobody can guess.
    Dispersed {
        /// Refuse rather than hand out a neighbour of another tenant's address.
        strict: bool,
    },
    /// Whole blocks for one tenant at a time.
    ExclusiveBlock,
    /// Never used ones first, then the one that was given back longest ago.
    LeastRecentlyUsed,
}

/// Who may claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Allowed {
    /// Nobody: what leaving the field out means.
    #[default]
    Nobody,
    /// These; an empty set is nobody too.
    Tenants(BTreeSet<AccountId>),
    /// `["*"]`.
    Everybody,
}

impl Allowed {
    /// Whether this tenant may.
    pub fn includes(&self, tenant: AccountId) -> bool {
        match self {
            Self::Nobody => false,
            Self::Tenants(tenants) => tenants.contains(&tenant),
            Self::Everybody => true,
        }
    }
}

/// A pool as declared, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the declaration")]
pub struct Pool {
    /// UID of the object; part of the seed of every claim.
    pub uid: ResourceUid,
    /// What it hands out; of one family or both.
    pub ranges: Vec<AddressRange>,
    /// Prefixes whose hosts reach one another directly: their edges mean something on the wire. Empty for routed pools.
    pub on_link: Vec<Cidr>,
    /// What is kept back: excluded ranges, reserved child prefixes.
    pub excluded: Vec<AddressRange>,
    /// Routers.
    pub gateways: Vec<Address>,
    /// Hand out network and broadcast addresses too (routed pools).
    pub allow_edges: bool,
    /// Skip every IPv4 address that ends in .0 or .255; old equipment drops them.
    pub avoid_zero_and_255: bool,
    /// In which order.
    pub strategy: Strategy,
    /// Each block belongs to one tenant at a time, whatever the strategy (zones with a block per tenant).
    pub exclusive: bool,
    /// How long a released address rests; 0 for not at all.
    pub quarantine_seconds: u32,
    /// Whether a sticky key brings an address back from quarantine.
    pub sticky: bool,
    /// Who may claim.
    pub allowed: Allowed,
    /// Hands out nothing while set; what is out stays out.
    pub disabled: bool,
}

/// Why a pool cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefused {
    /// Nothing to hand out.
    #[error("the pool has no ranges; add an address, a range or a prefix")]
    NoRanges,
    /// A range repeats another.
    #[error("range {range} is listed twice; ranges of a pool must not overlap")]
    RangeTwice {
        /// What both contain.
        range: AddressRange,
    },
    /// Everything is kept back.
    #[error(
        "every address of the pool is excluded, a gateway or an edge; exclude less or add a range"
    )]
    NothingLeft,
    /// Tenants would share a block.
    #[error(
        "range {range} is not made of whole blocks, as an exclusive pool needs; widen it to multiples of a /24 (IPv6: /120)"
    )]
    NotWholeBlocks {
        /// Which.
        range: AddressRange,
    },
    /// Outside of every on-link prefix.
    #[error("gateway {gateway} lies outside of {prefixes}; a host could not reach it")]
    GatewayUnreachable {
        /// Which.
        gateway: Address,
        /// The on-link prefixes of its family.
        prefixes: String,
    },
    /// Another pool of the space hands it out.
    #[error(
        "{range} is handed out by pool {other} already; pools of one address space must not overlap"
    )]
    OverlapsPool {
        /// What both contain.
        range: AddressRange,
        /// UID of the other pool.
        other: ResourceUid,
    },
}

impl Pool {
    /// A pool of these ranges with every option as it is when nothing is said, open to everybody.
    pub fn plain(uid: ResourceUid, ranges: Vec<AddressRange>, strategy: Strategy) -> Self {
        Self {
            uid,
            ranges,
            on_link: Vec::new(),
            excluded: Vec::new(),
            gateways: Vec::new(),
            allow_edges: false,
            avoid_zero_and_255: false,
            strategy,
            exclusive: false,
            quarantine_seconds: QUARANTINE_SECONDS_DEFAULT,
            sticky: true,
            allowed: Allowed::Everybody,
            disabled: false,
        }
    }

    /// Whether a block has one tenant at a time.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive || self.strategy == Strategy::ExclusiveBlock
    }

    /// Everything it spans, handed out or not.
    pub fn span(&self) -> AddressSet {
        AddressSet::union_of(self.ranges.iter().copied())
    }

    /// What is never handed out, apart from `.0` and `.255`.
    pub fn withheld(&self) -> AddressSet {
        let edges = self.on_link.iter().filter(|_| !self.allow_edges).flat_map(edges_of);
        let single = self.gateways.iter().copied().chain(edges).map(AddressRange::single);
        AddressSet::union_of(self.excluded.iter().copied().chain(single))
    }

    /// The addresses of one family that can be handed out.
    pub fn territory(&self, family: Family) -> Territory {
        let of_family = self.ranges.iter().copied().filter(|range| range.family() == family);
        let span = AddressSet::union_of(of_family);
        let usable = span.without(&self.withheld());
        Territory::new(family, &span, usable, self.avoid_zero_and_255)
    }

    /// Looks at the pool alone; other pools are [`Space::set_pool`](crate::space::Space::set_pool)'s concern.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), PoolRefused> {
        if self.ranges.is_empty() {
            return Err(PoolRefused::NoRanges);
        }
        let mut sorted = self.ranges.clone();
        sorted.sort_unstable();
        for (low, high) in sorted.iter().zip(sorted.iter().skip(1)) {
            if let Some(range) = low.intersection(high) {
                return Err(PoolRefused::RangeTwice { range });
            }
        }
        if self.is_exclusive() {
            let whole = |range: &&AddressRange| {
                BlockId::of(range.first()).1 == 0 && BlockId::of(range.last()).1 == 255
            };
            if let Some(range) = self.ranges.iter().find(|range| !whole(range)) {
                return Err(PoolRefused::NotWholeBlocks { range: *range });
            }
        }
        for gateway in &self.gateways {
            let mut near =
                self.on_link.iter().filter(|on| on.family() == gateway.family()).peekable();
            if near.peek().is_some() && !near.clone().any(|on| on.contains(*gateway)) {
                let prefixes: Vec<String> = near.map(ToString::to_string).collect();
                return Err(PoolRefused::GatewayUnreachable {
                    gateway: *gateway,
                    prefixes: prefixes.join(", "),
                });
            }
        }
        let usable = [Family::V4, Family::V6].map(|family| self.territory(family).usable_count());
        if usable.iter().all(|count| *count == 0) {
            return Err(PoolRefused::NothingLeft);
        }
        Ok(())
    }
}

/// The addresses of an on-link prefix that mean the network itself: the lowest and, with IPv4, the highest. Point-to-point
/// prefixes (/31, /127) and single addresses have none.
fn edges_of(cidr: &Cidr) -> impl Iterator<Item = Address> + use<> {
    let is_network = cidr.length() <= cidr.family().bits().saturating_sub(2);
    let lowest = is_network.then(|| cidr.first());
    let highest = (is_network && cidr.family() == Family::V4).then(|| cidr.last());
    lowest.into_iter().chain(highest)
}
