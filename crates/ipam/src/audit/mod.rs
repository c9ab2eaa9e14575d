//! What the slots say, counted again from nothing, and compared with what claims and counters say.
//!
//! A finding is first reported. Only a second pass, at least [`CONFIRM_SECONDS_MIN`] later, that meets the same slot with the
//! same number and again no owner, gives it up for release; a pass over an incomplete list of owners gives up nothing. The
//! caller still asks for each owner by a quorum read before it acts on what [`Report::confirmed`] gives it.

#[cfg(test)]
mod tests;

use crate::address::{Address, Family};
use crate::plan::Release;
use crate::pool::Counts;
use crate::space::{SideKey, Space};
use crate::vlan::{Table, VlanId};
use calendar::Instant;
use ids::ResourceUid;
use std::collections::{BTreeMap, BTreeSet};

/// How long after the first report a slot may be given up.
pub const CONFIRM_SECONDS_MIN: i64 = 600;

/// Who says to have what: every claim there is, with what its status names (nothing, while it waits).
///
/// Each address space is looked at for itself. Give it all claims, since absence is what is looked for, but of the places
/// only those in this space: two spaces may use the same addresses, and what a claim has elsewhere is no slot here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners<Place> {
    /// Places by UID of the claim.
    pub claims: BTreeMap<ResourceUid, BTreeSet<Place>>,
    /// Whether the list was read to its end; otherwise absence means nothing.
    pub is_complete: bool,
}

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding<Place> {
    /// A slot is taken for a claim that is not there.
    OwnerGone {
        /// Which.
        place: Place,
        /// UID of the claim.
        owner: ResourceUid,
        /// The slot's number.
        seq: u64,
    },
    /// A claim says to have what the slots do not give it.
    OwnerWithoutSlot {
        /// What it says to have.
        place: Place,
        /// UID of the claim.
        owner: ResourceUid,
    },
    /// Several claims say to have the same.
    SeveralOwners {
        /// What.
        place: Place,
        /// UIDs of the claims, ascending.
        owners: Vec<ResourceUid>,
    },
}

/// A counter that is not what the slots say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// Which pool and family.
    pub key: SideKey,
    /// What was kept.
    pub kept: Counts,
    /// What the slots say.
    pub counted: Counts,
}

/// A pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<Place> {
    /// When.
    pub at: Instant,
    /// Over all changes up to this number: "matches at generation n", if nothing was found.
    pub generation: u64,
    /// Ascending.
    pub findings: Vec<Finding<Place>>,
    /// Counters that drifted.
    pub drifts: Vec<Drift>,
    /// Whether the list of owners was complete.
    pub is_complete: bool,
}

impl<Place: Ord + Copy> Report<Place> {
    /// Whether everything agrees.
    pub fn matches(&self) -> bool {
        self.is_complete && self.findings.is_empty() && self.drifts.is_empty()
    }

    /// Slots without owner that an earlier pass has found too, long enough before: (place, owner, number).
    pub fn confirmed(&self, earlier: &Self) -> Vec<(Place, ResourceUid, u64)> {
        let waited = self.at.microseconds_since(earlier.at);
        let is_late_enough = waited >= CONFIRM_SECONDS_MIN.saturating_mul(1_000_000);
        if !is_late_enough || !self.is_complete || !earlier.is_complete {
            return Vec::new();
        }
        let both =
            self.findings.iter().filter(|finding| earlier.findings.binary_search(finding).is_ok());
        let gone = both.filter_map(|finding| match finding {
            Finding::OwnerGone { place, owner, seq } => Some((*place, *owner, *seq)),
            Finding::OwnerWithoutSlot { .. } | Finding::SeveralOwners { .. } => None,
        });
        gone.collect()
    }
}

impl Report<Address> {
    /// The same as releases for the next batch.
    pub fn releases(&self, earlier: &Self) -> Vec<Release> {
        let confirmed = self.confirmed(earlier).into_iter();
        confirmed.map(|(address, owner, seq)| Release { address, owner, seq }).collect()
    }
}

