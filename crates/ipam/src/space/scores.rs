//! How well a pool's addresses lie: computed from the slots when asked, never kept.

use super::Space;
use crate::address::{Address, AddressRange, AddressSet, Cidr, Family};
use crate::block::Slot;
use crate::pool::PerMille;
use ids::{AccountId, ResourceUid};
use std::collections::BTreeMap;

/// Of one pool in one family. Resting addresses are not live and count for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scores {
    /// 1 − largest free aligned block ÷ largest power of two ≤ free; 0 when nothing is free.
    pub fragmentation: PerMille,
    /// Neighbouring pairs of one tenant ÷ (its addresses − 1), over all tenants with two or more; 0 without any.
    pub adjacency: PerMille,
    /// Neighbouring pairs of two tenants within a block.
    pub foreign_neighbours: u64,
    /// Free aligned blocks by prefix length: how many of each, each free address counted once.
    pub free_by_size: BTreeMap<u8, u128>,
    /// The fewest prefixes that describe each tenant's addresses, and no others.
    pub prefixes_by_tenant: BTreeMap<AccountId, u64>,
}

impl Space {
    /// The scores of a pool; nothing for a pool or family that is not here.
    pub fn scores(&self, pool: ResourceUid, family: Family) -> Scores {
        let Some(side) = self.sides.get(&(pool, family)) else { return Scores::default() };
        let mut taken: Vec<AddressRange> = Vec::new();
        let mut by_tenant: BTreeMap<AccountId, Vec<AddressRange>> = BTreeMap::new();
        let mut scores = Scores::default();
        for entry in self.blocks.values().filter(|entry| entry.share(pool).is_some()) {
            let mut before: Option<(Address, &Slot)> = None;
            for (index, slot) in entry.block.slots() {
                let address = entry.block.id().address(*index);
                taken.push(AddressRange::single(address));
                if !slot.state.is_live() || !side.territory.contains(address) {
                    continue;
                }
                by_tenant.entry(slot.tenant).or_default().push(AddressRange::single(address));
                let is_foreign = before.is_some_and(|(low, other)| {
                    low.next() == Some(address) && other.tenant != slot.tenant
                });
                scores.foreign_neighbours =
                    scores.foreign_neighbours.saturating_add(u64::from(is_foreign));
                before = Some((address, slot));
            }
        }
        let free = side.territory.without(&AddressSet::union_of(taken));
        scores.free_by_size = free_by_size(&free);
        scores.fragmentation = fragmentation(family, free.count(), &scores.free_by_size);
        let (mut pairs, mut possible) = (0_u128, 0_u128);
        for (tenant, addresses) in by_tenant {
            let set = AddressSet::union_of(addresses);
            let runs = u128::try_from(set.ranges().len()).unwrap_or(u128::MAX);
            pairs = pairs.saturating_add(set.count().saturating_sub(runs));
            possible = possible.saturating_add(set.count().saturating_sub(1));
            let prefixes = set.ranges().iter().flat_map(AddressRange::cidrs).count();
            scores.prefixes_by_tenant.insert(tenant, u64::try_from(prefixes).unwrap_or(u64::MAX));
        }
        scores.adjacency = PerMille::of(pairs, possible);
        scores
    }
}

/// How many prefixes of each length a set falls into.
pub(crate) fn free_by_size(free: &AddressSet) -> BTreeMap<u8, u128> {
    let mut by_size: BTreeMap<u8, u128> = BTreeMap::new();
    for cidr in free.ranges().iter().flat_map(AddressRange::cidrs) {
        let count = by_size.entry(cidr.length()).or_default();
        *count = count.saturating_add(1);
    }
    by_size
}

/// See [`Scores::fragmentation`].
pub(crate) fn fragmentation(family: Family, free: u128, by_size: &BTreeMap<u8, u128>) -> PerMille {
    let Some(length) = by_size.keys().next() else { return PerMille::default() };
    let least = Address::new(family, 0).and_then(|zero| Cidr::new(zero, *length));
    let largest = least.map_or(0, |cidr| cidr.count());
    let ideal = free.checked_ilog2().and_then(|power| 1_u128.checked_shl(power)).unwrap_or(0);
    PerMille::of(largest, ideal).rest()
}
