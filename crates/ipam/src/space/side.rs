//! A pool in one family, with counters and indexes over its blocks.

use super::{Group, Runs};
use crate::address::BlockId;
use crate::pool::{Counts, Pool, Territory};
use ids::AccountId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) pool: Arc<Pool>,
    pub(crate) territory: Territory,
    pub(crate) allocated: u128,
    pub(crate) quarantined: u128,
    pub(crate) out_of_range: u128,
    /// Blocks of the territory that exist.
    pub(crate) known_blocks: u128,
    /// The ordinal below which every block exists.
    pub(crate) fresh_from: u128,
    /// Ordinals of blocks with a taken slot, ascending; kept for `Dispersed` alone, which chooses among the others.
    pub(crate) busy: Vec<u128>,
    pub(crate) groups: BTreeMap<Option<AccountId>, Group>,
    /// Kept for `TenantRun` and `Dispersed`.
    pub(crate) runs: Runs,
}

impl Side {
    pub(crate) fn new(pool: Arc<Pool>, territory: Territory) -> Self {
        Self {
            pool,
            territory,
            allocated: 0,
            quarantined: 0,
            out_of_range: 0,
            known_blocks: 0,
            fresh_from: 0,
            busy: Vec::new(),
            groups: BTreeMap::new(),
            runs: Runs::default(),
        }
    }

    pub(crate) fn free(&self) -> u128 {
        self.territory
            .usable_count()
            .saturating_sub(self.allocated)
            .saturating_sub(self.quarantined)
    }

    pub(crate) fn counts(&self) -> Counts {
        let total = self.territory.total();
        Counts {
            total,
            free: self.free(),
            allocated: self.allocated,
            quarantined: self.quarantined,
            excluded: total.saturating_sub(self.territory.usable_count()),
            out_of_range: self.out_of_range,
        }
    }

    /// The lowest block that does not exist yet.
    pub(crate) fn fresh_block(&self) -> Option<BlockId> {
        self.territory.block_at(self.fresh_from)
    }

    /// Blocks in which nothing of ours is taken, existing or not.
    pub(crate) fn vacant_count(&self) -> u128 {
        let busy = u128::try_from(self.busy.len()).unwrap_or(u128::MAX);
        self.territory.block_count().saturating_sub(busy)
    }

    /// The vacant block with a number among the vacant ones, from 0.
    pub(crate) fn vacant_block(&self, number: u128) -> Option<BlockId> {
        // The ordinal is `number` plus the busy ones before it; how many vacant ones precede a busy one only grows.
        let (mut low, mut high) = (0_usize, self.busy.len());
        while low < high {
            let middle = low.midpoint(high);
            let before = u128::try_from(middle).ok()?;
            if self.busy.get(middle)?.saturating_sub(before) <= number {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        self.territory.block_at(number.checked_add(u128::try_from(low).ok()?)?)
    }
}