/// Looks at an address space. `published`: counters as the status of pools shows them, to be compared too.
pub fn examine(
    space: &Space,
    published: &BTreeMap<SideKey, Counts>,
    owners: &Owners<Address>,
    now: Instant,
) -> Report<Address> {
    let slots = space.holdings().filter(|holding| holding.slot.state.is_live());
    let slots = slots.map(|one| (one.address, one.slot.owner, one.slot.seq));
    let counted = recount(space);
    let mut drifts = Vec::new();
    for (key, counted) in &counted {
        let kept = space.counts(key.0, key.1);
        for kept in [Some(kept), published.get(key).copied()].into_iter().flatten() {
            if kept != *counted {
                drifts.push(Drift { key: *key, kept, counted: *counted });
            }
        }
    }
    let generation = space.blocks().map(crate::block::Block::generation).max().unwrap_or(0);
    let findings = compare(slots, owners);
    Report { at: now, generation, findings, drifts, is_complete: owners.is_complete }
}

/// Looks at the ids of a VLAN pool.
pub fn examine_vlans(table: &Table, owners: &Owners<VlanId>, now: Instant) -> Report<VlanId> {
    let live = table.tags().iter().filter(|(_, tag)| tag.state.is_live());
    let findings = compare(live.map(|(id, tag)| (*id, tag.owner, tag.seq)), owners);
    let generation = table.generation();
    Report { at: now, generation, findings, drifts: Vec::new(), is_complete: owners.is_complete }
}

/// Every counter of every pool, from the slots alone.
pub fn recount(space: &Space) -> BTreeMap<SideKey, Counts> {
    let mut counts = BTreeMap::new();
    for pool in space.pools() {
        for family in [Family::V4, Family::V6] {
            let territory = pool.territory(family);
            if territory.total() == 0 {
                continue;
            }
            let usable = territory.usable_count();
            let total = territory.total();
            let excluded = total.saturating_sub(usable);
            let mut count = Counts { total, free: usable, excluded, ..Counts::default() };
            let of_family = space.blocks().filter(|block| block.id().family() == family);
            for (block, index, slot) in of_family.flat_map(|block| {
                block.slots().iter().map(move |(index, slot)| (block, index, slot))
            }) {
                let is_inside = territory.contains(block.id().address(*index));
                let field = match (is_inside, slot.state.is_live()) {
                    (true, true) => &mut count.allocated,
                    (true, false) => &mut count.quarantined,
                    (false, _) if slot.pool == pool.uid => &mut count.out_of_range,
                    (false, _) => continue,
                };
                *field = field.saturating_add(1);
                if is_inside {
                    count.free = count.free.saturating_sub(1);
                }
            }
            counts.insert((pool.uid, family), count);
        }
    }
    counts
}

/// What slots and claims say of one another, ascending.
fn compare<Place: Ord + Copy>(
    slots: impl Iterator<Item = (Place, ResourceUid, u64)>,
    owners: &Owners<Place>,
) -> Vec<Finding<Place>> {
    let mut findings = Vec::new();
    let mut held = BTreeSet::new();
    for (place, owner, seq) in slots {
        held.insert((place, owner));
        if owners.is_complete && !owners.claims.contains_key(&owner) {
            findings.push(Finding::OwnerGone { place, owner, seq });
        }
    }
    let mut said: BTreeMap<Place, Vec<ResourceUid>> = BTreeMap::new();
    for (owner, places) in &owners.claims {
        for place in places {
            said.entry(*place).or_default().push(*owner);
            if !held.contains(&(*place, *owner)) {
                findings.push(Finding::OwnerWithoutSlot { place: *place, owner: *owner });
            }
        }
    }
    let several = said.into_iter().filter(|(_, owners)| owners.len() > 1);
    findings.extend(several.map(|(place, owners)| Finding::SeveralOwners { place, owners }));
    findings.sort_unstable();
    findings
}
