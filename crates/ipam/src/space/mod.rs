//! An address space as its one writer sees it: the blocks as last written, the pools, and what follows from both.
//!
//! A space is the *view* of a plan. [`Space::plan`](Space::plan) changes it in place and names the blocks that changed;
//! the caller writes those and, where a write was refused or its answer lost, reads the object and hands it to
//! [`Space::replace_block`], after which the same claims are planned again: whatever was written is found by its
//! owner's UID. So the view never has to be rolled back by hand and nothing here is ever the only copy.
//!
//! Blocks and pools are the facts. Everything else (who owns what, what rests until when, which block is fullest) is an
//! index over them, changed in one place (`put`) and compared with a recount by the audit and by the tests.

mod entry;
mod group;
mod put;
mod runs;
mod scores;
mod side;
#[cfg(test)]
mod tests;

pub use scores::{Scores, fragmentation, free_by_size};

pub(crate) use entry::Entry;
pub(crate) use group::Group;
pub(crate) use runs::{Presence, Runs};
pub(crate) use side::Side;

use crate::address::{Address, BlockId, Family};
use crate::block::{Block, Holding, Slot};
use crate::plan::Waiting;
use crate::pool::{Counts, Pool, PoolRefused};
use calendar::Instant;
use ids::{AccountId, ResourceUid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A pool in one family.
pub type SideKey = (ResourceUid, Family);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Space {
    pub(crate) pools: BTreeMap<ResourceUid, Arc<Pool>>,
    pub(crate) blocks: BTreeMap<BlockId, Entry>,
    pub(crate) sides: BTreeMap<SideKey, Side>,
    /// Live slots by their owner.
    pub(crate) owners: BTreeSet<(ResourceUid, Address)>,
    /// Resting slots by what brings them back.
    pub(crate) sticky: BTreeSet<(AccountId, Arc<str>, Address)>,
    /// Resting slots by when they are free.
    pub(crate) resting: BTreeSet<(Instant, Address)>,
    /// The highest number any block has counted to; see decision 0070.
    pub(crate) sequence: u64,
    /// Blocks that the plan in progress has changed, in order of change.
    pub(crate) changed: Vec<BlockId>,
    /// Where the plan in progress has made something free.
    pub(crate) returned: BTreeSet<SideKey>,
    pub(crate) waiting: Waiting,
}

impl Space {
    /// A space of these pools and blocks, in any order.
    ///
    /// # Errors
    /// The first pool that cannot be, or that overlaps another.
    pub fn new(
        pools: impl IntoIterator<Item = Pool>,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<Self, PoolRefused> {
        let mut space = Self::default();
        for pool in pools {
            space.check_pool(&pool)?;
            space.pools.insert(pool.uid, Arc::new(pool));
        }
        space.index(blocks);
        Ok(space)
    }

    /// Whether a pool may be declared like this beside the others; nothing changes.
    ///
    /// # Errors
    /// What is wrong with it, or which other pool it overlaps.
    pub fn check_pool(&self, pool: &Pool) -> Result<(), PoolRefused> {
        pool.check()?;
        let span = pool.span();
        for other in self.pools.values().filter(|other| other.uid != pool.uid) {
            if let Some(range) = span.common_with(&other.span()) {
                return Err(PoolRefused::OverlapsPool { range, other: other.uid });
            }
        }
        Ok(())
    }

    /// Live addresses that a pool would no longer hand out if it were declared like this: why a shrink is refused.
    pub fn in_the_way(&self, pool: &Pool) -> Vec<Holding> {
        let territories = [Family::V4, Family::V6].map(|family| pool.territory(family));
        let kept = |address: Address| territories.iter().any(|one| one.contains(address));
        let live = self.holdings().filter(|holding| holding.slot.state.is_live());
        live.filter(|holding| holding.slot.pool == pool.uid && !kept(holding.address)).collect()
    }

    /// Adds a pool or replaces its declaration. Live addresses outside of the new ranges stay and count as out of range;
    /// ask [`Space::in_the_way`] first. Waiting claims are woken by the next plan.
    ///
    /// # Errors
    /// As [`Space::check_pool`]; then nothing has changed.
    pub fn set_pool(&mut self, pool: Pool) -> Result<(), PoolRefused> {
        self.check_pool(&pool)?;
        self.returned.extend([(pool.uid, Family::V4), (pool.uid, Family::V6)]);
        self.pools.insert(pool.uid, Arc::new(pool));
        self.reindex();
        Ok(())
    }

    /// Takes a pool away. Its live addresses stay in their blocks until they are released.
    pub fn remove_pool(&mut self, pool: ResourceUid) {
        if self.pools.remove(&pool).is_some() {
            self.reindex();
        }
    }

    /// Puts a block as read in place of what was believed of it: after a conflict, a lost answer, at the start. Costs as much
    /// as there are differences, so a block may be handed in after each write of our own too.
    pub fn replace_block(&mut self, block: Block) {
        let id = block.id();
        self.changed.retain(|changed| *changed != id);
        let taken =
            |space: &Self| space.blocks.get(&id).map(|entry| entry.taken).unwrap_or_default();
        let before = taken(self);
        if !self.adopt(&block) {
            self.unload(id);
            self.load(block);
        }
        // Another writer has made room: who waits here is to hear of it.
        if !before.without(taken(self)).is_empty() {
            let shares = self.blocks.get(&id).into_iter().flat_map(|entry| &entry.shares);
            self.returned.extend(shares.map(|share| (share.pool, id.family())));
        }
    }

    /// Forgets a block whose object does not exist.
    pub fn forget_block(&mut self, id: BlockId) {
        self.unload(id);
        self.changed.retain(|changed| *changed != id);
    }

    /// A block as it is to be written.
    pub fn block(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(&id).map(|entry| &entry.block)
    }

    /// All blocks, ascending.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values().map(|entry| &entry.block)
    }

    /// The pools by UID.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().map(Arc::as_ref)
    }

    /// Every slot that is not free.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.blocks().flat_map(Block::holdings)
    }

    /// The live slots of a claim, ascending.
    pub fn holdings_of(&self, owner: ResourceUid) -> Vec<Holding> {
        self.addresses_of(owner)
            .filter_map(|address| Some(Holding { address, slot: self.slot(address)?.clone() }))
            .collect()
    }

    /// What is at an address, if it is not free.
    pub fn slot(&self, address: Address) -> Option<&Slot> {
        let (id, index) = BlockId::of(address);
        self.blocks.get(&id)?.block.slots().get(&index)
    }

    /// How a pool stands in one family; nothing for a pool or family that is not here.
    pub fn counts(&self, pool: ResourceUid, family: Family) -> Counts {
        self.sides.get(&(pool, family)).map(Side::counts).unwrap_or_default()
    }

    /// The next instant at which a resting address becomes free.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// The claims that wait for room.
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    pub(crate) fn addresses_of(&self, owner: ResourceUid) -> impl Iterator<Item = Address> {
        // The least address there is.
        let least = BlockId::new(Family::V4, 0).map(|block| block.address(0));
        let from = least.map(|least| (owner, least));
        from.into_iter()
            .flat_map(|from| self.owners.range(from..))
            .take_while(move |(uid, _)| *uid == owner)
            .map(|(_, address)| *address)
    }

    fn reindex(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        self.index(blocks.into_values().map(|entry| entry.block));
    }

    /// Builds every index from nothing.
    fn index(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.sides.clear();
        self.owners.clear();
        self.sticky.clear();
        self.resting.clear();
        for pool in self.pools.values() {
            for family in [Family::V4, Family::V6] {
                let territory = pool.territory(family);
                if territory.total() > 0 {
                    self.sides.insert((pool.uid, family), Side::new(Arc::clone(pool), territory));
                }
            }
        }
        for block in blocks {
            self.unload(block.id());
            self.load(block);
        }
    }
}
