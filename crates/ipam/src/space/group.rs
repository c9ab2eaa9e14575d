//! Blocks with something to give, in the orders in which strategies look for them.

use super::entry::Standing;
use crate::address::BlockId;
use crate::pool::Strategy;
use std::collections::{BTreeMap, BTreeSet};

/// The blocks of a pool that are for one tenant, or for whoever comes. Only what the pool's strategy asks for is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// Ascending.
    pub(crate) lowest: BTreeSet<BlockId>,
    /// By shelf, then ascending.
    pub(crate) fullest: BTreeSet<(u16, BlockId)>,
    /// By shelf, each ascending; a shelf is never empty. A sorted list, because a seed chooses from it by number.
    pub(crate) shelves: BTreeMap<u16, Vec<BlockId>>,
    /// The same for blocks in which every free slot is beside a taken one.
    pub(crate) crowded: BTreeMap<u16, Vec<BlockId>>,
    /// With a slot that was never used, ascending.
    pub(crate) unused: BTreeSet<BlockId>,
    /// Free slots that were used, by number of their last release.
    pub(crate) rested: BTreeSet<(u64, BlockId, u8)>,
}

impl Group {
    /// No block.
    pub(crate) const EMPTY: Self = Self {
        lowest: BTreeSet::new(),
        fullest: BTreeSet::new(),
        shelves: BTreeMap::new(),
        crowded: BTreeMap::new(),
        unused: BTreeSet::new(),
        rested: BTreeSet::new(),
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.lowest.is_empty()
            && self.fullest.is_empty()
            && self.shelves.is_empty()
            && self.crowded.is_empty()
            && self.unused.is_empty()
            && self.rested.is_empty()
    }

    fn rows(&mut self, standing: &Standing) -> &mut BTreeMap<u16, Vec<BlockId>> {
        if standing.is_good { &mut self.shelves } else { &mut self.crowded }
    }

    /// Puts a block where its standing says.
    pub(crate) fn add(&mut self, strategy: Strategy, block: BlockId, standing: &Standing) {
        match strategy {
            Strategy::Sequential | Strategy::ExclusiveBlock => {
                self.lowest.insert(block);
            }
            Strategy::TenantRun => {
                self.fullest.insert((standing.shelf, block));
            }
            Strategy::Dispersed { .. } => {
                let row = self.rows(standing).entry(standing.shelf).or_default();
                if let Err(place) = row.binary_search(&block) {
                    row.insert(place, block);
                }
            }
            Strategy::LeastRecentlyUsed => {
                if standing.is_good {
                    self.unused.insert(block);
                }
            }
        }
    }

    /// Takes a block from where its standing says.
    pub(crate) fn remove(&mut self, strategy: Strategy, block: BlockId, standing: &Standing) {
        match strategy {
            Strategy::Sequential | Strategy::ExclusiveBlock => {
                self.lowest.remove(&block);
            }
            Strategy::TenantRun => {
                self.fullest.remove(&(standing.shelf, block));
            }
            Strategy::Dispersed { .. } => {
                let rows = self.rows(standing);
                let Some(row) = rows.get_mut(&standing.shelf) else { return };
                if let Ok(place) = row.binary_search(&block) {
                    row.remove(place);
                }
                if row.is_empty() {
                    rows.remove(&standing.shelf);
                }
            }
            Strategy::LeastRecentlyUsed => {
                self.unused.remove(&block);
            }
        }
    }
}
